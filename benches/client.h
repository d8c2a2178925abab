/* The works that are measured, as each of the three clients does them: limit.c, curl.c and etcdgw.c implement the
 * client_ functions, client.c drives one of them. A failure ends the program with a message. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct client;

struct client *client_open(const char *host, const char *port);
/* For another thread: a connection of its own, or the same client where that is how it is meant to be used. */
struct client *client_for_thread(struct client *client);
void client_close(struct client *client);

/* What was received is summed up, so that decoding can't be left out and the clients can be compared. */
uint64_t client_put(struct client *client, const char *key, const uint8_t *value, size_t value_len);
uint64_t client_get(struct client *client, const char *key);
uint64_t client_range(struct client *client, const char *prefix);

/* What a watch has delivered. */
struct watch_log {
    size_t wanted, seen;
    uint64_t sum;
    int64_t finished_ns;
    int64_t *delays; /* of each event since it was sent; NULL: not asked for */
};

/* What a watch's events come over. */
enum transport { HTTP_STREAM, WEBSOCKET };

/* Watches the keys with a prefix from a revision on (0: from now on) until `log->wanted` events were delivered.
 * `messages` is the number of messages that they come in. */
void client_watch(struct client *client, enum transport transport, const char *prefix, int64_t start_revision,
                  size_t messages, struct watch_log *log);

/* Counts one event. `sent_ns`: the key's version, which is the time of sending in the stream `paced`. */
void watch_log_event(struct watch_log *log, uint64_t sum, int64_t sent_ns);

uint64_t sum_of_kv(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, int64_t mod_revision);

int64_t now_ns(void);
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* What follows the last key with this prefix, as etcd's range_end; a prefix of a bench never ends in 0xff. */
void end_of_prefix(const char *prefix, char *end, size_t room);

#endif
