//! Coordination that a user may not have: it is refused as what it is, and nothing of it stays.

use crate::common::*;
use crate::guarded::{app, enable, on_each, post, root};
use etcdgw::client::Client;
use etcdgw::concurrency::election::Election;
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::concurrency::mirror::MirrorOptions;
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::rwlock::RwLock;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::{Code, Error, Result};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::PutRequest;
use etcdgw::rpc::scan::ScanRequest;
use std::borrow::Cow;

const NOT: Option<std::time::Duration> = Some(std::time::Duration::ZERO);

/// By its name, with a session and the name that it is to be for.
type Attempt = (&'static str, fn(&Session, &[u8]) -> Result<()>);

fn client_of(session: &Session) -> Client {
    Mutex::new(session, b"any").client().clone()
}

fn lock_of(session: &Session, name: &[u8]) -> Lock {
    Lock::new(&client_of(session), name, LockOptions::default()).unwrap()
}

/// What reads only.
const READING: &[Attempt] = &[
    ("leader", |session, name| Election::new(session, name).leader(&plain()).map(drop)),
    ("observe", |session, name| Election::new(session, name).observe()?.next(NOT).map(drop)),
    ("mirror", |session, name| {
        let options = MirrorOptions { prefix: name.to_vec(), call: plain() };
        client_of(session).mirror(options, None).map(drop)
    }),
    ("scan", |session, name| {
        let keys = Keys::Prefix(Cow::Owned(name.to_vec()));
        client_of(session).scan(ScanRequest::new(keys))?.next_page(&plain()).map(drop)
    }),
];

/// What writes, too.
const WRITING: &[Attempt] = &[
    ("lock a mutex", |session, name| Mutex::new(session, name).lock(Some(LONG), &plain()).map(drop)),
    ("try a mutex", |session, name| Mutex::new(session, name).try_lock(&plain()).map(drop)),
    ("read-lock", |session, name| RwLock::new(session, name)?.read(Some(LONG), &plain()).map(drop)),
    ("write-lock", |session, name| RwLock::new(session, name)?.write(Some(LONG), &plain()).map(drop)),
    ("campaign", |session, name| Election::new(session, name).campaign(b"me", Some(LONG), &plain()).map(drop)),
];

/// etcd3gw's lock, whose key is elsewhere.
const LOCKING: &[Attempt] = &[
    ("acquire", |session, name| lock_of(session, name).acquire(NOT, &plain()).map(drop)),
    ("wait for", |session, name| lock_of(session, name).acquire(Some(LONG), &plain()).map(drop)),
    ("is_acquired", |session, name| lock_of(session, name).is_acquired(&plain()).map(drop)),
    ("release", |session, name| lock_of(session, name).release(&plain()).map(drop)),
];

#[track_caller]
fn assert_denied(result: Result<()>, what: &str) {
    let error = result.expect_err(what);
    assert!(matches!(&error, Error::Server { code: Code::PermissionDenied, .. }), "{what}: {error:?}");
    assert!(error.full_message().contains("permission denied"), "{what}: {error}");
    assert!(!error.may_have_applied() && !error.is_retryable(), "{what}: {error:?}");
}

/// Everything that there is.
fn everything(root: &Client) -> (Vec<String>, Vec<i64>) {
    let mut leases = root.lease_list(&plain()).unwrap().ids.clone();
    leases.sort();
    (keys(root, &prefix(b"")), leases)
}

#[test]
fn who_may_not_use_the_keys_coordinates_nothing_with_them_and_leaves_nothing() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        let session = client.session(&SessionOptions::default(), None).unwrap();
        let theirs = root.session(&SessionOptions::default(), None).unwrap();
        let (held, led) = (Mutex::new(&theirs, b"secret"), Election::new(&theirs, b"secret-office"));
        assert!(held.lock(None, &plain()).unwrap() && led.campaign(b"root", None, &plain()).unwrap());
        let before = everything(&root);
        for (what, run) in READING.iter().chain(WRITING).chain(LOCKING) {
            for name in [&b"secret"[..], b"secret-office", b"other"] {
                assert_denied(run(&session, name), what);
            }
        }
        assert_eq!(everything(&root), before, "what is denied leaves nothing");
        assert!(!session.is_lost());
        // Once it is permitted, the same handles' kind works.
        let mutex = Mutex::new(&session, b"app/m");
        assert!(mutex.lock(None, &plain()).unwrap());
        drop((session, theirs));
        assert_eq!(everything(&root), (vec![], vec![]));
    });
}

#[test]
fn who_may_only_read_sees_who_leads_and_leads_not() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        let [key, range_end] = ["open", "opeo"].map(|key| base64_simd::STANDARD.encode_to_string(key));
        let permission = format!(r#"{{"permType":"READ","key":"{key}","range_end":"{range_end}"}}"#);
        post(&root, "auth/role/grant", &format!(r#"{{"name":"app","perm":{permission}}}"#));
        let theirs = root.session(&SessionOptions::default(), None).unwrap();
        let led = Election::new(&theirs, b"open");
        assert!(led.campaign(b"root", None, &plain()).unwrap());
        let session = client.session(&SessionOptions::default(), None).unwrap();
        let before = everything(&root);
        for (what, run) in READING {
            run(&session, b"open").unwrap_or_else(|error| panic!("{what}: {error:?}"));
        }
        let observer = Election::new(&session, b"open").observe().unwrap();
        let seen = observer.next(Some(LONG)).unwrap().unwrap();
        assert_eq!(seen.bytes(seen.leader.value), b"root");
        for (what, run) in WRITING {
            assert_denied(run(&session, b"open"), what);
        }
        assert_eq!(everything(&root), before);
        led.proclaim(b"root, still", &plain()).unwrap();
        let seen = observer.next(Some(LONG)).unwrap().unwrap();
        assert_eq!(seen.bytes(seen.leader.value), b"root, still");
        drop((session, theirs));
        assert_eq!(everything(&root), (vec![], vec![]));
    });
}

#[test]
fn a_lease_with_the_keys_of_another_is_neither_revoked_nor_adopted() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        let lease = root.lease_grant_new(600, Client::new_lease_id().unwrap(), &plain()).unwrap().id;
        root.put(&PutRequest { lease, ..put_request(b"secret", b"v") }, &plain()).unwrap();
        let before = everything(&root);
        assert_denied(client.lease_revoke(lease, &plain()), "revoke");
        let options = SessionOptions { lease, ..SessionOptions::default() };
        match client.session(&options, None) {
            // 3.4 renews it for whoever asks.
            Ok(adopted) if etcd.release() < (3, 5) => {
                assert_denied(adopted.close(&plain()), "close");
                assert!(adopted.is_lost(), "it is given up all the same");
            }
            adopted => {
                assert_denied(adopted.map(drop), "adopt");
                assert_denied(client.lease_refresh(lease, &plain()).map(drop), "refresh");
                assert_denied(client.keep_alive(lease, None, &plain()).map(drop), "keep alive");
            }
        }
        assert_eq!(everything(&root), before);
        root.lease_revoke(lease, &plain()).unwrap();
        assert_eq!(everything(&root), (vec![], vec![]));
    });
}
