/* A signal handler may trigger a token, and a signal without a handler of that kind interrupts no call. */
#include "fake_server.h"
#include <sys/time.h>

static etcdgw_cancel *cancel;
static volatile sig_atomic_t signals, triggered;

static void trigger(int number)
{
    (void)number;
    signals++;
    triggered = 1;
    etcdgw_cancel_trigger(cancel);
}

static void ignore(int number)
{
    (void)number;
    signals++;
}

/* Without SA_RESTART: every system call that can be interrupted is. */
static void signal_every(int64_t interval_ms, int64_t first_ms, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    struct itimerval timer = {.it_interval = {.tv_usec = interval_ms * 1000}, .it_value = {.tv_usec = first_ms * 1000}};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void never_answers(struct fake_server *server, int connection)
{
    char head[4096];
    while (read_request(server, connection, head, sizeof head)) {
    }
}

static void new_token(void)
{
    etcdgw_error *err = NULL;
    OK(etcdgw_cancel_new(&cancel, &err));
    signals = triggered = 0;
}

static void a_handler_ends_a_read(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    new_token();
    options.cancel = cancel;
    options.timeout_ms = PATIENCE_MS;
    signal_every(0, 100, trigger);
    int64_t start = now_ms();
    FAILS(ETCDGW_CANCELLED, etcdgw_get(client, ETCDGW_STR("key"), &options, NULL, &err));
    CHECK(triggered && !etcdgw_error_may_have_applied(err));
    CHECK(now_ms() - start < 100 + 100 + 1000);
    FORGET();
    etcdgw_cancel_free(cancel);
}

static void a_write_cut_short_may_have_happened(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_put_options options = ETCDGW_PUT_OPTIONS_INIT;
    new_token();
    options.cancel = cancel;
    options.timeout_ms = PATIENCE_MS;
    signal_every(0, 100, trigger);
    FAILS(ETCDGW_CANCELLED, etcdgw_put(client, ETCDGW_STR("key"), ETCDGW_STR("value"), &options, NULL, &err));
    CHECK(etcdgw_error_may_have_applied(err));
    FORGET();
    etcdgw_cancel_free(cancel);
}

static void a_triggered_token_stays_triggered(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_put_options options = ETCDGW_PUT_OPTIONS_INIT;
    new_token();
    options.cancel = cancel;
    etcdgw_cancel_trigger(cancel);
    etcdgw_cancel_trigger(cancel);
    FAILS(ETCDGW_CANCELLED, etcdgw_put(client, ETCDGW_STR("key"), ETCDGW_STR("value"), &options, NULL, &err));
    CHECK(!etcdgw_error_may_have_applied(err));
    FORGET();
    etcdgw_cancel_free(cancel);
    etcdgw_cancel_trigger(NULL);
}

static void other_signals_go_unnoticed(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_get_options options = ETCDGW_GET_OPTIONS_INIT;
    options.timeout_ms = 300;
    signals = 0;
    signal_every(5, 5, ignore);
    int64_t start = now_ms();
    FAILS(ETCDGW_DEADLINE_EXCEEDED, etcdgw_get(client, ETCDGW_STR("key"), &options, NULL, &err));
    CHECK(signals > 0 && now_ms() - start >= 290);
    FORGET();
    signal_every(0, 0, ignore);
}

static void a_handler_ends_a_watch_on_etcd(void)
{
    etcdgw_error *err = NULL;
    etcdgw_watch_options options = ETCDGW_WATCH_OPTIONS_INIT;
    struct key_room room;
    etcdgw_client *client = client_of_etcd();
    new_token();
    options.cancel = cancel;
    options.timeout_ms = -1;
    signal_every(0, 200, trigger);
    FAILS(ETCDGW_CANCELLED, etcdgw_watch_once(client, own_key(&room, "never"), &options, NULL, &err));
    FORGET();
    etcdgw_cancel_free(cancel);
    etcdgw_client_free(client);
}

int main(void)
{
    struct fake_server server;
    fake_server_start(&server, never_answers);
    etcdgw_client *client = client_of_fake(server.url);
    a_handler_ends_a_read(client);
    a_write_cut_short_may_have_happened(client);
    a_triggered_token_stays_triggered(client);
    other_signals_go_unnoticed(client);
    a_handler_ends_a_watch_on_etcd();
    etcdgw_client_free(client);
    fake_server_stop(&server);
    return EXIT_SUCCESS;
}
