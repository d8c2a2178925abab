/*
 * A child of fork gets ETCDGW_FORKED from whatever its parent made, frees it without harm, and works with a client of
 * its own; the parent notices nothing, however busy it is. The argument is how often it forks.
 */
#include "test.h"
#include <poll.h>
#include <sys/wait.h>

enum { THREADS = 8, WATCHES = 20, MANY = 200, CHILD_LIMIT_S = 60 };

/* A child that hangs is ended, and its parent sees that. */
static pid_t begin_child(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        alarm(CHILD_LIMIT_S);
    return child;
}

static void check_child(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What a child says of one call; nothing that is refused takes time. */
#define FORKED(call)                        \
    do {                                    \
        int64_t start = now_ms();           \
        FAILS(ETCDGW_FORKED, call);         \
        CHECK(now_ms() - start < 1000);     \
        FORGET();                           \
    } while (0)

static struct tally user_data_freed = TALLY_INIT;

static void note_freed(void *user_data)
{
    (void)user_data;
    tally_one(&user_data_freed);
}

/* Everything that a parent may have when it forks. */
struct handles {
    etcdgw_client *client, *unused;
    etcdgw_watch_handle *called, *pulled;
    etcdgw_txn *txn;
    etcdgw_cancel *token;
};

static void use_what_was_inherited(struct handles *of_parent)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_txn *txn = NULL;
    int64_t id = 0;
    etcdgw_bytes key = ETCDGW_STR_INIT("never");
    etcdgw_client *clients[] = {of_parent->client, of_parent->unused};
    for (int i = 0; i < 2; i++) {
        FORKED(etcdgw_put(clients[i], key, key, NULL, NULL, &err));
        FORKED(etcdgw_get(clients[i], key, NULL, NULL, &err));
        FORKED(etcdgw_delete(clients[i], key, NULL, NULL, &err));
        FORKED(etcdgw_lease_grant(clients[i], 60, NULL, &id, NULL, &err));
        FORKED(etcdgw_client_set_endpoints(clients[i], "127.0.0.1", &err));
        FORKED(etcdgw_client_stats(clients[i], NULL, &err));
        FORKED(etcdgw_watch_open(clients[i], key, NULL, &watch, &err));
        FORKED(etcdgw_txn_new(clients[i], &txn, &err));
        etcdgw_client_close(clients[i]);
    }
    FORKED(etcdgw_txn_commit(of_parent->txn, NULL, NULL, &err));
    FORKED(etcdgw_watch_next(of_parent->pulled, -1, NULL, &err));
    FORKED(etcdgw_watch_join(of_parent->called, -1, &err));
    CHECK(etcdgw_watch_fd(of_parent->pulled) == -1);
    etcdgw_cancel_trigger(of_parent->token);
    etcdgw_watch_cancel(of_parent->called);
    etcdgw_watch_cancel(of_parent->pulled);
}

static void free_all(struct handles *handles)
{
    etcdgw_client_free(handles->client);
    etcdgw_watch_free(handles->called);
    etcdgw_txn_free(handles->txn);
    etcdgw_watch_free(handles->pulled);
    etcdgw_cancel_free(handles->token);
    etcdgw_client_free(handles->unused);
}

static void work_with_a_client_of_its_own(const char *key)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch_open(client, etcdgw_str(key), NULL, &watch, &err));
    put(client, etcdgw_str(key), "by the child");
    OK(etcdgw_watch_next(watch, PATIENCE_MS, &response, &err));
    CHECK(response->events_len == 1);
    etcdgw_watch_response_free(response);
    etcdgw_watch_free(watch);
    etcdgw_client_free(client);
}

static int sockets(void)
{
    char path[64], target[64];
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        count += strncmp(target, "socket:", 7) == 0 || strstr(target, "eventfd") != NULL;
    }
    return count;
}

static void on_nothing(const etcdgw_watch_response *response, void *user_data)
{
    (void)response;
    tally_one(user_data);
}

static void make_all(struct handles *handles, struct tally *events, etcdgw_bytes key)
{
    etcdgw_error *err = NULL;
    handles->client = client_of_etcd();
    handles->unused = client_of_etcd();
    OK(etcdgw_watch(handles->client, key, NULL, on_nothing, events, tally_one, &handles->called, &err));
    OK(etcdgw_watch_open(handles->client, key, NULL, &handles->pulled, &err));
    OK(etcdgw_txn_new(handles->client, &handles->txn, &err));
    OK(etcdgw_txn_then_put(handles->txn, key, ETCDGW_STR("x"), NULL, &err));
    OK(etcdgw_cancel_new(&handles->token, &err));
}

static void a_child_of_a_quiet_parent_leaves_no_trace(void)
{
    struct handles all;
    struct tally events = TALLY_INIT;
    struct key_room room, child_room;
    etcdgw_error *err = NULL;
    etcdgw_bytes key = own_key(&room, "quiet");
    etcdgw_bytes child_key = own_key(&child_room, "quiet child");
    struct footprint before = footprint();
    make_all(&all, &events, key);
    int fd = etcdgw_watch_fd(all.pulled);
    pid_t child = begin_child();
    if (child == 0) {
        int open_before = sockets();
        use_what_was_inherited(&all);
        CHECK(sockets() == open_before);
        free_all(&all);
        CHECK(sockets() == 0);
        work_with_a_client_of_its_own((const char *)child_key.data);
        CHECK(sockets() == 0);
        CHECK(tally_count(&events) == 0); /* neither called nor freed */
        _exit(EXIT_SUCCESS);
    }
    check_child(child);
    /* Nothing was written to the descriptors that both have, the token's among them. */
    struct pollfd quiet = {fd, POLLIN, 0};
    CHECK(poll(&quiet, 1, 0) == 0);
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.timeout_ms = 300;
    options.cancel = all.token;
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_watch_once(all.client, key, &options, NULL, &err));
    FORGET();
    OK(etcdgw_txn_commit(all.txn, NULL, NULL, &err));
    OK(etcdgw_watch_next(all.pulled, PATIENCE_MS, NULL, &err));
    CHECK(tally_reaches(&events, 1));
    free_all(&all);
    CHECK(tally_reaches(&events, 2)); /* the event, and user_data_free */
    check_nothing_is_left(before);
}

/* Whoever asks whether it still has the lease must not take the parent's for its own. */
static void a_parents_lease_is_lost_to_a_child(void)
{
    etcdgw_error *err = NULL;
    etcdgw_session *session = NULL;
    etcdgw_keepalive *keepalive = NULL;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_session_new(client, NULL, NULL, NULL, NULL, &session, &err));
    OK(etcdgw_keepalive_start(client, etcdgw_session_lease(session), NULL, NULL, NULL, NULL, &keepalive, &err));
    pid_t child = begin_child();
    if (child == 0) {
        CHECK(etcdgw_session_is_lost(session) == 1 && etcdgw_session_remaining_ms(session) == 0);
        CHECK(etcdgw_keepalive_is_lost(keepalive) == 1 && etcdgw_keepalive_remaining_ms(keepalive) == 0);
        etcdgw_keepalive_free(keepalive);
        etcdgw_session_free(session);
        etcdgw_client_free(client);
        _exit(EXIT_SUCCESS);
    }
    check_child(child);
    CHECK(!etcdgw_session_is_lost(session) && etcdgw_session_remaining_ms(session) > 0);
    CHECK(!etcdgw_keepalive_is_lost(keepalive) && etcdgw_keepalive_remaining_ms(keepalive) > 0);
    etcdgw_keepalive_free(keepalive);
    etcdgw_session_free(session);
    etcdgw_client_free(client);
}

/* A watch that counts every write of one thread. */
struct watcher {
    etcdgw_watch_handle *watch;
    struct tally events;
    int64_t last_revision;
};

static void on_event(const etcdgw_watch_response *response, void *user_data)
{
    struct watcher *watcher = user_data;
    CHECK(response->kind == ETCDGW_WATCH_EVENTS);
    for (size_t i = 0; i < response->events_len; i++) {
        CHECK(response->events[i].kv->mod_revision > watcher->last_revision);
        watcher->last_revision = response->events[i].kv->mod_revision;
    }
    tally_add(&watcher->events, (int)response->events_len);
}

/* Reads a watch until it has told so many events. */
static void pull(struct watcher *watcher, int events)
{
    etcdgw_error *err = NULL;
    while (tally_count(&watcher->events) < events) {
        etcdgw_watch_response *response = NULL;
        OK(etcdgw_watch_next(watcher->watch, PATIENCE_MS, &response, &err));
        CHECK(response != NULL);
        on_event(response, watcher);
        etcdgw_watch_response_free(response);
    }
}

/* In a child: ends what the parent has, in another order each time. */
static void end_many(struct watcher *watchers, etcdgw_client *client, int order)
{
    if (order % 2 == 0)
        etcdgw_client_close(client);
    if (order % 3 == 0)
        etcdgw_client_free(client);
    for (int i = 0; i < MANY; i++) {
        int at = order % 2 == 0 ? i : MANY - 1 - i;
        if ((at + order) % 4 == 0)
            etcdgw_watch_cancel(watchers[at].watch);
        etcdgw_watch_free(watchers[at].watch);
    }
    if (order % 3 != 0)
        etcdgw_client_free(client);
}

/* Half of them are called, half are read; on one connection where the server has one for all. */
static void many_watches_go_on_when_children_end_them(void)
{
    enum { FORKS = 6, PUTS = 10 };
    static struct watcher watchers[MANY];
    struct key_room room, child_room;
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    int freed_before = tally_count(&user_data_freed);
    etcdgw_client *client = client_of_etcd(), *writer = client_of_etcd();
    etcdgw_bytes key = own_key(&room, "many"), child_key = own_key(&child_room, "of a child of many");
    for (int i = 0; i < MANY; i++) {
        struct watcher *watcher = &watchers[i];
        *watcher = (struct watcher){NULL, TALLY_INIT, 0};
        if (i % 2 == 0)
            OK(etcdgw_watch(client, key, NULL, on_event, watcher, note_freed, &watcher->watch, &err));
        else
            OK(etcdgw_watch_open(client, key, NULL, &watcher->watch, &err));
    }
    int puts = 0;
    for (int i = 0; i < FORKS; i++) {
        /* Some of these are on their way when it forks, and some come while the child ends its copies. */
        for (int j = 0; j < PUTS; j++, puts++)
            put(writer, key, "before");
        pid_t child = begin_child();
        if (child == 0) {
            end_many(watchers, client, i);
            etcdgw_client_free(writer);
            CHECK(sockets() == 0);
            work_with_a_client_of_its_own((const char *)child_key.data);
            CHECK(tally_count(&user_data_freed) == freed_before);
            _exit(EXIT_SUCCESS);
        }
        for (int j = 0; j < PUTS; j++, puts++)
            put(writer, key, "meanwhile");
        check_child(child);
        for (int j = 1; j < MANY; j += 2)
            pull(&watchers[j], puts);
    }
    put(writer, key, "after");
    puts++;
    for (int i = 0; i < MANY; i++) {
        struct watcher *watcher = &watchers[i];
        if (i % 2 == 0)
            CHECK(tally_reaches(&watcher->events, puts));
        else
            pull(watcher, puts);
        etcdgw_watch_cancel(watcher->watch);
        if (i % 2 == 0)
            OK(etcdgw_watch_join(watcher->watch, PATIENCE_MS, &err));
        CHECK(tally_count(&watcher->events) == puts);
        etcdgw_watch_free(watcher->watch);
    }
    CHECK(tally_count(&user_data_freed) == freed_before + MANY / 2);
    OK(etcdgw_delete(writer, key, NULL, NULL, &err));
    OK(etcdgw_delete(writer, child_key, NULL, NULL, &err));
    etcdgw_client_free(client);
    etcdgw_client_free(writer);
    check_nothing_is_left(before);
}

struct worker {
    etcdgw_client *client;
    int number, puts;
    struct tally *stop;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct key_room room;
    char name[32], value[32];
    snprintf(name, sizeof name, "busy/%d", worker->number);
    etcdgw_bytes key = own_key(&room, name);
    while (tally_count(worker->stop) == 0) {
        etcdgw_error *err = NULL;
        etcdgw_get_response *got = NULL;
        snprintf(value, sizeof value, "%d", worker->puts++);
        put(worker->client, key, value);
        OK(etcdgw_get(worker->client, key, NULL, &got, &err));
        CHECK(got->kvs_len == 1 && same(got->kvs[0].value, etcdgw_str(value)));
        etcdgw_get_response_free(got);
    }
    return NULL;
}

static void a_busy_parent_notices_nothing(int forks)
{
    static struct watcher watchers[WATCHES];
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct tally stop = TALLY_INIT, nobody = TALLY_INIT;
    struct handles all;
    struct key_room room, quiet_room;
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    int freed_before = tally_count(&user_data_freed);
    make_all(&all, &nobody, own_key(&quiet_room, "not busy"));
    etcdgw_bytes prefix = own_key(&room, "busy/");
    for (int i = 0; i < WATCHES; i++) {
        watchers[i] = (struct watcher){NULL, TALLY_INIT, 0};
        OK(etcdgw_watch_prefix(all.client, prefix, NULL, on_event, &watchers[i], note_freed, &watchers[i].watch,
                               &err));
    }
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){all.client, i, 0, &stop};
        start_thread(&threads[i], work, &workers[i]);
    }
    for (int i = 0; i < forks; i++) {
        char name[32];
        struct key_room child_room;
        snprintf(name, sizeof name, "child/%d", i);
        etcdgw_bytes key = own_key(&child_room, name);
        pid_t child = begin_child();
        if (child == 0) {
            use_what_was_inherited(&all);
            for (int j = 0; j < WATCHES; j++)
                etcdgw_watch_free(watchers[j].watch);
            free_all(&all);
            work_with_a_client_of_its_own((const char *)key.data);
            _exit(EXIT_SUCCESS);
        }
        check_child(child);
    }
    tally_add(&stop, 1);
    int puts = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        puts += workers[i].puts;
    }
    etcdgw_get_response *made = NULL;
    OK(etcdgw_get_prefix(all.client, own_key(&room, "child/"), NULL, &made, &err));
    CHECK(made->count == forks);
    etcdgw_get_response_free(made);
    for (int i = 0; i < WATCHES; i++) {
        CHECK(tally_reaches(&watchers[i].events, puts));
        etcdgw_watch_cancel(watchers[i].watch);
        OK(etcdgw_watch_join(watchers[i].watch, PATIENCE_MS, &err));
        CHECK(tally_count(&watchers[i].events) == puts);
        etcdgw_watch_free(watchers[i].watch);
    }
    CHECK(tally_count(&user_data_freed) == freed_before + WATCHES);
    OK(etcdgw_delete_prefix(all.client, own_key(&room, ""), NULL, NULL, &err));
    free_all(&all);
    check_nothing_is_left(before);
}

/* The thread that a callback runs on is the only one of the child. */
static void fork_inside(const etcdgw_watch_response *response, void *user_data)
{
    struct handles *all = user_data;
    pid_t child = begin_child();
    if (child == 0) {
        struct key_room room;
        snprintf(room.text, sizeof room.text, "%.*s child", (int)response->events[0].kv->key.len,
                 (const char *)response->events[0].kv->key.data);
        use_what_was_inherited(all);
        free_all(all);
        work_with_a_client_of_its_own(room.text);
        _exit(EXIT_SUCCESS);
    }
    check_child(child);
    tally_one(&user_data_freed);
}

static void a_callback_may_fork(void)
{
    struct handles all;
    struct tally nobody = TALLY_INIT;
    struct key_room room;
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_bytes key = own_key(&room, "in a callback");
    make_all(&all, &nobody, ETCDGW_STR("not used"));
    int before = tally_count(&user_data_freed);
    OK(etcdgw_watch(all.client, key, NULL, fork_inside, &all, NULL, &watch, &err));
    put(all.client, key, "x");
    CHECK(tally_reaches(&user_data_freed, before + 1));
    put(all.client, key, "y");
    CHECK(tally_reaches(&user_data_freed, before + 2));
    etcdgw_watch_free(watch);
    OK(etcdgw_delete_prefix(all.client, own_key(&room, ""), NULL, NULL, &err));
    free_all(&all);
}

/* Its thread ends with the callback, and it has no other; nothing is called or freed a second time there. */
static void fork_and_return(const etcdgw_watch_response *response, void *user_data)
{
    pid_t child = begin_child();
    if (child != 0) {
        check_child(child);
        tally_add(user_data, (int)response->events_len); /* both may come at once */
    }
}

static void a_child_that_returns_from_a_callback_ends(void)
{
    struct tally returned = TALLY_INIT;
    struct key_room room;
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_client *client = client_of_etcd();
    etcdgw_bytes key = own_key(&room, "returns");
    OK(etcdgw_watch(client, key, NULL, fork_and_return, &returned, NULL, &watch, &err));
    put(client, key, "x");
    put(client, key, "y");
    CHECK(tally_reaches(&returned, 2));
    etcdgw_watch_free(watch);
    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    etcdgw_client_free(client);
}

static void a_daemon_makes_its_client_after_it_has_become_one(void)
{
    struct key_room room;
    etcdgw_error *err = NULL;
    etcdgw_bytes key = own_key(&room, "daemon");
    pid_t child = begin_child();
    if (child == 0) {
        etcdgw_client *early = client_of_etcd();
        put(early, key, "not yet");
        CHECK(daemon(1, 1) == 0);
        alarm(CHILD_LIMIT_S);
        FORKED(etcdgw_put(early, key, ETCDGW_STR("too early"), NULL, NULL, &err));
        etcdgw_client_free(early);
        etcdgw_client *client = client_of_etcd();
        put(client, key, "a daemon");
        etcdgw_client_free(client);
        _exit(EXIT_SUCCESS);
    }
    check_child(child); /* which has ended as daemon() does */
    etcdgw_client *client = client_of_etcd();
    int is_done = 0;
    for (int64_t until = now_ms() + PATIENCE_MS; !is_done && now_ms() < until; sleep_ms(5)) {
        etcdgw_get_response *got = NULL;
        OK(etcdgw_get(client, key, NULL, &got, &err));
        is_done = got->kvs_len == 1 && same(got->kvs[0].value, ETCDGW_STR("a daemon"));
        etcdgw_get_response_free(got);
    }
    CHECK(is_done);
    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    etcdgw_client_free(client);
}

int main(int argc, char **argv)
{
    a_child_of_a_quiet_parent_leaves_no_trace();
    a_parents_lease_is_lost_to_a_child();
    a_callback_may_fork();
    a_child_that_returns_from_a_callback_ends();
    a_daemon_makes_its_client_after_it_has_become_one();
    many_watches_go_on_when_children_end_them();
    a_busy_parent_notices_nothing(argc > 1 ? atoi(argv[1]) : 50);
    return EXIT_SUCCESS;
}
