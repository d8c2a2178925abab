/*
 * Everything once, as a C program would do it, on the etcd at ETCDGW_ENDPOINTS. Also run under valgrind; at the end
 * neither a thread nor a descriptor of the library is left.
 */
#include "test.h"

enum { MEBIBYTE = 1 << 20 };

static struct key_room room[4];

static void the_header_and_the_library_are_of_one_version(void)
{
    CHECK(strcmp(etcdgw_version(), ETCDGW_VERSION) == 0);
    CHECK(etcdgw_version_number() == ETCDGW_VERSION_NUMBER);
}

static void what_is_put_is_read_back(etcdgw_client *client, const char *name, etcdgw_bytes value)
{
    etcdgw_bytes key = own_key(&room[0], name);
    etcdgw_error *err = NULL;
    etcdgw_put_response *written = NULL;
    etcdgw_get_response *got = NULL;

    OK(etcdgw_put(client, key, value, NULL, &written, &err));
    CHECK(written->header.revision > 0 && written->header.cluster_id != 0 && written->prev_kv == NULL);
    OK(etcdgw_get(client, key, NULL, &got, &err));
    CHECK(got->kvs_len == 1 && got->count == 1 && !got->more);
    CHECK(same(got->kvs[0].key, key) && same(got->kvs[0].value, value));
    CHECK(got->kvs[0].version == 1 && got->kvs[0].lease == 0);
    CHECK(got->kvs[0].create_revision == written->header.revision);
    CHECK(got->kvs[0].mod_revision == written->header.revision);
    etcdgw_get_response_free(got);
    etcdgw_put_response_free(written);
}

static void values_of_every_kind(etcdgw_client *client)
{
    uint8_t every_byte[256];
    uint8_t *large = malloc(MEBIBYTE);
    CHECK(large != NULL);
    for (int i = 0; i < 256; i++)
        every_byte[i] = (uint8_t)i;
    for (int i = 0; i < MEBIBYTE; i++)
        large[i] = (uint8_t)(i * 31 + i / 251);

    what_is_put_is_read_back(client, "text", ETCDGW_STR("hello"));
    what_is_put_is_read_back(client, "every byte", bytes(every_byte, sizeof every_byte));
    what_is_put_is_read_back(client, "empty", nothing);
    what_is_put_is_read_back(client, "1 MiB", bytes(large, MEBIBYTE));
    free(large);
}

static void keys_are_bytes_too(etcdgw_client *client)
{
    uint8_t key[64];
    int length = snprintf((char *)key, sizeof key - 4, "test/c/%ld/", (long)getpid());
    CHECK(length > 0);
    memcpy(key + length, "\0\xff\x80\xff", 4);
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;

    etcdgw_bytes whole = bytes(key, (size_t)length + 4), prefix = bytes(key, (size_t)length + 2);
    OK(etcdgw_put(client, whole, ETCDGW_STR("binary"), NULL, NULL, &err));
    OK(etcdgw_get_prefix(client, prefix, NULL, &got, &err));
    CHECK(got->kvs_len == 1 && same(got->kvs[0].key, whole) && same(got->kvs[0].value, ETCDGW_STR("binary")));
    etcdgw_get_response_free(got);
}

static void a_range_has_its_order_and_its_limit(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    put(client, own_key(&room[0], "range/a"), "1");
    put(client, own_key(&room[1], "range/b"), "2");
    put(client, own_key(&room[2], "range/c"), "3");

    options.limit = 2;
    options.sort_order = ETCDGW_SORT_DESCEND;
    options.sort_target = ETCDGW_SORT_BY_KEY;
    OK(etcdgw_get_prefix(client, own_key(&room[3], "range/"), &options, &got, &err));
    CHECK(got->kvs_len == 2 && got->count == 3 && got->more);
    CHECK(same(got->kvs[0].key, etcdgw_str(room[2].text)) && same(got->kvs[1].value, ETCDGW_STR("2")));
    etcdgw_get_response_free(got);

    etcdgw_get_options to_c = ETCDGW_GET_OPTIONS_INIT;
    to_c.range_end = etcdgw_str(room[2].text);
    OK(etcdgw_get(client, etcdgw_str(room[0].text), &to_c, &got, &err));
    CHECK(got->kvs_len == 2 && same(got->kvs[1].key, etcdgw_str(room[1].text)));
    etcdgw_get_response_free(got);
}

static void a_deletion_tells_what_it_deleted(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_delete_response *gone = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_delete_options options = ETCDGW_DELETE_OPTIONS_INIT;
    options.prev_kv = 1;
    OK(etcdgw_delete_prefix(client, own_key(&room[3], "range/"), &options, &gone, &err));
    CHECK(gone->deleted == 3 && gone->prev_kvs_len == 3 && same(gone->prev_kvs[2].value, ETCDGW_STR("3")));
    etcdgw_delete_response_free(gone);
    OK(etcdgw_get(client, etcdgw_str(room[0].text), NULL, &got, &err));
    CHECK(got->kvs_len == 0 && got->count == 0 && got->header.revision > 0);
    etcdgw_get_response_free(got);
}

static void a_transaction_takes_one_branch(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *done = NULL;
    etcdgw_bytes key = own_key(&room[0], "txn");
    OK(etcdgw_txn_new(client, &txn, &err));
    OK(etcdgw_txn_if_create_revision(txn, key, nothing, ETCDGW_EQUAL, 0, &err));
    OK(etcdgw_txn_then_put(txn, key, ETCDGW_STR("first"), NULL, &err));
    OK(etcdgw_txn_else_get(txn, key, NULL, &err));
    OK(etcdgw_txn_else_delete(txn, key, NULL, &err));

    OK(etcdgw_txn_commit(txn, NULL, &done, &err));
    CHECK(done->succeeded && done->results_len == 1 && done->results[0]->operation == ETCDGW_TXN_PUT);
    CHECK(done->results[0]->put != NULL && done->results[0]->get == NULL);
    etcdgw_txn_response_free(done);

    OK(etcdgw_txn_commit(txn, NULL, &done, &err));
    CHECK(!done->succeeded && done->results_len == 2);
    CHECK(done->results[0]->operation == ETCDGW_TXN_GET && done->results[1]->operation == ETCDGW_TXN_DELETE);
    CHECK(same(done->results[0]->get->kvs[0].value, ETCDGW_STR("first")) && done->results[1]->deleted->deleted == 1);
    etcdgw_txn_response_free(done);
    etcdgw_txn_free(txn);
}

static void a_key_goes_with_its_lease(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_lease_ttl_response *ttl = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_put_options with_lease = ETCDGW_PUT_OPTIONS_INIT;
    etcdgw_lease_ttl_options with_keys = ETCDGW_LEASE_TTL_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "leased");
    int64_t granted_s = 0, left_s = 0;

    OK(etcdgw_lease_grant(client, 60, NULL, &with_lease.lease, &granted_s, &err));
    CHECK(with_lease.lease > 0 && granted_s == 60);
    OK(etcdgw_put(client, key, ETCDGW_STR("x"), &with_lease, NULL, &err));
    OK(etcdgw_lease_refresh(client, with_lease.lease, NULL, &left_s, &err));
    CHECK(left_s == 60);
    with_keys.keys = 1;
    OK(etcdgw_lease_ttl(client, with_lease.lease, &with_keys, &ttl, &err));
    CHECK(ttl->id == with_lease.lease && ttl->ttl > 0 && ttl->granted_ttl == 60);
    CHECK(ttl->keys_len == 1 && same(ttl->keys[0], key));
    etcdgw_lease_ttl_response_free(ttl);

    OK(etcdgw_lease_revoke(client, with_lease.lease, NULL, &err));
    OK(etcdgw_get(client, key, NULL, &got, &err));
    CHECK(got->kvs_len == 0);
    etcdgw_get_response_free(got);
    FAILS(ETCDGW_LEASE_EXPIRED, etcdgw_lease_refresh(client, with_lease.lease, NULL, &left_s, &err));
    CHECK(left_s == -1);
    FORGET();
}

struct watched {
    struct tally events, freed;
    int64_t last_revision;
};

static void on_watch(const etcdgw_watch_response *response, void *user_data)
{
    struct watched *watched = user_data;
    CHECK(response->kind == ETCDGW_WATCH_EVENTS);
    for (size_t i = 0; i < response->events_len; i++) {
        CHECK(response->events[i].kv->mod_revision > watched->last_revision);
        watched->last_revision = response->events[i].kv->mod_revision;
    }
    CHECK(response->resume_revision == watched->last_revision + 1);
    tally_add(&watched->events, (int)response->events_len);
}

static void watched_is_freed(void *user_data) { tally_one(&((struct watched *)user_data)->freed); }

static void a_callback_watch_sees_every_change(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct watched watched = {TALLY_INIT, TALLY_INIT, 0};
    etcdgw_bytes key = own_key(&room[0], "watched/key");

    OK(etcdgw_watch_prefix(client, own_key(&room[1], "watched/"), NULL, on_watch, &watched, watched_is_freed, &watch,
                           &err));
    CHECK(etcdgw_watch_fd(watch) == -1);
    for (int i = 0; i < 10; i++)
        put(client, key, "x");
    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    CHECK(tally_reaches(&watched.events, 11) && tally_count(&watched.events) == 11);

    etcdgw_watch_cancel(watch);
    OK(etcdgw_watch_join(watch, PATIENCE_MS, &err));
    CHECK(tally_count(&watched.freed) == 1);
    put(client, key, "after the cancel");
    etcdgw_watch_free(watch);
    CHECK(tally_count(&watched.events) == 11);
}

static void a_pull_watch_sees_the_past(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "pulled");
    options.start_revision = put(client, key, "one");
    put(client, key, "two");
    options.prev_kv = 1;

    OK(etcdgw_watch_open(client, key, &options, &watch, &err));
    CHECK(etcdgw_watch_fd(watch) >= 0);
    size_t seen = 0;
    while (seen < 2) {
        OK(etcdgw_watch_next(watch, PATIENCE_MS, &response, &err));
        CHECK(response->kind == ETCDGW_WATCH_EVENTS);
        for (size_t i = 0; i < response->events_len; i++, seen++)
            CHECK((response->events[i].prev_kv == NULL) == (seen == 0));
        etcdgw_watch_response_free(response);
    }
    CHECK(etcdgw_watch_next(watch, 0, &response, &err) == ETCDGW_DEADLINE_EXCEEDED);
    CHECK(err == NULL && response == NULL);
    etcdgw_watch_free(watch);
}

static void *trigger_when_it_blocks(void *cancel)
{
    sleep_ms(50);
    etcdgw_cancel_trigger(cancel);
    return NULL;
}

static void a_token_ends_a_blocked_call(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_cancel *cancel = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    pthread_t thread;
    OK(etcdgw_cancel_new(&cancel, &err));
    options.cancel = cancel;
    options.timeout_ms = -1;
    start_thread(&thread, trigger_when_it_blocks, cancel);
    FAILS(ETCDGW_CANCELLED, etcdgw_watch_once(client, own_key(&room[0], "never"), &options, &response, &err));
    CHECK(response == NULL && !etcdgw_error_may_have_applied(err));
    FORGET();
    pthread_join(thread, NULL);
    etcdgw_cancel_free(cancel);
}

static void errors_tell_what_happened(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_put_options no_such_lease = ETCDGW_PUT_OPTIONS_INIT;
    etcdgw_get_options contradictory = ETCDGW_GET_OPTIONS_INIT;
    etcdgw_bytes key = own_key(&room[0], "refused");

    no_such_lease.lease = 0x7123456789abcdef;
    FAILS(ETCDGW_NOT_FOUND, etcdgw_put(client, key, ETCDGW_STR("x"), &no_such_lease, NULL, &err));
    CHECK(strstr(etcdgw_error_message(err), "etcdserver: requested lease not found") != NULL);
    CHECK(etcdgw_error_reason(err) == ETCDGW_REASON_LEASE_NOT_FOUND);
    CHECK(etcdgw_error_grpc_code(err) == 5 && etcdgw_error_http_status(err) == 404);
    CHECK(etcdgw_error_endpoint(err) != NULL && strncmp(etcdgw_error_endpoint(err), "http", 4) == 0);
    CHECK(!etcdgw_error_may_have_applied(err) && !etcdgw_error_is_retryable(err));
    FORGET();

    contradictory.prefix = 1;
    contradictory.range_end = ETCDGW_STR("z");
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_get(client, key, &contradictory, &got, &err));
    CHECK(got == NULL && strstr(etcdgw_error_message(err), "range_end") != NULL);
    CHECK(etcdgw_error_grpc_code(err) == -1 && etcdgw_error_http_status(err) == 0);
    CHECK(etcdgw_error_endpoint(err) == NULL);
    FORGET();
    CHECK(etcdgw_delete_prefix(client, nothing, NULL, NULL, NULL) == ETCDGW_INVALID_ARGUMENT);
}

static void clean_up(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    OK(etcdgw_delete_prefix(client, own_key(&room[0], ""), NULL, NULL, &err));
}

int main(void)
{
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    the_header_and_the_library_are_of_one_version();
    values_of_every_kind(client);
    keys_are_bytes_too(client);
    a_range_has_its_order_and_its_limit(client);
    a_deletion_tells_what_it_deleted(client);
    a_transaction_takes_one_branch(client);
    a_key_goes_with_its_lease(client);
    a_callback_watch_sees_every_change(client);
    a_pull_watch_sees_the_past(client);
    a_token_ends_a_blocked_call(client);
    errors_tell_what_happened(client);
    clean_up(client);
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
