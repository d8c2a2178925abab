//! Users and their roles.

use crate::common::{config, plain, put};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};

const REFUSED: Code = Code::FailedPrecondition;

#[test]
fn users_are_added_listed_and_deleted() {
    on_each(|etcd| {
        let client = crate::common::client(&etcd.url());
        assert_eq!(client.user_list(&plain()).unwrap().users, Vec::<String>::new());
        add_user(&client, "one", &[]);
        client.user_add("two \"\\ \u{e4}\u{1f511}", Some(&"p\"\\\u{e4}".into()), &plain()).unwrap();
        client.user_add("without", None, &plain()).unwrap();
        assert_eq!(client.user_list(&plain()).unwrap().users, ["one", "two \"\\ \u{e4}\u{1f511}", "without"]);
        assert_refused(client.user_add("one", Some(&"other".into()), &plain()), REFUSED, Reason::Other);
        assert_refused(client.user_add("", Some(&"other".into()), &plain()), Code::InvalidArgument, Reason::AuthFailed);
        let empty = client.user_add("empty", Some(&"".into()), &plain());
        assert!(matches!(empty, Err(Error::InvalidArgument { .. })), "{empty:?}");
        client.user_delete("one", &plain()).unwrap();
        assert_refused(client.user_delete("one", &plain()), REFUSED, Reason::UserNotFound);
        assert_refused(client.user_get("one", &plain()), REFUSED, Reason::UserNotFound);
        assert_eq!(client.user_list(&plain()).unwrap().users.len(), 2);
    });
}

#[test]
fn a_name_that_would_end_the_server_for_good_is_not_sent() {
    on_each(|etcd| {
        let client = crate::common::client(&etcd.url());
        let (longest, longer) = ("a".repeat(32_768), "a".repeat(32_769));
        for result in [client.user_add(&longer, Some(&"p".into()), &plain()), client.role_add(&longer, &plain())] {
            assert!(matches!(result, Err(Error::InvalidArgument { .. })), "{result:?}");
        }
        client.user_add(&longest, Some(&"p".into()), &plain()).unwrap();
        client.role_add(&longest, &plain()).unwrap();
        client.user_delete(&longest, &plain()).unwrap();
        client.role_delete(&longest, &plain()).unwrap();
    });
}

#[test]
fn a_user_has_the_roles_that_were_granted_and_not_revoked() {
    on_each(|etcd| {
        let client = crate::common::client(&etcd.url());
        add_user(&client, "user", &[]);
        for role in ["a", "b", "c"] {
            client.role_add(role, &plain()).unwrap();
            client.user_grant_role("user", role, &plain()).unwrap();
        }
        assert_eq!(client.user_get("user", &plain()).unwrap().roles, ["a", "b", "c"]);
        client.user_revoke_role("user", "b", &plain()).unwrap();
        assert_eq!(client.user_get("user", &plain()).unwrap().roles, ["a", "c"]);
        client.role_delete("c", &plain()).unwrap();
        assert_eq!(client.user_get("user", &plain()).unwrap().roles, ["a"]);
        assert_refused(client.user_revoke_role("user", "b", &plain()), REFUSED, Reason::Other);
        assert_refused(client.user_grant_role("user", "missing", &plain()), REFUSED, Reason::RoleNotFound);
        assert_refused(client.user_grant_role("missing", "a", &plain()), REFUSED, Reason::UserNotFound);
    });
}

#[test]
fn a_password_that_was_changed_is_the_one_that_counts() {
    on_each(|etcd| {
        let bare = crate::common::client(&etcd.url());
        add_root(&bare);
        bare.auth_enable(&plain()).unwrap();
        let root = client_as(&etcd.url(), "root");
        put(&root, b"key", b"value").unwrap();
        root.user_change_password("root", &"another".into(), &plain()).unwrap();
        assert_refused(put(&root, b"key", b"value"), Code::InvalidArgument, Reason::AuthFailed);
        root.set_credentials(user("root", "another")).unwrap();
        put(&root, b"key", b"value").unwrap();
        let missing = root.user_change_password("missing", &"another".into(), &plain());
        assert_refused(missing, REFUSED, Reason::UserNotFound);
        let empty = root.user_change_password("root", &"".into(), &plain());
        assert!(matches!(empty, Err(Error::InvalidArgument { .. })), "{empty:?}");

        root.user_add("without", None, &plain()).unwrap();
        let without = Client::new(Config { credentials: user("without", "any"), ..config(&etcd.url()) }).unwrap();
        let error = put(&without, b"key", b"value").unwrap_err();
        assert!(error.reason() == Reason::AuthFailed && !error.may_have_applied(), "{error:?}");
    });
}
