/* What the C programs here share: claims that end the program when they don't hold, bounded waiting, clients, keys. */
#ifndef TEST_H
#define TEST_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <etcdgw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Longer than anything takes on a busy machine, shorter than a person's patience. */
enum { PATIENCE_MS = 30000 };

static inline void check_at(int holds, const char *claim, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, claim);
    exit(EXIT_FAILURE);
}
#define CHECK(claim) check_at((claim) ? 1 : 0, #claim, __FILE__, __LINE__)

/* Takes the address of the error: it is read after the call has set it. Frees it where a failure was expected. */
static inline void status_at(etcdgw_status got, etcdgw_status wanted, etcdgw_error **err, const char *call,
                             const char *file, int line)
{
    if (got != wanted) {
        fprintf(stderr, "%s:%d: %s gives %s (%s), not %s\n", file, line, call, etcdgw_status_name(got),
                etcdgw_error_message(*err), etcdgw_status_name(wanted));
        exit(EXIT_FAILURE);
    }
    check_at((got == ETCDGW_OK) == (*err == NULL), "an error comes with every failure, and only then", file, line);
    check_at(etcdgw_error_status(*err) == got, "the error has the status returned", file, line);
}
#define OK(call) status_at((call), ETCDGW_OK, &err, #call, __FILE__, __LINE__)

/* The error is left in `err` for further claims; FORGET frees it. */
#define FAILS(status, call) status_at((call), (status), &err, #call, __FILE__, __LINE__)
#define FORGET() (etcdgw_error_free(err), err = NULL)

static inline int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void sleep_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

/* For conditions that nothing announces. */
#define WAIT_FOR(condition)                                  \
    do {                                                     \
        int64_t until = now_ms() + PATIENCE_MS;              \
        while (!(condition) && now_ms() < until)             \
            sleep_ms(2);                                     \
        CHECK(condition);                                    \
    } while (0)

/* A number that threads raise and wait for. */
struct tally {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int count;
};
#define TALLY_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static inline void tally_add(struct tally *tally, int by)
{
    pthread_mutex_lock(&tally->mutex);
    tally->count += by;
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->mutex);
}

static inline int tally_count(struct tally *tally)
{
    pthread_mutex_lock(&tally->mutex);
    int count = tally->count;
    pthread_mutex_unlock(&tally->mutex);
    return count;
}

/* Until the count is at least so much; whether it came to that in time. */
static inline int tally_reaches(struct tally *tally, int wanted)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    int timed_out = 0;
    pthread_mutex_lock(&tally->mutex);
    while (!timed_out && tally->count < wanted)
        timed_out = pthread_cond_timedwait(&tally->changed, &tally->mutex, &until);
    int reached = tally->count >= wanted;
    pthread_mutex_unlock(&tally->mutex);
    return reached;
}

/* As user_data_free: counts how often it runs. */
static inline void tally_one(void *tally) { tally_add(tally, 1); }

static inline void start_thread(pthread_t *thread, void *(*run)(void *), void *argument)
{
    CHECK(pthread_create(thread, NULL, run, argument) == 0);
}

static inline etcdgw_client *client_of(const char *endpoints)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = endpoints;
    OK(etcdgw_client_new(&options, &client, &err));
    CHECK(client != NULL);
    return client;
}

static inline etcdgw_client *client_of_etcd(void)
{
    const char *endpoints = getenv("ETCDGW_ENDPOINTS");
    CHECK(endpoints != NULL && "ETCDGW_ENDPOINTS says where etcd is");
    return client_of(endpoints);
}

static inline etcdgw_bytes bytes(const void *data, size_t len)
{
    etcdgw_bytes made = {data, len};
    return made;
}

static inline int same(etcdgw_bytes a, etcdgw_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static const etcdgw_bytes nothing = {NULL, 0};

/* A key that no other program and no other run uses. `room` is where it is kept. */
struct key_room {
    char text[160];
};
static inline etcdgw_bytes own_key(struct key_room *room, const char *name)
{
    snprintf(room->text, sizeof room->text, "test/c/%ld/%s", (long)getpid(), name);
    return etcdgw_str(room->text);
}

static inline int64_t put(etcdgw_client *client, etcdgw_bytes key, const char *value)
{
    etcdgw_error *err = NULL;
    etcdgw_put_response *response = NULL;
    OK(etcdgw_put(client, key, etcdgw_str(value), NULL, &response, &err));
    int64_t revision = response->header.revision;
    etcdgw_put_response_free(response);
    return revision;
}

/* Entries of a folder of /proc/self: "task" has the threads, "fd" the descriptors (and the one that reads it). */
static inline int proc_entries(const char *folder)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/%s", folder);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    int count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* Threads and descriptors before, to be compared with those after the last handle is freed. */
struct footprint {
    int threads, descriptors;
};
static inline struct footprint footprint(void)
{
    struct footprint now = {proc_entries("task"), proc_entries("fd")};
    return now;
}
static inline void check_nothing_is_left(struct footprint before)
{
    WAIT_FOR(proc_entries("task") == before.threads);
    WAIT_FOR(proc_entries("fd") == before.descriptors);
}

#endif
