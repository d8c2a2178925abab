/* However a server keeps a call waiting, the call ends within its limit, and says whether it may have had an effect. */
#include "slow_servers.h"

enum { LIMIT_MS = 400, LEEWAY_MS = 1000 };

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

static void connecting_ends_in_time(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_put_options options = ETCDGW_PUT_OPTIONS_INIT;
    options.timeout_ms = LIMIT_MS;
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_put(client, ETCDGW_STR("k"), ETCDGW_STR("v"), &options, NULL, &err));
    check_took_the_limit(start);
    CHECK(!etcdgw_error_may_have_applied(err) && etcdgw_error_is_retryable(err));
    FORGET();
}

static void every_call_ends_in_time(struct fake_server *server, etcdgw_client *client)
{
    a_read_ends_in_time(client);
    a_write_ends_in_time(client);
    a_grant_whose_answer_is_lost_tells_its_id(client);
    a_watch_ends_in_time(client);
    discovery_counts(server);
    the_limit_of_the_client_is_the_default(server);
}

int main(void)
{
    struct footprint before = footprint();
    on_slow_servers(every_call_ends_in_time);
    on_full_port(connecting_ends_in_time);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
