/*
 * The cluster: who belongs to it, and how the member in use is.
 *
 *   cc cluster.c $(pkg-config --cflags --libs etcdgw) -o cluster
 *   ./cluster [http://127.0.0.1:2379]
 */
#include "example.h"

static int members(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_member_list_response *list = NULL;

    if (failed("member_list", etcdgw_member_list(client, NULL, &list, &err), &err))
        return 1;
    for (size_t i = 0; i < list->members_len; i++) {
        const etcdgw_member *member = list->members[i];
        printf("member %" PRIx64 " %s%s\n", member->id, member->name, member->is_learner ? " (learner)" : "");
        for (size_t j = 0; j < member->client_urls_len; j++)
            printf("  clients %s\n", member->client_urls[j]);
        for (size_t j = 0; j < member->peer_urls_len; j++)
            printf("  peers   %s\n", member->peer_urls[j]);
    }
    int failure = check("the cluster has members", list->members_len > 0);
    etcdgw_member_list_response_free(list);
    return failure;
}

static int status(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_maintenance_status_response *member = NULL;

    /* NULL: the endpoint in use. A URL asks another member. */
    if (failed("status", etcdgw_maintenance_status(client, NULL, NULL, &member, &err), &err))
        return 1;
    printf("etcd %s, %" PRId64 " bytes on disk, %" PRId64 " in use\n", member->version, member->db_size,
           member->db_size_in_use);
    printf("leader %" PRIx64 ", raft term %" PRIu64 ", index %" PRIu64 "\n", member->leader, member->raft_term,
           member->raft_index);
    for (size_t i = 0; i < member->errors_len; i++)
        printf("error: %s\n", member->errors[i]);
    int failure = check("it says its version", member->version[0] != '\0')
        || check("it has a leader", member->leader != 0);
    etcdgw_maintenance_status_response_free(member);
    return failure;
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = members(client) || status(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
