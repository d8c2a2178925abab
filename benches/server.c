/* A server of canned answers in etcd 3.6's dialect: it costs next to nothing, so that what is measured against it is
 * the client. Usage: server EVENTS; prints its port on 127.0.0.1 and serves until it is ended.
 *
 * Which answer is meant is told by the path and by the key in the request: getN for a value of N bytes, range/ for
 * 10,000 keys, and the streams catchup, single and paced. The same streams come over a WebSocket (websocket.c). */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    RANGE_KEYS = 10000,
    RANGE_VALUE_BYTES = 100,
    LENGTH_BELOW_BYTES = 2048, /* Go's server announces the length of bodies below this and chunks the others */
    REQUEST_BYTES = 4 << 20,
};

#define HEAD "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Headers: accept, content-type, authorization\r\n" \
             "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\nAccess-Control-Allow-Origin: *\r\n" \
             "Content-Type: application/json\r\nGrpc-Metadata-Content-Type: application/grpc\r\n" \
             "Date: Mon, 23 Nov 2026 04:56:21 GMT\r\n"

void die(const char *what)
{
    perror(what);
    exit(1);
}

void add(struct text *text, const char *bytes, size_t len)
{
    if (text->room - text->len < len) {
        text->room = (text->room + len) * 2;
        text->bytes = realloc(text->bytes, text->room);
        if (text->bytes == NULL)
            die("realloc");
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

void addf(struct text *text, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof line)
        die("a line of an answer is too long");
    add(text, line, (size_t)len);
}

/* Appends what encodes `len` bytes that are not all alike. */
void add_value(struct text *text, size_t len)
{
    uint8_t *value = malloc(len);
    char *encoded = malloc(BASE64_ROOM(len));
    if (value == NULL || encoded == NULL)
        die("malloc");
    for (size_t i = 0; i < len; i++)
        value[i] = (uint8_t)(i * 7 + 3);
    add(text, encoded, base64_encode(value, len, encoded));
    free(value);
    free(encoded);
}

void add_kv(struct text *text, const char *key, size_t revision, size_t value_len)
{
    char encoded[BASE64_ROOM(64)];
    base64_encode((const uint8_t *)key, strlen(key), encoded);
    addf(text, "{\"key\":\"%s\",\"create_revision\":\"%zu\",\"mod_revision\":\"%zu\",\"version\":\"1\",\"value\":\"",
         encoded, revision, revision);
    add_value(text, value_len);
    addf(text, "\"}");
}

static void add_chunk(struct text *text, const char *bytes, size_t len)
{
    addf(text, "%zx\r\n", len);
    add(text, bytes, len);
    addf(text, "\r\n");
}

/* A whole answer, head and all, framed as Go's server does. */
static struct text answer(struct text body)
{
    struct text whole = {0};
    if (body.len < LENGTH_BELOW_BYTES) {
        addf(&whole, HEAD "Content-Length: %zu\r\n\r\n", body.len);
        add(&whole, body.bytes, body.len);
    } else {
        addf(&whole, HEAD "Transfer-Encoding: chunked\r\n\r\n");
        add_chunk(&whole, body.bytes, body.len);
        addf(&whole, "0\r\n\r\n");
    }
    free(body.bytes);
    return whole;
}

static struct text version_answer(void)
{
    struct text body = {0};
    addf(&body, "{\"etcdserver\":\"3.6.16\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}");
    return answer(body);
}

static struct text health_answer(void)
{
    struct text body = {0};
    addf(&body, "{\"health\":\"true\",\"reason\":\"\"}");
    return answer(body);
}

static struct text put_answer(void)
{
    struct text body = {0};
    addf(&body, "{" HEADER "}", (size_t)2);
    return answer(body);
}

static struct text get_answer(const char *key, size_t value_len)
{
    struct text body = {0};
    addf(&body, "{" HEADER ",\"kvs\":[", (size_t)2);
    add_kv(&body, key, 2, value_len);
    addf(&body, "],\"count\":\"1\"}");
    return answer(body);
}

/* For a client that asks for the store's revision before it watches from now on. */
static struct text range_of_nothing_answer(void)
{
    struct text body = {0};
    addf(&body, "{" HEADER "}", (size_t)1);
    return answer(body);
}

static struct text range_answer(void)
{
    struct text body = {0};
    addf(&body, "{" HEADER ",\"kvs\":[", (size_t)RANGE_KEYS + 1);
    for (size_t i = 0; i < RANGE_KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "range/%08zu", i);
        if (i > 0)
            addf(&body, ",");
        add_kv(&body, key, i + 2, RANGE_VALUE_BYTES);
    }
    addf(&body, "],\"count\":\"%d\"}", RANGE_KEYS);
    return answer(body);
}

/* Ends a message of a stream with its newline, which large ones have in a chunk of its own. */
static void add_message(struct text *stream, struct text *message)
{
    if (message->len < LENGTH_BELOW_BYTES) {
        addf(message, "\n");
        add_chunk(stream, message->bytes, message->len);
    } else {
        add_chunk(stream, message->bytes, message->len);
        add_chunk(stream, "\n", 1);
    }
    message->len = 0;
}

static struct text stream_head(size_t revision)
{
    struct text stream = {0}, message = {0};
    addf(&stream, HEAD "Transfer-Encoding: chunked\r\n\r\n");
    addf(&message, "{\"result\":{" HEADER ",\"created\":true}}", revision);
    add_message(&stream, &message);
    free(message.bytes);
    return stream;
}

/* `count` events, each of a revision of its own from 2 on, in messages of at most `in_a_message`. */
static struct text event_stream(const char *name, size_t count, size_t in_a_message)
{
    bool is_catching_up = in_a_message > 1;
    struct text stream = stream_head(is_catching_up ? count + 1 : 1), message = {0};
    for (size_t done = 0; done < count;) {
        size_t end = done + in_a_message < count ? done + in_a_message : count;
        addf(&message, "{\"result\":{" HEADER ",\"events\":[", is_catching_up ? count + 1 : end + 1);
        for (size_t first = done; done < end; done++) {
            char key[32];
            snprintf(key, sizeof key, "%s/%08zu", name, done);
            addf(&message, done > first ? ",{\"kv\":" : "{\"kv\":");
            add_kv(&message, key, done + 2, EVENT_VALUE_BYTES);
            addf(&message, "}");
        }
        addf(&message, "]}}");
        add_message(&stream, &message);
    }
    free(message.bytes);
    return stream;
}

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Returns false once the peer is gone, which ends a stream and is no failure. */
bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* One event at a time until the client leaves. The time of sending stands in the key's `version`, a number that
 * clients hand through as it is. */
static void send_paced_events(int fd)
{
    struct text out = stream_head(1), message = {0};
    for (size_t revision = 2; send_all(fd, out.bytes, out.len); revision++) {
        usleep(PACE_MICROSECONDS);
        addf(&message, "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"cGFjZWQ=\",\"create_revision\":\"2\","
             "\"mod_revision\":\"%zu\",\"version\":\"%lld\",\"value\":\"", revision, revision, (long long)now_ns());
        add_value(&message, EVENT_VALUE_BYTES);
        addf(&message, "\"}}]}}");
        out.len = 0;
        add_message(&out, &message);
    }
    free(out.bytes);
    free(message.bytes);
}

/* What is answered to a request whose line holds `path` and whose body holds `mark`. */
static struct canned {
    const char *path;
    char mark[BASE64_ROOM(32) + 2];
    struct text bytes; /* none: paced events */
} canned[16];
static size_t canned_len;

static void can(const char *path, const char *key, struct text bytes)
{
    struct canned *entry = &canned[canned_len++];
    entry->path = path;
    entry->bytes = bytes;
    if (key != NULL) {
        entry->mark[0] = '"';
        size_t len = base64_encode((const uint8_t *)key, strlen(key), entry->mark + 1);
        memcpy(entry->mark + 1 + len, "\"", 2);
    }
}

static void can_everything(size_t events)
{
    can(" /version ", NULL, version_answer());
    can("/kv/put ", NULL, put_answer());
    can("/kv/range ", "get64", get_answer("get64", 64));
    can("/kv/range ", "get16384", get_answer("get16384", 16384));
    can("/kv/range ", "get1048576", get_answer("get1048576", 1048576));
    can("/kv/range ", "range/", range_answer());
    can("/kv/range ", "paced", range_of_nothing_answer());
    can("/watch ", "catchup", event_stream("catchup", events, EVENTS_IN_A_MESSAGE));
    can("/watch ", "single", event_stream("single", events, 1));
    can("/watch ", "paced", (struct text){0});
    can(" /health ", NULL, health_answer());
    prepare_frames(events);
}

static bool answer_request(int fd, const char *head, size_t head_len, const char *body, size_t body_len)
{
    size_t line_len = (size_t)((char *)memchr(head, '\r', head_len) - head);
    for (const struct canned *entry = canned; entry < canned + canned_len; entry++) {
        if (memmem(head, line_len, entry->path, strlen(entry->path)) == NULL)
            continue;
        /* Keys stand at the beginning; a large value behind them is not searched. */
        size_t searched = body_len < 256 ? body_len : 256;
        if (memmem(body, searched, entry->mark, strlen(entry->mark)) == NULL)
            continue;
        if (entry->bytes.len > 0)
            return send_all(fd, entry->bytes.bytes, entry->bytes.len);
        send_paced_events(fd);
        return false;
    }
    fprintf(stderr, "no canned answer to %.*s %.*s\n", (int)line_len, head, (int)(body_len < 100 ? body_len : 100), body);
    return false;
}

/* The number after a header's name; 0 where there is none. `head` ends with a NUL. */
static size_t header_number(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at == NULL ? 0 : strtoul(at + strlen(name), NULL, 10);
}

/* Receives one request and answers it; false: the connection has ended. */
static bool serve_request(int fd, char *buffer)
{
    static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t have = 0, head_len = 0, wanted = 0;
    while (head_len == 0 || have < wanted) {
        ssize_t count = recv(fd, buffer + have, REQUEST_BYTES - have, 0);
        if (count <= 0)
            return false;
        have += (size_t)count;
        char *end = head_len == 0 ? memmem(buffer, have, "\r\n\r\n", 4) : NULL;
        if (end == NULL)
            continue;
        head_len = (size_t)(end - buffer) + 4;
        end[3] = '\0';
        wanted = head_len + header_number(buffer, "\r\nContent-Length:");
        if (wanted > REQUEST_BYTES)
            die("a request is too large");
        if (have < wanted && strcasestr(buffer, "\r\nExpect: 100-continue") != NULL)
            send_all(fd, CONTINUE, sizeof CONTINUE - 1);
    }
    if (strcasestr(buffer, "\r\nUpgrade: websocket") != NULL) {
        serve_websocket(fd, buffer);
        return false;
    }
    return answer_request(fd, buffer, head_len, buffer + head_len, have - head_len);
}

static void *serve_connection(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char *buffer = malloc(REQUEST_BYTES);
    if (buffer == NULL)
        die("malloc");
    while (serve_request(fd, buffer))
        ;
    free(buffer);
    close(fd);
    return NULL;
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 64) != 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Some systems use BBR, which paces each connection by what it happened to measure at its beginning: the same answer
 * then takes twice as long over one connection as over the next. */
static void set_options(int fd)
{
    static const char CONTROL[] = "reno";
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONTROL, sizeof CONTROL - 1) != 0)
        die("setsockopt");
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s EVENTS\n", argv[0]);
        return 2;
    }
    can_everything(strtoul(argv[1], NULL, 10));
    int listener = listen_on_loopback();
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        set_options(fd);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_connection, (void *)(intptr_t)fd) != 0)
            die("pthread_create");
        pthread_detach(thread);
    }
}
