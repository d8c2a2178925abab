/* A watch that is asked: its descriptor in poll(), its waits, and its end, which is told once. */
#include "test.h"
#include <poll.h>

static struct key_room room[2];

static int is_readable(etcdgw_watch_handle *watch, int wait_ms)
{
    struct pollfd ready = {.fd = etcdgw_watch_fd(watch), .events = POLLIN};
    int count = poll(&ready, 1, wait_ms);
    CHECK(count >= 0 && (count == 0 || ready.revents == POLLIN));
    return count;
}

/* The response of a watch that has one to give at once. */
static etcdgw_watch_response *next(etcdgw_watch_handle *watch, int32_t kind)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_response *response = NULL;
    CHECK(is_readable(watch, PATIENCE_MS));
    OK(etcdgw_watch_next(watch, 0, &response, &err));
    CHECK(response->kind == kind);
    CHECK((response->error != NULL) == (kind == ETCDGW_WATCH_ENDED));
    return response;
}

static void check_it_has_ended(etcdgw_watch_handle *watch)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_response *response = NULL;
    for (int i = 0; i < 3; i++) {
        CHECK(is_readable(watch, 0));
        FAILS(ETCDGW_CLOSED, etcdgw_watch_next(watch, -1, &response, &err));
        CHECK(response == NULL);
        FORGET();
    }
}

static void the_descriptor_says_whether_there_is_something(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_bytes key = own_key(&room[0], "readable");
    OK(etcdgw_watch_open(client, key, NULL, &watch, &err));
    CHECK(!is_readable(watch, 0));
    CHECK(etcdgw_watch_next(watch, 0, &response, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    int64_t start = now_ms();
    CHECK(etcdgw_watch_next(watch, 100, &response, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    CHECK(response == NULL && now_ms() - start >= 95);

    int64_t first = put(client, key, "1"), second = put(client, key, "2");
    int64_t resume_revision = 0;
    for (size_t seen = 0; seen < 2; etcdgw_watch_response_free(response)) {
        /* Level-triggered: it says so again until it is fetched. */
        CHECK(is_readable(watch, PATIENCE_MS) && is_readable(watch, 0));
        response = next(watch, ETCDGW_WATCH_EVENTS);
        for (size_t i = 0; i < response->events_len; i++, seen++)
            CHECK(response->events[i].kv->mod_revision == (seen == 0 ? first : second));
        resume_revision = response->resume_revision;
    }
    CHECK(!is_readable(watch, 0) && resume_revision == second + 1);
    etcdgw_watch_free(watch);
}

static void a_whole_transaction_comes_in_one_response(etcdgw_client *client)
{
    enum { KEYS = 50 };
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.prefix = 1;
    OK(etcdgw_watch_open(client, own_key(&room[0], "txn/"), &options, &watch, &err));
    OK(etcdgw_txn_new(client, &txn, &err));
    for (int i = 0; i < KEYS; i++) {
        char name[32];
        snprintf(name, sizeof name, "txn/%02d", i);
        OK(etcdgw_txn_then_put(txn, own_key(&room[1], name), ETCDGW_STR("x"), NULL, &err));
    }
    OK(etcdgw_txn_commit(txn, NULL, NULL, &err));
    etcdgw_watch_response *response = next(watch, ETCDGW_WATCH_EVENTS);
    CHECK(response->events_len == KEYS);
    for (size_t i = 1; i < KEYS; i++)
        CHECK(response->events[i].kv->mod_revision == response->events[0].kv->mod_revision);
    etcdgw_watch_response_free(response);
    etcdgw_txn_free(txn);
    etcdgw_watch_free(watch);
}

static void a_cancelled_watch_ends_once(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    OK(etcdgw_watch_open(client, own_key(&room[0], "cancelled"), NULL, &watch, &err));
    etcdgw_watch_cancel(watch);
    etcdgw_watch_cancel(watch);
    etcdgw_watch_response *response = next(watch, ETCDGW_WATCH_ENDED);
    CHECK(etcdgw_error_status(response->error) == ETCDGW_CLOSED && response->events_len == 0);
    etcdgw_watch_response_free(response);
    check_it_has_ended(watch);
    etcdgw_watch_free(watch);
}

static void a_closed_client_ends_it_once(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch_open(client, own_key(&room[0], "closed"), NULL, &watch, &err));
    etcdgw_client_close(client);
    etcdgw_watch_response *response = next(watch, ETCDGW_WATCH_ENDED);
    CHECK(etcdgw_error_status(response->error) == ETCDGW_CLOSED);
    etcdgw_client_free(client);
    CHECK(etcdgw_error_message(response->error)[0] != '\0');
    etcdgw_watch_response_free(response);
    check_it_has_ended(watch);
    etcdgw_watch_free(watch);
}

/* Compacts this etcd: whoever shares it must not need the past. */
static void a_compacted_start_ends_it(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_get_options past = ETCDGW_GET_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "compacted");
    options.start_revision = past.revision = put(client, key, "1");
    int64_t compacted = put(client, key, "2");
    OK(etcdgw_compact(client, compacted, NULL, &err));

    FAILS(ETCDGW_OUT_OF_RANGE, etcdgw_get(client, key, &past, NULL, &err));
    CHECK(etcdgw_error_reason(err) == ETCDGW_REASON_COMPACTED);
    FORGET();
    FAILS(ETCDGW_COMPACTED, etcdgw_watch_once(client, key, &options, &response, &err));
    CHECK(etcdgw_error_reason(err) == ETCDGW_REASON_COMPACTED);
    FORGET();

    options.no_wait_created = 1;
    OK(etcdgw_watch_open(client, key, &options, &watch, &err));
    response = next(watch, ETCDGW_WATCH_ENDED);
    CHECK(etcdgw_error_status(response->error) == ETCDGW_COMPACTED && response->compact_revision == compacted);
    etcdgw_watch_response_free(response);
    check_it_has_ended(watch);
    etcdgw_watch_free(watch);
}

static void the_longest_limits_are_limits(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "longest");
    options.timeout_ms = INT64_MAX;
    OK(etcdgw_watch_open(client, key, &options, &watch, &err));
    put(client, key, "x");
    OK(etcdgw_watch_next(watch, INT64_MAX, &response, &err));
    etcdgw_watch_response_free(response);
    etcdgw_watch_cancel(watch);
    OK(etcdgw_watch_next(watch, INT64_MIN, &response, &err));
    etcdgw_watch_response_free(response);
    etcdgw_watch_free(watch);
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    the_descriptor_says_whether_there_is_something(client);
    a_whole_transaction_comes_in_one_response(client);
    a_cancelled_watch_ends_once(client);
    a_closed_client_ends_it_once();
    a_compacted_start_ends_it(client);
    the_longest_limits_are_limits(client);
    OK(etcdgw_delete_prefix(client, own_key(&room[0], ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
