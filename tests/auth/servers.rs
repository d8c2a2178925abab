//! Users and passwords on real servers of every version.

use crate::common::{
    Certificates, Cluster, Etcd, EtcdOptions, Face, Identity, LONG, get, get_with, plain, put, put_request, versions,
    wait_for_keep_alive, wait_until, with_each_version, within,
};
use crate::door::{Lines, client_as, user};
use crate::guarded::*;
use crate::watching::{next, prefix, refusal, values};
use etcdgw::client::Client;
use etcdgw::concurrency::session::SessionOptions;
use etcdgw::config::{Config, Credentials, Pem, TlsConfig};
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::TxnRequest;
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, wanted: (Code, Reason)) {
    let error = refusal(result);
    let Error::Server { code, reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*code, *reason), wanted, "{error:?}");
    assert!(!error.may_have_applied() && !error.is_retryable(), "{error:?}");
}

const NEEDS_USER: (Code, Reason) = (Code::InvalidArgument, Reason::AuthFailed);
const DENIED: (Code, Reason) = (Code::PermissionDenied, Reason::Other);

#[test]
fn every_call_works_with_a_user_and_is_refused_without() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let client = root(&etcd);
        put(&client, b"key", b"value").unwrap();
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value");
        assert!(client.create(put_request(b"new", b"value"), &plain()).unwrap().0);
        client.txn(&TxnRequest::default(), &plain()).unwrap();
        client.delete_range(&crate::common::delete_request(Keys::One(Cow::Borrowed(b"new"))), &plain()).unwrap();
        client.lease_grant(60, 7, &plain()).unwrap();
        client.lease_refresh(7, &plain()).unwrap();
        client.lease_time_to_live(7, true, &plain()).unwrap();
        assert_eq!(client.lease_list(&plain()).unwrap().ids, [7]);
        client.lease_revoke(7, &plain()).unwrap();
        client.member_list(true, &plain()).unwrap();
        client.status(None, &plain()).unwrap();
        client.sync_endpoints(&plain()).unwrap();
        drop(client.watch_open(prefix(b"key")).unwrap());

        let nobody = crate::common::client(&etcd.url());
        let refused = Face::of_this_run().refuses_nobody_with();
        assert_refused(put(&nobody, b"key", b"value"), refused);
        assert_refused(get(&nobody, b"key"), refused);
        assert_refused(nobody.watch_open(prefix(b"key")), refused);
        let wrong = client_as(&etcd.url(), user("root", "wrong"));
        assert_refused(put(&wrong, b"key", b"value"), NEEDS_USER);
        assert_refused(wrong.watch_open(prefix(b"key")), NEEDS_USER);
    });
}

#[test]
fn a_user_without_permission_is_refused_where_it_has_none() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let client = app(&etcd);
        put(&client, b"app/key", b"value").unwrap();
        assert_refused(put(&client, b"other", b"value"), DENIED);
        assert_refused(get(&client, b"other"), DENIED);
        assert_refused(client.watch_open(prefix(b"other")), DENIED);
        drop(client.watch_open(prefix(b"app/")).unwrap());
    });
}

#[test]
fn a_user_who_has_no_password_can_not_log_in() {
    on_each(&[], |etcd| {
        enable(&etcd);
        post(&root(&etcd), "auth/user/add", r#"{"name":"certified","options":{"no_password":true}}"#);
        let client = client_as(&etcd.url(), user("certified", "any"));
        let refused = [put(&client, b"app/key", b"value").err(), client.watch_open(prefix(b"app/")).err()];
        for error in refused.map(Option::unwrap) {
            assert!(error.reason() == Reason::AuthFailed && !error.may_have_applied(), "{error:?}");
        }
    });
}

#[test]
fn after_a_change_of_password_the_old_one_is_refused_and_the_new_one_works() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let client = app(&etcd);
        put(&client, b"app/key", b"value").unwrap();
        post(&root(&etcd), "auth/user/changepw", r#"{"name":"app","password":"other-password"}"#);
        assert_refused(put(&client, b"app/key", b"value"), NEEDS_USER);
        client.set_credentials(user("app", "other-password")).unwrap();
        put(&client, b"app/key", b"value").unwrap();
    });
}

/// Writes with several threads while something happens. Every write must succeed and be made once.
#[track_caller]
fn under_load(etcd: &Etcd, client: &Client, change: impl FnOnce(&dyn Fn())) {
    const WRITERS: usize = 4;
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = put(&root(etcd), b"app/first", b"value").unwrap().header.revision;
    let write = |writer: usize| {
        let mut count = 0;
        while !stop.load(Ordering::SeqCst) {
            put(client, format!("app/{writer}/{count}").as_bytes(), b"value").unwrap();
            count += 1;
            written.fetch_add(1, Ordering::SeqCst);
        }
    };
    let wait_for_writes = || {
        let enough = written.load(Ordering::SeqCst) + 10 * WRITERS;
        wait_until(LONG, || written.load(Ordering::SeqCst) >= enough);
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(&wait_for_writes)));
        stop.store(true, Ordering::SeqCst);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        changed.unwrap();
    });
    let all = root(etcd).range(&crate::common::prefix(b"app/"), &plain()).unwrap();
    let written = written.into_inner();
    assert_eq!(usize::try_from(all.count).unwrap(), written + 1);
    assert_eq!(usize::try_from(all.header.revision - before).unwrap(), written, "no write was made twice");
}

#[test]
fn authentication_that_is_enabled_and_disabled_under_load_fails_no_call() {
    on_each(&[], |etcd| {
        add_users(&root(&etcd));
        let root = root(&etcd);
        under_load(&etcd, &app(&etcd), |wait_for_writes| {
            // Of what a client with a certificate sent before authentication is enabled once more, with a token of the
            // last time, etcd says that nobody may do it: nothing tells that from what its user may not do.
            let rounds = if Face::of_this_run() == Face::Plain { 3 } else { 0 };
            for _ in 0..rounds {
                wait_for_writes();
                post(&root, "auth/enable", "{}");
                wait_for_writes();
                post(&root, "auth/disable", "{}");
            }
            wait_for_writes();
            post(&root, "auth/enable", "{}");
            wait_for_writes();
        });
    });
}

#[test]
fn a_token_that_was_idle_for_longer_than_it_lives_is_replaced() {
    on_each(&["--auth-token-ttl=2"], |etcd| {
        enable(&etcd);
        let lines = Lines::default();
        let credentials = user("app", "app-password");
        let config = Config { credentials, log: lines.sink(), ..crate::common::config(&etcd.url()) };
        let client = Client::new(config).unwrap();
        put(&client, b"app/key", b"value").unwrap();
        // Nothing but time ends a token's life, and any use of it would prolong that.
        thread::sleep(Duration::from_secs(5));
        put(&client, b"app/key", b"value").unwrap();
        let said = lines.all();
        let fetched = said.iter().filter(|line| line.contains("gave a token")).count();
        assert_eq!(fetched, 2, "{said:#?}");
        assert!(said.iter().any(|line| line.contains("invalid auth token")), "{said:#?}");
    });
}

#[test]
fn calls_go_on_in_a_store_that_was_restored_from_long_before_their_token() {
    on_each(&[], |mut etcd| {
        enable(&etcd);
        let backup = etcd.back_up();
        let first = root(&etcd);
        (0..50).for_each(|_| drop(put(&first, b"key", b"value").unwrap()));
        let client = root(&etcd);
        get(&client, b"key").unwrap();
        etcd.go_back_to(&backup);
        etcd.restart();
        // The server waits until it has as many entries as when it gave the token: that is nobody's wish.
        wait_until(LONG, || get_with(&client, b"key", &within(Duration::from_secs(1))).is_ok());
    });
}

/// Flags of a server that issues signed tokens, and the folder with their key.
fn signed_tokens() -> (crate::common::TempDir, String) {
    let dir = crate::common::TempDir::new("jwt");
    let key = dir.path().join("key");
    std::fs::write(&key, "a key of the tests, which signs and verifies").unwrap();
    let flag = format!("--auth-token=jwt,priv-key={},sign-method=HS256,ttl=10m", key.display());
    (dir, flag)
}

#[test]
fn a_signed_token_is_replaced_when_users_or_roles_have_changed() {
    let (_dir, flag) = signed_tokens();
    on_each(&[&flag], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        put(&client, b"app/key", b"value").unwrap();
        for round in 0..3 {
            post(&root, "auth/role/add", &format!(r#"{{"name":"unused-{round}"}}"#));
            put(&client, b"app/key", b"value").unwrap();
        }
        let old = client_as(&etcd.url(), Credentials::Token(issue_token(&etcd, "app", "app-password").as_str().into()));
        put(&old, b"app/key", b"value").unwrap();
        drop(old.watch_open(prefix(b"app/")).unwrap());
        post(&root, "auth/role/add", r#"{"name":"unused"}"#);
        let outdated = (Code::InvalidArgument, Reason::OldAuthRevision);
        assert_refused(put(&old, b"app/key", b"value"), outdated);
        assert_refused(old.watch_open(prefix(b"app/")), outdated);
        drop(client.watch_open(prefix(b"app/")).unwrap());
    });
}

#[test]
fn signed_tokens_under_load_while_roles_change_fail_no_call() {
    let (_dir, flag) = signed_tokens();
    on_each(&[&flag], |etcd| {
        enable(&etcd);
        let root = root(&etcd);
        under_load(&etcd, &app(&etcd), |wait_for_writes| {
            for round in 0..5 {
                wait_for_writes();
                post(&root, "auth/role/add", &format!(r#"{{"name":"unused-{round}"}}"#));
            }
        });
    });
}

#[test]
fn a_token_issued_elsewhere_works_until_it_is_worth_nothing_and_is_not_replaced() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let token = issue_token(&etcd, "app", "app-password");
        let client = client_as(&etcd.url(), Credentials::Token(token.as_str().into()));
        put(&client, b"app/key", b"value").unwrap();
        assert_refused(put(&client, b"other", b"value"), DENIED);
        // A change of password takes the user's tokens away, even if it is none.
        post(&root(&etcd), "auth/user/changepw", r#"{"name":"app","password":"app-password"}"#);
        let invalid = (Code::Unauthenticated, Reason::InvalidToken);
        assert_refused(put(&client, b"app/key", b"value"), invalid);
        assert_refused(client.watch_open(prefix(b"app/")), invalid);
        client.set_credentials(user("app", "app-password")).unwrap();
        put(&client, b"app/key", b"value").unwrap();
    });
}

#[test]
fn one_token_serves_every_member_and_outlives_the_one_that_issued_it() {
    for version in versions() {
        let mut cluster = Cluster::start(&version, 3);
        enable(&cluster.members[0]);
        let client = client_as(&cluster.endpoints(), user("app", "app-password"));
        put(&client, b"app/key", b"value").unwrap();
        let in_use = cluster.members.iter().position(|member| member.url() == *client.base_url()).unwrap();
        cluster.members[in_use].kill();
        wait_until(LONG, || put(&client, b"app/key", b"other").is_ok());
        assert_eq!(get(&client, b"app/key").unwrap().unwrap(), b"other");
        cluster.members[in_use].restart();
        put(&client, b"app/key", b"value").unwrap();
    }
}

/// A client of a server that wants certificates, with this one.
fn client_with(etcd: &Etcd, certificates: &Certificates, identity: &Identity, credentials: Credentials) -> Client {
    let tls = TlsConfig {
        ca_cert: Some(Pem::File(certificates.ca())),
        cert: Some(Pem::File(identity.cert.clone())),
        key: Some(Pem::File(identity.key.clone())),
        ..TlsConfig::default()
    };
    Client::new(Config { tls, credentials, ..crate::common::config(&etcd.url()) }).unwrap()
}

#[test]
fn a_user_may_ask_a_member_first_that_only_learns_and_issues_no_token() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 1);
        cluster.add_learner();
        enable(&cluster.members[0]);
        let learner = cluster.members[1].url();
        let client = || client_as(&cluster.endpoints(), user("root", "root-password"));
        // A token that it doesn't know yet is as good as none.
        wait_until(LONG, || client().status(Some(&learner), &plain()).is_ok_and(|status| status.is_learner));
        let wrong = client_as(&cluster.endpoints(), user("root", "wrong"));
        assert_refused(wrong.status(Some(&learner), &plain()), NEEDS_USER);
        let refused = client().defragment(Some(&learner), &plain());
        assert!(refused.is_ok() || refusal(refused).reason() == Reason::Learner);
    });
}

/// A server that wants certificates of its clients, which does not know users yet, and one for them.
fn with_certificates(version: &str) -> (Certificates, Identity, Etcd) {
    let certificates = Certificates::new();
    let server = certificates.issue("server", &["127.0.0.1"]);
    let nameless = certificates.issue("nameless", &["client"]);
    let flags = [certificates.flags(&server, true), vec!["--bcrypt-cost=4".to_owned()]].concat();
    let etcd = Etcd::start_with(version, EtcdOptions { flags, tls: true, ..EtcdOptions::default() });
    (certificates, nameless, etcd)
}

#[test]
fn who_has_a_certificate_logs_in_once_authentication_is_enabled_under_it() {
    with_each_version(|version| {
        let (certificates, nameless, mut etcd) = with_certificates(version);
        let client_as = |name: &str| {
            let credentials = user(name, &format!("{name}-password"));
            client_with(&etcd, &certificates, &nameless, credentials)
        };
        let (root, calls, watches, watched) = (client_as("root"), client_as("app"), client_as("app"), client_as("app"));
        add_users(&root);
        for client in [&calls, &watches] {
            put(client, b"app/key", b"before").unwrap();
        }
        let running = watched.watch_open(prefix(b"app/")).unwrap();
        let other = client_as("app");
        let session = other.session(&SessionOptions { ttl: 10, ..SessionOptions::default() }, None).unwrap();
        post(&root, "auth/enable", "{}");
        put(&calls, b"app/key", b"1").unwrap();
        let new = watches.watch_open(prefix(b"app/")).unwrap();
        put(&calls, b"app/key", b"2").unwrap();
        etcd.restart();
        put(&calls, b"app/key", b"3").unwrap();
        for (watch, wanted) in [(&running, &["1", "2", "3"][..]), (&new, &["2", "3"])] {
            let mut seen = Vec::new();
            while seen.len() < wanted.len() {
                seen.extend(values(&next(watch).changes));
            }
            assert_eq!(seen, wanted);
        }
        wait_for_keep_alive(&session, Duration::from_secs(8));
        assert_refused(put(&calls, b"other", b"value"), DENIED);
    });
}

#[test]
fn a_client_certificate_with_a_common_name_is_refused_with_advice_that_helps() {
    for version in versions() {
        let (certificates, nameless, etcd) = with_certificates(&version);
        let named = certificates.issue_with_common_name("app", "named", &["client"]);
        let credentials = || user("app", "app-password");
        let client = client_with(&etcd, &certificates, &named, Credentials::Nobody);
        add_users(&client);
        post(&client, "auth/enable", "{}");
        for credentials in [Credentials::Nobody, credentials()] {
            let error = put(&client_with(&etcd, &certificates, &named, credentials), b"app/key", b"value").unwrap_err();
            assert!(error.full_message().contains("use a client certificate without one"), "{error}");
        }
        // What the advice says:
        put(&client_with(&etcd, &certificates, &nameless, credentials()), b"app/key", b"value").unwrap();
    }
}
