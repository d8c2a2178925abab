/*
 * Leases: keys that go when their owner is gone.
 *
 *   cc lease.c $(pkg-config --cflags --libs etcdgw) -o lease
 *   ./lease [http://127.0.0.1:2379]
 */
#include "example.h"

static const etcdgw_bytes key = ETCDGW_STR_INIT("lease/worker-1");

/* How long it still has, how long it was granted for, and which keys it holds. */
static int ask(etcdgw_client *client, int64_t lease)
{
    etcdgw_error *err = NULL;
    etcdgw_lease_ttl_response *ttl = NULL;
    etcdgw_lease_ttl_options options = ETCDGW_LEASE_TTL_OPTIONS_INIT;

    options.keys = 1;
    if (failed("ttl", etcdgw_lease_ttl(client, lease, &options, &ttl, &err), &err))
        return 1;
    printf("lease %" PRIx64 ": %" PRId64 " of %" PRId64 " s left\n", (uint64_t)lease, ttl->ttl, ttl->granted_ttl);
    int failure = check("it knows its key", ttl->keys_len == 1 && is_text(ttl->keys[0], "lease/worker-1"))
        || check("it runs", ttl->ttl >= 0 && ttl->granted_ttl == 60);
    etcdgw_lease_ttl_response_free(ttl);
    return failure;
}

static int is_listed(etcdgw_client *client, int64_t lease, int *listed)
{
    etcdgw_error *err = NULL;
    etcdgw_lease_list_response *list = NULL;
    if (failed("list", etcdgw_lease_list(client, NULL, &list, &err), &err))
        return 1;
    *listed = 0;
    for (size_t i = 0; i < list->ids_len; i++)
        *listed |= list->ids[i] == lease;
    etcdgw_lease_list_response_free(list);
    return 0;
}

/* A program that refreshes its lease in time keeps its keys. */
static int refresh(etcdgw_client *client, int64_t lease)
{
    etcdgw_error *err = NULL;
    int64_t ttl_s = 0;
    return failed("refresh", etcdgw_lease_refresh(client, lease, NULL, &ttl_s, &err), &err)
        || check("the full time again", ttl_s == 60);
}

/* One that comes too late is told so by a status of its own. */
static int refresh_too_late(etcdgw_client *client, int64_t lease)
{
    etcdgw_error *err = NULL;
    int64_t ttl_s = 0;
    etcdgw_status status = etcdgw_lease_refresh(client, lease, NULL, &ttl_s, &err);
    printf("refresh: %s: %s\n", etcdgw_status_name(status), etcdgw_error_message(err));
    etcdgw_error_free(err);
    return check("a lease that is gone can't be refreshed", status == ETCDGW_LEASE_EXPIRED && ttl_s == -1);
}

static int key_is_gone(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    if (failed("get", etcdgw_get(client, key, NULL, &got, &err), &err))
        return 1;
    int failure = check("the key went with the lease", got->kvs_len == 0);
    etcdgw_get_response_free(got);
    return failure;
}

static int life_of_a_lease(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_put_options with_lease = ETCDGW_PUT_OPTIONS_INIT;
    int64_t lease = 0, granted_s = 0;
    int listed = 0;

    /* The server may grant more than is asked for. The ID is the library's choice unless an option gives one. */
    if (failed("grant", etcdgw_lease_grant(client, 60, NULL, &lease, &granted_s, &err), &err))
        return 1;
    with_lease.lease = lease;
    int failure = failed("put", etcdgw_put(client, key, ETCDGW_STR("busy"), &with_lease, NULL, &err), &err)
        || ask(client, lease) || refresh(client, lease)
        || is_listed(client, lease, &listed) || check("it is among the server's leases", listed);
    if (failed("revoke", etcdgw_lease_revoke(client, lease, NULL, &err), &err))
        return 1;
    return failure || key_is_gone(client) || refresh_too_late(client, lease);
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = life_of_a_lease(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
