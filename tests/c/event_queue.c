/* A queue: a thousand watches of two clients in one epoll loop, what its events own, and its end in any order. */
#include "test.h"
#include <sys/epoll.h>
#include <sys/resource.h>

enum { WATCHES = 1000 };

static struct key_room room[2];

/* The user data of a watch. */
struct watched {
    etcdgw_watch_handle *handle;
    int64_t last_revision;
    int events, ends;
    struct tally freed;
};

static void watched_is_freed(void *user_data) { tally_one(&((struct watched *)user_data)->freed); }

static void watch_into(etcdgw_queue *queue, etcdgw_client *client, etcdgw_bytes key, struct watched *watched)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    struct watched fresh = {NULL, 0, 0, 0, TALLY_INIT};
    *watched = fresh;
    options.queue = queue;
    OK(etcdgw_watch(client, key, &options, NULL, watched, watched_is_freed, &watched->handle, &err));
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
    CHECK(event->source == ETCDGW_SOURCE_WATCH && event->reserved0 == 0 && event->watch != NULL);
    CHECK(event->keepalive == NULL && event->election == NULL && event->mirror == NULL);
    return event;
}

static void nothing_comes(etcdgw_queue *queue)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    CHECK(etcdgw_queue_next(queue, 0, &event, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL && event == NULL);
}

static void take_in(const etcdgw_event *event)
{
    struct watched *watched = event->user_data;
    const etcdgw_watch_response *response = event->watch;
    watched->ends += response->kind == ETCDGW_WATCH_ENDED;
    for (size_t i = 0; i < response->events_len; i++) {
        CHECK(response->events[i].kv->mod_revision > watched->last_revision);
        watched->last_revision = response->events[i].kv->mod_revision;
        watched->events++;
    }
}

/* Waits for the queue alone, and takes what it has each time that it is readable. */
static int take_until(etcdgw_queue *queue, int events)
{
    int loop = epoll_create1(EPOLL_CLOEXEC), seen = 0;
    struct epoll_event ready = {.events = EPOLLIN, .data = {.ptr = queue}};
    CHECK(loop >= 0 && epoll_ctl(loop, EPOLL_CTL_ADD, etcdgw_queue_fd(queue), &ready) == 0);
    while (seen < events) {
        etcdgw_error *err = NULL;
        etcdgw_event *event = NULL;
        CHECK(epoll_wait(loop, &ready, 1, PATIENCE_MS) == 1 && ready.data.ptr == queue);
        OK(etcdgw_queue_next(queue, 0, &event, &err));
        take_in(event);
        seen += (int)event->watch->events_len;
        etcdgw_event_free(event);
    }
    CHECK(epoll_wait(loop, &ready, 1, 0) == 0);
    close(loop);
    return seen;
}

/* A watch may cost descriptors, and more than a shell allows by default. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void a_thousand_watches_in_one_loop(void)
{
    enum { ROUNDS = 3 };
    static struct watched all[WATCHES];
    etcdgw_client *clients[] = {client_of_etcd(), client_of_etcd()};
    etcdgw_queue *queue = new_queue();
    char name[32];
    for (int i = 0; i < WATCHES; i++) {
        snprintf(name, sizeof name, "many/%d", i);
        watch_into(queue, clients[i % 2], own_key(&room[0], name), &all[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < WATCHES; i++) {
            snprintf(name, sizeof name, "many/%d", i);
            put(clients[0], own_key(&room[0], name), "x");
        }
        CHECK(take_until(queue, WATCHES) == WATCHES);
        for (int i = 0; i < WATCHES; i++)
            CHECK(all[i].events == round + 1);
    }
    for (int i = 0; i < WATCHES; i++) {
        etcdgw_watch_free(all[i].handle);
        CHECK(tally_count(&all[i].freed) == 1 && all[i].ends == 0);
    }
    etcdgw_queue_free(queue);
    etcdgw_client_free(clients[0]);
    etcdgw_client_free(clients[1]);
}

static void a_watch_of_a_queue_is_not_asked(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    struct watched watched;
    etcdgw_queue *queue = new_queue();
    watch_into(queue, client, own_key(&room[0], "asked"), &watched);
    FAILS(ETCDGW_FAILED_PRECONDITION, etcdgw_watch_next(watched.handle, 0, NULL, &err));
    FORGET();
    CHECK(etcdgw_watch_fd(watched.handle) == -1 && etcdgw_queue_fd(queue) >= 0);
    CHECK(etcdgw_watch_join(watched.handle, 0, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    etcdgw_watch_cancel(watched.handle);
    OK(etcdgw_watch_join(watched.handle, 0, &err));
    etcdgw_watch_free(watched.handle);
    etcdgw_queue_free(queue);
}

static void user_data_lives_as_long_as_an_event(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    struct watched watched;
    etcdgw_queue *queue = new_queue();
    etcdgw_bytes key = own_key(&room[0], "held");
    watch_into(queue, client, key, &watched);
    put(client, key, "taken");
    etcdgw_event *event = next(queue);
    put(client, key, "not taken");
    etcdgw_watch_cancel(watched.handle);
    nothing_comes(queue);
    CHECK(etcdgw_watch_join(watched.handle, 50, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    etcdgw_watch_free(watched.handle);
    etcdgw_queue_free(queue);
    CHECK(event->user_data == &watched && tally_count(&watched.freed) == 0);
    CHECK(same(event->watch->events[0].kv->value, ETCDGW_STR("taken")));
    etcdgw_event_free(event);
    CHECK(tally_count(&watched.freed) == 1);
}

static void a_closed_client_ends_its_watches_once(void)
{
    struct watched watched;
    etcdgw_client *client = client_of_etcd();
    etcdgw_queue *queue = new_queue();
    watch_into(queue, client, own_key(&room[0], "closed"), &watched);
    etcdgw_client_close(client);
    etcdgw_event *event = next(queue);
    CHECK(event->watch->kind == ETCDGW_WATCH_ENDED && etcdgw_error_status(event->watch->error) == ETCDGW_CLOSED);
    nothing_comes(queue);
    CHECK(tally_count(&watched.freed) == 0);
    etcdgw_event_free(event);
    CHECK(tally_count(&watched.freed) == 1);
    etcdgw_watch_free(watched.handle);
    etcdgw_client_free(client);
    etcdgw_queue_free(queue);
}

/* Client, queue, watch and event, in every order. */
static void handles_are_freed_in_any_order(etcdgw_client *writer)
{
    enum { CLIENT, QUEUE, WATCH, EVENT, HANDLES };
    for (int order = 0; order < 24; order++) {
        struct watched watched;
        etcdgw_bytes key = own_key(&room[0], "order");
        etcdgw_client *client = client_of_etcd();
        etcdgw_queue *queue = new_queue();
        watch_into(queue, client, key, &watched);
        put(writer, key, "1");
        put(writer, key, "2");
        etcdgw_event *event = next(queue);
        int left[] = {CLIENT, QUEUE, WATCH, EVENT}, rest = order;
        for (int count = HANDLES; count > 0; count--) {
            int chosen = rest % count, which = left[chosen];
            rest /= count;
            left[chosen] = left[count - 1];
            if (which == CLIENT)
                etcdgw_client_free(client);
            else if (which == QUEUE)
                etcdgw_queue_free(queue);
            else if (which == WATCH)
                etcdgw_watch_free(watched.handle);
            else
                etcdgw_event_free(event);
        }
        CHECK(tally_count(&watched.freed) == 1);
    }
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    allow_descriptors();
    etcdgw_client *client = client_of_etcd();
    a_watch_of_a_queue_is_not_asked(client);
    user_data_lives_as_long_as_an_event(client);
    a_closed_client_ends_its_watches_once();
    handles_are_freed_in_any_order(client);
    a_thousand_watches_in_one_loop();
    OK(etcdgw_delete_prefix(client, own_key(&room[1], ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
