/* Users, passwords and tokens. Enables authentication on the server, and disables it in the end. */
#include "test.h"

static void post(etcdgw_client *client, const char *path, const char *json)
{
    etcdgw_error *err = NULL;
    OK(etcdgw_post(client, path, etcdgw_str(json), NULL, NULL, &err));
}

static etcdgw_client *client_with(const char *user, const char *password, const char *token)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;
    options.endpoints = getenv("ETCDGW_ENDPOINTS");
    options.user = user;
    options.password = password;
    options.token = token;
    OK(etcdgw_client_new(&options, &client, &err));
    return client;
}

static void enable(etcdgw_client *root)
{
    post(root, "auth/user/add", "{\"name\":\"root\",\"password\":\"root-password\"}");
    post(root, "auth/role/add", "{\"name\":\"root\"}");
    post(root, "auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    post(root, "auth/user/add", "{\"name\":\"app\",\"password\":\"app-password\"}");
    post(root, "auth/role/add", "{\"name\":\"app\"}");
    /* Every key that starts with test/ */
    post(root, "auth/role/grant",
         "{\"name\":\"app\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"dGVzdC8=\",\"range_end\":\"dGVzdDA=\"}}");
    post(root, "auth/user/grant", "{\"user\":\"app\",\"role\":\"app\"}");
    post(root, "auth/enable", "{}");
}

static void disable(etcdgw_client *root)
{
    post(root, "auth/disable", "{}");
    post(root, "auth/user/delete", "{\"name\":\"app\"}");
    post(root, "auth/user/delete", "{\"name\":\"root\"}");
    post(root, "auth/role/delete", "{\"role\":\"app\"}");
    post(root, "auth/role/delete", "{\"role\":\"root\"}");
}

static void refused_put(etcdgw_client *client, etcdgw_bytes key, etcdgw_status status, int32_t reason)
{
    etcdgw_error *err = NULL;
    FAILS(status, etcdgw_put(client, key, etcdgw_str("value"), NULL, NULL, &err));
    CHECK(etcdgw_error_reason(err) == reason);
    CHECK(etcdgw_error_may_have_applied(err) == 0);
    CHECK(etcdgw_error_is_retryable(err) == 0);
    CHECK(strstr(etcdgw_error_message(err), "password\"") == NULL);
    FORGET();
}

static void passwords(etcdgw_bytes key)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = client_with(NULL, NULL, NULL);
    refused_put(client, key, ETCDGW_INVALID_ARGUMENT, ETCDGW_REASON_AUTH_FAILED);

    OK(etcdgw_client_set_credentials(client, "app", "wrong", &err));
    refused_put(client, key, ETCDGW_INVALID_ARGUMENT, ETCDGW_REASON_AUTH_FAILED);

    OK(etcdgw_client_set_credentials(client, "app", "app-password", &err));
    put(client, key, "value");
    refused_put(client, etcdgw_str("elsewhere"), ETCDGW_PERMISSION_DENIED, ETCDGW_REASON_OTHER);

    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_client_set_credentials(client, "app", NULL, &err));
    FORGET();
    FAILS(ETCDGW_INVALID_ARGUMENT, etcdgw_client_set_credentials(client, NULL, "app-password", &err));
    FORGET();
    put(client, key, "as before");

    OK(etcdgw_client_set_credentials(client, NULL, NULL, &err));
    refused_put(client, key, ETCDGW_INVALID_ARGUMENT, ETCDGW_REASON_AUTH_FAILED);
    etcdgw_client_free(client);
}

/* Gets one as a token is issued elsewhere. */
static void get_token(char *room, size_t size)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = client_with(NULL, NULL, NULL);
    etcdgw_raw_response *response = NULL;
    OK(etcdgw_post(client, "auth/authenticate",
                   etcdgw_str("{\"name\":\"app\",\"password\":\"app-password\"}"), NULL, &response, &err));
    char text[4096];
    CHECK(response->body.len < sizeof text);
    memcpy(text, response->body.data, response->body.len);
    text[response->body.len] = '\0';
    char *name = strstr(text, "\"token\"");
    CHECK(name != NULL);
    char *start = strchr(name + strlen("\"token\""), '"') + 1;
    char *end = strchr(start, '"');
    CHECK(end != NULL && (size_t)(end - start) < size);
    memcpy(room, start, (size_t)(end - start));
    room[end - start] = '\0';
    etcdgw_raw_response_free(response);
    etcdgw_client_free(client);
}

static void tokens(etcdgw_client *root, etcdgw_bytes key)
{
    etcdgw_error *err = NULL;
    char token[2048];
    get_token(token, sizeof token);
    etcdgw_client *client = client_with(NULL, NULL, token);
    put(client, key, "by token");

    /* A change of password takes the token away, and it is not replaced. */
    post(root, "auth/user/changepw", "{\"name\":\"app\",\"password\":\"app-password\"}");
    FAILS(ETCDGW_UNAUTHENTICATED, etcdgw_put(client, key, etcdgw_str("value"), NULL, NULL, &err));
    CHECK(etcdgw_error_reason(err) == ETCDGW_REASON_INVALID_TOKEN);
    CHECK(strstr(etcdgw_error_message(err), token) == NULL);
    FORGET();
    etcdgw_client_free(client);
}

static void watches(etcdgw_client *root, etcdgw_bytes key)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = client_with("app", "app-password", NULL);
    etcdgw_watch_handle *watch = NULL;
    etcdgw_watch_response *response = NULL;
    OK(etcdgw_watch_open(client, key, NULL, &watch, &err));
    put(root, key, "seen");
    OK(etcdgw_watch_next(watch, PATIENCE_MS, &response, &err));
    CHECK(response->events_len == 1 && same(response->events[0].kv->value, etcdgw_str("seen")));
    etcdgw_watch_response_free(response);
    etcdgw_watch_handle *refused = NULL;
    FAILS(ETCDGW_PERMISSION_DENIED, etcdgw_watch_open(client, etcdgw_str("elsewhere"), NULL, &refused, &err));
    CHECK(refused == NULL);
    FORGET();
    etcdgw_watch_free(watch);
    etcdgw_client_free(client);
}

int main(void)
{
    struct footprint before = footprint();
    struct key_room room;
    etcdgw_bytes key = own_key(&room, "key");
    etcdgw_client *root = client_with("root", "root-password", NULL);
    enable(root);
    passwords(key);
    tokens(root, key);
    watches(root, key);
    disable(root);
    put(root, key, "without authentication");
    etcdgw_client_free(root);
    check_nothing_is_left(before);
    return 0;
}
