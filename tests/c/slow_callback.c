/* A callback that takes its time delays other callbacks of its client and nothing else, not even its own end. */
#include "test.h"

enum { CANCEL_MS = 100, FREE_MS = 1000 };

static struct key_room room[2];

struct slow {
    struct tally entered, may_leave, left, freed;
};
#define SLOW_INIT {TALLY_INIT, TALLY_INIT, TALLY_INIT, TALLY_INIT}

static void blocks(const etcdgw_watch_response *response, void *user_data)
{
    struct slow *slow = user_data;
    etcdgw_bytes value = response->events[0].kv->value;
    tally_add(&slow->entered, 1);
    CHECK(tally_reaches(&slow->may_leave, 1));
    /* Still valid, whatever was freed meanwhile. */
    CHECK(same(value, ETCDGW_STR("block")));
    tally_add(&slow->left, 1);
}

static void slow_is_freed(void *user_data)
{
    struct slow *slow = user_data;
    CHECK(tally_count(&slow->left) == tally_count(&slow->entered));
    tally_one(&slow->freed);
}

/* A watch whose callback has begun and waits. */
static etcdgw_watch_handle *blocked_watch(etcdgw_client *client, struct slow *slow)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_bytes key = own_key(&room[0], "slow");
    OK(etcdgw_watch(client, key, NULL, blocks, slow, slow_is_freed, &watch, &err));
    put(client, key, "block");
    CHECK(tally_reaches(&slow->entered, 1));
    return watch;
}

static void let_it_end(struct slow *slow)
{
    CHECK(tally_count(&slow->freed) == 0);
    tally_add(&slow->may_leave, 1);
    CHECK(tally_reaches(&slow->freed, 1) && tally_count(&slow->entered) == 1);
}

static void calls_and_pull_watches_go_on(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *pulled = NULL;
    etcdgw_watch_response *response = NULL;
    struct slow slow = SLOW_INIT;
    etcdgw_watch_handle *watch = blocked_watch(client, &slow);
    etcdgw_bytes key = own_key(&room[1], "other");
    OK(etcdgw_watch_open(client, key, NULL, &pulled, &err));
    put(client, key, "x");
    OK(etcdgw_watch_next(pulled, PATIENCE_MS, &response, &err));
    etcdgw_watch_response_free(response);
    etcdgw_watch_free(pulled);
    CHECK(tally_count(&slow.left) == 0);
    etcdgw_watch_cancel(watch);
    let_it_end(&slow);
    etcdgw_watch_free(watch);
}

static void it_is_cancelled_and_freed_at_once(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    struct slow slow = SLOW_INIT;
    etcdgw_watch_handle *watch = blocked_watch(client, &slow);
    put(client, own_key(&room[0], "slow"), "never reported");
    int64_t start = now_ms();
    etcdgw_watch_cancel(watch);
    CHECK(now_ms() - start < CANCEL_MS);
    CHECK(etcdgw_watch_join(watch, 50, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    start = now_ms();
    etcdgw_watch_free(watch);
    CHECK(now_ms() - start < FREE_MS);
    let_it_end(&slow);
}

static void the_client_is_freed_meanwhile(void)
{
    struct slow slow = SLOW_INIT;
    etcdgw_client *client = client_of_etcd();
    etcdgw_watch_handle *watch = blocked_watch(client, &slow);
    etcdgw_client_free(client);
    int64_t start = now_ms();
    etcdgw_watch_free(watch);
    CHECK(now_ms() - start < FREE_MS);
    let_it_end(&slow);
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    calls_and_pull_watches_go_on(client);
    it_is_cancelled_and_freed_at_once(client);
    the_client_is_freed_meanwhile();
    OK(etcdgw_delete_prefix(client, own_key(&room[0], ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
