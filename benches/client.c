/* Usage: client HOST PORT, linked with one of limit.c, curl.c and etcdgw.c. Obeys lines on stdin and answers each
 * with "NUMBER CHECK", so that a driver can run several clients in turn:
 *
 *   get KEY COUNT                  median nanoseconds of a call, the sum of what was received
 *   put KEY BYTES COUNT            likewise
 *   range PREFIX COUNT             likewise
 *   throughput THREADS COUNT       nanoseconds per put of 64 bytes, COUNT by each thread
 *   watch PREFIX REVISION EVENTS MESSAGES   nanoseconds per event
 *   latency PREFIX EVENTS          median nanoseconds from sending to delivery
 *   websocket watch|latency ...    the same over a WebSocket
 *   peak                           kilobytes of the largest resident set so far */
#define _GNU_SOURCE
#include "client.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

uint64_t sum_of_kv(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, int64_t mod_revision)
{
    uint64_t sum = key_len + value_len + (uint64_t)mod_revision;
    if (key_len > 0)
        sum += key[key_len - 1];
    if (value_len > 0)
        sum += value[value_len - 1];
    return sum;
}

void end_of_prefix(const char *prefix, char *end, size_t room)
{
    size_t len = strlen(prefix);
    if (len == 0 || len >= room)
        die("bad prefix");
    memcpy(end, prefix, len + 1);
    end[len - 1]++;
}

void watch_log_event(struct watch_log *log, uint64_t sum, int64_t sent_ns)
{
    if (log->seen >= log->wanted)
        return;
    if (log->delays != NULL)
        log->delays[log->seen] = now_ns() - sent_ns;
    log->sum += sum;
    if (++log->seen == log->wanted)
        log->finished_ns = now_ns();
}

static void *allocate(size_t bytes)
{
    void *room = calloc(1, bytes);
    if (room == NULL)
        die("no memory");
    return room;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static int64_t median(int64_t *times, size_t count)
{
    qsort(times, count, sizeof *times, compare);
    return times[count / 2];
}

static void answer(int64_t number, uint64_t check)
{
    printf("%lld %llu\n", (long long)number, (unsigned long long)check);
    fflush(stdout);
}

enum work { GET, PUT, RANGE };

static uint64_t once(struct client *client, enum work work, const char *key, const uint8_t *value, size_t value_len)
{
    switch (work) {
    case GET: return client_get(client, key);
    case PUT: return client_put(client, key, value, value_len);
    default: return client_range(client, key);
    }
}

static uint8_t *some_value(size_t len)
{
    uint8_t *value = allocate(len + 1);
    for (size_t i = 0; i < len; i++)
        value[i] = (uint8_t)(i * 7 + 3);
    return value;
}

static void calls(struct client *client, enum work work, const char *key, size_t value_len, size_t count)
{
    int64_t *times = allocate((count + 1) * sizeof *times);
    uint8_t *value = some_value(value_len);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t start = now_ns();
        sum += once(client, work, key, value, value_len);
        times[i] = now_ns() - start;
    }
    answer(count > 0 ? median(times, count) : 0, sum);
    free(value);
    free(times);
}

struct putter {
    struct client *client;
    size_t count;
    pthread_barrier_t *phase;
};

static void *put_many(void *argument)
{
    static const uint8_t value[64] = "sixty-four bytes";
    struct putter *putter = argument;
    client_put(putter->client, "throughput", value, sizeof value);
    pthread_barrier_wait(putter->phase);
    pthread_barrier_wait(putter->phase);
    for (size_t i = 0; i < putter->count; i++)
        client_put(putter->client, "throughput", value, sizeof value);
    return NULL;
}

static void throughput(struct client *client, size_t threads, size_t count)
{
    pthread_t ids[64];
    struct putter putters[64];
    pthread_barrier_t phase;
    if (threads == 0 || threads > 64)
        die("bad number of threads");
    pthread_barrier_init(&phase, NULL, (unsigned)threads + 1);
    for (size_t i = 0; i < threads; i++) {
        putters[i] = (struct putter){client_for_thread(client), count, &phase};
        if (pthread_create(&ids[i], NULL, put_many, &putters[i]) != 0)
            die("pthread_create");
    }
    pthread_barrier_wait(&phase);
    /* All are connected, and none goes on before this thread has read the clock. */
    int64_t started = now_ns();
    pthread_barrier_wait(&phase);
    for (size_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    int64_t taken = now_ns() - started;
    for (size_t i = 0; i < threads; i++)
        if (putters[i].client != client)
            client_close(putters[i].client);
    pthread_barrier_destroy(&phase);
    answer(count > 0 ? taken / (int64_t)(threads * count) : 0, threads * count);
}

static void watch(struct client *client, enum transport transport, const char *prefix, int64_t revision, size_t events, size_t messages)
{
    struct watch_log log = {.wanted = events};
    int64_t started = now_ns();
    client_watch(client, transport, prefix, revision, messages, &log);
    answer((log.finished_ns - started) / (int64_t)events, log.sum);
}

static void latency(struct client *client, enum transport transport, const char *prefix, size_t events)
{
    struct watch_log log = {.wanted = events, .delays = allocate(events * sizeof *log.delays)};
    client_watch(client, transport, prefix, 0, events, &log);
    answer(median(log.delays, events), events);
    free(log.delays);
}

static void peak(void)
{
    char line[256];
    long long kilobytes = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        sscanf(line, "VmHWM: %lld kB", &kilobytes);
    if (status != NULL)
        fclose(status);
    answer(kilobytes, 0);
}

static void obey(struct client *client, const char *line)
{
    char key[64];
    long long a, b, c;
    enum transport transport = strncmp(line, "websocket ", 10) == 0 ? WEBSOCKET : HTTP_STREAM;
    if (transport == WEBSOCKET)
        line += 10;
    if (sscanf(line, "get %63s %lld", key, &a) == 2)
        calls(client, GET, key, 0, (size_t)a);
    else if (sscanf(line, "put %63s %lld %lld", key, &a, &b) == 3)
        calls(client, PUT, key, (size_t)a, (size_t)b);
    else if (sscanf(line, "range %63s %lld", key, &a) == 2)
        calls(client, RANGE, key, 0, (size_t)a);
    else if (sscanf(line, "throughput %lld %lld", &a, &b) == 2)
        throughput(client, (size_t)a, (size_t)b);
    else if (sscanf(line, "watch %63s %lld %lld %lld", key, &a, &b, &c) == 4 && b > 0)
        watch(client, transport, key, a, (size_t)b, (size_t)c);
    else if (sscanf(line, "latency %63s %lld", key, &a) == 2 && a > 0)
        latency(client, transport, key, (size_t)a);
    else if (strcmp(line, "peak\n") == 0)
        peak();
    else
        die("not understood: %s", line);
}

int main(int argc, char **argv)
{
    char line[256];
    if (argc != 3)
        die("usage: %s HOST PORT", argv[0]);
    struct client *client = client_open(argv[1], argv[2]);
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(client, line);
    client_close(client);
}
