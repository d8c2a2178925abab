/* Mirrors: many in one epoll loop over a queue, what their events own, a callback that frees its mirror, lookups while a
 * callback is slow, and their end in any order. */
#include "test.h"
#include <sys/epoll.h>

static struct key_room room;

/* The user data of a mirror. */
struct mirrored {
    etcdgw_mirror *handle;
    etcdgw_client *client;
    int64_t last_revision;
    int events, previous, ends;
    struct tally freed, called, released;
};

static void prepare(struct mirrored *mirrored)
{
    struct mirrored fresh = {NULL, NULL, 0, 0, 0, 0, TALLY_INIT, TALLY_INIT, TALLY_INIT};
    *mirrored = fresh;
}

static void mirrored_is_freed(void *user_data) { tally_one(&((struct mirrored *)user_data)->freed); }

static void open_into(etcdgw_queue *queue, etcdgw_client *client, etcdgw_bytes prefix, struct mirrored *mirrored)
{
    etcdgw_error *err = NULL;
    etcdgw_mirror_options options = ETCDGW_MIRROR_OPTIONS_INIT;
    options.queue = queue;
    prepare(mirrored);
    OK(etcdgw_mirror_open(client, prefix, &options, NULL, mirrored, mirrored_is_freed, &mirrored->handle, &err));
}

static void open_calling(etcdgw_client *client, etcdgw_bytes prefix, etcdgw_mirror_callback callback,
                         struct mirrored *mirrored)
{
    etcdgw_error *err = NULL;
    prepare(mirrored);
    mirrored->client = client;
    OK(etcdgw_mirror_open(client, prefix, NULL, callback, mirrored, mirrored_is_freed, &mirrored->handle, &err));
}

static etcdgw_queue *new_queue(void)
{
    etcdgw_error *err = NULL;
    etcdgw_queue *queue = NULL;
    OK(etcdgw_queue_new(&queue, &err));
    return queue;
}

/* An event that comes in time. */
static etcdgw_event *next(etcdgw_queue *queue)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    OK(etcdgw_queue_next(queue, PATIENCE_MS, &event, &err));
    CHECK(event->source == ETCDGW_SOURCE_MIRROR && event->mirror != NULL && event->mirror->reserved0 == 0);
    CHECK(event->watch == NULL && event->keepalive == NULL && event->election == NULL);
    return event;
}

static void nothing_comes(etcdgw_queue *queue)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    CHECK(etcdgw_queue_next(queue, 0, &event, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL && event == NULL);
}

static void wait_for(etcdgw_mirror *mirror, int64_t revision)
{
    etcdgw_error *err = NULL;
    OK(etcdgw_mirror_wait_for_revision(mirror, revision, PATIENCE_MS, &err));
}

/* The value that a mirror shows. */
static void shows(etcdgw_mirror *mirror, etcdgw_bytes key, const char *value)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *found = NULL;
    OK(etcdgw_mirror_get(mirror, key, &found, &err));
    CHECK(found->kvs_len == 1 && same(found->kvs[0].value, etcdgw_str(value)));
    etcdgw_get_response_free(found);
}

static void take_in(const etcdgw_mirror_event *event, struct mirrored *mirrored)
{
    CHECK((event->kind == ETCDGW_MIRROR_ENDED) == (event->error != NULL));
    CHECK((event->events_len == 0) == (event->events == NULL));
    mirrored->ends += event->kind == ETCDGW_MIRROR_ENDED;
    for (size_t i = 0; i < event->events_len; i++) {
        const etcdgw_watch_event *one = &event->events[i];
        CHECK(one->kv->mod_revision > mirrored->last_revision && one->kv->mod_revision <= event->revision);
        mirrored->last_revision = one->kv->mod_revision;
        mirrored->previous += one->prev_kv != NULL;
        mirrored->events++;
    }
}

/* Waits for the queue alone, and takes what it has each time that it is readable. */
static void take_events(etcdgw_queue *queue, int wanted)
{
    int loop = epoll_create1(EPOLL_CLOEXEC), seen = 0;
    struct epoll_event ready = {.events = EPOLLIN, .data = {.ptr = queue}};
    CHECK(loop >= 0 && epoll_ctl(loop, EPOLL_CTL_ADD, etcdgw_queue_fd(queue), &ready) == 0);
    while (seen < wanted) {
        etcdgw_error *err = NULL;
        etcdgw_event *event = NULL;
        CHECK(epoll_wait(loop, &ready, 1, PATIENCE_MS) == 1 && ready.data.ptr == queue);
        OK(etcdgw_queue_next(queue, 0, &event, &err));
        take_in(event->mirror, event->user_data);
        seen += (int)event->mirror->events_len;
        etcdgw_event_free(event);
    }
    CHECK(seen == wanted && epoll_wait(loop, &ready, 1, 0) == 0);
    close(loop);
}

static void many_mirrors_in_one_loop(void)
{
    enum { MIRRORS = 30, ROUNDS = 3 };
    static struct mirrored all[MIRRORS];
    etcdgw_client *clients[] = {client_of_etcd(), client_of_etcd()};
    etcdgw_queue *queue = new_queue();
    char name[32];
    for (int i = 0; i < MIRRORS; i++) {
        snprintf(name, sizeof name, "many/%d/", i);
        open_into(queue, clients[i % 2], own_key(&room, name), &all[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MIRRORS; i++) {
            snprintf(name, sizeof name, "many/%d/key", i);
            put(clients[0], own_key(&room, name), "x");
        }
        take_events(queue, MIRRORS);
        for (int i = 0; i < MIRRORS; i++)
            CHECK(all[i].events == round + 1 && all[i].previous == round);
    }
    for (int i = 0; i < MIRRORS; i++) {
        etcdgw_mirror_free(all[i].handle);
        CHECK(tally_count(&all[i].freed) == 1 && all[i].ends == 0);
    }
    etcdgw_queue_free(queue);
    etcdgw_client_free(clients[0]);
    etcdgw_client_free(clients[1]);
}

static void an_event_keeps_what_it_tells(etcdgw_client *client)
{
    struct mirrored mirrored;
    etcdgw_queue *queue = new_queue();
    open_into(queue, client, own_key(&room, "held/"), &mirrored);
    /* One after the other, lest both come in one event. */
    wait_for(mirrored.handle, put(client, own_key(&room, "held/key"), "before"));
    wait_for(mirrored.handle, put(client, own_key(&room, "held/key"), "after"));
    etcdgw_event_free(next(queue));
    etcdgw_event *event = next(queue);
    put(client, own_key(&room, "held/key"), "not taken");
    etcdgw_mirror_free(mirrored.handle);
    nothing_comes(queue);
    etcdgw_queue_free(queue);
    CHECK(event->user_data == &mirrored && tally_count(&mirrored.freed) == 0);
    const etcdgw_watch_event *told = event->mirror->events;
    CHECK(event->mirror->kind == ETCDGW_MIRROR_EVENTS && event->mirror->events_len == 1);
    CHECK(told->type == ETCDGW_EVENT_PUT && same(told->kv->key, own_key(&room, "held/key")));
    CHECK(same(told->kv->value, ETCDGW_STR("after")) && same(told->prev_kv->value, ETCDGW_STR("before")));
    etcdgw_event_free(event);
    CHECK(tally_count(&mirrored.freed) == 1);
}

static void a_mirror_outlives_its_queue(etcdgw_client *client)
{
    struct mirrored mirrored;
    etcdgw_queue *queue = new_queue();
    open_into(queue, client, own_key(&room, "outlives/"), &mirrored);
    wait_for(mirrored.handle, put(client, own_key(&room, "outlives/key"), "untaken"));
    etcdgw_queue_free(queue);
    CHECK(tally_count(&mirrored.freed) == 1);
    wait_for(mirrored.handle, put(client, own_key(&room, "outlives/key"), "later"));
    shows(mirrored.handle, own_key(&room, "outlives/key"), "later");
    etcdgw_mirror_free(mirrored.handle);
    CHECK(tally_count(&mirrored.freed) == 1);
}

static void a_closed_client_ends_its_mirror_with_the_reason(void)
{
    struct mirrored mirrored;
    etcdgw_client *client = client_of_etcd();
    etcdgw_queue *queue = new_queue();
    int64_t revision = put(client, own_key(&room, "closed/key"), "kept");
    open_into(queue, client, own_key(&room, "closed/"), &mirrored);
    etcdgw_client_close(client);
    etcdgw_event *event = next(queue);
    take_in(event->mirror, &mirrored);
    CHECK(mirrored.ends == 1 && etcdgw_error_status(event->mirror->error) == ETCDGW_CLOSED);
    CHECK(etcdgw_mirror_revision(mirrored.handle) >= revision);
    shows(mirrored.handle, own_key(&room, "closed/key"), "kept");
    nothing_comes(queue);
    etcdgw_event_free(event);
    CHECK(tally_count(&mirrored.freed) == 1);
    etcdgw_client_free(client);
    etcdgw_mirror_free(mirrored.handle);
    etcdgw_queue_free(queue);
}

static void is_slow(const etcdgw_mirror_event *event, void *user_data)
{
    struct mirrored *mirrored = user_data;
    take_in(event, mirrored);
    tally_one(&mirrored->called);
    CHECK(tally_reaches(&mirrored->released, 1));
}

static void a_slow_callback_makes_no_copy_old(etcdgw_client *client)
{
    struct mirrored slow, other;
    etcdgw_queue *queue = new_queue();
    open_calling(client, own_key(&room, "slow/"), is_slow, &slow);
    open_into(queue, client, own_key(&room, "slow/"), &other);
    put(client, own_key(&room, "slow/key"), "first");
    CHECK(tally_reaches(&slow.called, 1));
    int64_t revision = put(client, own_key(&room, "slow/key"), "second");
    wait_for(slow.handle, revision);
    wait_for(other.handle, revision);
    shows(slow.handle, own_key(&room, "slow/key"), "second");
    shows(other.handle, own_key(&room, "slow/key"), "second");
    take_events(queue, 2);
    CHECK(tally_count(&slow.called) == 1);
    tally_one(&slow.released);
    CHECK(tally_reaches(&slow.called, 2));
    etcdgw_mirror_free(slow.handle);
    CHECK(tally_reaches(&slow.freed, 1) && slow.events == 2 && slow.previous == 1);
    etcdgw_mirror_free(other.handle);
    etcdgw_queue_free(queue);
}

static void frees_its_mirror(const etcdgw_mirror_event *event, void *user_data)
{
    struct mirrored *mirrored = user_data;
    wait_for(mirrored->handle, put(mirrored->client, own_key(&room, "freed/inside"), "x"));
    etcdgw_mirror_free(mirrored->handle);
    take_in(event, mirrored);
    tally_one(&mirrored->called);
}

static void a_callback_may_wait_for_its_mirror_and_free_it(etcdgw_client *client)
{
    struct mirrored mirrored;
    open_calling(client, own_key(&room, "freed/"), frees_its_mirror, &mirrored);
    put(client, own_key(&room, "freed/key"), "x");
    CHECK(tally_reaches(&mirrored.freed, 1));
    put(client, own_key(&room, "freed/key"), "y");
    CHECK(tally_count(&mirrored.called) == 1 && mirrored.events == 1);
}

static void a_callback_together_with_a_queue_is_refused(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    struct mirrored mirrored;
    etcdgw_mirror_options options = ETCDGW_MIRROR_OPTIONS_INIT;
    options.queue = new_queue();
    prepare(&mirrored);
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_mirror_open(client, own_key(&room, "both/"), &options, is_slow, &mirrored,
                                                      mirrored_is_freed, &mirrored.handle, &err));
    FORGET();
    CHECK(mirrored.handle == NULL && tally_count(&mirrored.freed) == 1);
    etcdgw_queue_free(options.queue);
}

/* Client, queue, mirror and event, in every order. */
static void handles_are_freed_in_any_order(etcdgw_client *writer)
{
    enum { CLIENT, QUEUE, MIRROR, EVENT, HANDLES };
    for (int order = 0; order < 24; order++) {
        struct mirrored mirrored;
        etcdgw_client *client = client_of_etcd();
        etcdgw_queue *queue = new_queue();
        open_into(queue, client, own_key(&room, "order/"), &mirrored);
        put(writer, own_key(&room, "order/key"), "1");
        wait_for(mirrored.handle, put(writer, own_key(&room, "order/key"), "2"));
        etcdgw_event *event = next(queue);
        int left[] = {CLIENT, QUEUE, MIRROR, EVENT}, rest = order;
        for (int count = HANDLES; count > 0; count--) {
            int chosen = rest % count, which = left[chosen];
            rest /= count;
            left[chosen] = left[count - 1];
            if (which == CLIENT)
                etcdgw_client_free(client);
            else if (which == QUEUE)
                etcdgw_queue_free(queue);
            else if (which == MIRROR)
                etcdgw_mirror_free(mirrored.handle);
            else
                etcdgw_event_free(event);
        }
        CHECK(tally_count(&mirrored.freed) == 1);
    }
}

int main(void)
{
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    many_mirrors_in_one_loop();
    an_event_keeps_what_it_tells(client);
    a_mirror_outlives_its_queue(client);
    a_closed_client_ends_its_mirror_with_the_reason();
    a_slow_callback_makes_no_copy_old(client);
    a_callback_may_wait_for_its_mirror_and_free_it(client);
    a_callback_together_with_a_queue_is_refused(client);
    handles_are_freed_in_any_order(client);
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
