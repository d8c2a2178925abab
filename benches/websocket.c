/* The canned server's WebSockets: as etcd's, a frame for each message, and no close frame at the end. A client may choose
 * a watch's ID or leave it to the server, so it is put into each message when that is sent. */
#define _GNU_SOURCE
#include "server.h"
#include "sha1.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLOSE = 8, PING = 9, PONG = 10, FRAME_BYTES = 64 << 10, BATCH_BYTES = 64 << 10 };

/* Messages about a watch, each of which is cut in two where its ID belongs; and in frames, for an ID of 0. */
struct stream {
    struct text bytes, frames;
    size_t *splits, *ends, count;
    char mark[BASE64_ROOM(32) + 2];
};

static struct stream catchup, single;

/* What comes before `len` bytes in one frame. */
static void add_frame_head(struct text *out, int opcode, size_t len)
{
    uint8_t head[10] = {(uint8_t)(0x80 | opcode)};
    size_t bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;
    head[1] = (uint8_t)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++)
        head[2 + i] = (uint8_t)((uint64_t)len >> 8 * (bytes - 1 - i));
    add(out, (const char *)head, 2 + bytes);
}

static bool send_text(int fd, const char *text)
{
    struct text out = {0};
    add_frame_head(&out, 1, strlen(text));
    add(&out, text, strlen(text));
    bool is_sent = send_all(fd, out.bytes, out.len);
    free(out.bytes);
    return is_sent;
}

/* As etcd, leaves out an ID of 0. */
static void id_field(char *room, size_t room_len, long long id)
{
    if (id != 0)
        snprintf(room, room_len, ",\"watch_id\":\"%lld\"", id);
}

/* Puts a message into a frame; returns where the next one begins. */
static size_t add_frame(struct text *out, const struct stream *stream, size_t number, size_t at, const char *field)
{
    size_t field_len = strlen(field), split = stream->splits[number], end = stream->ends[number];
    add_frame_head(out, 1, end - at + field_len);
    add(out, stream->bytes.bytes + at, split - at);
    add(out, field, field_len);
    add(out, stream->bytes.bytes + split, end - split);
    return end;
}

static void prepare_stream(struct stream *stream, const char *name, size_t count, size_t in_a_message)
{
    size_t messages = (count + in_a_message - 1) / in_a_message;
    stream->splits = calloc(messages, sizeof *stream->splits);
    stream->ends = calloc(messages, sizeof *stream->ends);
    if (stream->splits == NULL || stream->ends == NULL)
        die("calloc");
    for (size_t done = 0; done < count; stream->count++) {
        size_t end = done + in_a_message < count ? done + in_a_message : count;
        addf(&stream->bytes, "{\"result\":{" HEADER, in_a_message > 1 ? count + 1 : end + 1);
        stream->splits[stream->count] = stream->bytes.len;
        addf(&stream->bytes, ",\"events\":[");
        for (size_t first = done; done < end; done++) {
            char key[32];
            snprintf(key, sizeof key, "%s/%08zu", name, done);
            addf(&stream->bytes, done > first ? ",{\"kv\":" : "{\"kv\":");
            add_kv(&stream->bytes, key, done + 2, EVENT_VALUE_BYTES);
            addf(&stream->bytes, "}");
        }
        addf(&stream->bytes, "]}}");
        stream->ends[stream->count] = stream->bytes.len;
    }
    for (size_t i = 0, at = 0; i < stream->count; i++)
        at = add_frame(&stream->frames, stream, i, at, "");
}

static void mark(char *room, const char *key)
{
    room[0] = '"';
    size_t len = base64_encode((const uint8_t *)key, strlen(key), room + 1);
    memcpy(room + 1 + len, "\"", 2);
}

void prepare_frames(size_t events)
{
    prepare_stream(&catchup, "catchup", events, EVENTS_IN_A_MESSAGE);
    prepare_stream(&single, "single", events, 1);
    mark(catchup.mark, "catchup");
    mark(single.mark, "single");
}

static bool send_stream(int fd, const struct stream *stream, long long id)
{
    char field[48] = "";
    struct text out = {0};
    bool is_sent = true;
    if (id == 0)
        return send_all(fd, stream->frames.bytes, stream->frames.len);
    id_field(field, sizeof field, id);
    for (size_t i = 0, at = 0; i < stream->count && is_sent; i++) {
        at = add_frame(&out, stream, i, at, field);
        if (out.len >= BATCH_BYTES || i + 1 == stream->count) {
            is_sent = send_all(fd, out.bytes, out.len);
            out.len = 0;
        }
    }
    free(out.bytes);
    return is_sent;
}

/* What a client has sent. */
struct frame {
    int opcode;
    size_t len;
    char payload[FRAME_BYTES];
};

static bool receive(int fd, void *into, size_t len)
{
    for (char *at = into; len > 0;) {
        ssize_t count = recv(fd, at, len, 0);
        if (count <= 0)
            return false;
        at += count;
        len -= (size_t)count;
    }
    return true;
}

static bool receive_frame(int fd, struct frame *frame)
{
    uint8_t head[2], more[8], mask[4];
    if (!receive(fd, head, 2))
        return false;
    size_t bytes = (head[1] & 0x7f) == 126 ? 2 : (head[1] & 0x7f) == 127 ? 8 : 0;
    if (!receive(fd, more, bytes) || !receive(fd, mask, 4))
        return false;
    frame->opcode = head[0] & 0xf;
    frame->len = bytes == 0 ? head[1] & 0x7f : 0;
    for (size_t i = 0; i < bytes; i++)
        frame->len = frame->len << 8 | more[i];
    if (frame->len >= FRAME_BYTES || !receive(fd, frame->payload, frame->len))
        return false;
    for (size_t i = 0; i < frame->len; i++)
        frame->payload[i] ^= (char)mask[i % 4];
    frame->payload[frame->len] = '\0';
    return true;
}

/* One event at a time until the client sends something. The time of sending stands in the key's `version`. */
static bool send_paced_frames(int fd, long long id)
{
    char field[48] = "";
    struct pollfd input = {.fd = fd, .events = POLLIN};
    struct text message = {0};
    bool is_sent = true;
    id_field(field, sizeof field, id);
    for (size_t revision = 2; is_sent && poll(&input, 1, 0) == 0; revision++) {
        usleep(PACE_MICROSECONDS);
        addf(&message, "{\"result\":{" HEADER "%s,\"events\":[{\"kv\":{\"key\":\"cGFjZWQ=\",\"create_revision\":\"2\","
             "\"mod_revision\":\"%zu\",\"version\":\"%lld\",\"value\":\"", revision, field, revision,
             (long long)now_ns());
        add_value(&message, EVENT_VALUE_BYTES);
        addf(&message, "\"}}]}}");
        add(&message, "", 1);
        is_sent = send_text(fd, message.bytes);
        message.len = 0;
    }
    free(message.bytes);
    return is_sent;
}

/* A watch's ID in a request: a number, or text. */
static long long id_in(const char *request)
{
    const char *at = strstr(request, "\"watch_id\":");
    return at == NULL ? 0 : strtoll(at + 11 + (at[11] == '"'), NULL, 10);
}

static bool create(int fd, const char *request, long long *next_id)
{
    char field[48] = "", created[256];
    long long id = id_in(request);
    if (id == 0)
        id = (*next_id)++;
    id_field(field, sizeof field, id);
    snprintf(created, sizeof created, "{\"result\":{" HEADER "%s,\"created\":true}}", (size_t)1, field);
    if (!send_text(fd, created))
        return false;
    if (strstr(request, catchup.mark) != NULL)
        return send_stream(fd, &catchup, id);
    if (strstr(request, single.mark) != NULL)
        return send_stream(fd, &single, id);
    return send_paced_frames(fd, id);
}

static bool obey(int fd, const struct frame *frame, long long *next_id)
{
    char text[256];
    if (frame->opcode == CLOSE)
        return false;
    if (frame->opcode == PING) {
        struct text pong = {0};
        add_frame_head(&pong, PONG, frame->len);
        add(&pong, frame->payload, frame->len);
        bool is_sent = send_all(fd, pong.bytes, pong.len);
        free(pong.bytes);
        return is_sent;
    }
    if (strstr(frame->payload, "\"create_request\"") != NULL)
        return create(fd, frame->payload, next_id);
    if (strstr(frame->payload, "\"cancel_request\"") != NULL) {
        char field[48] = "";
        id_field(field, sizeof field, id_in(frame->payload));
        snprintf(text, sizeof text, "{\"result\":{" HEADER "%s,\"canceled\":true}}", (size_t)1, field);
        return send_text(fd, text);
    }
    if (strstr(frame->payload, "\"progress_request\"") != NULL) {
        snprintf(text, sizeof text, "{\"result\":{" HEADER ",\"watch_id\":\"-1\"}}", (size_t)1);
        return send_text(fd, text);
    }
    return true;
}

static bool accept_upgrade(int fd, const char *head)
{
    static const char NAME[] = "\r\nSec-WebSocket-Key: ", SALT[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const char *key = strcasestr(head, NAME);
    char salted[96], accept[BASE64_ROOM(20)], answer[256];
    uint8_t digest[20];
    if (key == NULL)
        return false;
    int len = snprintf(salted, sizeof salted, "%.24s%s", key + sizeof NAME - 1, SALT);
    sha1((const uint8_t *)salted, (size_t)len, digest);
    base64_encode(digest, sizeof digest, accept);
    len = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
    return send_all(fd, answer, (size_t)len);
}

void serve_websocket(int fd, const char *head)
{
    struct frame *frame = malloc(sizeof *frame);
    long long next_id = 0;
    if (frame == NULL)
        die("malloc");
    if (accept_upgrade(fd, head))
        while (receive_frame(fd, frame) && obey(fd, frame, &next_id))
            ;
    free(frame);
}
