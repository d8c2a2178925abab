/*
 * What the library does to the process that it lives in: no thread and no descriptor more than needed, nothing that a
 * program started by exec would inherit, no harm from dlclose or from a second copy, errno and locale left alone.
 */
#include "test.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void count_events(const etcdgw_watch_response *response, void *user_data)
{
    tally_add(user_data, (int)response->events_len);
}

static void threads_exist_from_the_first_watch_to_the_last_free(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct tally events = TALLY_INIT;
    struct key_room room;
    struct footprint before = footprint();
    etcdgw_client *client = client_of_etcd();
    put(client, own_key(&room, "threads"), "x");
    CHECK(proc_entries("task") == before.threads);
    OK(etcdgw_watch(client, own_key(&room, "threads"), NULL, count_events, &events, NULL, &watch, &err));
    CHECK(proc_entries("task") > before.threads);
    etcdgw_client_free(client);
    CHECK(proc_entries("task") > before.threads);
    etcdgw_watch_free(watch);
    CHECK(proc_entries("task") == before.threads);
    check_nothing_is_left(before);
}

/* A name costs a thread for its look-up, which is gone with the answer. */
static void a_look_up_leaves_no_thread_behind(void)
{
    etcdgw_error *err = NULL;
    struct footprint before = footprint();
    etcdgw_client *client = client_of("http://localhost:1");
    FAILS(ETCDGW_CONNECTION_FAILED, etcdgw_get(client, ETCDGW_STR("k"), NULL, NULL, &err));
    FORGET();
    CHECK(proc_entries("task") == before.threads);
    etcdgw_client_free(client);
    check_nothing_is_left(before);
}

/* Where the system gives no thread: an error that says what it was wanted for. */
static void a_name_that_no_thread_looks_up_is_told_as_that(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        etcdgw_error *err = NULL;
        struct rlimit none = {0, 0};
        alarm(30);
        if (geteuid() == 0) /* who is not bound by the limit */
            CHECK(setgid(65534) == 0 && setuid(65534) == 0);
        CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
        FAILS(ETCDGW_CONNECTION_FAILED, etcdgw_get(client_of("http://localhost:1"), ETCDGW_STR("k"), NULL, NULL, &err));
        CHECK(strstr(etcdgw_error_message(err), "looking up localhost takes a thread") != NULL);
        CHECK(etcdgw_error_is_retryable(err));
        _exit(EXIT_SUCCESS);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* The last line of what a program that is started now has open. */
static int descriptors_after_exec(void)
{
    int result[2];
    char text[16] = "";
    CHECK(pipe(result) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(result[1], STDOUT_FILENO);
        close(result[0]);
        close(result[1]);
        execl("/bin/sh", "sh", "-c", "set -- /proc/self/fd/*; echo $#", (char *)NULL);
        _exit(127);
    }
    close(result[1]);
    CHECK(read(result[0], text, sizeof text - 1) > 0);
    close(result[0]);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return atoi(text);
}

static void a_program_that_is_started_inherits_nothing(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *called = NULL, *pulled = NULL;
    etcdgw_cancel *token = NULL;
    struct tally events = TALLY_INIT;
    struct key_room room;
    int before = descriptors_after_exec();
    etcdgw_client *client = client_of_etcd();
    etcdgw_bytes key = own_key(&room, "exec");
    OK(etcdgw_cancel_new(&token, &err));
    OK(etcdgw_watch(client, key, NULL, count_events, &events, NULL, &called, &err));
    OK(etcdgw_watch_open(client, key, NULL, &pulled, &err));
    put(client, key, "x");
    CHECK(tally_reaches(&events, 1));
    int everything = proc_entries("fd");
    CHECK(everything >= before + 6); /* three connections, and what wakes waits */
    CHECK(descriptors_after_exec() == before);
    etcdgw_watch_free(called);
    etcdgw_watch_free(pulled);
    etcdgw_cancel_free(token);
    etcdgw_client_free(client);
}

/* The functions of a copy of the library, as far as they are used here. */
struct copy {
    void *library;
    etcdgw_status (*client_new)(const etcdgw_client_options *, etcdgw_client **, etcdgw_error **);
    void (*client_free)(etcdgw_client *);
    etcdgw_status (*put)(etcdgw_client *, etcdgw_bytes, etcdgw_bytes, const etcdgw_put_options *,
                         etcdgw_put_response **, etcdgw_error **);
    etcdgw_status (*watch)(etcdgw_client *, etcdgw_bytes, const etcdgw_watch_options *, etcdgw_watch_callback, void *,
                           void (*)(void *), etcdgw_watch_handle **, etcdgw_error **);
    void (*watch_free)(etcdgw_watch_handle *);
};

/* ISO C has no conversion between the two kinds of pointers; POSIX promises that their bytes mean the same. */
static void find(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    CHECK(found != NULL);
    memcpy(function, &found, sizeof found);
}

static struct copy load(const char *path)
{
    struct copy copy;
    copy.library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(copy.library != NULL);
    find(copy.library, "etcdgw_client_new", &copy.client_new);
    find(copy.library, "etcdgw_client_free", &copy.client_free);
    find(copy.library, "etcdgw_put", &copy.put);
    find(copy.library, "etcdgw_watch", &copy.watch);
    find(copy.library, "etcdgw_watch_free", &copy.watch_free);
    return copy;
}

static void copy_file(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int source = open(from, O_RDONLY), target = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
    CHECK(source >= 0 && target >= 0);
    ssize_t count;
    while ((count = read(source, buffer, sizeof buffer)) > 0)
        CHECK(write(target, buffer, (size_t)count) == count);
    CHECK(count == 0 && close(source) == 0 && close(target) == 0);
}

/* Where the library that this program uses was loaded from. */
static const char *own_library(void)
{
    static Dl_info info;
    void *address;
    etcdgw_status (*function)(etcdgw_cancel **, etcdgw_error **) = etcdgw_cancel_new;
    memcpy(&address, &function, sizeof address);
    CHECK(dladdr(address, &info) != 0);
    return info.dli_fname;
}

static etcdgw_client *client_of_copy(struct copy *copy)
{
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = getenv("ETCDGW_ENDPOINTS");
    CHECK(copy->client_new(&options, &client, NULL) == ETCDGW_OK);
    return client;
}

static void two_copies_do_not_fight_and_dlclose_harms_neither(void)
{
    char folder[] = "/tmp/etcdgw-copy-XXXXXX", path[64];
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *ours = NULL, *theirs = NULL;
    struct tally our_events = TALLY_INIT, their_events = TALLY_INIT;
    struct key_room room;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/libother.so", folder);
    copy_file(own_library(), path);
    struct copy copy = load(path);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
    CHECK(copy.client_new != etcdgw_client_new); /* a copy indeed */

    etcdgw_client *our_client = client_of_etcd(), *their_client = client_of_copy(&copy);
    etcdgw_bytes key = own_key(&room, "copies");
    OK(etcdgw_watch(our_client, key, NULL, count_events, &our_events, NULL, &ours, &err));
    CHECK(copy.watch(their_client, key, NULL, count_events, &their_events, NULL, &theirs, NULL) == ETCDGW_OK);
    put(our_client, key, "x");
    CHECK(copy.put(their_client, key, ETCDGW_STR("y"), NULL, NULL, NULL) == ETCDGW_OK);
    CHECK(tally_reaches(&our_events, 2) && tally_reaches(&their_events, 2));

    CHECK(dlclose(copy.library) == 0);
    put(our_client, key, "z");
    CHECK(tally_reaches(&our_events, 3) && tally_reaches(&their_events, 3));

    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(30);
        FAILS(ETCDGW_FORKED, etcdgw_put(our_client, key, key, NULL, NULL, &err));
        CHECK(copy.put(their_client, key, key, NULL, NULL, NULL) == ETCDGW_FORKED);
        copy.watch_free(theirs);
        copy.client_free(their_client);
        etcdgw_watch_free(ours);
        etcdgw_client_free(our_client);
        copy.client_free(client_of_copy(&copy));
        _exit(EXIT_SUCCESS);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    put(our_client, key, "after the fork");
    CHECK(tally_reaches(&our_events, 4) && tally_reaches(&their_events, 4));
    copy.watch_free(theirs);
    copy.client_free(their_client);
    etcdgw_watch_free(ours);
    OK(etcdgw_delete(our_client, key, NULL, NULL, &err));
    etcdgw_client_free(our_client);
}

/* A locale whose numbers look different, where the system has one. */
static void errno_and_locale_stay_as_they_are(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    etcdgw_stats_response *stats = NULL;
    struct tally events = TALLY_INIT;
    struct key_room room;
    (void)(setlocale(LC_ALL, "de_DE.UTF-8") || setlocale(LC_ALL, "fr_FR.UTF-8") || setlocale(LC_ALL, "C.UTF-8"));
    char *before = strdup(setlocale(LC_ALL, NULL));
    etcdgw_bytes key = own_key(&room, "errno");
    errno = 1234;
    etcdgw_client *client = client_of_etcd();
    CHECK(errno == 1234);
    put(client, key, "x");
    CHECK(errno == 1234);
    OK(etcdgw_watch(client, key, NULL, count_events, &events, NULL, &watch, &err));
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_get(NULL, key, NULL, NULL, &err));
    FORGET();
    OK(etcdgw_client_stats(client, &stats, &err));
    etcdgw_stats_response_free(stats);
    etcdgw_watch_cancel(watch);
    etcdgw_watch_free(watch);
    OK(etcdgw_delete(client, key, NULL, NULL, &err));
    etcdgw_client_free(client);
    CHECK(errno == 1234);
    CHECK(strcmp(setlocale(LC_ALL, NULL), before) == 0);
    free(before);
}

/* Nothing of the library runs at the end of a process: main returns while a watch is open. */
static void a_process_ends_with_a_watch_still_open(void)
{
    static struct tally events = TALLY_INIT;
    etcdgw_error *err = NULL;
    etcdgw_watch_handle *watch = NULL;
    struct key_room room;
    OK(etcdgw_watch(client_of_etcd(), own_key(&room, "end"), NULL, count_events, &events, NULL, &watch, &err));
}

int main(void)
{
    threads_exist_from_the_first_watch_to_the_last_free();
    a_look_up_leaves_no_thread_behind();
    a_name_that_no_thread_looks_up_is_told_as_that();
    a_program_that_is_started_inherits_nothing();
    two_copies_do_not_fight_and_dlclose_harms_neither();
    errno_and_locale_stay_as_they_are();
    a_process_ends_with_a_watch_still_open();
    return EXIT_SUCCESS;
}
