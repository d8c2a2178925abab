/* What the two halves of the canned server share: server.c for HTTP, websocket.c for WebSockets. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include "base64.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EVENT_VALUE_BYTES = 64,
    EVENTS_IN_A_MESSAGE = 1000, /* revisions that a catching-up etcd puts into one message */
    PACE_MICROSECONDS = 1000,
};

#define HEADER "\"header\":{\"cluster_id\":\"2552853633495084577\",\"member_id\":\"5067628275720717069\"," \
               "\"revision\":\"%zu\",\"raft_term\":\"2\"}"

/* Text that grows. */
struct text {
    char *bytes;
    size_t len, room;
};

__attribute__((noreturn)) void die(const char *what);
void add(struct text *text, const char *bytes, size_t len);
__attribute__((format(printf, 2, 3))) void addf(struct text *text, const char *format, ...);
/* Appends what encodes `len` bytes that are not all alike. */
void add_value(struct text *text, size_t len);
void add_kv(struct text *text, const char *key, size_t revision, size_t value_len);
int64_t now_ns(void);
/* Returns false once the peer is gone, which ends a stream and is no failure. */
bool send_all(int fd, const char *bytes, size_t len);

/* Makes the streams before the server begins. */
void prepare_frames(size_t events);
/* Answers an upgrade, whose head ends with a NUL, and serves the WebSocket until it ends. */
void serve_websocket(int fd, const char *head);

#endif
