/* Hundreds of watches of one client, begun, cancelled and freed by several threads, while events come. */
#include "test.h"

enum { WATCHES = 200, THREADS = 4, ROUNDS = 2 };

static struct tally events = TALLY_INIT, freed = TALLY_INIT;
static struct key_room room;

static void count_events(const etcdgw_watch_response *response, void *user_data)
{
    CHECK(response->kind == ETCDGW_WATCH_EVENTS);
    for (size_t i = 0; i < response->events_len; i++)
        CHECK(response->events[i].kv->key.len > 0);
    (void)user_data;
    tally_add(&events, (int)response->events_len);
}

/* A quarter has a key of its own, the others overlap; some of them nobody reads. */
static etcdgw_watch_handle *begin(etcdgw_client *client, int number, int is_confirmed)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    struct key_room own;
    char name[32] = "watches/";
    if (number % 4 == 0)
        snprintf(name, sizeof name, "watches/%d", number);
    options.prefix = number % 4 != 0;
    options.no_wait_created = !is_confirmed;
    etcdgw_bytes key = own_key(&own, name);
    if (number % 8 == 1)
        OK(etcdgw_watch_open(client, key, &options, &watch, &err));
    else
        OK(etcdgw_watch(client, key, &options, count_events, &freed, tally_one, &watch, &err));
    return watch;
}

struct share {
    pthread_t thread;
    etcdgw_client *client;
    int first;
};

static void *begin_and_end(void *argument)
{
    const struct share *share = argument;
    etcdgw_watch_handle *watches[WATCHES / THREADS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < WATCHES / THREADS; i++)
            watches[i] = begin(share->client, share->first + THREADS * i, i % 3 > 0);
        for (int i = 0; i < WATCHES / THREADS; i++) {
            if (i % 2 == 0)
                etcdgw_watch_cancel(watches[i]);
            etcdgw_watch_free(watches[i]);
        }
    }
    return NULL;
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    etcdgw_watch_handle *kept[WATCHES];
    struct share shares[THREADS];
    int called = 0;
    for (int i = 0; i < WATCHES; i++)
        kept[i] = begin(client, i, 1);
    for (int i = 0; i < THREADS; i++) {
        shares[i].client = client;
        shares[i].first = i;
        start_thread(&shares[i].thread, begin_and_end, &shares[i]);
    }
    for (int i = 0; i < 20; i++)
        put(client, own_key(&room, "watches/0"), "x");
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(shares[i].thread, NULL) == 0);
    /* Of those that are left, the watch of this key and all that overlap it tell each put. */
    for (int i = 0; i < WATCHES; i++)
        called += i % 8 != 1 && (i % 4 != 0 || i == 0);
    CHECK(tally_reaches(&events, 20 * called));
    for (int i = 0; i < WATCHES; i++)
        etcdgw_watch_free(kept[i]);
    /* Each that calls back has freed its user data once. */
    CHECK(tally_reaches(&freed, (1 + ROUNDS) * (WATCHES - WATCHES / 8)));
    OK(etcdgw_delete_prefix(client, own_key(&room, "watches/"), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
