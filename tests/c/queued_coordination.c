/* Keep-alives, sessions and observers of elections that deliver to a queue: what their events say, what they own, and the
 * end of it all in any order. */
#include "test.h"
#include <sys/epoll.h>

enum { SHORT_TTL_S = 2, NAMES = 24 };

static struct key_room room[4];

/* The user data of a source. */
struct source {
    etcdgw_watch_handle *watch;
    etcdgw_keepalive *keepalive;
    etcdgw_session *session;
    etcdgw_election_observer *observer;
    int events, losses;
    struct tally freed;
};
static const struct source fresh = {NULL, NULL, NULL, NULL, 0, 0, TALLY_INIT};

static void source_is_freed(void *user_data) { tally_one(&((struct source *)user_data)->freed); }

static etcdgw_queue *new_queue(void)
{
    etcdgw_error *err = NULL;
    etcdgw_queue *queue = NULL;
    OK(etcdgw_queue_new(&queue, &err));
    return queue;
}

static int64_t grant(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    int64_t lease = 0;
    OK(etcdgw_lease_grant(client, SHORT_TTL_S, NULL, &lease, NULL, &err));
    return lease;
}

static void end_lease(etcdgw_client *client, int64_t lease)
{
    etcdgw_error *err = NULL;
    OK(etcdgw_lease_revoke(client, lease, NULL, &err));
}

static void watch_into(etcdgw_queue *queue, etcdgw_client *client, etcdgw_bytes key, struct source *source,
                       void (*user_data_free)(void *))
{
    etcdgw_error *err = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    *source = fresh;
    options.queue = queue;
    OK(etcdgw_watch(client, key, &options, NULL, source, user_data_free, &source->watch, &err));
}

static void keep_into(etcdgw_queue *queue, etcdgw_client *client, int64_t lease, struct source *source)
{
    etcdgw_error *err = NULL;
    etcdgw_keepalive_options options = ETCDGW_KEEPALIVE_OPTIONS_INIT;
    *source = fresh;
    options.queue = queue;
    OK(etcdgw_keepalive_start(client, lease, &options, NULL, source, source_is_freed, &source->keepalive, &err));
}

static void session_into(etcdgw_queue *queue, etcdgw_client *client, struct source *source,
                         void (*user_data_free)(void *))
{
    etcdgw_error *err = NULL;
    etcdgw_session_options options = ETCDGW_SESSION_OPTIONS_INIT;
    *source = fresh;
    options.queue = queue;
    options.ttl = SHORT_TTL_S;
    OK(etcdgw_session_new(client, &options, NULL, source, user_data_free, &source->session, &err));
}

static void observe_into(etcdgw_queue *queue, etcdgw_election *election, struct source *source,
                         void (*user_data_free)(void *))
{
    etcdgw_error *err = NULL;
    etcdgw_election_observe_options options = ETCDGW_ELECTION_OBSERVE_OPTIONS_INIT;
    *source = fresh;
    options.queue = queue;
    OK(etcdgw_election_observe(election, &options, NULL, source, user_data_free, &source->observer, &err));
}

static void nothing_comes(etcdgw_queue *queue)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    CHECK(etcdgw_queue_next(queue, 0, &event, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL && event == NULL);
}

/* An event that comes in time. */
static etcdgw_event *next(etcdgw_queue *queue)
{
    etcdgw_error *err = NULL;
    etcdgw_event *event = NULL;
    OK(etcdgw_queue_next(queue, PATIENCE_MS, &event, &err));
    return event;
}

/* Whose event it is, which has what belongs to its kind and nothing else. */
static struct source *take_in(const etcdgw_event *event)
{
    struct source *source = event->user_data;
    CHECK(event->reserved0 == 0 && event->mirror == NULL);
    CHECK((event->watch != NULL) == (event->source == ETCDGW_SOURCE_WATCH));
    CHECK((event->election != NULL) == (event->source == ETCDGW_SOURCE_ELECTION));
    CHECK((event->keepalive != NULL) ==
          (event->source == ETCDGW_SOURCE_KEEPALIVE || event->source == ETCDGW_SOURCE_SESSION));
    source->events++;
    if (event->keepalive != NULL && event->keepalive->lost != NULL) {
        CHECK(etcdgw_error_status(event->keepalive->lost) == ETCDGW_LEASE_EXPIRED && event->keepalive->ttl_s == 0);
        source->losses++;
    }
    return source;
}

static etcdgw_election *new_election(etcdgw_session *session, etcdgw_bytes name)
{
    etcdgw_error *err = NULL;
    etcdgw_election *election = NULL;
    OK(etcdgw_election_new(session, name, &election, &err));
    return election;
}

/* A watch, a keep-alive, a session and an observer in one epoll loop, until the leases are lost. */
static void all_kinds_in_one_loop(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    struct source watched, kept, session, observed;
    etcdgw_session *leads = NULL;
    etcdgw_queue *queue = new_queue();
    etcdgw_bytes key = own_key(&room[0], "loop");
    int64_t lease = grant(client);
    OK(etcdgw_session_new(client, NULL, NULL, NULL, NULL, &leads, &err));
    etcdgw_election *election = new_election(leads, own_key(&room[1], "office"));
    OK(etcdgw_election_campaign(election, ETCDGW_STR("me"), 0, NULL, &err));
    watch_into(queue, client, key, &watched, source_is_freed);
    keep_into(queue, client, lease, &kept);
    session_into(queue, client, &session, source_is_freed);
    observe_into(queue, election, &observed, source_is_freed);
    put(client, key, "x");

    int loop = epoll_create1(EPOLL_CLOEXEC), is_revoked = 0;
    struct epoll_event ready = {.events = EPOLLIN, .data = {.ptr = queue}};
    CHECK(loop >= 0 && epoll_ctl(loop, EPOLL_CTL_ADD, etcdgw_queue_fd(queue), &ready) == 0);
    while (!kept.losses || !session.losses) {
        etcdgw_event *event = NULL;
        CHECK(epoll_wait(loop, &ready, 1, PATIENCE_MS) == 1);
        OK(etcdgw_queue_next(queue, 0, &event, &err));
        const struct source *source = take_in(event);
        if (source == &watched)
            CHECK(same(event->watch->events[0].kv->value, ETCDGW_STR("x")));
        else if (source == &observed)
            CHECK(same(event->election->leader->value, ETCDGW_STR("me")) && event->election->error == NULL);
        else if (source == &kept)
            CHECK(event->keepalive->lease == lease && event->keepalive->ttl_s == (kept.losses ? 0 : SHORT_TTL_S));
        else
            CHECK(source == &session && event->keepalive->lease == etcdgw_session_lease(session.session));
        etcdgw_event_free(event);
        if (watched.events && observed.events && kept.events && !is_revoked) {
            is_revoked = 1;
            end_lease(client, lease);
            end_lease(client, etcdgw_session_lease(session.session));
        }
    }
    CHECK(epoll_wait(loop, &ready, 1, 0) == 0);
    close(loop);
    CHECK(kept.events >= 2 && kept.losses == 1 && session.events == 1);
    CHECK(tally_count(&kept.freed) == 1 && tally_count(&session.freed) == 1);
    CHECK(tally_count(&watched.freed) == 0 && tally_count(&observed.freed) == 0);
    CHECK(etcdgw_keepalive_is_lost(kept.keepalive) && etcdgw_session_is_lost(session.session));
    etcdgw_watch_free(watched.watch);
    etcdgw_election_observer_free(observed.observer);
    etcdgw_keepalive_free(kept.keepalive);
    etcdgw_session_free(session.session);
    CHECK(tally_count(&kept.freed) == 1 && tally_count(&session.freed) == 1);
    CHECK(tally_count(&watched.freed) == 1 && tally_count(&observed.freed) == 1);
    etcdgw_election_free(election);
    etcdgw_session_free(leads);
    etcdgw_queue_free(queue);
}

static void a_queue_excludes_a_callback(etcdgw_client *client, etcdgw_election *election)
{
    etcdgw_error *err = NULL;
    struct source source = fresh;
    etcdgw_queue *queue = new_queue();
    int64_t lease = grant(client);
    etcdgw_keepalive_options keepalive = ETCDGW_KEEPALIVE_OPTIONS_INIT;
    etcdgw_session_options session = ETCDGW_SESSION_OPTIONS_INIT;
    etcdgw_election_observe_options observe = ETCDGW_ELECTION_OBSERVE_OPTIONS_INIT;
    keepalive.queue = session.queue = observe.queue = queue;
    /* None is ever called. */
    etcdgw_keepalive_callback told = (etcdgw_keepalive_callback)abort;
    etcdgw_election_callback seen = (etcdgw_election_callback)abort;
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_keepalive_start(client, lease, &keepalive, told, &source, source_is_freed,
                                                          &source.keepalive, &err));
    CHECK(strstr(etcdgw_error_message(err), "callback") != NULL && source.keepalive == NULL);
    FORGET();
    FAILS(ETCDGW_INVALID_ARGUMENT,
          etcdgw_session_new(client, &session, told, &source, source_is_freed, &source.session, &err));
    FORGET();
    FAILS(ETCDGW_INVALID_ARGUMENT,
          etcdgw_election_observe(election, &observe, seen, &source, source_is_freed, &source.observer, &err));
    FORGET();
    CHECK(tally_count(&source.freed) == 3);
    nothing_comes(queue);
    end_lease(client, lease);
    etcdgw_queue_free(queue);
}

/* Client, queue, source and event, in one of their 24 orders. */
static void free_in_order(int order, etcdgw_client *client, etcdgw_queue *queue, etcdgw_event *event,
                          struct source *source)
{
    enum { CLIENT, QUEUE, SOURCE, EVENT, HANDLES };
    int left[] = {CLIENT, QUEUE, SOURCE, EVENT};
    for (int count = HANDLES; count > 0; count--) {
        int chosen = order % count, which = left[chosen];
        order /= count;
        left[chosen] = left[count - 1];
        if (which == CLIENT) {
            etcdgw_client_free(client);
        } else if (which == QUEUE) {
            etcdgw_queue_free(queue);
        } else if (which == EVENT) {
            CHECK(tally_count(&source->freed) == 0 && event->user_data == source);
            etcdgw_event_free(event);
        } else {
            etcdgw_keepalive_free(source->keepalive);
            etcdgw_session_free(source->session);
            etcdgw_election_observer_free(source->observer);
        }
    }
    CHECK(tally_count(&source->freed) == 1);
}

static void handles_are_freed_in_any_order(etcdgw_client *writer)
{
    static struct source kept[NAMES], sessions[NAMES], observed[NAMES];
    static etcdgw_client *clients[3][NAMES];
    static etcdgw_queue *queues[3][NAMES];
    int64_t lease = grant(writer);
    etcdgw_error *err = NULL;
    etcdgw_session *leads = NULL;
    OK(etcdgw_session_new(writer, NULL, NULL, NULL, NULL, &leads, &err));
    etcdgw_election *campaign = new_election(leads, own_key(&room[1], "orders"));
    OK(etcdgw_election_campaign(campaign, ETCDGW_STR("me"), 0, NULL, &err));
    for (int i = 0; i < NAMES; i++) {
        for (int kind = 0; kind < 3; kind++) {
            clients[kind][i] = client_of_etcd();
            queues[kind][i] = new_queue();
        }
        keep_into(queues[0][i], clients[0][i], lease, &kept[i]);
        session_into(queues[1][i], clients[1][i], &sessions[i], source_is_freed);
        /* Nothing of these is left but the observer and what it needs. */
        etcdgw_session *onlooker = NULL;
        OK(etcdgw_session_new(clients[2][i], NULL, NULL, NULL, NULL, &onlooker, &err));
        etcdgw_election *election = new_election(onlooker, own_key(&room[1], "orders"));
        observe_into(queues[2][i], election, &observed[i], source_is_freed);
        etcdgw_election_free(election);
        etcdgw_session_free(onlooker);
    }
    for (int i = 0; i < NAMES; i++)
        end_lease(writer, etcdgw_session_lease(sessions[i].session));
    for (int i = 0; i < NAMES; i++) {
        free_in_order(i, clients[0][i], queues[0][i], next(queues[0][i]), &kept[i]);
        free_in_order(i, clients[1][i], queues[1][i], next(queues[1][i]), &sessions[i]);
        free_in_order(i, clients[2][i], queues[2][i], next(queues[2][i]), &observed[i]);
    }
    etcdgw_election_free(campaign);
    etcdgw_session_free(leads);
    end_lease(writer, lease);
}

static void leases_are_kept_without_their_queue(etcdgw_client *client)
{
    struct source kept, session;
    etcdgw_queue *queue = new_queue();
    int64_t lease = grant(client);
    keep_into(queue, client, lease, &kept);
    session_into(queue, client, &session, source_is_freed);
    etcdgw_queue_free(queue);
    CHECK(tally_count(&kept.freed) == 1 && tally_count(&session.freed) == 1);
    sleep_ms(SHORT_TTL_S * 1000 + 500);
    CHECK(!etcdgw_keepalive_is_lost(kept.keepalive) && !etcdgw_session_is_lost(session.session));
    etcdgw_keepalive_free(kept.keepalive);
    etcdgw_session_free(session.session);
    CHECK(tally_count(&kept.freed) == 1 && tally_count(&session.freed) == 1);
    end_lease(client, lease);
}

/* As user_data_free: what belongs together ends together. */
static void free_all_of_it(void *user_data)
{
    struct source *source = user_data;
    etcdgw_watch_free(source->watch);
    etcdgw_session_free(source->session);
    etcdgw_election_observer_free(source->observer);
    tally_one(&source->freed);
}

/* Where cancelling leaves nothing, user_data_free runs inside and may free what is being cancelled. */
static void user_data_may_own_its_source(etcdgw_client *client, etcdgw_election *election)
{
    etcdgw_error *err = NULL;
    struct source watched, closed, orphaned, observed;
    etcdgw_queue *queue = new_queue();
    watch_into(queue, client, own_key(&room[0], "owned"), &watched, free_all_of_it);
    etcdgw_watch_cancel(watched.watch);
    session_into(queue, client, &closed, free_all_of_it);
    OK(etcdgw_session_close(closed.session, NULL, &err));
    session_into(queue, client, &orphaned, free_all_of_it);
    OK(etcdgw_session_orphan(orphaned.session, &err));
    observe_into(queue, election, &observed, free_all_of_it);
    etcdgw_election_observer_cancel(observed.observer);
    CHECK(tally_count(&watched.freed) == 1 && tally_count(&observed.freed) == 1);
    CHECK(tally_count(&closed.freed) == 1 && tally_count(&orphaned.freed) == 1);
    nothing_comes(queue);
    etcdgw_queue_free(queue);
}

int main(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    etcdgw_session *session = NULL;
    OK(etcdgw_session_new(client, NULL, NULL, NULL, NULL, &session, &err));
    etcdgw_election *election = new_election(session, own_key(&room[2], "none"));
    a_queue_excludes_a_callback(client, election);
    all_kinds_in_one_loop(client);
    user_data_may_own_its_source(client, election);
    leases_are_kept_without_their_queue(client);
    handles_are_freed_in_any_order(client);
    etcdgw_election_free(election);
    etcdgw_session_free(session);
    OK(etcdgw_delete_prefix(client, own_key(&room[3], ""), NULL, NULL, &err));
    etcdgw_client_free(client);
    check_nothing_is_left(before);
    return EXIT_SUCCESS;
}
