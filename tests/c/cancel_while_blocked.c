/* Whatever a call or a watch waits for, what ends it ends it at once: a token, a cancel, a free, a close. */
#include "slow_servers.h"

/* A free waits for a thread of the library to end, which on a busy machine has to get its turn first. */
enum { CANCEL_MS = 100, FREE_MS = 1000 };

static void never_called(const etcdgw_watch_response *response, void *user_data)
{
    (void)user_data;
    CHECK(response == NULL);
}

/* The watch is being made, as far as it gets, while it is cancelled. */
static void a_watch_is_cancelled_while_it_is_made(struct fake_server *server, etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct tally freed = TALLY_INIT;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.no_wait_created = 1;
    int requests = tally_count(&server->requests);
    OK(etcdgw_watch(client, ETCDGW_STR("k"), &options, never_called, &freed, tally_one, &watch, &err));
    CHECK(tally_reaches(&server->requests, requests + 1));
    int64_t start = now_ms();
    etcdgw_watch_cancel(watch);
    CHECK(now_ms() - start < CANCEL_MS);
    CHECK(tally_reaches(&freed, 1));
    etcdgw_watch_free(watch);
}

static void a_pull_watch_is_freed_while_it_is_made(struct fake_server *server, etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.no_wait_created = 1;
    int requests = tally_count(&server->requests);
    OK(etcdgw_watch_open(client, ETCDGW_STR("k"), &options, &watch, &err));
    CHECK(tally_reaches(&server->requests, requests + 1));
    CHECK(etcdgw_watch_next(watch, 50, &response, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    int64_t start = now_ms();
    etcdgw_watch_free(watch);
    CHECK(now_ms() - start < FREE_MS);
}

/* Blocked calls, each ended from outside. */
struct blocked_call {
    etcdgw_client *client;
    etcdgw_cancel *cancel;
    etcdgw_status expected;
    int64_t ended_at;
};

static void *block(void *argument)
{
    struct blocked_call *call = argument;
    etcdgw_error *err = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    options.timeout_ms = -1;
    options.cancel = call->cancel;
    FAILS(call->expected, etcdgw_get(call->client, ETCDGW_STR("k"), &options, NULL, &err));
    call->ended_at = now_ms();
    FORGET();
    return NULL;
}

static void a_token_ends_all_calls_that_hold_it(struct fake_server *server, etcdgw_client *client)
{
    enum { CALLS = 4 };
    etcdgw_error *err = NULL;
    etcdgw_cancel *cancel = NULL;
    struct blocked_call calls[CALLS];
    pthread_t threads[CALLS];
    OK(etcdgw_cancel_new(&cancel, &err));
    int requests = tally_count(&server->requests);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (struct blocked_call){client, cancel, ETCDGW_CANCELLED, 0};
        start_thread(&threads[i], block, &calls[i]);
    }
    CHECK(tally_reaches(&server->requests, requests + CALLS));
    int64_t start = now_ms();
    etcdgw_cancel_trigger(cancel);
    for (int i = 0; i < CALLS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(calls[i].ended_at - start <= CANCEL_MS);
    }
    etcdgw_cancel_free(cancel);
}

static void a_close_ends_the_calls_of_a_client(struct fake_server *server)
{
    pthread_t thread;
    struct blocked_call call = {client_of_fake(server->url), NULL, ETCDGW_CLOSED, 0};
    int requests = tally_count(&server->requests);
    start_thread(&thread, block, &call);
    CHECK(tally_reaches(&server->requests, requests + 1));
    int64_t start = now_ms();
    etcdgw_client_close(call.client);
    pthread_join(thread, NULL);
    CHECK(call.ended_at - start <= CANCEL_MS);
    etcdgw_client_free(call.client);
}

static void connecting_is_cancelled(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct tally freed = TALLY_INIT;
    pthread_t thread;
    struct blocked_call call = {client, NULL, ETCDGW_CANCELLED, 0};
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.no_wait_created = 1;
    OK(etcdgw_cancel_new(&call.cancel, &err));
    start_thread(&thread, block, &call);
    OK(etcdgw_watch(client, ETCDGW_STR("k"), &options, never_called, &freed, tally_one, &watch, &err));
    sleep_ms(50); /* nothing tells that they are connecting */
    int64_t start = now_ms();
    etcdgw_cancel_trigger(call.cancel);
    pthread_join(thread, NULL);
    CHECK(call.ended_at - start <= CANCEL_MS);
    start = now_ms();
    etcdgw_watch_free(watch);
    CHECK(now_ms() - start < FREE_MS);
    CHECK(tally_reaches(&freed, 1));
    etcdgw_cancel_free(call.cancel);
}

static void every_wait_is_ended(struct fake_server *server, etcdgw_client *client)
{
    a_watch_is_cancelled_while_it_is_made(server, client);
    a_pull_watch_is_freed_while_it_is_made(server, client);
    a_token_ends_all_calls_that_hold_it(server, client);
    a_close_ends_the_calls_of_a_client(server);
}

int main(void)
{
    struct footprint before = footprint();
    on_slow_servers(every_wait_is_ended);
    on_full_port(connecting_is_cancelled);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
