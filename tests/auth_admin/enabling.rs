//! Enabling and disabling authentication, and who may administer what once it is enabled.

use crate::common::{Etcd, for_each_version_with, plain, put};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::alarm::Alarm;
use etcdgw::rpc::downgrade::DowngradeAction;
use etcdgw::rpc::role::PermissionType;
use etcdgw::rpc::snapshot::SnapshotRequest;
use std::borrow::Cow;
use std::thread;
use std::time::Duration;

#[test]
fn authentication_is_enabled_with_a_root_and_disabled_by_it() {
    on_each(|etcd| {
        let client = crate::common::client(&etcd.url());
        let tells = etcd.release() >= (3, 5);
        if tells {
            let status = client.auth_status(&plain()).unwrap();
            assert!(!status.enabled && status.auth_revision > 0, "{status:?}");
        } else {
            let error = client.auth_status(&plain()).unwrap_err();
            assert!(matches!(error, Error::Server { code: Code::Unimplemented, .. }), "{error:?}");
            assert!(error.to_string().contains("etcd 3.5"), "{error}");
        }
        assert_refused(client.auth_enable(&plain()), Code::FailedPrecondition, Reason::Other);
        add_user(&client, "root", &[]);
        assert_refused(client.auth_enable(&plain()), Code::FailedPrecondition, Reason::Other);
        client.role_add("root", &plain()).unwrap();
        client.user_grant_role("root", "root", &plain()).unwrap();
        client.auth_enable(&plain()).unwrap();

        let (code, reason) = crate::common::Face::of_this_run().refuses_nobody_with();
        assert_refused(put(&client, b"key", b"value"), code, reason);
        let root = client_as(&etcd.url(), "root");
        put(&root, b"key", b"value").unwrap();
        root.auth_enable(&plain()).unwrap();
        if tells {
            let before = root.auth_status(&plain()).unwrap();
            assert!(before.enabled);
            root.role_add("role", &plain()).unwrap();
            assert_eq!(root.auth_status(&plain()).unwrap().auth_revision, before.auth_revision + 1);
        }
        add_user(&root, "app", &[]);
        let app = client_as(&etcd.url(), "app");
        assert_refused(app.auth_disable(&plain()), Code::PermissionDenied, Reason::Other);
        root.auth_disable(&plain()).unwrap();
        put(&client, b"key", b"value").unwrap();
        put(&app, b"key", b"value").unwrap();
        assert_eq!(client.user_list(&plain()).unwrap().users, ["app", "root"], "users stay");
    });
}

/// A change or a question, by its name.
type Administering = (&'static str, fn(&Client) -> Result<(), Error>);

/// What only root may, in every release. 3.4 lets everybody do what isn't here.
const FOR_ROOT: &[Administering] = &[
    ("user_add", |client| client.user_add("new", Some(&"password".into()), &plain())),
    ("user_delete", |client| client.user_delete("victim", &plain())),
    ("user_get", |client| client.user_get("victim", &plain()).map(drop)),
    ("user_list", |client| client.user_list(&plain()).map(drop)),
    ("user_change_password", |client| client.user_change_password("victim", &"password".into(), &plain())),
    ("user_grant_role", |client| client.user_grant_role("app", "root", &plain())),
    ("user_revoke_role", |client| client.user_revoke_role("root", "root", &plain())),
    ("role_add", |client| client.role_add("new", &plain())),
    ("role_delete", |client| client.role_delete("victim", &plain())),
    ("role_get", |client| client.role_get("victim", &plain()).map(drop)),
    ("role_list", |client| client.role_list(&plain()).map(drop)),
    ("role_grant_permission", |client| {
        let everything = Keys::Prefix(Cow::Borrowed(&b""[..]));
        client.role_grant_permission("victim", PermissionType::ReadWrite, &everything, &plain())
    }),
    ("role_revoke_permission", |client| {
        client.role_revoke_permission("victim", &Keys::One(Cow::Borrowed(&b"key"[..])), &plain())
    }),
    ("auth_disable", |client| client.auth_disable(&plain())),
    ("member_add", |client| client.member_add(&["http://127.0.0.1:1"], &plain()).map(drop)),
    ("member_remove", |client| client.member_remove(12345, &plain()).map(drop)),
    ("member_promote", |client| client.member_promote(12345, &plain()).map(drop)),
    ("member_update", |client| client.member_update(12345, &["http://127.0.0.1:1"], &plain()).map(drop)),
    ("defragment", |client| client.defragment(None, &plain())),
    ("hash", |client| client.hash(None, &plain()).map(drop)),
    ("snapshot_read", |client| client.snapshot_read(SnapshotRequest::default(), &mut |_| Ok(()), &plain()).map(drop)),
];

/// The same since 3.5.
const FOR_ROOT_SINCE_3_5: &[Administering] = &[
    ("compact", |client| client.compact(1, false, &plain())),
    ("hash_kv", |client| client.hash_kv(None, 0, &plain()).map(drop)),
    ("move_leader", |client| client.move_leader(12345, &plain())),
    ("downgrade", |client| client.downgrade(DowngradeAction::Validate, "3.4", &plain()).map(drop)),
];

fn enable(etcd: &Etcd) {
    let bare = crate::common::client(&etcd.url());
    add_root(&bare);
    bare.role_add("victim", &plain()).unwrap();
    for name in ["app", "victim"] {
        add_user(&bare, name, &[]);
    }
    bare.auth_enable(&plain()).unwrap();
}

#[test]
fn whoever_is_not_root_administers_nothing() {
    on_each(|etcd| {
        enable(&etcd);
        let (app, nobody) = (client_as(&etcd.url(), "app"), crate::common::client(&etcd.url()));
        let since = if etcd.release() >= (3, 5) { FOR_ROOT_SINCE_3_5 } else { &[] };
        for (name, run) in FOR_ROOT.iter().chain(since) {
            for (client, code) in [(&app, Code::PermissionDenied), (&nobody, Code::InvalidArgument)] {
                let error = run(client).unwrap_err();
                assert!(matches!(&error, Error::Server { code: given, .. } if *given == code), "{name}: {error:?}");
                assert!(!error.may_have_applied() && !error.is_retryable(), "{name}: {error:?}");
            }
        }
        // A user may look at itself, and at the alarms.
        assert_eq!(app.user_get("app", &plain()).unwrap().roles, Vec::<String>::new());
        app.alarm_list(&plain()).unwrap();
        let root = client_as(&etcd.url(), "root");
        assert_eq!(root.user_list(&plain()).unwrap().users, ["app", "root", "victim"], "nothing was done");
        assert_eq!(root.role_list(&plain()).unwrap().roles, ["root", "victim"]);
        assert_eq!(root.member_list(true, &plain()).unwrap().members.len(), 1);
    });
}

#[test]
fn a_token_that_has_expired_is_replaced_for_administration_as_for_everything() {
    for_each_version_with(&["--bcrypt-cost=4", "--auth-token-ttl=2"], |etcd| {
        enable(&etcd);
        let calls: &[Administering] = &[
            ("user_list", |client| client.user_list(&plain()).map(drop)),
            ("alarm_disarm", |client| client.alarm_disarm(Alarm::default(), &plain()).map(drop)),
            ("defragment", |client| client.defragment(None, &plain())),
            ("hash", |client| client.hash(None, &plain()).map(drop)),
            ("snapshot_read", |client| {
                client.snapshot_read(SnapshotRequest::default(), &mut |_| Ok(()), &plain()).map(drop)
            }),
        ];
        let clients: Vec<Client> = calls.iter().map(|_| client_as(&etcd.url(), "root")).collect();
        clients.iter().for_each(|client| drop(put(client, b"key", b"value").unwrap()));
        // Nothing but time ends a token's life, and any use of it would prolong that.
        thread::sleep(Duration::from_secs(5));
        for ((name, run), client) in calls.iter().zip(&clients) {
            run(client).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(client.stats().token_refreshes, 2, "{name}");
        }
    });
}
