/* mirror ENDPOINT: lookups in a mirror of 10,000 keys. Obeys lines of standard input with a line of two numbers:
 *   lookups THREADS COUNT   the nanoseconds that a lookup takes, seen by one of so many threads that do COUNT each, and
 *                           the sum of what they found
 */
#define _POSIX_C_SOURCE 200809L
#include <etcdgw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEYS = 10000, MOST_THREADS = 64 };

static etcdgw_mirror *mirror;

static void check(etcdgw_status status, etcdgw_error *error)
{
    if (status == ETCDGW_OK)
        return;
    fprintf(stderr, "mirror: %s\n", etcdgw_error_message(error));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static etcdgw_bytes key_of(size_t number, char *buffer, size_t size)
{
    etcdgw_bytes key = {(const uint8_t *)buffer, (size_t)snprintf(buffer, size, "mirror/%05zu", number)};
    return key;
}

struct work {
    size_t count;
    uint64_t sum;
    int64_t ns;
};

static void *look_up(void *argument)
{
    struct work *work = argument;
    static char names[KEYS][16];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    etcdgw_error *error;
    uint32_t random = 1;
    int64_t begin;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < KEYS && names[KEYS - 1][0] == 0; i++)
        key_of(i, names[i], sizeof names[i]);
    pthread_mutex_unlock(&lock);
    begin = now_ns();
    for (size_t i = 0; i < work->count; i++) {
        etcdgw_get_response *found;
        etcdgw_bytes key;
        random = random * 1664525 + 1013904223;
        key.data = (const uint8_t *)names[(random >> 8) % KEYS];
        key.len = strlen((const char *)key.data);
        check(etcdgw_mirror_get(mirror, key, &found, &error), error);
        work->sum += found->kvs_len == 0 ? 0 : found->kvs[0].value.len;
        etcdgw_get_response_free(found);
    }
    work->ns = now_ns() - begin;
    return NULL;
}

static void lookups(size_t threads, size_t count)
{
    pthread_t ids[MOST_THREADS];
    struct work works[MOST_THREADS];
    uint64_t sum = 0;
    int64_t ns = 0;

    for (size_t i = 0; i < threads; i++) {
        struct work work = {count, 0, 0};
        works[i] = work;
        if (pthread_create(&ids[i], NULL, look_up, &works[i]) != 0)
            exit(1);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum += works[i].sum;
        ns += works[i].ns;
    }
    printf("%" PRId64 " %" PRIu64 "\n", ns / (int64_t)(threads * count), sum);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[64], name[16];
    etcdgw_client *client;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    etcdgw_error *error;

    if (argc != 2)
        return 2;
    options.endpoints = argv[1];
    check(etcdgw_client_new(&options, &client, &error), error);
    for (size_t i = 0; i < KEYS; i++)
        check(etcdgw_put(client, key_of(i, name, sizeof name), ETCDGW_STR("sixteen bytes..."), NULL, NULL, &error), error);
    check(etcdgw_mirror_open(client, ETCDGW_STR("mirror/"), NULL, NULL, NULL, NULL, &mirror, &error), error);
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t threads, count;
        if (sscanf(line, "lookups %zu %zu", &threads, &count) != 2 || threads < 1 || threads > MOST_THREADS || count < 1)
            return 2;
        lookups(threads, count);
    }
    etcdgw_mirror_free(mirror);
    etcdgw_client_free(client);
    return 0;
}
