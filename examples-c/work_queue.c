/*
 * A work queue: some programs put jobs in, others take them out, and each job is taken once. What was done is added up in
 * an optimistic transaction, which is run anew where another worker was faster.
 *
 *   cc work_queue.c -pthread $(pkg-config --cflags --libs etcdgw) -o work_queue
 *   ./work_queue [http://127.0.0.1:2379]
 *
 * Go programs with recipes.Queue put jobs in and take them out as well. Here two threads play two workers.
 */
#include "example.h"
#include <pthread.h>

enum { JOBS = 20, WORKERS = 2, SUM = JOBS * (JOBS + 1) / 2, THE_END = 0 };

static const etcdgw_bytes name = ETCDGW_STR_INIT("jobs");
static const etcdgw_bytes total = ETCDGW_STR_INIT("jobs-total");

struct worker {
    const char *endpoints;
    int jobs, failure;
};

static long number_in(etcdgw_bytes text)
{
    char digits[24] = "";
    memcpy(digits, text.data, text.len < sizeof digits ? text.len : sizeof digits - 1);
    return strtol(digits, NULL, 10);
}

/* Called as often as it takes until nobody has written what it read: it reads and writes, and does nothing else. */
static etcdgw_status add(etcdgw_stm_handle *stm, void *user_data)
{
    etcdgw_get_response *got = NULL;
    char sum[24];
    etcdgw_status status = etcdgw_stm_get(stm, total, &got, NULL);

    if (status != ETCDGW_OK)
        return status; /* etcdgw_stm tells the error */
    snprintf(sum, sizeof sum, "%ld", (got->kvs_len > 0 ? number_in(got->kvs[0].value) : 0) + *(long *)user_data);
    etcdgw_get_response_free(got);
    return etcdgw_stm_put(stm, total, etcdgw_str(sum), NULL, NULL);
}

static int work(etcdgw_client *client, etcdgw_workqueue *queue, int *jobs)
{
    for (;;) {
        etcdgw_error *err = NULL;
        etcdgw_get_response *job = NULL;
        /* A daemon would wait with -1, and end the wait with a cancel token. */
        etcdgw_status status = etcdgw_workqueue_dequeue(queue, 30000, NULL, &job, &err);
        if (status == ETCDGW_DEADLINE_EXCEEDED && err == NULL)
            return check("there are jobs", 0); /* a wait that is over is no error */
        if (failed("dequeue", status, &err))
            return 1;
        long number = number_in(job->kvs[0].value);
        etcdgw_get_response_free(job);
        if (number == THE_END)
            return 0;
        if (failed("add", etcdgw_stm(client, NULL, add, &number, NULL, &err), &err))
            return 1;
        ++*jobs;
    }
}

/* The queue stands on a session: what it notes of its work goes with that, whatever becomes of the program. */
static etcdgw_session *begin(etcdgw_client *client, etcdgw_workqueue **queue)
{
    etcdgw_error *err = NULL;
    etcdgw_session *session = NULL;

    if (client == NULL
        || failed("session", etcdgw_session_new(client, NULL, NULL, NULL, NULL, &session, &err), &err))
        return NULL;
    if (failed("queue", etcdgw_workqueue_new(session, name, queue, &err), &err)) {
        etcdgw_session_free(session);
        return NULL;
    }
    return session;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    etcdgw_workqueue *queue = NULL;
    etcdgw_client *client = connect_to(worker->endpoints);
    etcdgw_session *session = begin(client, &queue);

    worker->failure = session == NULL || work(client, queue, &worker->jobs);
    etcdgw_workqueue_free(queue);
    etcdgw_session_free(session);
    etcdgw_client_free(client);
    return NULL;
}

static int put_in(etcdgw_workqueue *queue)
{
    etcdgw_error *err = NULL;
    char job[24];

    for (int i = 1; i <= JOBS + WORKERS; i++) {
        snprintf(job, sizeof job, "%d", i <= JOBS ? i : THE_END); /* one for each worker */
        if (failed("enqueue", etcdgw_workqueue_enqueue(queue, etcdgw_str(job), NULL, &err), &err))
            return 1;
    }
    return 0;
}

static int check_total(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    int failure = failed("get", etcdgw_get(client, total, NULL, &got, &err), &err)
        || check("every job was done once", got->kvs_len == 1 && number_in(got->kvs[0].value) == SUM)
        || failed("delete", etcdgw_delete(client, total, NULL, NULL, &err), &err);
    etcdgw_get_response_free(got);
    return failure;
}

int main(int argc, char **argv)
{
    const char *endpoints = argc > 1 ? argv[1] : NULL;
    struct worker workers[WORKERS] = {{endpoints, 0, 0}, {endpoints, 0, 0}};
    pthread_t threads[WORKERS];
    etcdgw_workqueue *queue = NULL;
    etcdgw_client *client = connect_to(endpoints);
    etcdgw_session *session = begin(client, &queue);

    for (int i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, run, &workers[i]) != 0)
            return EXIT_FAILURE;
    int failure = session == NULL || put_in(queue);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        printf("worker %d has done %d jobs\n", i, workers[i].jobs);
        failure = failure || workers[i].failure;
    }
    failure = failure || check("no job was lost", workers[0].jobs + workers[1].jobs == JOBS) || check_total(client);
    etcdgw_workqueue_free(queue);
    etcdgw_session_free(session);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
