/* A handle keeps what it needs: client, watches, transactions and responses are freed in any order, anywhere. */
#include "test.h"

static struct key_room room[2];

static void count_events(const etcdgw_watch_response *response, void *tally)
{
    CHECK(response->kind == ETCDGW_WATCH_EVENTS);
    tally_add(tally, (int)response->events_len);
}

static void a_watch_outlives_its_client(etcdgw_client *writer)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *called = NULL, *pulled = NULL;
    etcdgw_watch_response *response = NULL;
    struct tally events = TALLY_INIT;
    etcdgw_bytes key = own_key(&room[0], "outlives");
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch(client, key, NULL, count_events, &events, NULL, &called, &err));
    OK(etcdgw_watch_open(client, key, NULL, &pulled, &err));
    etcdgw_client_free(client);

    put(writer, key, "x");
    CHECK(tally_reaches(&events, 1));
    OK(etcdgw_watch_next(pulled, PATIENCE_MS, &response, &err));
    etcdgw_watch_free(pulled);
    CHECK(response->kind == ETCDGW_WATCH_EVENTS && same(response->events[0].kv->key, key));
    etcdgw_watch_response_free(response);
    etcdgw_watch_cancel(called);
    OK(etcdgw_watch_join(called, PATIENCE_MS, &err));
    etcdgw_watch_free(called);
}

static void responses_outlive_everything(void)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_bytes key = own_key(&room[0], "response");
    etcdgw_client *client = client_of_etcd();
    put(client, key, "kept");
    OK(etcdgw_get(client, key, NULL, &got, &err));
    OK(etcdgw_txn_new(client, &txn, &err));
    OK(etcdgw_txn_then_get(txn, key, NULL, &err));
    etcdgw_client_free(client);
    etcdgw_txn_free(txn);
    CHECK(same(got->kvs[0].value, ETCDGW_STR("kept")));
    etcdgw_get_response_free(got);
}

/* A callback's user data, with the handles that it frees. */
struct owner {
    etcdgw_client *client;
    etcdgw_watch_handle *watch;
    int client_first;
    struct tally freed;
};

static void free_both(const etcdgw_watch_response *response, void *user_data)
{
    struct owner *owner = user_data;
    CHECK(response->events_len == 1 && owner->watch != NULL);
    if (owner->client_first)
        etcdgw_client_free(owner->client);
    etcdgw_watch_free(owner->watch);
    if (!owner->client_first)
        etcdgw_client_free(owner->client);
    /* The response is valid until the callback returns, whatever was freed. */
    CHECK(same(response->events[0].kv->value, ETCDGW_STR("free me")));
}

static void owner_is_freed(void *user_data) { tally_one(&((struct owner *)user_data)->freed); }

static void a_callback_frees_client_and_watch(etcdgw_client *writer, int client_first)
{
    etcdgw_error *err = NULL;
    struct owner owner = {client_of_etcd(), NULL, client_first, TALLY_INIT};
    etcdgw_bytes key = own_key(&room[0], "in a callback");
    OK(etcdgw_watch(owner.client, key, NULL, free_both, &owner, owner_is_freed, &owner.watch, &err));
    put(writer, key, "free me");
    CHECK(tally_reaches(&owner.freed, 1));
}

/* Freed without a cancel before: the same as cancelled. */
static void free_is_enough(etcdgw_client *writer)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct tally freed = TALLY_INIT;
    OK(etcdgw_watch(writer, own_key(&room[0], "just freed"), NULL, count_events, &freed, tally_one, &watch, &err));
    etcdgw_watch_free(watch);
    CHECK(tally_reaches(&freed, 1));
}

static void a_token_is_freed_while_a_watch_holds_it(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_cancel *cancel = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "token");
    OK(etcdgw_cancel_new(&cancel, &err));
    options.cancel = cancel;
    OK(etcdgw_watch_open(client, key, &options, &watch, &err));
    etcdgw_cancel_free(cancel);
    put(client, key, "x");
    OK(etcdgw_watch_next(watch, PATIENCE_MS, &response, &err));
    etcdgw_watch_response_free(response);
    etcdgw_watch_free(watch);
}

static void nothing_is_freed_by_null(void)
{
    etcdgw_client_free(NULL);
    etcdgw_client_close(NULL);
    etcdgw_cancel_free(NULL);
    etcdgw_txn_free(NULL);
    etcdgw_watch_cancel(NULL);
    etcdgw_watch_free(NULL);
    etcdgw_error_free(NULL);
    etcdgw_string_free(NULL);
    etcdgw_put_response_free(NULL);
    etcdgw_get_response_free(NULL);
    etcdgw_delete_response_free(NULL);
    etcdgw_txn_response_free(NULL);
    etcdgw_raw_response_free(NULL);
    etcdgw_watch_response_free(NULL);
    etcdgw_lease_ttl_response_free(NULL);
    etcdgw_lease_list_response_free(NULL);
    etcdgw_member_list_response_free(NULL);
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *writer = client_of_etcd();
    a_watch_outlives_its_client(writer);
    responses_outlive_everything();
    a_callback_frees_client_and_watch(writer, 1);
    a_callback_frees_client_and_watch(writer, 0);
    free_is_enough(writer);
    a_token_is_freed_while_a_watch_holds_it(writer);
    nothing_is_freed_by_null();
    OK(etcdgw_delete_prefix(writer, own_key(&room[0], ""), NULL, NULL, &err));
    etcdgw_client_free(writer);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
