/* What callbacks may rely on: user_data_free exactly once, *out before the first call, blocked signals, free use. */
#include "fake_server.h"

static struct key_room room[2];

struct watcher {
    etcdgw_client *client;
    etcdgw_watch_handle *watch;
    void (*inside)(struct watcher *, const etcdgw_watch_response *);
    struct tally calls, freed, ended;
    etcdgw_status reason; /* of ENDED */
};

static void on_watch(const etcdgw_watch_response *response, void *user_data)
{
    struct watcher *watcher = user_data;
    CHECK(tally_count(&watcher->freed) == 0);
    if (response->kind == ETCDGW_WATCH_ENDED) {
        watcher->reason = etcdgw_error_status(response->error);
        tally_add(&watcher->ended, 1);
    }
    if (watcher->inside != NULL)
        watcher->inside(watcher, response);
    tally_add(&watcher->calls, 1);
}

static void watcher_is_freed(void *user_data) { tally_one(&((struct watcher *)user_data)->freed); }

static struct watcher watcher_of(etcdgw_client *client, void (*inside)(struct watcher *, const etcdgw_watch_response *))
{
    struct watcher made = {client, NULL, inside, TALLY_INIT, TALLY_INIT, TALLY_INIT, ETCDGW_OK};
    return made;
}

static etcdgw_status watch(struct watcher *watcher, etcdgw_bytes key, const etcdgw_watch_options *options,
                           etcdgw_error **err)
{
    return etcdgw_watch(watcher->client, key, options, on_watch, watcher, watcher_is_freed, &watcher->watch, err);
}

static void the_handle_is_there(struct watcher *watcher, const etcdgw_watch_response *response)
{
    (void)response;
    CHECK(watcher->watch != NULL);
}

/* Events that wait for the watch to be made: the first callback comes as early as it can, which is up to 100 ms later
 * (etcd's syncWatchersLoop). */
static void out_is_assigned_before_the_first_callback(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "early");
    options.start_revision = put(client, key, "x");
    for (int i = 0; i < 10; i++) {
        struct watcher watcher = watcher_of(client, the_handle_is_there);
        OK(watch(&watcher, key, &options, &err));
        CHECK(tally_reaches(&watcher.calls, 1));
        etcdgw_watch_cancel(watcher.watch);
        OK(etcdgw_watch_join(watcher.watch, PATIENCE_MS, &err));
        CHECK(tally_count(&watcher.freed) == 1 && tally_count(&watcher.ended) == 0);
        etcdgw_watch_free(watcher.watch);
    }
}

static void every_signal_is_blocked(struct watcher *watcher, const etcdgw_watch_response *response)
{
    (void)watcher, (void)response;
    sigset_t blocked;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0);
    for (int number = 1; number < SIGRTMIN; number++)
        CHECK(number == SIGKILL || number == SIGSTOP || number >= 32 || sigismember(&blocked, number) == 1);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
        CHECK(sigismember(&blocked, number) == 1);
}

static void use_the_client(struct watcher *watcher, const etcdgw_watch_response *response)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_watch_handle *another = NULL;
    etcdgw_bytes key = response->events[0].kv->key;
    OK(etcdgw_get(watcher->client, key, NULL, &got, &err));
    CHECK(got->kvs_len == 1);
    etcdgw_get_response_free(got);
    OK(etcdgw_watch_open(watcher->client, key, NULL, &another, &err));
    etcdgw_watch_free(another);
}

static void cancel_itself(struct watcher *watcher, const etcdgw_watch_response *response)
{
    (void)response;
    etcdgw_watch_cancel(watcher->watch);
}

static void free_itself(struct watcher *watcher, const etcdgw_watch_response *response)
{
    etcdgw_bytes value = response->events[0].kv->value;
    etcdgw_watch_free(watcher->watch);
    watcher->watch = NULL;
    CHECK(same(value, ETCDGW_STR("first")));
}

/* Runs something in the callback of a first event; whether a second event is reported. */
static int sees_a_second_event_after(etcdgw_client *client,
                                     void (*inside)(struct watcher *, const etcdgw_watch_response *))
{
    etcdgw_error *err = NULL;
    struct watcher watcher = watcher_of(client, inside);
    etcdgw_bytes key = own_key(&room[0], "inside");
    OK(watch(&watcher, key, NULL, &err));
    put(client, key, "first");
    CHECK(tally_reaches(&watcher.calls, 1));
    put(client, key, "second");
    int is_over = inside == cancel_itself || inside == free_itself;
    if (!is_over)
        CHECK(tally_reaches(&watcher.calls, 2));
    etcdgw_watch_cancel(watcher.watch);
    CHECK(tally_reaches(&watcher.freed, 1));
    etcdgw_watch_free(watcher.watch);
    CHECK(tally_count(&watcher.freed) == 1 && tally_count(&watcher.ended) == 0);
    return tally_count(&watcher.calls) == 2;
}

/* What user_data_free has run for won't be called again, however much happens to the key. */
static void after_a_cancel_no_callback_starts(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_bytes key = own_key(&room[0], "cancelled");
    for (int i = 0; i < 20; i++) {
        struct watcher watcher = watcher_of(client, NULL);
        OK(watch(&watcher, key, NULL, &err));
        etcdgw_watch_cancel(watcher.watch);
        put(client, key, "x");
        OK(etcdgw_watch_join(watcher.watch, PATIENCE_MS, &err));
        CHECK(tally_count(&watcher.calls) == 0 && tally_count(&watcher.freed) == 1);
        etcdgw_watch_free(watcher.watch);
    }
}

static void a_failed_registration_frees_the_user_data(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    char url[64];
    int port = free_port(url, 0);
    etcdgw_watch_options contradictory = ETCDGW_WATCH_OPTIONS_INIT;
    contradictory.prefix = 1;
    contradictory.range_end = ETCDGW_STR("z");

    struct watcher watcher = watcher_of(client, NULL);
    FAILS(ETCDGW_INVALID_ARGUMENT, watch(&watcher, ETCDGW_STR("k"), &contradictory, &err));
    FORGET();
    CHECK(watcher.watch == NULL && tally_count(&watcher.freed) == 1);

    watcher = watcher_of(NULL, NULL);
    FAILS(ETCDGW_INVALID_ARGUMENT, watch(&watcher, ETCDGW_STR("k"), NULL, &err));
    FORGET();
    CHECK(tally_count(&watcher.freed) == 1);

    watcher = watcher_of(client_of_fake(url), NULL);
    FAILS(ETCDGW_CONNECTION_FAILED, watch(&watcher, ETCDGW_STR("k"), NULL, &err));
    FORGET();
    CHECK(watcher.watch == NULL && tally_count(&watcher.freed) == 1 && tally_count(&watcher.calls) == 0);
    etcdgw_client_free(watcher.client);
    close(port);

    watcher = watcher_of(client, NULL);
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_watch(client, ETCDGW_STR("k"), NULL, NULL, &watcher, watcher_is_freed,
                                                &watcher.watch, &err));
    FORGET();
    CHECK(tally_count(&watcher.freed) == 1);

    watcher = watcher_of(client, NULL);
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_watch(client, ETCDGW_STR("k"), NULL, on_watch, &watcher, watcher_is_freed,
                                                NULL, &err));
    FORGET();
    CHECK(tally_count(&watcher.freed) == 1);
}

static void a_closed_client_ends_its_watches_once(void)
{
    etcdgw_error *err = NULL;
    struct watcher watcher = watcher_of(client_of_etcd(), NULL);
    OK(watch(&watcher, own_key(&room[0], "closed"), NULL, &err));
    etcdgw_client_close(watcher.client);
    CHECK(tally_reaches(&watcher.freed, 1));
    CHECK(tally_count(&watcher.ended) == 1 && tally_count(&watcher.calls) == 1 && watcher.reason == ETCDGW_CLOSED);
    OK(etcdgw_watch_join(watcher.watch, PATIENCE_MS, &err));
    etcdgw_watch_free(watcher.watch);
    etcdgw_client_free(watcher.client);
    CHECK(tally_count(&watcher.freed) == 1);
}

static void a_callback_watch_has_nothing_to_pull(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_response *response = NULL;
    struct watcher watcher = watcher_of(client, NULL);
    OK(watch(&watcher, own_key(&room[0], "pulled"), NULL, &err));
    CHECK(etcdgw_watch_fd(watcher.watch) == -1);
    FAILS(ETCDGW_FAILED_PRECONDITION, etcdgw_watch_next(watcher.watch, 0, &response, &err));
    FORGET();
    etcdgw_watch_free(watcher.watch);
    CHECK(tally_reaches(&watcher.freed, 1));
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    out_is_assigned_before_the_first_callback(client);
    CHECK(sees_a_second_event_after(client, every_signal_is_blocked));
    CHECK(sees_a_second_event_after(client, use_the_client));
    CHECK(!sees_a_second_event_after(client, cancel_itself));
    CHECK(!sees_a_second_event_after(client, free_itself));
    after_a_cancel_no_callback_starts(client);
    a_failed_registration_frees_the_user_data(client);
    a_closed_client_ends_its_watches_once();
    a_callback_watch_has_nothing_to_pull(client);
    OK(etcdgw_delete_prefix(client, own_key(&room[0], ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
