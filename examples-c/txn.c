/*
 * Transactions: several changes at once, and only if nobody else came between.
 *
 *   cc txn.c $(pkg-config --cflags --libs etcdgw) -o txn
 *   ./txn [http://127.0.0.1:2379]
 */
#include "example.h"

static const etcdgw_bytes counter = ETCDGW_STR_INIT("txn/counter"), history = ETCDGW_STR_INIT("txn/history");
static const etcdgw_bytes one_key = {NULL, 0}; /* as range_end of a comparison: this key, no range */

/* The counter's value, and the revision that wrote it; 0 and 0 where it doesn't exist. */
static int read_counter(etcdgw_client *client, long *value, int64_t *mod_revision)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    char text[32] = "";

    if (failed("get", etcdgw_get(client, counter, NULL, &got, &err), &err))
        return 1;
    *mod_revision = 0;
    if (got->kvs_len == 1) {
        *mod_revision = got->kvs[0].mod_revision;
        snprintf(text, sizeof text, "%.*s", TEXT(got->kvs[0].value));
    }
    *value = strtol(text, NULL, 10);
    etcdgw_get_response_free(got);
    return 0;
}

/* Writes the counter if it is still as it was read. *done is 0 where somebody else was faster. */
static int write_counter(etcdgw_client *client, long value, int64_t mod_revision, int *done)
{
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *response = NULL;
    char text[32];

    snprintf(text, sizeof text, "%ld", value);
    int failure = failed("txn", etcdgw_txn_new(client, &txn, &err), &err)
        || failed("if", etcdgw_txn_if_mod_revision(txn, counter, one_key, ETCDGW_EQUAL, mod_revision, &err), &err)
        || failed("then", etcdgw_txn_then_put(txn, counter, etcdgw_str(text), NULL, &err), &err)
        || failed("then", etcdgw_txn_then_put(txn, history, etcdgw_str(text), NULL, &err), &err)
        || failed("commit", etcdgw_txn_commit(txn, NULL, &response, &err), &err);
    if (!failure)
        *done = response->succeeded;
    etcdgw_txn_response_free(response);
    etcdgw_txn_free(txn);
    return failure;
}

/* The pattern: read, decide, write if unchanged, else once more. */
static int increment(etcdgw_client *client)
{
    long value = 0;
    int64_t mod_revision = 0;
    int done = 0;
    while (!done)
        if (read_counter(client, &value, &mod_revision)
            || write_counter(client, value + 1, mod_revision, &done))
            return 1;
    printf("counted to %ld\n", value + 1);
    return 0;
}

static int a_stale_write_is_refused(etcdgw_client *client)
{
    int done = 1;
    /* 0 is the mod_revision of a key that doesn't exist. */
    return write_counter(client, 100, 0, &done) || check("a write based on an outdated reading is not done", !done);
}

/* Results come in the order of the operations, each in the member that its kind has. */
static int results(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL, *inner = NULL;
    etcdgw_txn_response *response = NULL;

    int failure = failed("txn", etcdgw_txn_new(client, &txn, &err), &err)
        || failed("txn", etcdgw_txn_new(client, &inner, &err), &err)
        || failed("inner", etcdgw_txn_then_delete(inner, history, NULL, &err), &err)
        || failed("if", etcdgw_txn_if_value(txn, counter, one_key, ETCDGW_EQUAL, ETCDGW_STR("100"), &err), &err)
        || failed("else", etcdgw_txn_else_get(txn, counter, NULL, &err), &err)
        || failed("else", etcdgw_txn_else_txn(txn, inner, &err), &err)
        || failed("commit", etcdgw_txn_commit(txn, NULL, &response, &err), &err);
    if (!failure) {
        const etcdgw_txn_result *const *result = response->results;
        failure = check("the else branch ran", !response->succeeded && response->results_len == 2)
            || check("its get has the counter",
                     result[0]->operation == ETCDGW_TXN_GET && result[0]->get->kvs_len == 1
                         && is_text(result[0]->get->kvs[0].value, "2"))
            || check("its transaction deleted a key",
                     result[1]->operation == ETCDGW_TXN_TXN && result[1]->txn->results[0]->deleted->deleted == 1);
    }
    etcdgw_txn_response_free(response);
    etcdgw_txn_free(inner);
    etcdgw_txn_free(txn);
    return failure;
}

static int delete_all(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    return failed("delete_prefix", etcdgw_delete_prefix(client, ETCDGW_STR("txn/"), NULL, NULL, &err), &err);
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = delete_all(client) || increment(client) || increment(client) || a_stale_write_is_refused(client)
        || results(client) || delete_all(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
