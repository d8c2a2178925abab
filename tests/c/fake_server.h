/* A server on a free port of the loopback that behaves as a function says, each connection on a thread of its own. */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

struct fake_server {
    void (*serve)(struct fake_server *, int connection); /* closes nothing; returns when the connection is to end */
    int listener;
    char url[64];
    pthread_t thread;
    struct tally requests; /* those read whole */
    struct tally busy;     /* connections being served */
    int stopping;          /* guarded by busy.mutex */
};

static inline int fake_server_is_stopping(struct fake_server *server)
{
    pthread_mutex_lock(&server->busy.mutex);
    int stopping = server->stopping;
    pthread_mutex_unlock(&server->busy.mutex);
    return stopping;
}

/* Until there is something to read, or the server stops; whether there is. */
static inline int readable(struct fake_server *server, int descriptor)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    while (!fake_server_is_stopping(server))
        if (poll(&ready, 1, 20) > 0)
            return 1;
    return 0;
}

struct fake_connection {
    struct fake_server *server;
    int descriptor;
};

static inline void *fake_server_serve(void *argument)
{
    struct fake_connection connection = *(struct fake_connection *)argument;
    free(argument);
    connection.server->serve(connection.server, connection.descriptor);
    close(connection.descriptor);
    tally_add(&connection.server->busy, -1);
    return NULL;
}

static inline void *fake_server_accept(void *argument)
{
    struct fake_server *server = argument;
    while (readable(server, server->listener)) {
        struct fake_connection *connection = malloc(sizeof *connection);
        CHECK(connection != NULL);
        connection->server = server;
        connection->descriptor = accept(server->listener, NULL, NULL);
        CHECK(connection->descriptor >= 0);
        tally_add(&server->busy, 1);
        pthread_t thread;
        start_thread(&thread, fake_server_serve, connection);
        pthread_detach(thread);
    }
    return NULL;
}

/* Binds a free port of the loopback, listening or not. */
static inline int free_port(char url[64], int listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(descriptor >= 0);
    CHECK(bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(!listening || listen(descriptor, 16) == 0);
    CHECK(getsockname(descriptor, (struct sockaddr *)&address, &length) == 0);
    snprintf(url, 64, "http://127.0.0.1:%u", (unsigned)ntohs(address.sin_port));
    return descriptor;
}

static inline void fake_server_start(struct fake_server *server, void (*serve)(struct fake_server *, int))
{
    memset(server, 0, sizeof *server);
    pthread_mutex_init(&server->requests.mutex, NULL);
    pthread_cond_init(&server->requests.changed, NULL);
    pthread_mutex_init(&server->busy.mutex, NULL);
    pthread_cond_init(&server->busy.changed, NULL);
    server->serve = serve;
    server->listener = free_port(server->url, 1);
    start_thread(&server->thread, fake_server_accept, server);
}

static inline void fake_server_stop(struct fake_server *server)
{
    pthread_mutex_lock(&server->busy.mutex);
    server->stopping = 1;
    pthread_mutex_unlock(&server->busy.mutex);
    pthread_join(server->thread, NULL);
    close(server->listener);
    WAIT_FOR(tally_count(&server->busy) == 0);
}

/* Reads a request with a Content-Length, or without a body; whether one came. Its head is left in `head`. */
static inline int read_request(struct fake_server *server, int connection, char *head, size_t room)
{
    size_t have = 0;
    while (readable(server, connection)) {
        ssize_t more = recv(connection, head + have, room - 1 - have, 0);
        if (more <= 0)
            return 0;
        have += (size_t)more;
        head[have] = '\0';
        const char *end = strstr(head, "\r\n\r\n");
        if (end == NULL)
            continue;
        const char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length == NULL ? 0 : strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
        if (have < (size_t)(end + 4 - head) + body)
            continue;
        tally_add(&server->requests, 1);
        return 1;
    }
    return 0;
}

static inline void send_text(int connection, const char *text)
{
    (void)!send(connection, text, strlen(text), MSG_NOSIGNAL);
}

static inline void send_json(int connection, const char *status, const char *body)
{
    char answer[1024];
    snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             status, strlen(body), body);
    send_text(connection, answer);
}

/* A client that asks no server for its API path: the calls' own requests are the only ones. */
static inline etcdgw_client *client_of_fake(const char *url)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = url;
    options.api_path = "/v3/";
    OK(etcdgw_client_new(&options, &client, &err));
    return client;
}

#endif
