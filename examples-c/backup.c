/*
 * Backup: a snapshot of a member in a file of today, with the progress on the way, and the older ones kept.
 *
 *   cc backup.c $(pkg-config --cflags --libs etcdgw) -o backup
 *   ./backup [folder [http://127.0.0.1:2379]]       without a folder it tries itself in a temporary one
 *
 * etcdutl snapshot restore FILE --data-dir DIR makes a new cluster of it. Anybody who can read the file can read every
 * key: it is readable by its owner only.
 */
#define _POSIX_C_SOURCE 200809L
#include "example.h"
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static etcdgw_cancel *stop;

/* Nothing is left of a backup that is broken off. */
static void on_signal(int number)
{
    (void)number;
    etcdgw_cancel_trigger(stop);
}

/* Called between the pieces, a few dozen per megabyte: it says something each tenth of the way. */
static void show(const etcdgw_snapshot_progress *progress, void *user_data)
{
    int *shown = user_data;
    int64_t whole = progress->received_bytes + progress->remaining_bytes;
    int tenth = (int)(progress->received_bytes * 10 / whole);

    if (tenth > *shown)
        printf("%3d %% of %" PRId64 " bytes\n", tenth * 10, whole);
    *shown = tenth;
}

/* Data that are corrupt are not worth keeping, and must not take the place of good ones. */
static int is_corrupt(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_maintenance_alarm_list_response *list = NULL;

    if (failed("alarm_list", etcdgw_maintenance_alarm_list(client, NULL, &list, &err), &err))
        return 1;
    int found = 0;
    for (size_t i = 0; i < list->alarms_len; i++)
        found |= list->alarms[i]->alarm == ETCDGW_ALARM_CORRUPT;
    etcdgw_maintenance_alarm_list_response_free(list);
    return check("no member is corrupt", !found);
}

static int save(etcdgw_client *client, const char *path)
{
    etcdgw_error *err = NULL;
    etcdgw_snapshot_response *saved = NULL;
    etcdgw_snapshot_options options = ETCDGW_SNAPSHOT_OPTIONS_INIT;
    struct stat file;
    int shown = 0;

    options.timeout_ms = 10 * 60 * 1000;
    options.cancel = stop;
    options.progress = show;
    options.user_data = &shown;
    if (failed("snapshot", etcdgw_snapshot_save(client, path, &options, &saved, &err), &err))
        return 1;
    printf("%s: %" PRId64 " bytes of %s\n", path, saved->size, saved->endpoint);
    int failure = check("the file is there and whole", stat(path, &file) == 0 && file.st_size == saved->size)
        || check("nobody else can read it", (file.st_mode & 0777) == 0600);
    etcdgw_snapshot_response_free(saved);
    return failure;
}

/* Where a backup can't be kept it says why, and leaves nothing. */
static int try_where_nothing_can_be_kept(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_status status = etcdgw_snapshot_save(client, "/no such folder/etcd.db", NULL, NULL, &err);

    printf("as expected: %s\n", etcdgw_error_message(err));
    etcdgw_error_free(err);
    return check("a folder that is missing is an error of the file system", status == ETCDGW_IO);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/etcdgw-backup-XXXXXX", path[4096], name[32];
    struct sigaction action = {.sa_handler = on_signal};
    time_t now = time(NULL);
    int is_trial = argc < 2;
    etcdgw_client *client = connect_to(argc > 2 ? argv[2] : NULL);

    if (client == NULL || etcdgw_cancel_new(&stop, NULL) != ETCDGW_OK || (is_trial && mkdtemp(folder) == NULL))
        return EXIT_FAILURE;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    strftime(name, sizeof name, "etcd-%Y-%m-%d.db", gmtime(&now));
    snprintf(path, sizeof path, "%s/%s", is_trial ? folder : argv[1], name);

    int failure = is_corrupt(client) || save(client, path) || (is_trial && save(client, path))
        || (is_trial && try_where_nothing_can_be_kept(client));
    if (is_trial) {
        unlink(path);
        /* An empty folder can be removed, another one can't. */
        failure = check("nothing else was left in the folder", rmdir(folder) == 0) || failure;
    }
    etcdgw_client_free(client);
    /* No signal may trigger a token that is freed. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    etcdgw_cancel_free(stop);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
