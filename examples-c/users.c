/*
 * Users: an application that may use its own keys and nothing else. It sets up users, roles and permissions, enables
 * authentication, shows what is refused to whom, and takes everything back.
 *
 *   cc users.c $(pkg-config --cflags --libs etcdgw) -o users
 *   ./users [http://127.0.0.1:2379]       on an etcd without users
 */
#include "example.h"

#define TRY(what, call) failed(what, call, &err)

/* Passwords come from where secrets are kept; these are for a throw-away etcd. */
static const char root_password[] = "root's secret", app_password[] = "the application's secret";

static int set_up(etcdgw_client *client)
{
    etcdgw_error *err = NULL;
    etcdgw_role_permission_options below = ETCDGW_ROLE_PERMISSION_OPTIONS_INIT;

    below.prefix = 1;
    return TRY("role_add", etcdgw_role_add(client, "root", NULL, &err))
        || TRY("user_add", etcdgw_user_add(client, "root", root_password, NULL, &err))
        || TRY("user_grant_role", etcdgw_user_grant_role(client, "root", "root", NULL, &err))
        || TRY("role_add", etcdgw_role_add(client, "app", NULL, &err))
        || TRY("grant", etcdgw_role_grant_permission(client, "app", ETCDGW_PERMISSION_READWRITE,
                                                     ETCDGW_STR("app/"), &below, &err))
        || TRY("grant", etcdgw_role_grant_permission(client, "app", ETCDGW_PERMISSION_READ,
                                                     ETCDGW_STR("settings"), NULL, &err))
        || TRY("user_add", etcdgw_user_add(client, "app", app_password, NULL, &err))
        || TRY("user_grant_role", etcdgw_user_grant_role(client, "app", "app", NULL, &err))
        /* From here on every request needs a user. */
        || TRY("auth_enable", etcdgw_auth_enable(client, NULL, &err));
}

static int show_role(etcdgw_client *client, const char *name)
{
    static const char *const words[] = {"read", "write", "read and write"};
    etcdgw_error *err = NULL;
    etcdgw_role_get_response *role = NULL;

    if (TRY("role_get", etcdgw_role_get(client, name, NULL, &role, &err)))
        return 1;
    for (size_t i = 0; i < role->permissions_len; i++) {
        const etcdgw_permission *one = role->permissions[i];
        printf("%s may %s %.*s%s\n", name, words[one->permission], TEXT(one->key), one->range_end.len ? " and on" : "");
    }
    int failure = check("the role has two permissions", role->permissions_len == 2);
    etcdgw_role_get_response_free(role);
    return failure;
}

static etcdgw_status put(etcdgw_client *client, etcdgw_bytes key)
{
    return etcdgw_put(client, key, ETCDGW_STR("value"), NULL, NULL, NULL);
}

static int try_permissions(etcdgw_client *client)
{
    etcdgw_status password;

    etcdgw_client_set_credentials(client, "app", app_password, NULL);
    int failure = check("the application writes its own keys", put(client, ETCDGW_STR("app/key")) == ETCDGW_OK)
        || check("it reads the settings", etcdgw_get(client, ETCDGW_STR("settings"), NULL, NULL, NULL) == ETCDGW_OK)
        || check("it doesn't write them", put(client, ETCDGW_STR("settings")) == ETCDGW_PERMISSION_DENIED)
        || check("nor anything else", put(client, ETCDGW_STR("other")) == ETCDGW_PERMISSION_DENIED)
        || check("nor makes users", etcdgw_user_add(client, "x", "x", NULL, NULL) == ETCDGW_PERMISSION_DENIED);

    etcdgw_client_set_credentials(client, "root", root_password, NULL);
    password = etcdgw_user_change_password(client, "app", "another secret", NULL, NULL);
    etcdgw_client_set_credentials(client, "app", app_password, NULL);
    return failure || check("root gives it another password", password == ETCDGW_OK)
        || check("the old one is worth nothing then", put(client, ETCDGW_STR("app/key")) == ETCDGW_INVALID_ARGUMENT);
}

/* Whatever has failed before. */
static int take_back(etcdgw_client *client)
{
    etcdgw_error *err = NULL;

    etcdgw_client_set_credentials(client, "root", root_password, NULL);
    int failure = TRY("auth_disable", etcdgw_auth_disable(client, NULL, &err));
    failure |= TRY("user_delete", etcdgw_user_delete(client, "app", NULL, &err));
    failure |= TRY("user_delete", etcdgw_user_delete(client, "root", NULL, &err));
    failure |= TRY("role_delete", etcdgw_role_delete(client, "app", NULL, &err));
    failure |= TRY("role_delete", etcdgw_role_delete(client, "root", NULL, &err));
    etcdgw_client_set_credentials(client, NULL, NULL, NULL);
    failure |= TRY("delete", etcdgw_delete_prefix(client, ETCDGW_STR("app/"), NULL, NULL, &err));
    return failure;
}

int main(int argc, char **argv)
{
    etcdgw_client *client = connect_to(argc > 1 ? argv[1] : NULL);
    etcdgw_user_list_response *list = NULL;
    etcdgw_error *err = NULL;

    if (client == NULL || TRY("user_list", etcdgw_user_list(client, NULL, &list, &err)))
        return EXIT_FAILURE;
    int has_users = list->users_len > 0;
    etcdgw_user_list_response_free(list);
    if (check("nobody else has users here", !has_users))
        return EXIT_FAILURE;

    int failure = set_up(client);
    etcdgw_client_set_credentials(client, "root", root_password, NULL);
    failure = failure || show_role(client, "app") || try_permissions(client);
    failure |= take_back(client);
    etcdgw_client_free(client);
    return failure ? EXIT_FAILURE : EXIT_SUCCESS;
}
