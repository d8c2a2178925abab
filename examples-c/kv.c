/*
 * Keys and values: reading ranges, reading the past, creating and replacing safely, deleting.
 *
 *   cc kv.c $(pkg-config --cflags --libs etcdgw) -o kv
 *   ./kv [http://127.0.0.1:2379]
 */
#include "example.h"

static int put(etcdgw_client *client, const char *key, const char *value)
{
    etcdgw_error *err = NULL;
    return failed("put", etcdgw_put(client, etcdgw_str(key), etcdgw_str(value), NULL, NULL, &err), &err);
}

/* The value before the put, and the value at an older revision: the same thing learned in two ways. */
static int history(etcdgw_client *client)
{
    const etcdgw_bytes key = ETCDGW_STR_INIT("kv/colour");
    etcdgw_error *err = NULL;
    etcdgw_put_response *second = NULL;
    etcdgw_get_response *past = NULL;
    etcdgw_put_options with_prev = ETCDGW_PUT_OPTIONS_INIT;
    etcdgw_get_options at_revision = ETCDGW_GET_OPTIONS_INIT;

    with_prev.prev_kv = 1;
    if (put(client, "kv/colour", "red")
        || failed("put", etcdgw_put(client, key, ETCDGW_STR("blue"), &with_prev, &second, &err), &err))
        return 1;
    int failure = check("the put returns the value it replaced",
                        second->prev_kv != NULL && is_text(second->prev_kv->value, "red"));

    at_revision.revision = second->header.revision - 1;
    etcdgw_put_response_free(second);
    if (failure || failed("get", etcdgw_get(client, key, &at_revision, &past, &err), &err))
        return 1;
    failure = check("the revision before still has it", past->kvs_len == 1 && is_text(past->kvs[0].value, "red"));
    etcdgw_get_response_free(past);
    return failure;
}

/* A page of a prefix, the newest first. `more` says that the limit cut it, `count` how many there are. */
static int page(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;

    options.limit = 2;
    options.sort_target = ETCDGW_SORT_BY_MOD;
    options.sort_order = ETCDGW_SORT_DESCEND;
    if (put(client, "kv/log/1", "a") || put(client, "kv/log/2", "b") || put(client, "kv/log/3", "c")
        || failed("get_prefix", etcdgw_get_prefix(client, ETCDGW_STR("kv/log/"), &options, &got, &err), &err))
        return 1;
    for (size_t i = 0; i < got->kvs_len; i++)
        printf("%.*s = %.*s\n", TEXT(got->kvs[i].key), TEXT(got->kvs[i].value));
    int failure = check("two of three, the newest first",
                        got->kvs_len == 2 && got->count == 3 && got->more && is_text(got->kvs[0].key, "kv/log/3"));
    etcdgw_get_response_free(got);
    return failure;
}

/* [key, range_end) leaves out its end; a range_end of ETCDGW_FROM_KEY has none. */
static int range(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;

    options.range_end = ETCDGW_STR("kv/log/3");
    options.keys_only = 1;
    if (failed("get", etcdgw_get(client, ETCDGW_STR("kv/log/1"), &options, &got, &err), &err))
        return 1;
    int failure = check("a range leaves out its end", got->kvs_len == 2 && got->kvs[0].value.len == 0);
    etcdgw_get_response_free(got);

    options.range_end = ETCDGW_FROM_KEY;
    options.keys_only = 0;
    options.count_only = 1;
    if (failure || failed("get", etcdgw_get(client, ETCDGW_STR("kv/log/2"), &options, &got, &err), &err))
        return 1;
    failure = check("only counted, from a key on", got->kvs_len == 0 && got->count >= 2);
    etcdgw_get_response_free(got);
    return failure;
}

/* Two programs that create or replace at the same time don't overwrite each other: one is told 0. */
static int create_and_replace(etcdgw_client *client)
{
    const etcdgw_bytes key = ETCDGW_STR_INIT("kv/owner"), me = ETCDGW_STR_INIT("me"), you = ETCDGW_STR_INIT("you");
    etcdgw_error *err = NULL;
    int32_t created = 0, again = 1, replaced = 0, stale = 1;
    int64_t revision = 0;

    if (failed("create", etcdgw_create(client, key, me, NULL, &created, &revision, &err), &err)
        || failed("create", etcdgw_create(client, key, you, NULL, &again, NULL, &err), &err)
        || failed("replace", etcdgw_replace(client, key, me, you, NULL, &replaced, NULL, &err), &err)
        || failed("replace", etcdgw_replace(client, key, me, you, NULL, &stale, NULL, &err), &err))
        return 1;
    return check("created once", created && revision > 0 && !again)
        || check("replaced while the value was the expected one", replaced && !stale);
}

static int delete_all(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_delete_response *gone = NULL;
    if (failed("delete_prefix", etcdgw_delete_prefix(client, ETCDGW_STR("kv/"), NULL, &gone, &err), &err))
        return 1;
    printf("%" PRId64 " keys deleted\n", gone->deleted);
    etcdgw_delete_response_free(gone);
    return 0;
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = delete_all(client) || history(client) || page(client) || range(client) || create_and_replace(client)
        || delete_all(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
