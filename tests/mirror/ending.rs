//! How a mirror ends, by its owner, its client or its server.

use crate::common::{Etcd, Gate, LONG, client, config, for_each_version_with, on_each_version, plain, put, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::{ChangeKind, Mirror};
use etcdgw::config::{Config, Credentials};
use etcdgw::error::{Code, Error};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[track_caller]
fn post(client: &Client, path: &str, json: &str) {
    client.post(path, json.as_bytes(), &plain()).unwrap();
}

/// Makes `root`, and `app` who may use the keys that start with `app/`; they need passwords from now on.
fn enable_users(etcd: &Etcd) {
    let client = client(&etcd.url());
    let [key, range_end] = ["app/", "app0"].map(|key| base64_simd::STANDARD.encode_to_string(key));
    for name in ["root", "app"] {
        post(&client, "auth/user/add", &format!(r#"{{"name":"{name}","password":"secret"}}"#));
        post(&client, "auth/role/add", &format!(r#"{{"name":"{name}"}}"#));
        post(&client, "auth/user/grant", &format!(r#"{{"user":"{name}","role":"{name}"}}"#));
    }
    let permission = format!(r#"{{"permType":"READWRITE","key":"{key}","range_end":"{range_end}"}}"#);
    post(&client, "auth/role/grant", &format!(r#"{{"name":"app","perm":{permission}}}"#));
    post(&client, "auth/enable", "{}");
}

fn client_as(etcd: &Etcd, name: &str) -> Client {
    let credentials = Credentials::User { name: name.to_owned(), password: "secret".into() };
    Client::new(Config { credentials, ..config(&etcd.url()) }).unwrap()
}

#[test]
fn a_role_that_is_revoked_ends_it_with_the_reason_once_its_watch_has_to_be_begun_anew() {
    for_each_version_with(&["--bcrypt-cost=4"], |mut etcd| {
        enable_users(&etcd);
        let (root, app) = (client_as(&etcd, "root"), client_as(&etcd, "app"));
        put(&root, b"app/a", b"1").unwrap();
        let (mirror, hearer) = open(&app, b"app/");
        let before = put(&root, b"app/a", b"2").unwrap().header.revision;
        assert!(mirror.wait_for_revision(before, Some(LONG)).unwrap());
        post(&root, "auth/user/revoke", r#"{"name":"app","role":"app"}"#);
        // Servers do not look at the rights of a watch that they have.
        etcd.restart();
        wait_until(LONG, || hearer.kinds().last() == Some(&ChangeKind::Ended));
        hearer.with(|heard| {
            let last = heard.changes.last().unwrap();
            assert!(last.events.is_empty());
            let error = last.error.as_ref().unwrap();
            assert!(matches!(error, Error::Server { code: Code::PermissionDenied, .. }), "{error:?}");
        });
        assert_eq!(mirror.snapshot().get(b"app/a").unwrap().value(), b"2", "the copy stays");
        let waited = mirror.wait_for_revision(before + 1_000, Some(LONG));
        assert!(matches!(waited, Err(Error::Server { code: Code::PermissionDenied, .. })), "{waited:?}");
        let opened = app.mirror(options(b"app/"), None).map(|_| ());
        assert!(matches!(opened, Err(Error::Server { code: Code::PermissionDenied, .. })), "{opened:?}");
    });
}

#[test]
fn a_closed_client_ends_its_mirrors_which_stay_as_they_are() {
    on_each_version(|etcd| {
        let (direct, closed) = (client(&etcd.url()), client(&etcd.url()));
        let revision = put(&direct, b"c/a", b"1").unwrap().header.revision;
        let (mirror, hearer) = open(&closed, b"c/");
        closed.close();
        wait_until(LONG, || hearer.kinds() == [ChangeKind::Ended]);
        hearer.with(|heard| assert!(matches!(heard.changes[0].error, Some(Error::Closed { .. }))));
        put(&direct, b"c/a", b"2").unwrap();
        assert_eq!(mirror.snapshot().get(b"c/a").unwrap().value(), b"1");
        assert!(mirror.wait_for_revision(revision, None).unwrap());
        assert!(matches!(mirror.wait_for_revision(revision + 1_000, None), Err(Error::Closed { .. })));
    });
}

#[test]
fn a_mirror_may_be_freed_and_waited_for_inside_its_callback_which_is_the_last() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (own, calls, done) = (Arc::<Mutex<Option<Mirror>>>::default(), Arc::<AtomicUsize>::default(), Gate::new());
        let (held, counted, opens, writer) = (own.clone(), calls.clone(), done.clone(), client.clone());
        let consumer = move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let mirror = held.lock().unwrap().take().unwrap();
            let next = put(&writer, b"f/b", b"1").unwrap().header.revision;
            assert!(mirror.wait_for_revision(next, Some(LONG)).unwrap());
            drop(mirror);
            opens.open();
        };
        let mirror = client.mirror(options(b"f/"), Some(Box::new(consumer))).unwrap();
        *own.lock().unwrap() = Some(mirror.clone());
        mirror.start();
        drop(mirror);
        put(&client, b"f/a", b"1").unwrap();
        done.wait();
        // What comes to a later mirror would have come to this one.
        let (later, hearer) = open(&client, b"f/");
        put(&client, b"f/c", b"1").unwrap();
        catch_up(&later);
        wait_until(LONG, || !hearer.kinds().is_empty());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        wait_until(LONG, || Arc::strong_count(&calls) == 1);
    });
}
