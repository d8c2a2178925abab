/* Usage: watches ENDPOINTS LIVENESS_MS WEBSOCKET. Watches and writes through libetcdgw as the lines on stdin say, and
 * answers each with two numbers, of which the second is 0 where it isn't named here. Times are nanoseconds, instants
 * those of CLOCK_MONOTONIC, which the driver shares. What is counted is counted since `arm`.
 *
 *   open PREFIX COUNT THREADS WAIT   begins COUNT watches of a key each; how long the calls took. WAIT 0: unconfirmed
 *   watch PREFIX REVISION            begins one watch of all keys with the prefix
 *   hold PREFIX                      the same, and nobody reads it
 *   drain COUNT                      reads so many events of that one; how long it took
 *   arm EVENTS                       forgets what was counted, and counts to so many
 *   time EVENTS                      the same, and looks into each when it was sent, for `lag`
 *   count                            waits for them; the instant at which they had come, and how many events have
 *   lag                              the longest time from just before a put to its event, and the median
 *   put PREFIX COUNT BYTES PAUSE_US  writes so many keys one after another, each until it succeeds; how long it took
 *   fill PREFIX COUNT BYTES OPS      the same in transactions of OPS; the first revision, and how long it took
 *   latency COUNT                    the median time from just before a put to its event, one after another
 *   cpu                              what the process has used of processors
 *   allocated                        bytes that it has allocated */
#define _GNU_SOURCE
#include "client.h"

#include <etcdgw.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LAGS = 1 << 20, STAMP = 20 };

/* What has come. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int64_t events, wanted, reached_ns;
static bool looks_for_lags;
static int64_t lags[LAGS];
static size_t lags_len;

static etcdgw_client *client;
static etcdgw_watch_handle *held;

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void check(etcdgw_status status, etcdgw_error *error)
{
    if (status != ETCDGW_OK)
        die("%s: %s", etcdgw_status_name(status), etcdgw_error_message(error));
}

static void answer(int64_t number, int64_t second)
{
    printf("%lld %lld\n", (long long)number, (long long)second);
    fflush(stdout);
}

/* The instant of sending that a value begins with. */
static int64_t stamp_of(etcdgw_bytes value)
{
    char text[STAMP + 1] = "";
    memcpy(text, value.data, value.len < STAMP ? value.len : STAMP);
    return strtoll(text, NULL, 10);
}

static void take_events(const etcdgw_watch_response *response, void *user_data)
{
    (void)user_data;
    if (response->kind == ETCDGW_WATCH_ENDED)
        die("a watch ended: %s", etcdgw_error_message(response->error));
    int64_t now = now_ns();
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; looks_for_lags && i < response->events_len && lags_len < LAGS; i++)
        lags[lags_len++] = now - stamp_of(response->events[i].kv->value);
    int64_t before = events;
    events += (int64_t)response->events_len;
    if (before < wanted && events >= wanted) {
        reached_ns = now;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&mutex);
}

static void arm(int64_t goal, bool with_lags)
{
    pthread_mutex_lock(&mutex);
    events = reached_ns = 0;
    lags_len = 0;
    looks_for_lags = with_lags;
    wanted = goal;
    pthread_mutex_unlock(&mutex);
}

/* The instant at which what was wanted had come. */
static int64_t wait_for_events(void)
{
    pthread_mutex_lock(&mutex);
    while (events < wanted)
        pthread_cond_wait(&changed, &mutex);
    int64_t at = reached_ns;
    pthread_mutex_unlock(&mutex);
    return at;
}

struct opener {
    const char *prefix;
    size_t first, count, step;
    int wait;
};

static void *open_some(void *argument)
{
    const struct opener *opener = argument;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    options.no_wait_created = !opener->wait;
    for (size_t i = opener->first; i < opener->count; i += opener->step) {
        char key[64];
        etcdgw_watch_handle *watch;
        etcdgw_error *error;
        snprintf(key, sizeof key, "%s%06zu", opener->prefix, i);
        /* The handle is never freed: the watch lasts as long as the process. */
        check(etcdgw_watch(client, etcdgw_str(key), &options, take_events, NULL, NULL, &watch, &error), error);
    }
    return NULL;
}

static void open_many(const char *prefix, size_t count, size_t threads, int wait)
{
    pthread_t ids[64];
    struct opener openers[64];
    if (threads == 0 || threads > 64)
        die("bad number of threads");
    int64_t started = now_ns();
    for (size_t i = 0; i < threads; i++) {
        openers[i] = (struct opener){prefix, i, count, threads, wait};
        if (pthread_create(&ids[i], NULL, open_some, &openers[i]) != 0)
            die("pthread_create");
    }
    for (size_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    answer(now_ns() - started, 0);
}

static void watch_prefix(const char *prefix, int64_t revision)
{
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_watch_handle *watch;
    etcdgw_error *error;
    options.start_revision = revision;
    check(etcdgw_watch_prefix(client, etcdgw_str(prefix), &options, take_events, NULL, NULL, &watch, &error), error);
    answer(0, 0);
}

static void hold(const char *prefix)
{
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    etcdgw_error *error;
    options.prefix = 1;
    check(etcdgw_watch_open(client, etcdgw_str(prefix), &options, &held, &error), error);
    answer(0, 0);
}

static void drain(size_t count)
{
    int64_t started = now_ns();
    for (size_t seen = 0; seen < count;) {
        etcdgw_watch_response *response;
        etcdgw_error *error;
        check(etcdgw_watch_next(held, 60000, &response, &error), error);
        if (response->kind == ETCDGW_WATCH_ENDED)
            die("the watch ended: %s", etcdgw_error_message(response->error));
        seen += response->events_len;
        etcdgw_watch_response_free(response);
    }
    answer(now_ns() - started, 0);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void answer_lag(void)
{
    pthread_mutex_lock(&mutex);
    qsort(lags, lags_len, sizeof *lags, compare);
    int64_t longest = lags_len > 0 ? lags[lags_len - 1] : 0, median = lags_len > 0 ? lags[lags_len / 2] : 0;
    pthread_mutex_unlock(&mutex);
    answer(longest, median);
}

/* A value that begins with this instant. */
static etcdgw_bytes stamped(char *room, size_t len)
{
    char stamp[STAMP + 1];
    snprintf(stamp, sizeof stamp, "%020lld", (long long)now_ns());
    memcpy(room, stamp, STAMP);
    etcdgw_bytes value = {(const uint8_t *)room, len};
    return value;
}

static char *room_for(size_t len)
{
    char *room = malloc(len + 1);
    if (room == NULL || len < STAMP)
        die("a value has at least %d bytes", STAMP);
    memset(room, 'v', len);
    return room;
}

static void put(const char *prefix, size_t count, size_t len, unsigned pause_us)
{
    char *room = room_for(len);
    int64_t started = now_ns();
    for (size_t i = 0; i < count; i++) {
        char key[64];
        etcdgw_error *error = NULL;
        snprintf(key, sizeof key, "%s%06zu", prefix, i);
        /* A server that is away meanwhile is a part of some works. */
        while (etcdgw_put(client, etcdgw_str(key), stamped(room, len), NULL, NULL, &error) != ETCDGW_OK) {
            etcdgw_error_free(error);
            usleep(1000);
        }
        if (pause_us > 0)
            usleep(pause_us);
    }
    free(room);
    answer(now_ns() - started, 0);
}

static void fill(const char *prefix, size_t count, size_t len, size_t ops)
{
    char *room = room_for(len);
    int64_t started = now_ns(), first = 0;
    etcdgw_error *error;
    for (size_t done = 0; done < count;) {
        etcdgw_txn *txn;
        etcdgw_txn_response *response;
        check(etcdgw_txn_new(client, &txn, &error), error);
        for (size_t op = 0; op < ops && done < count; op++, done++) {
            char key[64];
            snprintf(key, sizeof key, "%s%06zu", prefix, done);
            check(etcdgw_txn_then_put(txn, etcdgw_str(key), stamped(room, len), NULL, &error), error);
        }
        check(etcdgw_txn_commit(txn, NULL, &response, &error), error);
        if (first == 0)
            first = response->header.revision;
        etcdgw_txn_response_free(response);
        etcdgw_txn_free(txn);
    }
    free(room);
    answer(first, now_ns() - started);
}

static void latency(size_t count)
{
    char room[64] = "";
    etcdgw_error *error;
    etcdgw_watch_handle *watch;
    int64_t *times = calloc(count + 1, sizeof *times);
    etcdgw_bytes key = etcdgw_str("latency");
    check(etcdgw_watch(client, key, NULL, take_events, NULL, NULL, &watch, &error), error);
    for (size_t i = 0; i < count; i++) {
        arm(1, false);
        int64_t started = now_ns();
        check(etcdgw_put(client, key, stamped(room, sizeof room), NULL, NULL, &error), error);
        times[i] = wait_for_events() - started;
    }
    etcdgw_watch_free(watch);
    qsort(times, count, sizeof *times, compare);
    answer(times[count / 2], 0);
    free(times);
}

static int64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

static void obey(const char *line)
{
    char prefix[32];
    long long a, b, c;
    if (sscanf(line, "open %31s %lld %lld %lld", prefix, &a, &b, &c) == 4)
        open_many(prefix, (size_t)a, (size_t)b, c != 0);
    else if (sscanf(line, "watch %31s %lld", prefix, &a) == 2)
        watch_prefix(prefix, a);
    else if (sscanf(line, "hold %31s", prefix) == 1)
        hold(prefix);
    else if (sscanf(line, "drain %lld", &a) == 1)
        drain((size_t)a);
    else if (sscanf(line, "put %31s %lld %lld %lld", prefix, &a, &b, &c) == 4)
        put(prefix, (size_t)a, (size_t)b, (unsigned)c);
    else if (sscanf(line, "fill %31s %lld %lld %lld", prefix, &a, &b, &c) == 4)
        fill(prefix, (size_t)a, (size_t)b, (size_t)c);
    else if (sscanf(line, "latency %lld", &a) == 1)
        latency((size_t)a);
    else if (sscanf(line, "arm %lld", &a) == 1 || sscanf(line, "time %lld", &a) == 1) {
        arm(a, line[0] == 't');
        answer(now_ns(), 0);
    } else if (strcmp(line, "count\n") == 0) {
        int64_t at = wait_for_events();
        answer(at, events);
    } else if (strcmp(line, "lag\n") == 0)
        answer_lag();
    else if (strcmp(line, "cpu\n") == 0)
        answer(cpu_ns(), 0);
    else if (strcmp(line, "allocated\n") == 0)
        answer((int64_t)mallinfo2().uordblks + (int64_t)mallinfo2().hblkhd, 0);
    else
        die("not understood: %s", line);
}

int main(int argc, char **argv)
{
    char line[256];
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    etcdgw_error *error;
    if (argc != 4)
        die("usage: %s ENDPOINTS LIVENESS_MS WEBSOCKET", argv[0]);
    options.endpoints = argv[1];
    options.watch_liveness_ms = atoll(argv[2]);
    options.websocket = atoi(argv[3]);
    check(etcdgw_client_new(&options, &client, &error), error);
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(line);
    /* Watches that are left end with the process. */
    fflush(NULL);
    _exit(0);
}
