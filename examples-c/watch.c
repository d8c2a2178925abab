/*
 * A watch in an event loop: poll() says when there is something to fetch. No callback, no thread of one's own.
 * quickstart.c has a watch with a callback.
 *
 *   cc watch.c $(pkg-config --cflags --libs etcdgw) -o watch
 *   ./watch [http://127.0.0.1:2379]
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"
#include <poll.h>

enum { WAIT_MS = 10000 };

static const etcdgw_bytes prefix = ETCDGW_STR_INIT("watch/");

static int put(etcdgw_client *client, const char *key, const char *value)
{
    etcdgw_error *err = NULL;
    return failed("put", etcdgw_put(client, etcdgw_str(key), etcdgw_str(value), NULL, NULL, &err), &err);
}

static void print_event(const etcdgw_watch_event *event)
{
    if (event->type == ETCDGW_EVENT_DELETE)
        printf("deleted  %.*s\n", TEXT(event->kv->key));
    else if (event->prev_kv == NULL)
        printf("created  %.*s = %.*s\n", TEXT(event->kv->key), TEXT(event->kv->value));
    else
        printf("changed  %.*s = %.*s, was %.*s\n", TEXT(event->kv->key), TEXT(event->kv->value),
               TEXT(event->prev_kv->value));
}

/* Takes what there is; adds to *seen, and notes where a later watch would go on. */
static int take(etcdgw_watch_handle *watch, size_t *seen, int64_t *resume_revision)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_response *response = NULL;
    int ended = 0;

    /* 0: don't wait. Nothing there is DEADLINE_EXCEEDED without an error object. */
    etcdgw_status status = etcdgw_watch_next(watch, 0, &response, &err);
    if (status == ETCDGW_DEADLINE_EXCEEDED && err == NULL)
        return 0;
    if (failed("next", status, &err))
        return 1;
    switch (response->kind) {
    case ETCDGW_WATCH_EVENTS:
        for (size_t i = 0; i < response->events_len; i++)
            print_event(&response->events[i]);
        *seen += response->events_len;
        break;
    case ETCDGW_WATCH_DISCONNECTED: /* these two come because report_connection is set; nothing is lost between them */
        printf("disconnected: %s\n", etcdgw_error_message(response->error));
        break;
    case ETCDGW_WATCH_RESUMED:
        printf("resumed\n");
        break;
    case ETCDGW_WATCH_ENDED: /* for good: the revision wanted was compacted, or the permission withdrawn */
        fprintf(stderr, "ended: %s\n", etcdgw_error_message(response->error));
        ended = 1;
        break;
    default: /* later versions may add kinds */
        break;
    }
    *resume_revision = response->resume_revision;
    etcdgw_watch_response_free(response);
    return ended;
}

/* The event loop: other descriptors could stand beside the watch's. */
static int loop_until(etcdgw_watch_handle *watch, size_t wanted, int64_t *resume_revision)
{
    struct pollfd ready = {.fd = etcdgw_watch_fd(watch), .events = POLLIN};
    size_t seen = 0;
    while (seen < wanted) {
        if (poll(&ready, 1, WAIT_MS) != 1)
            return check("events come within 10 s", 0);
        if (take(watch, &seen, resume_revision))
            return 1;
    }
    return check("no event too many", seen == wanted);
}

/* Watches from a revision on (0: from now), and has `change` change something once the watch stands. */
static int watch_from(etcdgw_client *client, int64_t revision, int (*change)(etcdgw_client *), size_t wanted,
                      int64_t *resume_revision)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;

    options.prefix = 1;
    options.prev_kv = 1;
    options.report_connection = 1;
    options.start_revision = revision;
    if (failed("watch", etcdgw_watch_open(client, prefix, &options, &watch, &err), &err))
        return 1;
    int failure = (change != NULL && change(client)) || loop_until(watch, wanted, resume_revision);
    etcdgw_watch_free(watch);
    return failure;
}

static int three_changes(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    return put(client, "watch/lamp", "on") || put(client, "watch/lamp", "off")
        || failed("delete", etcdgw_delete(client, ETCDGW_STR("watch/lamp"), NULL, NULL, &err), &err);
}

int main(int argc, char **argv)
{
    int64_t resume_revision = 0;
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    if (client == NULL)
        return EXIT_FAILURE;

    int failure = watch_from(client, 0, three_changes, 3, &resume_revision);
    /* What happens while nobody watches is not missed: the next watch starts where the last one stopped. */
    failure = failure || put(client, "watch/door", "open") || put(client, "watch/door", "shut")
        || watch_from(client, resume_revision, NULL, 2, &resume_revision);

    etcdgw_error *err = NULL;
    failure |= failed("clean-up", etcdgw_delete_prefix(client, prefix, NULL, NULL, &err), &err);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
