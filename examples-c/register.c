/*
 * Service registration: a server enters itself under a key that goes when the server is gone, and clients find who is
 * there.
 *
 *   cc register.c -pthread $(pkg-config --cflags --libs etcdgw) -o register
 *   ./register [http://127.0.0.1:2379]
 */
#include "example.h"
#include <limits.h>
#include <pthread.h>

enum { TTL_S = 2 };

static const etcdgw_bytes services = ETCDGW_STR_INIT("services/web/");

/* What the callback tells the rest of the program. */
struct registration {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int renewals, lost;
};

/* Runs on a thread of the library. A server whose lease is lost would register itself anew. */
static void heard(const etcdgw_keepalive_event *event, void *user_data)
{
    struct registration *registration = user_data;
    pthread_mutex_lock(&registration->lock);
    if (event->lost == NULL)
        registration->renewals++;
    else
        registration->lost = 1;
    pthread_cond_signal(&registration->changed);
    pthread_mutex_unlock(&registration->lock);
}

/* Waits for so many renewals, or for the loss of the lease, after which none comes any more. 1: it is lost. */
static int wait_for(struct registration *registration, int renewals)
{
    pthread_mutex_lock(&registration->lock);
    while (registration->renewals < renewals && !registration->lost)
        pthread_cond_wait(&registration->changed, &registration->lock);
    int lost = registration->lost;
    pthread_mutex_unlock(&registration->lock);
    return lost;
}

/* Enters a server under a lease of its own, and keeps that alive. */
static etcdgw_keepalive *enter(etcdgw_client *client, const char *host, const char *address, int64_t *lease,
                               struct registration *registration)
{
    etcdgw_error *err = NULL;
    etcdgw_keepalive *keepalive = NULL;
    etcdgw_put_options with_lease = ETCDGW_PUT_OPTIONS_INIT;
    char key[64];

    if (failed("grant", etcdgw_lease_grant(client, TTL_S, NULL, lease, NULL, &err), &err))
        return NULL;
    with_lease.lease = *lease;
    snprintf(key, sizeof key, "services/web/%s", host);
    if (failed("put", etcdgw_put(client, etcdgw_str(key), etcdgw_str(address), &with_lease, NULL, &err), &err)
        || failed("keep alive", etcdgw_keepalive_start(client, *lease, NULL, heard, registration, NULL, &keepalive, &err),
                  &err))
        return NULL;
    return keepalive;
}

/* What a client of the service does. */
static int find(etcdgw_client *client, size_t *found)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    if (failed("get", etcdgw_get_prefix(client, services, NULL, &got, &err), &err))
        return 1;
    for (size_t i = 0; i < got->kvs_len; i++)
        printf("%.*s is at %.*s\n", TEXT(got->kvs[i].key), TEXT(got->kvs[i].value));
    *found = got->kvs_len;
    etcdgw_get_response_free(got);
    return 0;
}

static int life_of_a_service(etcdgw_client *client, struct registration *registration)
{
    etcdgw_error *err = NULL;
    int64_t leases[2] = {0, 0};
    size_t found = 0;
    etcdgw_keepalive *first = enter(client, "host-1", "10.0.0.1:80", &leases[0], &registration[0]);
    etcdgw_keepalive *second = enter(client, "host-2", "10.0.0.2:80", &leases[1], &registration[1]);
    int failure = first == NULL || second == NULL;

    if (!failure) {
        /* Longer than the lease lives on its own. */
        failure = check("the leases are renewed", !wait_for(&registration[0], 4) && !wait_for(&registration[1], 4))
            || find(client, &found) || check("both are there", found == 2)
            || check("they live longer than they would on their own",
                     !etcdgw_keepalive_is_lost(first) && etcdgw_keepalive_remaining_ms(second) > 0);
    }
    /* Freeing a keep-alive leaves the lease to its time: after a crash it would be the same. A server that ends in an
     * orderly way revokes it, and its key goes at once. */
    etcdgw_keepalive_free(first);
    failure = failure || failed("revoke", etcdgw_lease_revoke(client, leases[0], NULL, &err), &err)
        || find(client, &found) || check("one is left", found == 1);
    /* One whose lease is gone is told so. */
    failure = failure || failed("revoke", etcdgw_lease_revoke(client, leases[1], NULL, &err), &err);
    failure = failure || check("the loss is told", wait_for(&registration[1], INT_MAX))
        || check("and known", etcdgw_keepalive_is_lost(second)) || find(client, &found)
        || check("nobody is left", found == 0);
    etcdgw_keepalive_free(second);
    return failure;
}

int main(int argc, char **argv)
{
    static struct registration registrations[2] = {{PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0},
                                                   {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0}};
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;
    int failure = life_of_a_service(client, registrations);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
