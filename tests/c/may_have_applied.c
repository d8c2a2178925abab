/* What an error says about the fate of a write: happened for certain not, or nobody knows. Nothing is written twice. */
#include "fake_server.h"

static void reads_and_closes(struct fake_server *server, int connection)
{
    char head[4096];
    read_request(server, connection, head, sizeof head);
}

static void closes_at_once(struct fake_server *server, int connection)
{
    (void)server, (void)connection;
}

/* Like a server that ends idle connections: a client that uses them again finds them dead. */
static void answers_once_per_connection(struct fake_server *server, int connection)
{
    char head[4096];
    if (read_request(server, connection, head, sizeof head))
        send_json(connection, "200 OK", "{\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\",\"revision\":\"3\"}}");
}

static void answers_half(struct fake_server *server, int connection)
{
    char head[4096];
    if (read_request(server, connection, head, sizeof head))
        send_text(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"header\":{");
}

static void talks_nonsense(struct fake_server *server, int connection)
{
    char head[4096];
    if (read_request(server, connection, head, sizeof head))
        send_json(connection, "200 OK", "<html>no</html>");
}

static void unavailable(struct fake_server *server, int connection)
{
    char head[4096];
    if (read_request(server, connection, head, sizeof head))
        send_json(connection, "503 Service Unavailable",
                  "{\"code\":14,\"message\":\"etcdserver: request timed out\"}");
}

/* A put and a get on such a server: their statuses, and whether they may have been applied. */
static void check_calls(void (*serve)(struct fake_server *, int), etcdgw_status put_status, etcdgw_status get_status,
                        int most_puts)
{
    etcdgw_error *err = NULL;
    etcdgw_get_response *got = NULL;
    struct fake_server server;
    fake_server_start(&server, serve);
    etcdgw_client *client = client_of_fake(server.url);

    FAILS(put_status, etcdgw_put(client, ETCDGW_STR("k"), ETCDGW_STR("v"), NULL, NULL, &err));
    CHECK(etcdgw_error_may_have_applied(err) && !etcdgw_error_is_retryable(err));
    CHECK(strstr(etcdgw_error_message(err), server.url) != NULL);
    CHECK(strcmp(etcdgw_error_endpoint(err), server.url) == 0);
    FORGET();
    CHECK(tally_count(&server.requests) <= most_puts);

    FAILS(get_status, etcdgw_get(client, ETCDGW_STR("k"), NULL, &got, &err));
    CHECK(!etcdgw_error_may_have_applied(err) && got == NULL);
    FORGET();
    etcdgw_client_free(client);
    fake_server_stop(&server);
}

static void a_closed_port_has_applied_nothing(void)
{
    etcdgw_error *err = NULL;
    char url[64];
    int port = free_port(url, 0);
    etcdgw_client *client = client_of_fake(url);
    FAILS(ETCDGW_CONNECTION_FAILED, etcdgw_put(client, ETCDGW_STR("k"), ETCDGW_STR("v"), NULL, NULL, &err));
    CHECK(!etcdgw_error_may_have_applied(err) && etcdgw_error_is_retryable(err));
    CHECK(strstr(etcdgw_error_message(err), url) != NULL);
    FORGET();
    etcdgw_client_free(client);
    close(port);
}

/* The second put finds its connection closed before it is sent, and goes over another one. */
static void a_stale_connection_fails_no_call(void)
{
    enum { PUTS = 20 };
    struct fake_server server;
    fake_server_start(&server, answers_once_per_connection);
    etcdgw_client *client = client_of_fake(server.url);
    for (int i = 1; i <= PUTS; i++) {
        CHECK(put(client, ETCDGW_STR("k"), "v") == 3);
        CHECK(tally_count(&server.requests) == i);
        WAIT_FOR(tally_count(&server.busy) == 0);
    }
    etcdgw_client_free(client);
    fake_server_stop(&server);
}

static void a_dead_endpoint_is_passed_over(void)
{
    char url[64], endpoints[160];
    struct fake_server server;
    int port = free_port(url, 0);
    fake_server_start(&server, answers_once_per_connection);
    snprintf(endpoints, sizeof endpoints, "%s,%s", url, server.url);
    etcdgw_client *client = client_of_fake(endpoints);
    CHECK(put(client, ETCDGW_STR("k"), "v") == 3 && tally_count(&server.requests) == 1);
    etcdgw_client_free(client);
    fake_server_stop(&server);
    close(port);
}

/* Sent to the first, no answer: it is not sent to the second. A read is. */
static void an_unanswered_write_goes_nowhere_else(void)
{
    etcdgw_error *err = NULL;
    struct fake_server first, second;
    char endpoints[160];
    fake_server_start(&first, reads_and_closes);
    fake_server_start(&second, answers_once_per_connection);
    snprintf(endpoints, sizeof endpoints, "%s,%s", first.url, second.url);
    etcdgw_client *writer = client_of_fake(endpoints), *reader = client_of_fake(endpoints);
    FAILS(ETCDGW_CONNECTION_LOST, etcdgw_put(writer, ETCDGW_STR("k"), ETCDGW_STR("v"), NULL, NULL, &err));
    CHECK(tally_count(&first.requests) == 1 && tally_count(&second.requests) == 0);
    FORGET();
    OK(etcdgw_get(reader, ETCDGW_STR("k"), NULL, NULL, &err));
    CHECK(tally_count(&second.requests) == 1);
    etcdgw_client_free(writer);
    etcdgw_client_free(reader);
    fake_server_stop(&first);
    fake_server_stop(&second);
}

int main(void)
{
    check_calls(reads_and_closes, ETCDGW_CONNECTION_LOST, ETCDGW_CONNECTION_LOST, 1);
    check_calls(closes_at_once, ETCDGW_CONNECTION_LOST, ETCDGW_CONNECTION_LOST, 0);
    check_calls(answers_half, ETCDGW_CONNECTION_LOST, ETCDGW_CONNECTION_LOST, 1);
    check_calls(talks_nonsense, ETCDGW_PROTOCOL_ERROR, ETCDGW_PROTOCOL_ERROR, 1);
    check_calls(unavailable, ETCDGW_UNAVAILABLE, ETCDGW_UNAVAILABLE, 1);
    a_closed_port_has_applied_nothing();
    a_stale_connection_fails_no_call();
    a_dead_endpoint_is_passed_over();
    an_unanswered_write_goes_nowhere_else();
    return EXIT_SUCCESS;
}
