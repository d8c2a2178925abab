/*
 * Leader election of a daemon: of several that run, one works, and another one takes over when it is gone. What the
 * leader writes is fenced: one that was stopped for too long, and doesn't know that it was replaced, writes nothing.
 *
 *   cc leader.c -pthread $(pkg-config --cflags --libs etcdgw) -o leader
 *   ./leader [http://127.0.0.1:2379]
 *
 * `etcdctl elect daemon other-host` stands for the same office. Here two threads play the two hosts.
 */
#include "example.h"
#include <pthread.h>

enum { ROUNDS = 3 };

static const etcdgw_bytes office = ETCDGW_STR_INIT("daemon");
static const etcdgw_bytes counter = ETCDGW_STR_INIT("leader-counter");

struct host {
    const char *name, *endpoints;
    int failure;
};

/* Runs on a thread of the library, at once when the lease is lost. A daemon would stop its work here. */
static void lost(const etcdgw_keepalive_event *event, void *user_data)
{
    fprintf(stderr, "%s has lost its session: %s\n", (const char *)user_data, etcdgw_error_message(event->lost));
}

/* The leader's work: counts up, if it still leads. */
static int count_up(etcdgw_client *client, etcdgw_election *election, int *counted)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *done = NULL;
    char number[24] = "";

    if (failed("get", etcdgw_get(client, counter, NULL, &got, &err), &err))
        return 1;
    if (got->kvs_len == 1) /* no NUL ends a value, and strtol needs one */
        snprintf(number, sizeof number, "%.*s", TEXT(got->kvs[0].value));
    etcdgw_get_response_free(got);
    snprintf(number, sizeof number, "%ld", strtol(number, NULL, 10) + 1);
    int failure = failed("txn", etcdgw_txn_new(client, &txn, &err), &err)
        || failed("fence", etcdgw_txn_if_leader(txn, election, &err), &err)
        || failed("then", etcdgw_txn_then_put(txn, counter, etcdgw_str(number), NULL, &err), &err)
        || failed("commit", etcdgw_txn_commit(txn, NULL, &done, &err), &err);
    if (!failure)
        *counted = done->succeeded;
    etcdgw_txn_response_free(done);
    etcdgw_txn_free(txn);
    return failure;
}

/* One term of office. */
static int lead(etcdgw_client *client, etcdgw_election *election, const char *name)
{
    etcdgw_error *err = NULL;
    int counted = 0;

    /* -1: as long as it takes. A daemon that is to end triggers a cancel token in the options. */
    if (failed("campaign", etcdgw_election_campaign(election, etcdgw_str(name), -1, NULL, &err), &err)
        || count_up(client, election, &counted) || check(name, counted))
        return 1;
    return failed("resign", etcdgw_election_resign(election, NULL, &err), &err);
}

static void *run(void *argument)
{
    struct host *host = argument;
    etcdgw_error *err = NULL;
    etcdgw_session *session = NULL;
    etcdgw_election *election = NULL;
    etcdgw_session_options options = ETCDGW_SESSION_OPTIONS_INIT;
    etcdgw_client *client = connect_to(host->endpoints);

    options.ttl = 5; /* seconds after which another one takes over */
    host->failure = client == NULL
        || failed("session", etcdgw_session_new(client, &options, lost, (void *)host->name, NULL, &session, &err), &err)
        || failed("election", etcdgw_election_new(session, office, &election, &err), &err);
    for (int round = 0; round < ROUNDS && !host->failure; round++)
        host->failure = lead(client, election, host->name);
    etcdgw_election_free(election);
    etcdgw_session_free(session); /* revokes the lease: the next one needn't wait for its time */
    etcdgw_client_free(client);
    return NULL;
}

/* Whoever they were, and in whatever order: each counted, and none over another. */
static int check_count(const char *endpoints)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    etcdgw_client *client = connect_to(endpoints);
    if (client == NULL)
        return 1;
    int failure = failed("get", etcdgw_get(client, counter, NULL, &got, &err), &err)
        || check("every term counted once", got->kvs_len == 1 && is_text(got->kvs[0].value, "6"))
        || failed("delete", etcdgw_delete(client, counter, NULL, NULL, &err), &err);
    etcdgw_get_response_free(got);
    etcdgw_client_free(client);
    return failure;
}

int main(int argc, char **argv)
{
    const char *endpoints = argc > 1 ? argv[1] : NULL;
    struct host hosts[2] = {{"host-1", endpoints, 0}, {"host-2", endpoints, 0}};
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &hosts[i]) != 0)
            return EXIT_FAILURE;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    int failure = hosts[0].failure || hosts[1].failure || check_count(endpoints);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
