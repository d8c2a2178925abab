/*
 * A distributed lock with a time limit: one program at a time does the work, whichever machine it runs on.
 *
 *   cc lock.c $(pkg-config --cflags --libs etcdgw) -o lock
 *   ./lock [http://127.0.0.1:2379]
 *
 * `etcdctl lock report` takes turns with it, and so do Go programs with concurrency.Mutex.
 */
#include "example.h"

static const etcdgw_bytes name = ETCDGW_STR_INIT("report");
static const etcdgw_bytes result = ETCDGW_STR_INIT("lock-result");

/* A session for each owner: its lease goes when the program is gone, and with the lease its place in the line. */
static etcdgw_session *begin(etcdgw_client *client, etcdgw_mutex **mutex)
{
    etcdgw_error *err = NULL;
    etcdgw_session *session = NULL;
    etcdgw_session_options options = ETCDGW_SESSION_OPTIONS_INIT;

    options.ttl = 10; /* seconds that others wait for a program that is dead */
    if (failed("session", etcdgw_session_new(client, &options, NULL, NULL, NULL, &session, &err), &err))
        return NULL;
    if (failed("mutex", etcdgw_mutex_new(session, name, mutex, &err), &err)) {
        etcdgw_session_free(session);
        return NULL;
    }
    return session;
}

/* 0: locked. 1: an error. 2: somebody else had it all the time. */
static int lock_within(etcdgw_mutex *mutex, int64_t timeout_ms)
{
    etcdgw_error *err = NULL;
    etcdgw_status status = etcdgw_mutex_lock(mutex, timeout_ms, NULL, &err);
    /* A wait that is over is no error: there is no error object. */
    if (status == ETCDGW_DEADLINE_EXCEEDED && err == NULL)
        return 2;
    return failed("lock", status, &err);
}

/*
 * A program may be stopped for so long that its session is lost while it believes that it has the lock. What must not
 * happen then is written in a transaction that holds only for the owner.
 */
static int write_result(etcdgw_client *client, etcdgw_mutex *mutex, const char *text, int *written)
{
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *response = NULL;
    int failure = failed("txn", etcdgw_txn_new(client, &txn, &err), &err)
        || failed("fence", etcdgw_txn_if_owner(txn, mutex, &err), &err)
        || failed("then", etcdgw_txn_then_put(txn, result, etcdgw_str(text), NULL, &err), &err)
        || failed("commit", etcdgw_txn_commit(txn, NULL, &response, &err), &err);
    if (!failure)
        *written = response->succeeded;
    etcdgw_txn_response_free(response);
    etcdgw_txn_free(txn);
    return failure;
}

static int work(etcdgw_client *client, etcdgw_mutex *mutex, etcdgw_mutex *other, etcdgw_session *session)
{
    etcdgw_error *err = NULL;
    int written = 0;

    if (check("the lock is free", lock_within(mutex, 5000) == 0))
        return 1;
    printf("locked with key %.*s, revision %" PRId64 "\n", TEXT(etcdgw_mutex_key(mutex)),
           etcdgw_mutex_revision(mutex));
    if (check("another one waits in vain", lock_within(other, 200) == 2)
        || write_result(client, mutex, "by the first", &written) || check("the owner writes", written)
        || failed("unlock", etcdgw_mutex_unlock(mutex, NULL, &err), &err)
        || check("now it is the other one's turn", lock_within(other, 5000) == 0)
        || failed("unlock", etcdgw_mutex_unlock(other, NULL, &err), &err))
        return 1;

    /* As if the program had been stopped for too long: its lease is gone, and it doesn't know. */
    if (check("locked again", lock_within(mutex, 5000) == 0)
        || failed("revoke", etcdgw_lease_revoke(client, etcdgw_session_lease(session), NULL, &err), &err)
        || check("another one has it", lock_within(other, 5000) == 0)
        || write_result(client, mutex, "too late", &written))
        return 1;
    return check("who has lost the lock writes nothing", !written)
        || failed("unlock", etcdgw_mutex_unlock(other, NULL, &err), &err);
}

int main(int argc, char **argv)
{
    etcdgw_error *err = NULL;
    etcdgw_mutex *mutex = NULL, *other = NULL;
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    etcdgw_session *session = begin(client, &mutex);
    etcdgw_session *others = begin(client, &other);
    int failure = session == NULL || others == NULL || work(client, mutex, other, session)
        || failed("delete", etcdgw_delete(client, result, NULL, NULL, &err), &err);
    etcdgw_mutex_free(mutex);
    etcdgw_mutex_free(other);
    etcdgw_session_free(session); /* revokes the lease */
    etcdgw_session_free(others);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
