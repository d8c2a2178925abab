/*
 * Signals are the program's own: none is handled on a thread of the library, none is raised by it, and none that
 * interrupts a call is seen by its caller.
 */
#include "fake_server.h"

enum { PUTS = 300, STORM_US = 200 };

static void count_events(const etcdgw_watch_response *response, void *user_data)
{
    tally_add(user_data, (int)response->events_len);
}

/* The threads of the library, each of which must block every signal that can be blocked. */
static int count_blocking_threads(void)
{
    int seen = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char path[300], line[200];
        unsigned long long blocked = 0;
        int is_told = 0;
        if (task->d_name[0] == '.' || atol(task->d_name) == (long)getpid())
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL)
            is_told |= sscanf(line, "SigBlk:\t%llx", &blocked) == 1;
        if (status != NULL)
            fclose(status);
        if (!is_told) /* it has just ended */
            continue;
        seen++;
        for (int signal = 1; signal < 32; signal++)
            CHECK((blocked >> (signal - 1) & 1) == (signal != SIGKILL && signal != SIGSTOP));
    }
    closedir(tasks);
    return seen;
}

static void threads_block_every_signal(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct tally events = TALLY_INIT;
    struct key_room room;
    etcdgw_client *client = client_of_etcd();
    OK(etcdgw_watch(client, own_key(&room, "blocked"), NULL, count_events, &events, NULL, &watch, &err));
    /* One reads, one delivers; who has opened the connection may still be there. */
    WAIT_FOR(count_blocking_threads() == 2);
    etcdgw_watch_free(watch);
    etcdgw_client_free(client);
}

static volatile sig_atomic_t stormy = 1;
static struct tally handled = TALLY_INIT;
static pthread_t main_thread;

/* On the thread that was aimed at, whatever that is in the middle of. It puts errno back, as every handler has to: it may
 * have come between a system call that failed and the look at why. */
static void on_signal(int signal)
{
    int saved = errno;
    (void)signal;
    (void)!write(-1, "", 1);
    errno = saved;
}

static void *storm(void *argument)
{
    (void)argument;
    struct timespec pause = {0, STORM_US * 1000L};
    while (stormy) {
        pthread_kill(main_thread, SIGUSR1);
        tally_add(&handled, 1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void a_storm_of_signals_is_not_seen_by_calls(const char *endpoints)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct key_room room;
    struct sigaction action;
    pthread_t thread;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal; /* and no SA_RESTART */
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    main_thread = pthread_self();
    stormy = 1;
    start_thread(&thread, storm, NULL);
    etcdgw_client *client = client_of(endpoints);
    etcdgw_bytes key = own_key(&room, "storm");
    OK(etcdgw_watch_open(client, key, NULL, &watch, &err));
    int64_t seen = 0;
    char *value = calloc(1, 200001);
    CHECK(value != NULL);
    for (int i = 0; i < PUTS; i++) {
        etcdgw_get_response *got = NULL;
        etcdgw_watch_response *event = NULL;
        memset(value, 'a' + i % 26, i % 10 == 0 ? 200000 : 20);
        value[i % 10 == 0 ? 200000 : 20] = '\0';
        put(client, key, value);
        OK(etcdgw_get(client, key, NULL, &got, &err));
        CHECK(got->kvs_len == 1 && same(got->kvs[0].value, etcdgw_str(value)));
        etcdgw_get_response_free(got);
        OK(etcdgw_watch_next(watch, PATIENCE_MS, &event, &err));
        CHECK(event->kind == ETCDGW_WATCH_EVENTS && event->events_len == 1);
        CHECK(event->events[0].kv->mod_revision > seen);
        seen = event->events[0].kv->mod_revision;
        etcdgw_watch_response_free(event);
    }
    free(value);
    /* Waits that nothing ends but their limit end by it and not before. */
    int64_t start = now_ms();
    CHECK(etcdgw_watch_next(watch, 300, NULL, &err) == ETCDGW_DEADLINE_EXCEEDED && err == NULL);
    CHECK(now_ms() - start >= 300);
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.timeout_ms = 300;
    start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_watch_once(client, key, &options, NULL, &err));
    FORGET();
    CHECK(now_ms() - start >= 300);
    etcdgw_watch_free(watch);
    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    etcdgw_client_free(client);
    stormy = 0;
    pthread_join(thread, NULL);
    CHECK(tally_count(&handled) > 100);
}

/* Takes the first bytes of a request and leaves. */
static void leave_early(struct fake_server *server, int connection)
{
    char some[1000];
    if (readable(server, connection))
        (void)!recv(connection, some, sizeof some, 0);
}

static void a_server_that_leaves_raises_no_signal(void)
{
    etcdgw_error *err = NULL;
    struct fake_server server;
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR); /* which ends the program */
    fake_server_start(&server, leave_early);
    etcdgw_client *client = client_of_fake(server.url);
    size_t length = (size_t)8 << 20;
    char *value = calloc(1, length);
    CHECK(value != NULL);
    for (int i = 0; i < 5; i++) {
        etcdgw_status status = etcdgw_put(client, ETCDGW_STR("k"), bytes(value, length), NULL, NULL, &err);
        CHECK(status == ETCDGW_CONNECTION_LOST || status == ETCDGW_CONNECTION_FAILED);
        FORGET();
    }
    free(value);
    etcdgw_client_free(client);
    fake_server_stop(&server);
}

int main(void)
{
    threads_block_every_signal();
    a_storm_of_signals_is_not_seen_by_calls(getenv("ETCDGW_ENDPOINTS"));
    a_server_that_leaves_raises_no_signal();
    return EXIT_SUCCESS;
}
