/*
 * Configuration that reloads itself: a mirror keeps a copy of the keys below a prefix, lookups take no network, and a
 * callback says that something has changed.
 *
 *   cc config_reload.c $(pkg-config --cflags --libs etcdgw) -pthread -o config_reload
 *   ./config_reload [http://127.0.0.1:2379]
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"
#include <pthread.h>

static const etcdgw_bytes prefix = ETCDGW_STR_INIT("config_reload/");

/* What the callback shares with the program. */
struct reload {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t changes;
    int ended;
};

/* Runs on a thread of the library: it only notes that there is something to do. */
static void on_change(const etcdgw_mirror_event *event, void *user_data)
{
    struct reload *reload = user_data;

    if (event->kind == ETCDGW_MIRROR_ENDED)
        fprintf(stderr, "the mirror has ended: %s\n", etcdgw_error_message(event->error));
    pthread_mutex_lock(&reload->lock);
    reload->changes += event->events_len;
    reload->ended |= event->kind == ETCDGW_MIRROR_ENDED;
    pthread_cond_signal(&reload->changed);
    pthread_mutex_unlock(&reload->lock);
}

/* Writes two settings that belong together; *revision is where they are. */
static int configure(etcdgw_client *client, const char *host, const char *port, int64_t *revision)
{
    etcdgw_error *err = NULL;
    etcdgw_txn *txn = NULL;
    etcdgw_txn_response *committed = NULL;
    int result = failed("txn", etcdgw_txn_new(client, &txn, &err), &err) ||
        failed("put", etcdgw_txn_then_put(txn, ETCDGW_STR("config_reload/host"), etcdgw_str(host), NULL, &err), &err) ||
        failed("put", etcdgw_txn_then_put(txn, ETCDGW_STR("config_reload/port"), etcdgw_str(port), NULL, &err), &err) ||
        failed("commit", etcdgw_txn_commit(txn, NULL, &committed, &err), &err);

    if (committed != NULL)
        *revision = committed->header.revision;
    etcdgw_txn_response_free(committed);
    etcdgw_txn_free(txn);
    return result;
}

/* Reads all settings at one revision: host and port are always those of one transaction. */
static int print_configuration(etcdgw_mirror *mirror, const char *host, const char *port)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *all = NULL;
    int result;

    if (failed("range", etcdgw_mirror_range(mirror, prefix, &all, &err), &err))
        return 1;
    for (size_t i = 0; i < all->kvs_len; i++)
        printf("%.*s = %.*s\n", TEXT(all->kvs[i].key), TEXT(all->kvs[i].value));
    result = check("the settings are those of the last transaction",
                   all->kvs_len == 2 && is_text(all->kvs[0].value, host) && is_text(all->kvs[1].value, port));
    etcdgw_get_response_free(all);
    return result;
}

/* One setting, as a program would look it up where it needs it. */
static int print_port(etcdgw_mirror *mirror)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *port = NULL;

    if (failed("get", etcdgw_mirror_get(mirror, ETCDGW_STR("config_reload/port"), &port, &err), &err))
        return 1;
    /* A key that is not there is no error: kvs_len is 0 then. */
    int found = port->kvs_len == 1;
    if (found)
        printf("port is %.*s, looked up %" PRId64 " ms after the copy was known to be current\n",
               TEXT(port->kvs[0].value), etcdgw_mirror_age_ms(mirror));
    etcdgw_get_response_free(port);
    return check("the port is set", found);
}

static int run(etcdgw_client *client, struct reload *reload)
{
    etcdgw_error *err = NULL;
    etcdgw_mirror *mirror = NULL;
    int64_t revision = 0;
    int result;

    if (configure(client, "db1.example", "5432", &revision))
        return 1;
    if (failed("mirror", etcdgw_mirror_open(client, prefix, NULL, on_change, reload, NULL, &mirror, &err), &err))
        return 1;
    result = print_configuration(mirror, "db1.example", "5432") || configure(client, "db2.example", "5433", &revision);
    if (!result) {
        pthread_mutex_lock(&reload->lock);
        while (reload->changes < 2 && !reload->ended)
            pthread_cond_wait(&reload->changed, &reload->lock);
        pthread_mutex_unlock(&reload->lock);
        /* A callback has told of it, so this is not needed here: it is how to see one's own write at once. */
        result = failed("wait", etcdgw_mirror_wait_for_revision(mirror, revision, 10000, &err), &err) ||
            print_configuration(mirror, "db2.example", "5433") || print_port(mirror);
    }
    etcdgw_mirror_free(mirror);
    return result;
}

int main(int argc, char **argv)
{
    /* Not on the stack: a callback may still be running when the mirror is freed, and there is no user_data_free to say
     * when the last one has returned. */
    static struct reload reload = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    int result = client == NULL || run(client, &reload);

    etcdgw_delete_prefix(client, prefix, NULL, NULL, NULL);
    etcdgw_client_free(client);
    return result;
}
