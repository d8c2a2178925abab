/*
 * What etcd offers, once through: keys, a prefix, a transaction, a lease, a watch.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs etcdgw) -pthread -o quickstart
 *   ./quickstart [http://127.0.0.1:2379]
 */
#define _POSIX_C_SOURCE 200809L
#include <etcdgw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Keys and values are bytes with a length: no NUL at their end. */
#define TEXT(bytes) (int)(bytes).len, (const char *)(bytes).data

/* Says what went wrong, if something did. `err` is a pointer to the pointer because it is set by the call before. */
static int failed(const char *doing, etcdgw_status status, etcdgw_error **err)
{
    if (status == ETCDGW_OK)
        return 0;
    fprintf(stderr, "%s failed: %s: %s\n", doing, etcdgw_status_name(status), etcdgw_error_message(*err));
    etcdgw_error_free(*err);
    *err = NULL;
    return 1;
}

static int unexpected(const char *what)
{
    fprintf(stderr, "unexpected: %s\n", what);
    return 1;
}

static int put_and_get(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;

    /* The last NULLs but one: no options, and no interest in the response. */
    if (failed("put", etcdgw_put(client, ETCDGW_STR("quickstart/name"), ETCDGW_STR("etcd"), NULL, NULL, &err), &err))
        return 1;
    if (failed("get", etcdgw_get(client, ETCDGW_STR("quickstart/name"), NULL, &got, &err), &err))
        return 1;

    /* A key that does not exist is no error: kvs_len is 0 then. */
    int wrong = got->kvs_len != 1;
    if (!wrong)
        printf("get      %.*s = %.*s, at revision %" PRId64 "\n", TEXT(got->kvs[0].key), TEXT(got->kvs[0].value),
               got->header.revision);
    etcdgw_get_response_free(got);
    return wrong ? unexpected("the key is not there") : 0;
}

static int prefix(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    const char *keys[] = {"quickstart/fruit/apple", "quickstart/fruit/pear"};

    for (size_t i = 0; i < 2; i++)
        if (failed("put", etcdgw_put(client, etcdgw_str(keys[i]), ETCDGW_STR("ripe"), NULL, NULL, &err), &err))
            return 1;
    if (failed("get_prefix", etcdgw_get_prefix(client, ETCDGW_STR("quickstart/fruit/"), NULL, &got, &err), &err))
        return 1;

    size_t found = got->kvs_len;
    for (size_t i = 0; i < found; i++)
        printf("prefix   %.*s = %.*s\n", TEXT(got->kvs[i].key), TEXT(got->kvs[i].value));
    etcdgw_get_response_free(got);
    return found == 2 ? 0 : unexpected("not the two fruits");
}

/* If the apple is still ripe, it is eaten and the pear is gone, both or none. */
static int transaction(etcdgw_client *client)
{
    const etcdgw_bytes apple = ETCDGW_STR_INIT("quickstart/fruit/apple"), one_key = {NULL, 0};
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *done = NULL;

    int failure = failed("txn_new", etcdgw_txn_new(client, &txn, &err), &err)
        || failed("if", etcdgw_txn_if_value(txn, apple, one_key, ETCDGW_EQUAL, ETCDGW_STR("ripe"), &err), &err)
        || failed("then put", etcdgw_txn_then_put(txn, apple, ETCDGW_STR("eaten"), NULL, &err), &err)
        || failed("then delete", etcdgw_txn_then_delete(txn, ETCDGW_STR("quickstart/fruit/pear"), NULL, &err), &err)
        || failed("commit", etcdgw_txn_commit(txn, NULL, &done, &err), &err);
    if (!failure) {
        printf("txn      %s, %zu operations\n", done->succeeded ? "succeeded" : "not done", done->results_len);
        failure = done->succeeded ? 0 : unexpected("the apple was not ripe");
    }
    etcdgw_txn_response_free(done); /* every _free takes NULL */
    etcdgw_txn_free(txn);
    return failure;
}

/* A key with a lease goes when its lease does: at its expiry, or when it is revoked as here. */
static int lease(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_put_options with_lease = ETCDGW_PUT_OPTIONS_INIT;
    int64_t ttl_s = 0;
    const etcdgw_bytes key = ETCDGW_STR_INIT("quickstart/session");

    if (failed("grant", etcdgw_lease_grant(client, 30, NULL, &with_lease.lease, &ttl_s, &err), &err)
        || failed("put", etcdgw_put(client, key, ETCDGW_STR("me"), &with_lease, NULL, &err), &err)
        || failed("revoke", etcdgw_lease_revoke(client, with_lease.lease, NULL, &err), &err)
        || failed("get", etcdgw_get(client, key, NULL, &got, &err), &err))
        return 1;
    printf("lease    %" PRIx64 " of %" PRId64 " s revoked, its key is %s\n", (uint64_t)with_lease.lease, ttl_s,
           got->kvs_len == 0 ? "gone" : "still there");
    size_t left = got->kvs_len;
    etcdgw_get_response_free(got);
    return left == 0 ? 0 : unexpected("a key outlived its lease");
}

struct counter {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int puts, deletes;
};

/* Runs on a thread of the library; the response is valid during this call only. */
static void on_watch(const etcdgw_watch_response *response, void *user_data)
{
    struct counter *counter = user_data;
    if (response->kind == ETCDGW_WATCH_ENDED)
        fprintf(stderr, "the watch ended: %s\n", etcdgw_error_message(response->error));

    pthread_mutex_lock(&counter->mutex);
    for (size_t i = 0; i < response->events_len; i++) {
        const etcdgw_watch_event *event = &response->events[i];
        int is_put = event->type == ETCDGW_EVENT_PUT;
        printf("watch    %s %.*s\n", is_put ? "put" : "delete", TEXT(event->kv->key));
        *(is_put ? &counter->puts : &counter->deletes) += 1;
    }
    pthread_cond_signal(&counter->changed);
    pthread_mutex_unlock(&counter->mutex);
}

static int wait_for_both(struct counter *counter)
{
    struct timespec until;
    int timed_out = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&counter->mutex);
    while (!timed_out && (counter->puts < 1 || counter->deletes < 1))
        timed_out = pthread_cond_timedwait(&counter->changed, &counter->mutex, &until);
    pthread_mutex_unlock(&counter->mutex);
    return timed_out ? unexpected("no events within 10 s") : 0;
}

static int watch(etcdgw_client *client)
{
    struct counter counter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const etcdgw_bytes key = ETCDGW_STR_INIT("quickstart/watched/door");
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;

    /* Once this has returned, the watch sees every change that is made. */
    if (failed("watch", etcdgw_watch_prefix(client, ETCDGW_STR("quickstart/watched/"), NULL, on_watch, &counter, NULL,
                                            &watch, &err), &err))
        return 1;
    int failure = failed("put", etcdgw_put(client, key, ETCDGW_STR("open"), NULL, NULL, &err), &err)
        || failed("delete", etcdgw_delete(client, key, NULL, NULL, &err), &err)
        || wait_for_both(&counter);

    /* A callback may still be running after the cancel; `counter` must live until the join has returned. */
    etcdgw_watch_cancel(watch);
    failure |= failed("join", etcdgw_watch_join(watch, -1, &err), &err);
    etcdgw_watch_free(watch);
    if (!failure)
        printf("watch    cancelled\n");
    return failure;
}

int main(int argc, char **argv)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;

    /* NULL stands for http://127.0.0.1:2379. */
    options.endpoints = argc > 1 ? argv[1] : getenv("ETCDGW_ENDPOINTS");
    if (failed("client", etcdgw_client_new(&options, &client, &err), &err))
        return EXIT_FAILURE;

    int failure = put_and_get(client) || prefix(client) || transaction(client) || lease(client) || watch(client);
    failure |= failed("clean-up", etcdgw_delete_prefix(client, ETCDGW_STR("quickstart/"), NULL, NULL, &err), &err);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
