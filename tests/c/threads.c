/* One client, eight threads, each putting, getting and watching at the same time. */
#include "test.h"

enum { THREADS = 8, ROUNDS = 100 };

struct worker {
    etcdgw_client *client;
    int number;
    struct tally events;
    int64_t last_revision;
};

static void on_watch(const etcdgw_watch_response *response, void *user_data)
{
    struct worker *worker = user_data;
    CHECK(response->kind == ETCDGW_WATCH_EVENTS);
    for (size_t i = 0; i < response->events_len; i++) {
        CHECK(response->events[i].kv->mod_revision > worker->last_revision);
        worker->last_revision = response->events[i].kv->mod_revision;
    }
    tally_add(&worker->events, (int)response->events_len);
}

static void put_and_get(etcdgw_client *client, etcdgw_bytes key, int round)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    char value[32];
    snprintf(value, sizeof value, "%d", round);
    int64_t revision = put(client, key, value);
    OK(etcdgw_get(client, key, NULL, &got, &err));
    CHECK(got->kvs_len == 1 && same(got->kvs[0].value, etcdgw_str(value)) && got->kvs[0].mod_revision == revision);
    etcdgw_get_response_free(got);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct key_room room;
    char name[32];
    snprintf(name, sizeof name, "thread %d", worker->number);
    etcdgw_bytes key = own_key(&room, name);

    OK(etcdgw_watch(worker->client, key, NULL, on_watch, worker, NULL, &watch, &err));
    for (int round = 0; round < ROUNDS; round++)
        put_and_get(worker->client, key, round);
    CHECK(tally_reaches(&worker->events, ROUNDS));
    etcdgw_watch_cancel(watch);
    OK(etcdgw_watch_join(watch, PATIENCE_MS, &err));
    etcdgw_watch_free(watch);
    CHECK(tally_count(&worker->events) == ROUNDS);
    return NULL;
}

/* A pull watch may be waited at in several threads; each response goes to one of them. */
static void *pull(void *argument)
{
    etcdgw_watch_handle *watch = argument;
    etcdgw_error *err = NULL;
    etcdgw_watch_response *response = NULL;
    uintptr_t seen = 0;
    etcdgw_status status;
    while ((status = etcdgw_watch_next(watch, -1, &response, &err)) == ETCDGW_OK) {
        int ended = response->kind == ETCDGW_WATCH_ENDED;
        seen += response->events_len;
        etcdgw_watch_response_free(response);
        if (ended)
            return (void *)seen;
    }
    CHECK(status == ETCDGW_CLOSED);
    FORGET();
    return (void *)seen;
}

static void a_close_ends_waits_in_several_threads(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    pthread_t threads[2];
    void *seen[2];
    struct key_room room;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch_open(client, own_key(&room, "pulled"), NULL, &watch, &err));
    for (int i = 0; i < 2; i++)
        start_thread(&threads[i], pull, watch);
    put(client, etcdgw_str(room.text), "x");
    sleep_ms(50); /* not needed for the claim; lets the threads get into their waits */
    etcdgw_client_close(client);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], &seen[i]);
    CHECK((uintptr_t)seen[0] + (uintptr_t)seen[1] <= 1);
    FAILS(ETCDGW_CLOSED, etcdgw_put(client, ETCDGW_STR("k"), ETCDGW_STR("v"), NULL, NULL, &err));
    FORGET();
    etcdgw_watch_free(watch);
    etcdgw_client_free(client);
}

static void *put_for_ever(void *client)
{
    struct key_room room;
    etcdgw_bytes key = own_key(&room, "cancelled");
    for (;;) {
        put(client, key, "x");
        pthread_testcancel();
    }
    return NULL;
}

static void *wait_in_vain(void *watch)
{
    etcdgw_error *err = NULL;
    CHECK(etcdgw_watch_next(watch, 200, NULL, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    pthread_testcancel();
    return NULL;
}

static void cancel_inside(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    void *result;
    start_thread(&thread, run, argument);
    sleep_ms(50); /* enough to be inside a call */
    CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
    CHECK(result == PTHREAD_CANCELED);
}

/* Cancelled inside a call, at its first system call that waits, it would take the process with it. */
static void a_thread_is_cancelled_after_its_call_and_not_inside(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct key_room room;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch_open(client, own_key(&room, "never"), NULL, &watch, &err));
    for (int i = 0; i < 5; i++) {
        cancel_inside(put_for_ever, client);
        cancel_inside(wait_in_vain, watch);
    }
    put(client, own_key(&room, "cancelled"), "a client that others were cancelled at");
    etcdgw_watch_free(watch);
    etcdgw_client_free(client);
}

int main(void)
{
    static struct worker workers[THREADS];
    etcdgw_error *err = NULL;
    pthread_t threads[THREADS];
    struct key_room room;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){client, i, TALLY_INIT, 0};
        start_thread(&threads[i], work, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    a_close_ends_waits_in_several_threads();
    a_thread_is_cancelled_after_its_call_and_not_inside();
    OK(etcdgw_delete_prefix(client, own_key(&room, ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
