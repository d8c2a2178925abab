/* Servers that never answer, or a byte at a time: every call ends within its limit, every cancel at once. */
#include "fake_server.h"

enum { LIMIT_MS = 400, CANCEL_MS = 100, LEEWAY_MS = 1000 };

static void never_answers(struct fake_server *server, int connection)
{
    char head[4096];
    while (read_request(server, connection, head, sizeof head)) {
    }
}

/* The text once, then its last byte again and again, one a second. */
static void trickle(struct fake_server *server, int connection, const char *text)
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

static void trickles_a_head(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nX-Filler: x");
}

static void trickles_a_body(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{ ");
}

static void trickles_a_stream(struct fake_server *server, int connection)
{
    trickle(server, connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0");
}

static void check_took_the_limit(int64_t start)
{
    int64_t took = now_ms() - start;
    CHECK(took >= LIMIT_MS - 10 && took < LIMIT_MS + LEEWAY_MS);
}

static void a_read_ends_in_time(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    options.timeout_ms = LIMIT_MS;
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_get(client, ETCDGW_STR("k"), &options, &got, &err));
    check_took_the_limit(start);
    CHECK(got == NULL && !etcdgw_error_may_have_applied(err) && etcdgw_error_is_retryable(err));
    FORGET();
}

static void a_write_ends_in_time(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_put_options options = ETCDGW_PUT_OPTIONS_INIT;
    options.timeout_ms = LIMIT_MS;
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_put(client, ETCDGW_STR("k"), ETCDGW_STR("v"), &options, NULL, &err));
    check_took_the_limit(start);
    CHECK(etcdgw_error_may_have_applied(err) && !etcdgw_error_is_retryable(err));
    FORGET();
}

static void a_grant_whose_answer_is_lost_tells_its_id(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    int64_t id = 0;
    etcdgw_lease_grant_options options = ETCDGW_LEASE_GRANT_OPTIONS_INIT;
    options.timeout_ms = LIMIT_MS;
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_lease_grant(client, 10, &options, &id, NULL, &err));
    CHECK(etcdgw_error_may_have_applied(err) && id != 0);
    FORGET();
}

static void a_watch_ends_in_time(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.timeout_ms = LIMIT_MS;
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_watch_open(client, ETCDGW_STR("k"), &options, &watch, &err));
    check_took_the_limit(start);
    CHECK(watch == NULL);
    FORGET();
    start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_watch_once(client, ETCDGW_STR("k"), &options, &response, &err));
    check_took_the_limit(start);
    CHECK(response == NULL);
    FORGET();
}

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
    CHECK(now_ms() - start < CANCEL_MS + LEEWAY_MS);
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
    CHECK(now_ms() - start < CANCEL_MS);
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

/* The look-up of the API path is part of the call. */
static void discovery_counts(struct fake_server *server)
{
    etcdgw_client *client = client_of(server->url);
    a_read_ends_in_time(client);
    etcdgw_client_free(client);
}

static void the_limit_of_the_client_is_the_default(struct fake_server *server)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = server->url;
    options.timeout_ms = LIMIT_MS;
    OK(etcdgw_client_new(&options, &client, &err));
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_get(client, ETCDGW_STR("k"), NULL, NULL, &err));
    check_took_the_limit(start);
    FORGET();
    etcdgw_client_free(client);
}

struct behaviour {
    void (*serve)(struct fake_server *, int);
};

static void *on_a_server(void *argument)
{
    struct behaviour *behaviour = argument;
    struct fake_server server;
    fake_server_start(&server, behaviour->serve);
    etcdgw_client *client = client_of_fake(server.url);
    a_read_ends_in_time(client);
    a_write_ends_in_time(client);
    a_grant_whose_answer_is_lost_tells_its_id(client);
    a_watch_ends_in_time(client);
    a_watch_is_cancelled_while_it_is_made(&server, client);
    a_pull_watch_is_freed_while_it_is_made(&server, client);
    a_token_ends_all_calls_that_hold_it(&server, client);
    a_close_ends_the_calls_of_a_client(&server);
    discovery_counts(&server);
    the_limit_of_the_client_is_the_default(&server);
    etcdgw_client_free(client);
    fake_server_stop(&server);
    return NULL;
}

/* All at once: nearly all of the time is spent waiting. */
int main(void)
{
    static struct behaviour behaviours[] = {{never_answers}, {trickles_a_head}, {trickles_a_body}, {trickles_a_stream}};
    enum { SERVERS = sizeof behaviours / sizeof *behaviours };
    pthread_t threads[SERVERS];
    struct footprint before = footprint();
    for (int i = 0; i < SERVERS; i++)
        start_thread(&threads[i], on_a_server, &behaviours[i]);
    for (int i = 0; i < SERVERS; i++)
        pthread_join(threads[i], NULL);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
