/* Proxies, netrc and their like in the environment lead no request astray. */
#include "fake_server.h"

static void counts(struct fake_server *server, int connection)
{
    char head[4096];
    read_request(server, connection, head, sizeof head);
}

int main(void)
{
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy",
                                        "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_watch_response *response = NULL;
    struct fake_server proxy;
    struct key_room room;
    etcdgw_bytes key = own_key(&room, "environment");

    fake_server_start(&proxy, counts);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(setenv(names[i], proxy.url, 1) == 0);
    CHECK(unsetenv("no_proxy") == 0 && unsetenv("NO_PROXY") == 0);
    CHECK(setenv("NETRC", "/nonexistent", 1) == 0);

    etcdgw_client *client = client_of_etcd();
    int64_t revision = put(client, key, "x");
    OK(etcdgw_get(client, key, NULL, &got, &err));
    CHECK(got->kvs_len == 1 && got->kvs[0].mod_revision == revision);
    etcdgw_get_response_free(got);

    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.start_revision = revision;
    OK(etcdgw_watch_once(client, key, &options, &response, &err));
    CHECK(response->events_len == 1);
    etcdgw_watch_response_free(response);

    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    etcdgw_client_free(client);
    CHECK(tally_count(&proxy.requests) == 0);
    fake_server_stop(&proxy);
    return EXIT_SUCCESS;
}
