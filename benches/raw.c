/* Usage: raw HOST PORT. What a put and its event, and a watch's begin, take over plain sockets: next to nothing is encoded
 * while it is measured, and of an answer only its end is looked for. Obeys lines on stdin as watches.c does:
 *
 *   latency COUNT http|websocket     the median time from just before a put to its event, one after another
 *   create COUNT                     how long so many watches take over a WebSocket, each created when the one before is
 *                                    confirmed */
#define _GNU_SOURCE
#include "client.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *host, *port;

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int connect_to_server(void)
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

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            die("send failed");
        bytes += sent;
        len -= (size_t)sent;
    }
}

/* Receives until this comes. Answers here are far smaller than the room, and nothing follows them unasked. */
static void receive_until(int fd, const char *end)
{
    char input[16 << 10];
    size_t have = 0;
    while (memmem(input, have, end, strlen(end)) == NULL) {
        ssize_t count = recv(fd, input + have, sizeof input - have, 0);
        if (count <= 0)
            die("the server closed the connection, or its answer is another one: %.*s", (int)have, input);
        have += (size_t)count;
    }
}

/* The headers are the library's, since what they ask for is the server's work: to hold a time limit, and to have a leader. */
static void post(int fd, const char *path, const char *limit, const char *body)
{
    char request[1024];
    int len = snprintf(request, sizeof request,
                       "POST %s HTTP/1.1\r\nHost: %s:%s\r\nUser-Agent: libetcdgw/0.1.0\r\nContent-Type: application/json\r\n"
                       "Grpc-Metadata-hasleader: true\r\n%sContent-Length: %zu\r\n\r\n%s",
                       path, host, port, limit, strlen(body), body);
    send_all(fd, request, (size_t)len);
}

/* The key is "latency". */
static const char CREATE[] = "{\"create_request\":{\"key\":\"bGF0ZW5jeQ==\"}}";
static const char PUT[] = "{\"key\":\"bGF0ZW5jeQ==\",\"value\":\"c2l4dHktZm91ciBieXRlcyBzaXh0eS1mb3VyIGJ5dGVzIHNpeHR5LWZv"
                          "dXIgYnl0ZXMgc2l4dHktZm91ciBieXQ=\"}";

static int watch_over_http(void)
{
    int fd = connect_to_server();
    post(fd, "/v3/watch", "", CREATE);
    receive_until(fd, "\"created\":true}}\n");
    return fd;
}

/* One frame with a mask of zeros, which leaves it as it is. */
static void send_text(int fd, const char *text, size_t len)
{
    char frame[512] = {(char)0x81};
    size_t head = 6;
    if (len < 126) {
        frame[1] = (char)(0x80 | len);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(len >> 8);
        frame[3] = (char)len;
        head = 8;
    }
    memcpy(frame + head, text, len);
    send_all(fd, frame, head + len);
}

static int websocket(void)
{
    char request[512];
    int fd = connect_to_server();
    int len = snprintf(request, sizeof request,
                       "GET /v3/watch HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\r\n", host, port);
    send_all(fd, request, (size_t)len);
    receive_until(fd, "\r\n\r\n");
    return fd;
}

static int watch_over_websocket(void)
{
    int fd = websocket();
    send_text(fd, CREATE, sizeof CREATE - 1);
    receive_until(fd, "\"created\":true}}");
    return fd;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void latency(size_t count, int watch)
{
    int put = connect_to_server();
    int64_t *times = calloc(count + 1, sizeof *times);
    for (size_t i = 0; i < count; i++) {
        int64_t started = now_ns();
        post(put, "/v3/kv/put", "Grpc-Timeout: 10099m\r\n", PUT);
        receive_until(watch, "}}]}}");
        times[i] = now_ns() - started;
        receive_until(put, "}}");
    }
    qsort(times, count, sizeof *times, compare);
    printf("%lld 0\n", (long long)times[count / 2]);
    fflush(stdout);
    free(times);
    close(put);
    close(watch);
}

static void create(size_t count)
{
    int watch = websocket();
    int64_t started = now_ns();
    for (size_t i = 1; i <= count; i++) {
        char text[256];
        int len = snprintf(text, sizeof text, "{\"create_request\":{\"key\":\"bGF0ZW5jeQ==\",\"start_revision\":\"0\","
                           "\"progress_notify\":true,\"watch_id\":\"%zu\",\"fragment\":true}}", i);
        send_text(watch, text, (size_t)len);
        receive_until(watch, "\"created\":true}}");
    }
    printf("%lld 0\n", (long long)(now_ns() - started));
    fflush(stdout);
    close(watch);
}

int main(int argc, char **argv)
{
    char line[256];
    long long count;
    if (argc != 3)
        die("usage: %s HOST PORT", argv[0]);
    host = argv[1];
    port = argv[2];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "create %lld", &count) == 1)
            create((size_t)count);
        else if (sscanf(line, "latency %lld", &count) == 1)
            latency((size_t)count, strstr(line, " websocket") != NULL ? watch_over_websocket() : watch_over_http());
        else
            die("not understood: %s", line);
    }
}
