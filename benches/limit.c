/* The limit: a blocking socket that sends the same bytes again and again and takes the answer off by its framing.
 * Nothing is encoded while it is measured and nothing is decoded. No client can be cheaper. */
#define _GNU_SOURCE
#include "base64.h"
#include "client.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAM_BYTES = 64 << 10 };

struct client {
    const char *host, *port;
    int fd;
    /* The request to replay, and what it was made for. */
    char *request;
    size_t request_len;
    char made_for[128];
    /* Where answers go. */
    char *input;
    size_t room;
};

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    int on = 1;
    if (getaddrinfo(host, port, &hints, &address) != 0)
        die("can't resolve %s", host);
    int fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0)
        die("can't connect to %s:%s", host, port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(address);
    return fd;
}

struct client *client_open(const char *host, const char *port)
{
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        die("no memory");
    client->host = host;
    client->port = port;
    client->fd = connect_to(host, port);
    client->room = STREAM_BYTES;
    client->input = malloc(client->room);
    return client;
}

struct client *client_for_thread(struct client *client)
{
    return client_open(client->host, client->port);
}

void client_close(struct client *client)
{
    close(client->fd);
    free(client->request);
    free(client->input);
    free(client);
}

/* Makes the request unless it is the one that was made last. */
static void prepare(struct client *client, const char *path, const char *key, const char *more, const uint8_t *value,
                    size_t value_len)
{
    char name[sizeof client->made_for];
    snprintf(name, sizeof name, "%s %s %s %zu", path, key, more, value_len);
    if (strcmp(name, client->made_for) == 0)
        return;
    strcpy(client->made_for, name);

    char encoded_key[BASE64_ROOM(64)];
    base64_encode((const uint8_t *)key, strlen(key), encoded_key);
    char *encoded_value = malloc(BASE64_ROOM(value_len));
    base64_encode(value, value_len, encoded_value);
    bool is_watch = strcmp(path, "/watch") == 0, is_put = strcmp(path, "/kv/put") == 0;
    char *body;
    int body_len = asprintf(&body, "%s{\"key\":\"%s\"%s%s%s%s}%s", is_watch ? "{\"create_request\":" : "", encoded_key,
                            more, is_put ? ",\"value\":\"" : "", is_put ? encoded_value : "", is_put ? "\"" : "",
                            is_watch ? "}" : "");
    free(client->request);
    int len = asprintf(&client->request,
                       "POST /v3%s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: libetcdgw/0.1.0\r\n"
                       "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                       path, client->host, client->port, body_len, body);
    if (body_len < 0 || len < 0)
        die("no memory");
    client->request_len = (size_t)len;
    free(body);
    free(encoded_value);
}

static void send_request(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            die("send failed");
        bytes += sent;
        len -= (size_t)sent;
    }
}

static size_t receive(int fd, char *into, size_t room)
{
    ssize_t count = recv(fd, into, room, 0);
    if (count <= 0)
        die("the server closed the connection");
    return (size_t)count;
}

/* Receives until `wanted` bytes of the answer are there. */
static size_t receive_up_to(struct client *client, size_t have, size_t wanted)
{
    /* One more for the NUL that ends the head's strings. */
    if (wanted + 1 > client->room) {
        client->room = wanted + 1;
        client->input = realloc(client->input, client->room);
        if (client->input == NULL)
            die("no memory");
    }
    while (have < wanted)
        have += receive(client->fd, client->input + have, client->room - 1 - have);
    return have;
}

/* Receives an answer's head; returns its length, and through `have` what has arrived. */
static size_t receive_head(struct client *client, size_t *have)
{
    char *end = NULL;
    for (*have = 0; end == NULL; end = memmem(client->input, *have, "\r\n\r\n", 4))
        *have += receive(client->fd, client->input + *have, client->room - 1 - *have);
    client->input[*have] = '\0';
    if (strncmp(client->input, "HTTP/1.1 200 ", 13) != 0)
        die("refused: %s", client->input);
    return (size_t)(end - client->input) + 4;
}

/* Sends the request and receives the whole answer; returns the length of its content. */
static uint64_t exchange(struct client *client)
{
    send_request(client->fd, client->request, client->request_len);
    size_t have, at = receive_head(client, &have);
    const char *length = memmem(client->input, at, "\r\nContent-Length: ", 18);
    if (length != NULL) {
        size_t content = strtoul(length + 18, NULL, 10);
        receive_up_to(client, have, at + content);
        return content;
    }
    for (size_t content = 0;;) {
        char *line_end;
        while ((line_end = memchr(client->input + at, '\n', have - at)) == NULL)
            have = receive_up_to(client, have, have + 1);
        size_t chunk = strtoul(client->input + at, NULL, 16);
        at = (size_t)(line_end - client->input) + 1 + chunk + 2;
        have = receive_up_to(client, have, at);
        content += chunk;
        if (chunk == 0)
            return content;
    }
}

uint64_t client_put(struct client *client, const char *key, const uint8_t *value, size_t value_len)
{
    prepare(client, "/kv/put", key, "", value, value_len);
    return exchange(client);
}

uint64_t client_get(struct client *client, const char *key)
{
    prepare(client, "/kv/range", key, "", NULL, 0);
    return exchange(client);
}

/* The range_end of a prefix, as a further field. */
static void range_end_field(const char *prefix, char *field, size_t room)
{
    char end[64], encoded[BASE64_ROOM(64)];
    end_of_prefix(prefix, end, sizeof end);
    base64_encode((const uint8_t *)end, strlen(end), encoded);
    snprintf(field, room, ",\"range_end\":\"%s\"", encoded);
}

uint64_t client_range(struct client *client, const char *prefix)
{
    char field[128];
    range_end_field(prefix, field, sizeof field);
    prepare(client, "/kv/range", prefix, field, NULL, 0);
    return exchange(client);
}

/* A stream: where it is in its chunks, and the message that is arriving, which must be whole before it is of use. */
struct stream {
    size_t chunk_left; /* 0: a line with a size is next, after the end of the chunk before */
    char line[32];
    size_t line_len;
    char *message;
    size_t message_len, message_room;
    size_t messages;
    struct watch_log *log;
};

static void take_framing(struct stream *stream, char byte)
{
    if (byte != '\n') {
        if (stream->line_len < sizeof stream->line - 1)
            stream->line[stream->line_len++] = byte;
        return;
    }
    stream->line[stream->line_len] = '\0';
    stream->chunk_left = strtoul(stream->line, NULL, 16);
    stream->line_len = 0;
}

/* A message is whole. Only where it is asked for it is looked into, for the time of sending in the stream `paced`. */
static void take_message(struct stream *stream)
{
    static const char FIELD[] = "\"version\":\"";
    stream->messages++;
    if (stream->log->delays != NULL) {
        const char *at = memmem(stream->message, stream->message_len, FIELD, sizeof FIELD - 1);
        if (at != NULL)
            watch_log_event(stream->log, 0, strtoll(at + sizeof FIELD - 1, NULL, 10));
    }
    stream->message_len = 0;
}

static void add_to_message(struct stream *stream, const char *bytes, size_t len)
{
    if (stream->message_room - stream->message_len < len) {
        stream->message_room = (stream->message_room + len) * 2;
        stream->message = realloc(stream->message, stream->message_room);
        if (stream->message == NULL)
            die("no memory");
    }
    memcpy(stream->message + stream->message_len, bytes, len);
    stream->message_len += len;
}

/* Takes what has arrived of a chunk. */
static void take_content(struct stream *stream, const char *bytes, size_t len)
{
    const char *end;
    while ((end = memchr(bytes, '\n', len)) != NULL) {
        size_t line_len = (size_t)(end - bytes);
        add_to_message(stream, bytes, line_len);
        take_message(stream);
        bytes += line_len + 1;
        len -= line_len + 1;
    }
    add_to_message(stream, bytes, len);
}

static void take(struct stream *stream, const char *bytes, size_t len)
{
    while (len > 0) {
        if (stream->chunk_left == 0) {
            take_framing(stream, *bytes++);
            len--;
            continue;
        }
        size_t content = stream->chunk_left < len ? stream->chunk_left : len;
        take_content(stream, bytes, content);
        stream->chunk_left -= content;
        bytes += content;
        len -= content;
    }
}

/* The length of the frame's head at `at`, and through `len` that of its payload; 0: the head isn't there yet. */
static size_t frame_head(const char *input, size_t at, size_t have, size_t *len)
{
    const uint8_t *head = (const uint8_t *)input + at;
    if (have - at < 2)
        return 0;
    size_t bytes = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0;
    if (have - at < 2 + bytes)
        return 0;
    *len = bytes == 0 ? head[1] : 0;
    for (size_t i = 0; i < bytes; i++)
        *len = *len << 8 | head[2 + i];
    return 2 + bytes;
}

/* A frame's payload is a whole message. It is put together, as a chunk's content is. */
static void take_frames(struct client *client, struct stream *stream, size_t messages, size_t have, size_t at)
{
    size_t head, len, content, left = 0;
    for (;;) {
        /* What is left of the frame that has begun, and then those that begin here. */
        content = left < have - at ? left : have - at;
        add_to_message(stream, client->input + at, content);
        at += content;
        left -= content;
        if (left == 0 && stream->message_len > 0)
            take_message(stream);
        if (stream->messages == messages)
            return;
        if (left == 0 && (head = frame_head(client->input, at, have, &len)) > 0) {
            at += head;
            left = len;
            continue;
        }
        memmove(client->input, client->input + at, have - at);
        have -= at;
        at = 0;
        have += receive(client->fd, client->input + have, client->room - 1 - have);
    }
}

/* Sends the upgrade, and the create in a frame whose mask is zeros, which leaves it as it is. */
static void watch_over_websocket(struct client *client, struct stream *stream, size_t messages)
{
    const char *body = strstr(client->request, "\r\n\r\n") + 4;
    size_t len = strlen(body), have = 0;
    char *upgrade, *end = NULL, frame[512] = {(char)0x81, (char)(0x80 | (len < 126 ? len : 126))};
    size_t head = len < 126 ? 6 : 8;
    if (len >= 126) {
        frame[2] = (char)(len >> 8);
        frame[3] = (char)len;
    }
    int upgrade_len = asprintf(&upgrade, "GET /v3/watch HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\r\n", client->host, client->port);
    if (upgrade_len < 0 || len > sizeof frame - head)
        die("a create of %zu bytes", len);
    send_request(client->fd, upgrade, (size_t)upgrade_len);
    free(upgrade);
    for (; end == NULL; end = memmem(client->input, have, "\r\n\r\n", 4))
        have += receive(client->fd, client->input + have, client->room - 1 - have);
    if (strncmp(client->input, "HTTP/1.1 101 ", 13) != 0)
        die("refused: %.*s", (int)have, client->input);
    memcpy(frame + head, body, len);
    send_request(client->fd, frame, head + len);
    take_frames(client, stream, messages, have, (size_t)(end - client->input) + 4);
}

static void watch_over_http(struct client *client, struct stream *stream, size_t messages)
{
    send_request(client->fd, client->request, client->request_len);
    size_t have, at = receive_head(client, &have);
    take(stream, client->input + at, have - at);
    while (stream->messages < messages)
        take(stream, client->input, receive(client->fd, client->input, client->room - 1));
}

void client_watch(struct client *client, enum transport transport, const char *prefix, int64_t start_revision,
                  size_t messages, struct watch_log *log)
{
    char more[256], field[128];
    range_end_field(prefix, field, sizeof field);
    snprintf(more, sizeof more, "%s,\"start_revision\":\"%lld\",\"fragment\":true", field, (long long)start_revision);
    /* A stream has a connection of its own, which ends with it. */
    struct client *own = client_for_thread(client);
    prepare(own, "/watch", prefix, more, NULL, 0);
    struct stream stream = {.log = log};
    /* The first message only says that the watch is created. */
    if (transport == WEBSOCKET)
        watch_over_websocket(own, &stream, messages + 1);
    else
        watch_over_http(own, &stream, messages + 1);
    log->finished_ns = now_ns();
    free(stream.message);
    client_close(own);
}
