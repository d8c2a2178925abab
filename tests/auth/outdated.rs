//! Tokens that die, and users and roles that go, under what waits and under what is held.

use crate::common::*;
use crate::door::*;
use crate::guarded::{app, enable, on_each, post, root};
use crate::watching;
use etcdgw::client::Client;
use etcdgw::concurrency::barrier::Barrier;
use etcdgw::concurrency::election::{Election, Observer};
use etcdgw::concurrency::mirror::{Mirror, MirrorOptions};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::rwlock::RwLock;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::config::Credentials;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::kv::PutRequest;
use etcdgw::watch::{Watch, WatchKind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const TTL_S: i64 = 3;

fn session(client: &Client) -> Session {
    client.session(&SessionOptions { ttl: TTL_S, ..SessionOptions::default() }, None).unwrap()
}

/// Runs a test with tokens that a password outdates, and with signed ones, which every change of a role does.
fn with_mortal_tokens(run: impl Fn(&Etcd, &(dyn Fn() + Sync)) + Sync) {
    on_each(&[], |etcd| {
        enable(&etcd);
        let root = root(&etcd);
        run(&etcd, &|| post(&root, "auth/user/changepw", r#"{"name":"app","password":"app-password"}"#));
    });
    with_signed_tokens(run);
}

/// The same with signed ones alone.
fn with_signed_tokens(run: impl Fn(&Etcd, &(dyn Fn() + Sync)) + Sync) {
    let dir = TempDir::new("jwt");
    std::fs::write(dir.path().join("key"), "a key of the tests").unwrap();
    let flag = format!("--auth-token=jwt,priv-key={}/key,sign-method=HS256,ttl=10m", dir.path().display());
    on_each(&[&flag], |etcd| {
        enable(&etcd);
        let (root, edits) = (root(&etcd), AtomicUsize::new(0));
        run(&etcd, &|| {
            let number = edits.fetch_add(1, Ordering::SeqCst);
            post(&root, "auth/role/add", &format!(r#"{{"name":"unused-{number}"}}"#));
        });
    });
}

fn seen(observer: &Observer) -> String {
    let seen = observer.next(Some(LONG)).unwrap().unwrap();
    String::from_utf8(seen.bytes(seen.leader.value).to_vec()).unwrap()
}

fn mirror_of(client: &Client, prefix: &[u8]) -> Mirror {
    let mirror = client.mirror(MirrorOptions { prefix: prefix.to_vec(), call: plain() }, None).unwrap();
    mirror.start();
    mirror
}

#[test]
fn everything_that_waits_goes_on_over_tokens_that_are_outdated() {
    with_mortal_tokens(|etcd, outdate| {
        // Each waits with a client of its own: none is helped by another's log-in.
        let clients: Vec<Client> = (0..7).map(|_| app(etcd)).collect();
        let [holding, locking, writing, campaigning, observing, mirroring, keeping] = &clients[..] else { panic!() };
        let (held, waiting) = (session(holding), session(locking));
        let (mine, theirs) = (Mutex::new(&held, b"app/m"), Mutex::new(&waiting, b"app/m"));
        let (led, candidate) = (Election::new(&held, b"app/e"), session(campaigning));
        let other = Election::new(&candidate, b"app/e");
        let (shared, excluded) = (RwLock::new(&held, b"app/rw").unwrap(), session(writing));
        let writer = RwLock::new(&excluded, b"app/rw").unwrap();
        assert!(mine.lock(None, &plain()).unwrap() && led.campaign(b"first", None, &plain()).unwrap());
        assert!(shared.read(None, &plain()).unwrap());
        let (watcher, renewals) = (session(observing), Arc::new(AtomicUsize::new(0)));
        let observer = Election::new(&watcher, b"app/e").observe().unwrap();
        assert_eq!(seen(&observer), "first");
        let mirror = mirror_of(mirroring, b"app/data/");
        let lease = keeping.lease_grant_new(TTL_S, Client::new_lease_id().unwrap(), &plain()).unwrap().id;
        let counted = renewals.clone();
        let count = Box::new(move |event: etcdgw::concurrency::keepalive::KeepAliveEvent| {
            assert!(event.lost.is_none(), "{event:?}");
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let kept = keeping.keep_alive(lease, Some(count), &plain()).unwrap();
        kept.start().allow();

        std::thread::scope(|scope| {
            let locks = scope.spawn(|| theirs.lock(Some(LONG), &plain()).unwrap());
            let writes = scope.spawn(|| writer.write(Some(LONG), &plain()).unwrap());
            let campaigns = scope.spawn(|| other.campaign(b"second", Some(LONG), &plain()).unwrap());
            wait_until(LONG, || keys(holding, &prefix(b"app/")).len() == 6);
            let mut revision = 0;
            for round in 0..3 {
                outdate();
                let before = renewals.load(Ordering::SeqCst);
                wait_until(LONG, || renewals.load(Ordering::SeqCst) > before);
                revision = put_revision(&root(etcd), b"app/data/key", format!("{round}").as_bytes());
                assert!(mirror.wait_for_revision(revision, Some(LONG)).unwrap());
                outdate();
                led.proclaim(format!("first, {round}").as_bytes(), &plain()).unwrap();
                assert_eq!(seen(&observer), format!("first, {round}"));
            }
            outdate();
            mine.unlock(&plain()).unwrap();
            shared.unlock(&plain()).unwrap();
            led.resign(&plain()).unwrap();
            assert!(locks.join().unwrap() && writes.join().unwrap() && campaigns.join().unwrap());
            outdate();
            assert_eq!(seen(&observer), "second");
            assert!(mirror.snapshot().get(b"app/data/key").unwrap().mod_revision() == revision);
        });
        for session in [&held, &waiting, &candidate, &excluded, &watcher] {
            assert!(!session.is_lost());
        }
        outdate();
        drop((held, waiting, candidate, excluded, watcher, kept));
        root(etcd).lease_revoke(lease, &plain()).unwrap();
        assert!(root(etcd).lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn what_is_held_and_waited_for_is_denied_once_the_role_for_it_is_revoked() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, other, root) = (app(&etcd), app(&etcd), root(&etcd));
        let permit = || post(&root, "auth/user/grant", r#"{"user":"app","role":"app"}"#);
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |event| tell.send((event, Instant::now())).unwrap());
        let options = SessionOptions { ttl: TTL_S, ..SessionOptions::default() };
        let held = client.session(&options, Some(tell)).unwrap();
        held.start().allow();
        let (waiting, bare) = (session(&other), session(&client));
        let (mine, theirs) = (Mutex::new(&held, b"app/m"), Mutex::new(&waiting, b"app/m"));
        let led = Election::new(&held, b"app/e");
        assert!(mine.lock(None, &plain()).unwrap() && led.campaign(b"leads", None, &plain()).unwrap());
        let observer = led.observe().unwrap();
        assert_eq!(seen(&observer), "leads");
        let mut revoked = Instant::now();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| theirs.lock(Some(LONG), &plain()));
            wait_until(LONG, || keys(&root, &prefix(b"app/m/")).len() == 2);
            post(&root, "auth/user/revoke", r#"{"name":"app","role":"app"}"#);
            revoked = Instant::now();
            for refused in [mine.unlock(&plain()), led.proclaim(b"x", &plain()), led.resign(&plain())] {
                let error = refused.unwrap_err();
                assert!(matches!(error, Error::Server { code: Code::PermissionDenied, .. }), "{error:?}");
                assert!(!error.may_have_applied());
            }
            assert!(mine.revision() > 0 && led.revision() > 0, "it may still have what it can't give back");
            // Whom it waits for goes: now it asks, and is refused.
            root.delete_range(&delete_request(etcdgw::rpc::Keys::One(mine.key().into())), &plain()).unwrap();
            let error = waits.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Server { code: Code::PermissionDenied, .. }), "{error:?}");
        });
        let change = PutRequest { lease: held.lease(), ..put_request(led.key(), b"changed") };
        root.put(&change, &plain()).unwrap();
        let error = observer.next(Some(LONG)).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::PermissionDenied, .. }), "{error:?}");
        let ttl = Duration::from_secs(u64::try_from(TTL_S).unwrap());
        if etcd.release() < (3, 5) {
            // 3.4 renews leases for whoever asks: sessions go on, and what was to be deleted is as soon as it may be.
            wait_until(LONG, || revoked.elapsed() > ttl + Duration::from_secs(1));
            assert!(!held.is_lost() && !waiting.is_lost());
            assert_eq!(keys(&root, &prefix(b"app/m/")).len(), 1, "it could not be deleted");
            permit();
            wait_until(LONG, || keys(&root, &prefix(b"app/m/")).is_empty());
            assert!(theirs.lock(Some(LONG), &plain()).unwrap(), "the handle is as good as new");
            theirs.unlock(&plain()).unwrap();
        } else {
            // Others renew none with a key that its user may not write.
            let (event, at) = told.recv_timeout(LONG).unwrap();
            assert!(matches!(event.lost, Some(Error::LeaseExpired { id }) if id == held.lease()), "{event:?}");
            assert!(at - revoked <= ttl + Duration::from_millis(300), "{:?}", at - revoked);
            wait_until(LONG, || keys(&root, &prefix(b"app/")).is_empty());
            assert!(held.is_lost() && waiting.is_lost());
            permit();
            assert!(matches!(theirs.lock(Some(LONG), &plain()), Err(Error::LeaseExpired { .. })));
        }
        assert!(!bare.is_lost(), "what is refused of one lease is no matter of the others");
        drop(bare);
        drop((held, waiting));
        assert!(root.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn the_user_who_is_deleted_loses_its_session_no_later_than_its_lease_ends() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        let (tell, told) = mpsc::channel();
        let tell = Box::new(move |event| tell.send((event, Instant::now())).unwrap());
        let options = SessionOptions { ttl: TTL_S, ..SessionOptions::default() };
        let session = client.session(&options, Some(tell)).unwrap();
        session.start().allow();
        let mutex = Mutex::new(&session, b"app/m");
        assert!(mutex.lock(None, &plain()).unwrap());
        post(&root, "auth/user/delete", r#"{"name":"app"}"#);
        let deleted = Instant::now();
        let error = mutex.unlock(&plain()).unwrap_err();
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::AuthFailed, false), "{error:?}");
        assert!(mutex.revision() > 0);
        let ttl = Duration::from_secs(u64::try_from(TTL_S).unwrap());
        // Old releases renew the leases of whoever asks.
        if client.lease_refresh(session.lease(), &plain()).is_ok() {
            wait_until(LONG, || deleted.elapsed() > ttl + Duration::from_secs(1));
            assert!(!session.is_lost() && told.try_recv().is_err());
            root.lease_revoke(session.lease(), &plain()).unwrap();
        }
        let (event, at) = told.recv_timeout(LONG).unwrap();
        assert!(matches!(event.lost, Some(Error::LeaseExpired { .. })), "{event:?}");
        assert!(session.is_lost());
        if root.lease_time_to_live(session.lease(), false, &plain()).unwrap().ttl >= 0 {
            assert!(at.duration_since(deleted) <= ttl + Duration::from_millis(300), "{:?}", at - deleted);
        }
        let ((), took) = timed(|| drop(session));
        assert!(took < Duration::from_secs(3), "{took:?}");
        wait_until(LONG, || root.lease_list(&plain()).unwrap().ids.is_empty());
        assert!(keys(&root, &prefix(b"app/")).is_empty());
        // Who is back with the same name begins anew.
        add_app_again(&root);
        let again = app(&etcd);
        let session = again.session(&options, None).unwrap();
        assert!(Mutex::new(&session, b"app/m").lock(Some(LONG), &plain()).unwrap());
        drop(session);
        assert!(root.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

fn add_app_again(root: &Client) {
    post(root, "auth/user/add", r#"{"name":"app","password":"app-password"}"#);
    post(root, "auth/user/grant", r#"{"user":"app","role":"app"}"#);
}

#[test]
fn who_waits_goes_on_waiting_while_every_token_is_outdated_before_it_is_used() {
    let issued = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            reply.json(format!(r#"{{"header":{{"revision":"4"}},"token":"token-{number}"}}"#));
        }
        _ if request.header("authorization") == Some("token-10") => reply.json(DONE),
        _ => reply.status(OLD_REVISION.0, OLD_REVISION.1),
    });
    let client = client_as(gateway.url(), user("user", "right"));
    assert!(Barrier::new(&client, b"b").wait(Some(LONG), &plain()).unwrap());
    let client = client_as(gateway.url(), Credentials::Token("token-1".into()));
    let error = Barrier::new(&client, b"b").wait(Some(LONG), &plain()).unwrap_err();
    assert_eq!(error.reason(), Reason::OldAuthRevision, "no other token can be had");
}

#[test]
fn watches_go_on_while_roles_change_all_the_time() {
    with_signed_tokens(|etcd, outdate| {
        let (client, is_over) = (app(etcd), Gate::new());
        let running: Vec<Watch> = (0..5).map(|_| client.watch_open(watching::prefix(b"app/data/")).unwrap()).collect();
        let begun = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.is_open() {
                    outdate();
                }
            });
            let end = Instant::now() + Duration::from_secs(3);
            let mut begun = Vec::new();
            while Instant::now() < end {
                // It may be refused, and has those that run put on another connection.
                let _ = client.watch_open(watching::prefix(b"app/data/"));
                begun.push(client.watch_open(watching::unconfirmed(watching::prefix(b"app/data/"))).unwrap());
            }
            is_over.open();
            begun
        });
        let writer = root(etcd);
        for watch in running.iter().chain(&begun) {
            // Those that didn't wait begin when they can.
            let mut seen = None;
            wait_until(LONG, || {
                put(&writer, b"app/data/key", b"value").unwrap();
                seen = watch.next(Some(Duration::from_millis(100))).unwrap();
                seen.is_some()
            });
            let seen = seen.unwrap();
            assert_eq!(seen.kind, WatchKind::Events, "{:?}", seen.error);
        }
    });
}
