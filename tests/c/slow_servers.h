/* Servers that are there and don't serve: that never answer, that answer a byte a second, that accept no connection. */
#ifndef SLOW_SERVERS_H
#define SLOW_SERVERS_H

#include "fake_server.h"

static inline void never_answers(struct fake_server *server, int connection)
{
    char head[4096];
    while (read_request(server, connection, head, sizeof head)) {
    }
}

/* The text once, then its last byte again and again, one a second. */
static inline void trickle(struct fake_server *server, int connection, const char *text)
{
    char head[4096];
    if (!read_request(server, connection, head, sizeof head))
        return;
    send_text(connection, text);
    while (!fake_server_is_stopping(server)) {
        send_text(connection, text + strlen(text) - 1);
        for (int i = 0; i < 50 && !fake_server_is_stopping(server); i++)
            sleep_ms(20);
    }
}

static inline void trickles_a_head(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nX-Filler: x");
}

static inline void trickles_a_body(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{ ");
}

static inline void trickles_a_stream(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0");
}

struct slow_server_test {
    void (*serve)(struct fake_server *, int);
    void (*test)(struct fake_server *, etcdgw_client *);
};

static inline void *on_slow_server(void *argument)
{
    struct slow_server_test *run = argument;
    struct fake_server server;
    fake_server_start(&server, run->serve);
    etcdgw_client *client = client_of_fake(server.url);
    run->test(&server, client);
    etcdgw_client_free(client);
    fake_server_stop(&server);
    return NULL;
}

/* Runs a test on each of them, all at once: nearly all of the time is spent waiting. */
static inline void on_slow_servers(void (*test)(struct fake_server *, etcdgw_client *))
{
    struct slow_server_test runs[] = {
        {never_answers, test}, {trickles_a_head, test}, {trickles_a_body, test}, {trickles_a_stream, test}};
    enum { SERVERS = sizeof runs / sizeof *runs };
    pthread_t threads[SERVERS];
    for (int i = 0; i < SERVERS; i++)
        start_thread(&threads[i], on_slow_server, &runs[i]);
    for (int i = 0; i < SERVERS; i++)
        pthread_join(threads[i], NULL);
}

/* A port whose queue of connections is full: connecting to it takes as long as one waits. */
static inline int full_port(char url[64], int fillers[4])
{
    int listener = free_port(url, 0);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    CHECK(listen(listener, 0) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(fillers[i] >= 0);
        (void)connect(fillers[i], (struct sockaddr *)&address, length);
    }
    struct pollfd last = {.fd = fillers[3], .events = POLLOUT};
    CHECK(poll(&last, 1, 50) == 0);
    return listener;
}

static inline void on_full_port(void (*test)(etcdgw_client *))
{
    char url[64];
    int fillers[4], listener = full_port(url, fillers);
    etcdgw_client *client = client_of_fake(url);
    test(client);
    etcdgw_client_free(client);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listener);
}

#endif
