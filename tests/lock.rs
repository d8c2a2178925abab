//! etcd3gw's lock, without its faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn lock_of(client: &Client, ttl: i64) -> Lock {
    Lock::new(client, b"name", LockOptions { ttl, ..LockOptions::default() }).unwrap()
}

fn leases(client: &Client) -> usize {
    client.lease_list(&plain()).unwrap().ids.len()
}

const NOT: Option<Duration> = Some(Duration::ZERO);

/// D4 to D6 of etcd3gw: who did not get the lock went on as if it had, a second acquisition by the holder had it refresh
/// a lease that did not count, and each attempt left a lease behind.
#[test]
fn a_lock_is_a_key_with_the_uuid_on_a_lease_and_leaves_neither() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (mine, theirs) = (lock_of(&client, 30), lock_of(&client, 30));
        assert_ne!(mine.uuid(), theirs.uuid());
        assert!(mine.acquire(NOT, &plain()).unwrap());
        assert_eq!(mine.key(), b"/locks/name");
        assert_eq!(get(&client, b"/locks/name").unwrap().unwrap(), mine.uuid().as_bytes());
        let kv = get_with(&client, b"/locks/name", &plain()).unwrap().kvs[0];
        assert_eq!(kv.create_revision, mine.revision());
        assert_eq!(client.lease_time_to_live(kv.lease, false, &plain()).unwrap().granted_ttl, 30);
        for _ in 0..3 {
            assert!(!theirs.acquire(NOT, &plain()).unwrap());
            assert!(!mine.acquire(NOT, &plain()).unwrap(), "as etcd3gw answers the holder");
            let (acquired, took) = timed(|| mine.acquire(None, &plain()).unwrap());
            assert!(!acquired && took < Duration::from_secs(5), "it waits for itself: {took:?}");
        }
        assert_eq!(leases(&client), 1, "who fails leaves no lease");
        assert!(mine.is_acquired(&plain()).unwrap() && !theirs.is_acquired(&plain()).unwrap());
        assert_eq!(mine.refresh(&plain()).unwrap(), 30, "the lease that counts");
        assert!(!theirs.release(&plain()).unwrap() && mine.is_acquired(&plain()).unwrap());
        assert!(mine.release(&plain()).unwrap());
        assert!(!mine.release(&plain()).unwrap() && mine.revision() == 0);
        assert!(matches!(mine.refresh(&plain()), Err(Error::FailedPrecondition { .. })));
        assert_eq!((leases(&client), get(&client, b"/locks/name").unwrap()), (0, None));
        assert!(theirs.acquire(NOT, &plain()).unwrap() && theirs.release(&plain()).unwrap());
    });
}

/// D7: nobody could wait for a lock.
#[test]
fn a_lock_is_waited_for_as_long_as_may_be() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (mine, theirs) = (lock_of(&client, 30), lock_of(&client, 30));
        assert!(mine.acquire(NOT, &plain()).unwrap());
        let (acquired, took) = timed(|| theirs.acquire(Some(Duration::from_millis(300)), &plain()).unwrap());
        assert!(!acquired && took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
        let token = Arc::new(CancelToken::new().unwrap());
        std::thread::scope(|scope| {
            let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
            let open = client.stats().connections_opened;
            let theirs = &theirs;
            let waits = scope.spawn(move || theirs.acquire(None, &call));
            wait_until(LONG, || client.stats().connections_opened > open);
            token.trigger();
            assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled { .. })));
        });
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| theirs.acquire(Some(LONG), &plain()).unwrap());
            assert!(mine.release(&plain()).unwrap());
            assert!(waits.join().unwrap());
        });
        assert!(theirs.release(&plain()).unwrap());
        assert_eq!(leases(&client), 0);
    });
}

/// D7: nothing told that a hold had run out, and nothing kept its owner from writing.
#[test]
fn a_hold_that_ran_out_is_known_as_lost_and_fences_nothing() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (mine, theirs) = (lock_of(&client, 2), lock_of(&client, 30));
        assert!(mine.acquire(NOT, &plain()).unwrap());
        assert!(theirs.acquire(Some(LONG), &plain()).unwrap(), "nobody refreshed it");
        assert!(!mine.is_acquired(&plain()).unwrap());
        assert!(matches!(mine.refresh(&plain()), Err(Error::LeaseExpired { .. })));
        let fenced = |lock: &Lock| {
            let (compare, success) = (vec![lock.is_held().unwrap()], vec![TxnOp::Put(put_request(b"data", b"x"))]);
            client.txn(&TxnRequest { compare, success, failure: Vec::new() }, &plain()).unwrap().succeeded
        };
        assert!(!fenced(&mine) && fenced(&theirs));
        assert!(!mine.release(&plain()).unwrap() && theirs.is_acquired(&plain()).unwrap());
        assert!(mine.is_held().is_none());
        assert!(theirs.release(&plain()).unwrap());
        assert_eq!(leases(&client), 0);
    });
}

#[test]
fn a_program_that_comes_back_with_its_uuid_finds_its_lock() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let first = lock_of(&client, 30);
        assert!(first.acquire(NOT, &plain()).unwrap());
        let options = LockOptions { uuid: Some(first.uuid().to_owned()), ..LockOptions::default() };
        let again = Lock::new(&client, b"name", options).unwrap();
        assert!(again.is_acquired(&plain()).unwrap() && !again.acquire(NOT, &plain()).unwrap());
        assert!(again.release(&plain()).unwrap() && !first.is_acquired(&plain()).unwrap());
        assert_eq!(leases(&client), 0);
        assert!(!first.release(&plain()).unwrap());
    });
}

/// D7: where the answer was lost, the lock was held by somebody who was told of an error.
#[test]
fn an_answer_that_is_lost_costs_nothing() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let client = common::client(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let behind = common::client(&both);
        let lock = lock_of(&behind, 30);
        for _ in 0..3 {
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            let sent = proxy.forwarded(Direction::Request);
            proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
            assert!(lock.acquire(Some(LONG), &plain()).unwrap());
            assert!(proxy.forwarded(Direction::Request) > sent);
            proxy.heal();
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
            assert!(lock.release(&plain()).unwrap());
            proxy.heal();
            assert_eq!((leases(&client), get(&client, b"/locks/name").unwrap()), (0, None));
        }
    });
}

#[test]
fn a_release_of_which_nothing_is_heard_says_that_it_may_have_happened() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&proxy.url()));
        let lock = lock_of(&behind, 30);
        assert!(lock.acquire(Some(LONG), &plain()).unwrap());
        // Neither the delete is answered nor the look that is to tell what became of it.
        proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
        let error = lock.release(&within(Duration::from_millis(300))).unwrap_err();
        assert!(error.may_have_applied() && !error.is_retryable(), "{error:?}");
        assert_eq!(get(&client, b"/locks/name").unwrap(), None, "this time it has");
        // Here a caller's wish ends the pause between the two.
        proxy.heal();
        let lock = lock_of(&behind, 30);
        assert!(lock.acquire(Some(LONG), &plain()).unwrap());
        proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
        let token = Arc::new(CancelToken::new().unwrap());
        let call = CallOptions { cancel: Some(token.clone()), ..CallOptions::default() };
        let error = std::thread::scope(|scope| {
            let releases = scope.spawn(|| lock.release(&call).unwrap_err());
            wait_until(LONG, || get(&client, b"/locks/name").unwrap().is_none());
            token.trigger();
            releases.join().unwrap()
        });
        assert!(error.may_have_applied(), "{error:?}");
    });
}

/// A lock that is free, and whose lease is revoked without an answer.
fn gateway_that_revokes_in_silence() -> FakeGateway {
    FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/lease/grant" => {
            let id = &request.json()["ID"];
            reply.json(format!(r#"{{"header":{{"revision":"4"}},"ID":{id},"TTL":"30"}}"#));
        }
        "/v3/kv/txn" => reply.json(r#"{"header":{"revision":"5"},"succeeded":true}"#),
        "/v3/lease/revoke" => reply.hold(),
        _ => reply.json(r#"{"header":{"revision":"4"}}"#),
    })
}

#[test]
fn a_release_gives_its_lease_back_no_longer_than_its_caller_waits() {
    let gateway = gateway_that_revokes_in_silence();
    let lock = lock_of(&common::client(gateway.url()), 30);
    let token = Arc::new(CancelToken::new().unwrap());
    let call = CallOptions { cancel: Some(token.clone()), ..CallOptions::default() };
    assert!(lock.acquire(None, &plain()).unwrap());
    let (released, time) = std::thread::scope(|scope| {
        let releases = scope.spawn(|| lock.release(&call).unwrap());
        wait_until(LONG, || gateway.count("/v3/lease/revoke") == 1);
        token.trigger();
        timed(|| releases.join().unwrap())
    });
    assert!(released && time < Duration::from_secs(1), "{time:?}");
}

/// A lock that somebody has, and gives back to somebody else, who is asked about without an answer.
fn gateway_of_a_lock_that_passes_on() -> FakeGateway {
    let looks = AtomicUsize::new(0);
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/kv/range" if looks.fetch_add(1, Ordering::SeqCst) == 0 => {
            let kv = r#"{"key":"L2xvY2tzL25hbWU=","create_revision":"4","mod_revision":"4","version":"1"}"#;
            reply.json(format!(r#"{{"header":{{"revision":"4"}},"kvs":[{kv}],"count":"1"}}"#));
        }
        "/v3/kv/range" => reply.hold(),
        "/v3/watch" => {
            reply.stream_head();
            reply.chunk("{\"result\":{\"header\":{\"revision\":\"4\"},\"created\":true}}\n");
            let event = r#"{"type":"DELETE","kv":{"key":"L2xvY2tzL25hbWU=","mod_revision":"5"}}"#;
            reply.chunk(format!("{{\"result\":{{\"header\":{{\"revision\":\"5\"}},\"events\":[{event}]}}}}\n"));
            reply.hold();
        }
        _ => reply.json("{}"),
    })
}

#[test]
fn a_lock_is_waited_for_in_vain_also_while_it_is_not_known_who_has_it_now() {
    let gateway = gateway_of_a_lock_that_passes_on();
    let lock = lock_of(&common::client(gateway.url()), 30);
    assert!(!lock.acquire(Some(Duration::from_millis(300)), &plain()).unwrap());
    assert_eq!(gateway.count("/v3/kv/range"), 2);
}
