/*
 * Many watches in one place: a queue gives the events of all of them, one descriptor says when it has some, and
 * user_data tells which watch an event is of. For event loops, however many watches there are.
 *
 *   cc queue.c $(pkg-config --cflags --libs etcdgw) -o queue
 *   ./queue [http://127.0.0.1:2379]
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"
#include <poll.h>

enum { WAIT_MS = 10000, ROOMS = 3, CHANGES = 2 };

/* What the program knows of a room; the user_data of its watch. */
struct room {
    const char *name;
    etcdgw_watch_handle *watch;
    int changes, freed;
};

/* Runs when no event of the room's watch is left and none can come: here its memory could be freed. */
static void forget(void *user_data) { ((struct room *)user_data)->freed++; }

static int watch_room(etcdgw_client *client, etcdgw_queue *queue, struct room *room)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;

    options.queue = queue; /* and hence no callback */
    return failed("watch", etcdgw_watch(client, etcdgw_str(room->name), &options, NULL, room, forget, &room->watch, &err),
                  &err);
}

/* Takes one event, if there is one; 1 when something went wrong. */
static int take(etcdgw_queue *queue, int *seen)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    int ended = 0;

    /* 0: don't wait. Nothing there is DEADLINE_EXCEEDED without an error object. */
    etcdgw_status status = etcdgw_queue_next(queue, 0, &event, &err);
    if (status == ETCDGW_DEADLINE_EXCEEDED && err == NULL)
        return 0;
    if (failed("next", status, &err))
        return 1;
    if (event->source == ETCDGW_SOURCE_WATCH) {
        struct room *room = event->user_data;
        for (size_t i = 0; i < event->watch->events_len; i++) {
            printf("%s: %.*s\n", room->name, TEXT(event->watch->events[i].kv->value));
            room->changes++;
            ++*seen;
        }
        if (event->watch->kind == ETCDGW_WATCH_ENDED) {
            fprintf(stderr, "%s ended: %s\n", room->name, etcdgw_error_message(event->watch->error));
            ended = 1;
        }
    }
    etcdgw_event_free(event);
    return ended;
}

/* The event loop: other descriptors could stand beside the queue's. */
static int loop_until(etcdgw_queue *queue, int wanted)
{
    struct pollfd ready = {.fd = etcdgw_queue_fd(queue), .events = POLLIN};
    int seen = 0;
    while (seen < wanted) {
        if (poll(&ready, 1, WAIT_MS) != 1)
            return check("events come within 10 s", 0);
        if (take(queue, &seen))
            return 1;
    }
    return check("no event too many", seen == wanted);
}

static int put(etcdgw_client *client, const char *key, const char *value)
{
    etcdgw_error *err = NULL;
    return failed("put", etcdgw_put(client, etcdgw_str(key), etcdgw_str(value), NULL, NULL, &err), &err);
}

static int run(etcdgw_client *client, etcdgw_queue *queue, struct room *rooms)
{
    for (int i = 0; i < ROOMS; i++)
        if (watch_room(client, queue, &rooms[i]))
            return 1;
    for (int i = 0; i < ROOMS; i++)
        if (put(client, rooms[i].name, "light") || put(client, rooms[i].name, "dark"))
            return 1;
    if (loop_until(queue, ROOMS * CHANGES))
        return 1;
    for (int i = 0; i < ROOMS; i++)
        if (check("each watch has its own events", rooms[i].changes == CHANGES))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    struct room rooms[ROOMS] = {{.name = "queue/kitchen"}, {.name = "queue/hall"}, {.name = "queue/cellar"}};
    etcdgw_error *err = NULL;
    etcdgw_queue *queue = NULL;
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;

    int failure = failed("queue", etcdgw_queue_new(&queue, &err), &err) || run(client, queue, rooms);
    for (int i = 0; i < ROOMS; i++) {
        int was_watched = rooms[i].watch != NULL;
        etcdgw_watch_free(rooms[i].watch);
        failure |= check("user_data is freed once", rooms[i].freed == 1 || !was_watched);
    }
    etcdgw_queue_free(queue);
    failure |= failed("clean-up", etcdgw_delete_prefix(client, ETCDGW_STR("queue/"), NULL, NULL, &err), &err);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
