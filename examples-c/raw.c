/*
 * The gateway's own JSON, for what has no function here. Keys and values are base64 in it.
 *
 *   cc raw.c $(pkg-config --cflags --libs etcdgw) -o raw
 *   ./raw [http://127.0.0.1:2379]
 */
#include "example.h"

static int contains(etcdgw_bytes body, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i + len <= body.len; i++)
        if (memcmp(body.data + i, text, len) == 0)
            return 1;
    return 0;
}

/* Where the requests go. */
static int urls(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    char *api_path = NULL, *url = NULL;

    int failure = failed("api_path", etcdgw_client_api_path(client, NULL, &api_path, &err), &err)
        || failed("url", etcdgw_client_url(client, "/kv/range", NULL, &url, &err), &err);
    if (!failure) {
        printf("API path %s, a range is asked for at %s\n", api_path, url);
        failure = check("a URL is made of base, API path and path", strstr(url, api_path) && strstr(url, "kv/range"));
    }
    etcdgw_string_free(url);
    etcdgw_string_free(api_path);
    return failure;
}

/* An answer of the server that says no is an error as everywhere; only good ones arrive as a response. */
static int post(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_raw_response *answer = NULL;
    /* raw/key and hello */
    const etcdgw_bytes put = ETCDGW_STR_INIT("{\"key\": \"cmF3L2tleQ==\", \"value\": \"aGVsbG8=\"}");
    const etcdgw_bytes range = ETCDGW_STR_INIT("{\"key\": \"cmF3L2tleQ==\"}");

    if (failed("put", etcdgw_post(client, "/kv/put", put, NULL, NULL, &err), &err)
        || failed("range", etcdgw_post(client, "/kv/range", range, NULL, &answer, &err), &err))
        return 1;
    printf("HTTP %" PRId32 ": %.*s\n", answer->http_status, TEXT(answer->body));
    int failure = check("the answer has the value, in base64", contains(answer->body, "\"aGVsbG8=\""));
    etcdgw_raw_response_free(answer);
    return failure;
}

/* If raw/key exists, it is deleted. */
static int txn_json(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_raw_response *answer = NULL;
    const etcdgw_bytes txn = ETCDGW_STR_INIT(
        "{\"compare\": [{\"key\": \"cmF3L2tleQ==\", \"target\": \"VERSION\", \"result\": \"GREATER\", \"version\": 0}],"
        " \"success\": [{\"request_delete_range\": {\"key\": \"cmF3L2tleQ==\"}}]}");

    if (failed("txn", etcdgw_txn_json(client, txn, NULL, &answer, &err), &err))
        return 1;
    int failure = check("the transaction succeeded", contains(answer->body, "\"succeeded\""));
    etcdgw_raw_response_free(answer);
    return failure;
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = urls(client) || post(client) || txn_json(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
