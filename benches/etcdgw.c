/* The same works through libetcdgw's C interface. */
#include "client.h"

#include <etcdgw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(etcdgw_status status, etcdgw_error *error)
{
    if (status != ETCDGW_OK)
        die("%s: %s", etcdgw_status_name(status), etcdgw_error_message(error));
}

/* The library's handles are shared by threads as they are. The first has HTTP streams only; what the second has is the
 * library's choice, which is a WebSocket on the canned server. */
struct client {
    etcdgw_client *handle, *over_websocket;
};

static etcdgw_client *handle_of(struct client *client)
{
    return client->handle;
}

static etcdgw_client *new_handle(const char *endpoint, int32_t websocket)
{
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    etcdgw_client *handle;
    etcdgw_error *error;
    options.endpoints = endpoint;
    options.websocket = websocket;
    check(etcdgw_client_new(&options, &handle, &error), error);
    return handle;
}

struct client *client_open(const char *host, const char *port)
{
    char endpoint[256];
    struct client *client = malloc(sizeof *client);
    if (client == NULL)
        die("no memory");
    snprintf(endpoint, sizeof endpoint, "http://%s:%s", host, port);
    client->handle = new_handle(endpoint, ETCDGW_WEBSOCKET_NEVER);
    client->over_websocket = new_handle(endpoint, ETCDGW_WEBSOCKET_AUTO);
    return client;
}

struct client *client_for_thread(struct client *client)
{
    return client;
}

void client_close(struct client *client)
{
    etcdgw_client_free(client->handle);
    etcdgw_client_free(client->over_websocket);
    free(client);
}

static uint64_t sum_of(const etcdgw_kv *kv)
{
    return sum_of_kv(kv->key.data, kv->key.len, kv->value.data, kv->value.len, kv->mod_revision);
}

uint64_t client_put(struct client *client, const char *key, const uint8_t *value, size_t value_len)
{
    etcdgw_put_response *response;
    etcdgw_error *error;
    etcdgw_bytes bytes = {value, value_len};
    check(etcdgw_put(handle_of(client), etcdgw_str(key), bytes, NULL, &response, &error), error);
    uint64_t sum = (uint64_t)response->header.revision;
    etcdgw_put_response_free(response);
    return sum;
}

static uint64_t sum_and_free(etcdgw_get_response *response)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < response->kvs_len; i++)
        sum += sum_of(&response->kvs[i]);
    etcdgw_get_response_free(response);
    return sum;
}

uint64_t client_get(struct client *client, const char *key)
{
    etcdgw_get_response *response;
    etcdgw_error *error;
    check(etcdgw_get(handle_of(client), etcdgw_str(key), NULL, &response, &error), error);
    return sum_and_free(response);
}

uint64_t client_range(struct client *client, const char *prefix)
{
    etcdgw_get_response *response;
    etcdgw_error *error;
    check(etcdgw_get_prefix(handle_of(client), etcdgw_str(prefix), NULL, &response, &error), error);
    return sum_and_free(response);
}

/* A watch's log is the delivery thread's until `is_complete`. */
struct delivery {
    struct watch_log *log;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int is_complete;
};

static void take_events(const etcdgw_watch_response *response, void *user_data)
{
    struct delivery *delivery = user_data;
    struct watch_log *log = delivery->log;
    if (response->kind == ETCDGW_WATCH_ENDED)
        die("the watch ended: %s", etcdgw_error_message(response->error));
    if (log->seen == log->wanted)
        return;
    for (size_t i = 0; i < response->events_len; i++) {
        const etcdgw_kv *kv = response->events[i].kv;
        watch_log_event(log, sum_of(kv), kv->version);
    }
    if (log->seen == log->wanted) {
        pthread_mutex_lock(&delivery->mutex);
        delivery->is_complete = 1;
        pthread_cond_signal(&delivery->changed);
        pthread_mutex_unlock(&delivery->mutex);
    }
}

void client_watch(struct client *client, enum transport transport, const char *prefix, int64_t start_revision,
                  size_t messages, struct watch_log *log)
{
    (void)messages;
    struct delivery delivery = {log, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_watch_handle *watch;
    etcdgw_error *error;
    options.start_revision = start_revision;
    etcdgw_bytes key = etcdgw_str(prefix);
    etcdgw_client *handle = transport == WEBSOCKET ? client->over_websocket : client->handle;
    check(etcdgw_watch_prefix(handle, key, &options, take_events, &delivery, NULL, &watch, &error), error);
    pthread_mutex_lock(&delivery.mutex);
    while (!delivery.is_complete)
        pthread_cond_wait(&delivery.changed, &delivery.mutex);
    pthread_mutex_unlock(&delivery.mutex);
    etcdgw_watch_cancel(watch);
    check(etcdgw_watch_join(watch, -1, &error), error);
    etcdgw_watch_free(watch);
}
