//! Mutexes: one owner at a time, in the order of arrival, and nothing left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::SessionOptions;
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use etcdgw::rpc::kv::PutRequest;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

#[test]
fn a_mutex_has_one_owner_whose_key_is_named_as_go_names_it() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (one, other) = (session(&client), session(&client));
        let (mine, theirs) = (Mutex::new(&one, b"name"), Mutex::new(&other, b"name"));
        assert_eq!(mine.key(), format!("name/{:x}", one.lease()).as_bytes());
        assert_eq!(mine.revision(), 0);
        assert!(mine.lock(None, &plain()).unwrap());
        assert!(mine.lock(None, &plain()).unwrap(), "it is mine already");
        let kv = get_with(&client, mine.key(), &plain()).unwrap().kvs[0];
        assert_eq!((kv.create_revision, kv.lease), (mine.revision(), one.lease()));
        assert!(!theirs.try_lock(&plain()).unwrap());
        // At once, but where the server takes its time.
        let leaves_no_key = || wait_until(LONG, || get(&client, theirs.key()).unwrap().is_none());
        leaves_no_key();
        assert_eq!(theirs.revision(), 0);
        let (locked, took) = timed(|| theirs.lock(Some(Duration::from_millis(300)), &plain()).unwrap());
        assert!(!locked && took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
        leaves_no_key();
        assert!(matches!(theirs.unlock(&plain()), Err(Error::FailedPrecondition { .. })));
        mine.unlock(&plain()).unwrap();
        assert!(matches!(mine.unlock(&plain()), Err(Error::FailedPrecondition { .. })));
        assert!(theirs.try_lock(&plain()).unwrap());
        drop((one, other));
        nothing_is_left(&client);
    });
}

#[test]
fn owners_follow_each_other_in_the_order_of_arrival_and_are_never_two() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let held = session(&client);
        let first = Mutex::new(&held, b"line");
        assert!(first.lock(None, &plain()).unwrap());
        let (inside, order) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (client, inside, order) = (&client, &inside, &order);
                scope.spawn(move || {
                    let session = session(client);
                    let mutex = Mutex::new(&session, b"line");
                    assert!(mutex.lock(Some(LONG), &plain()).unwrap());
                    assert!(!inside.swap(true, Ordering::SeqCst), "two owners");
                    order.lock().unwrap().push(number);
                    assert!(inside.swap(false, Ordering::SeqCst));
                    mutex.unlock(&plain()).unwrap();
                });
                wait_until(LONG, || keys(client, &prefix(b"line/")).len() == number + 2);
            }
            first.unlock(&plain()).unwrap();
        });
        assert_eq!(*order.lock().unwrap(), (0..8).collect::<Vec<_>>());
        drop(held);
        nothing_is_left(&client);
    });
}

#[test]
fn a_wait_that_is_cancelled_or_whose_session_goes_ends_at_once() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let held = session_of(&client, 3);
        let owner = Mutex::new(&held, b"m");
        assert!(owner.lock(None, &plain()).unwrap());
        let waiting = session_of(&client, 2);
        let mutex = Mutex::new(&waiting, b"m");
        let token = Arc::new(CancelToken::new().unwrap());
        std::thread::scope(|scope| {
            let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
            let mutex = &mutex;
            let waits = scope.spawn(move || timed(|| mutex.lock(None, &call)));
            wait_until(LONG, || get(&client, mutex.key()).unwrap().is_some());
            let (_, until) = timed(|| token.trigger());
            let (ended, _) = waits.join().unwrap();
            assert!(matches!(ended, Err(Error::Cancelled { .. })), "{ended:?} {until:?}");
        });
        assert!(get(&client, mutex.key()).unwrap().is_none(), "it leaves no key");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| mutex.lock(None, &plain()));
            wait_until(LONG, || get(&client, mutex.key()).unwrap().is_some());
            client.lease_revoke(waiting.lease(), &plain()).unwrap();
            let ended = waits.join().unwrap();
            assert!(matches!(ended, Err(Error::LeaseExpired { id }) if id == waiting.lease()), "{ended:?}");
        });
        assert!(matches!(mutex.try_lock(&plain()), Err(Error::LeaseExpired { .. })));
        // The holder's own key goes, and the next one sees that it has lost it.
        client.lease_revoke(held.lease(), &plain()).unwrap();
        wait_until(LONG, || held.is_lost());
        assert!(matches!(owner.unlock(&plain()), Err(Error::LeaseExpired { .. })));
        drop((waiting, held));
        nothing_is_left(&client);
    });
}

#[test]
fn ten_who_wait_go_on_waiting_while_the_server_is_away() {
    for_each_version_leaving_no_lease(|etcd| {
        let held = session(&common::client(&etcd.url()));
        let owner = Mutex::new(&held, b"m");
        assert!(owner.lock(None, &plain()).unwrap());
        let release = || owner.unlock(&plain()).unwrap();
        ten_wait_while_the_server_is_away(etcd, b"m/", release, |session, _| {
            let mutex = Mutex::new(session, b"m");
            assert!(mutex.lock(None, &plain()).unwrap());
            mutex.unlock(&plain()).unwrap();
        });
    });
}

#[test]
fn an_answer_that_is_lost_costs_nothing() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let client = common::client(&etcd.url());
        let behind = common::client(&format!("{},{}", proxy.url(), etcd.url()));
        let session = session(&behind);
        for round in 0..3 {
            let mutex = Mutex::new(&session, format!("m{round}").as_bytes());
            behind.set_endpoints(&format!("{},{}", proxy.url(), etcd.url())).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
            assert!(mutex.lock(Some(LONG), &plain()).unwrap());
            proxy.heal();
            let kv = get_with(&client, mutex.key(), &plain()).unwrap().kvs[0];
            assert_eq!(kv.create_revision, mutex.revision());
            mutex.unlock(&plain()).unwrap();
        }
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_lock_that_fails_deletes_its_key_as_soon_as_the_server_is_back() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (held, waiting) = (session(&client), session(&client));
        let (owner, mutex) = (Mutex::new(&held, b"m"), Mutex::new(&waiting, b"m"));
        assert!(owner.lock(None, &plain()).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| mutex.lock(Some(Duration::from_millis(800)), &plain()));
            wait_until(LONG, || get(&client, mutex.key()).unwrap().is_some());
            etcd.stop();
            let (ended, took) = timed(|| waits.join().unwrap());
            assert!(!matches!(ended, Ok(true)) && took < Duration::from_secs(2), "{ended:?} {took:?}");
            etcd.cont();
        });
        wait_until(LONG, || get(&client, mutex.key()).unwrap().is_none());
        owner.unlock(&plain()).unwrap();
        assert!(mutex.lock(Some(LONG), &plain()).unwrap(), "the handle is as good as new");
        drop((held, waiting));
        nothing_is_left(&client);
    });
}

#[test]
fn a_request_that_reaches_the_server_after_the_lock_was_given_up_leaves_no_key() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&both));
        let session = session(&behind);
        let mut late = 0;
        for round in 0..20 {
            let mutex = Mutex::new(&session, format!("m{round}").as_bytes());
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::Hole);
            let locked = mutex.try_lock(&within(Duration::from_millis(50)));
            // Its key was deleted, or would have been; only now the request comes that creates it.
            proxy.heal();
            match locked {
                // What looks for the keys of earlier rounds had left the proxy meanwhile.
                Ok(_) => mutex.unlock(&plain()).unwrap(),
                Err(_) => late += 1,
            }
        }
        assert!(late >= 5, "{late}");
        wait_until(LONG, || keys(&client, &prefix(b"m")).is_empty());
        let last = Mutex::new(&session, b"m0");
        assert!(last.try_lock(&plain()).unwrap());
        last.unlock(&plain()).unwrap();
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_key_whose_connection_had_been_idle_and_is_lost_is_not_forgotten_where_nobody_can_be_asked_again() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&proxy.url()));
        let session = session(&behind);
        let mutex = Mutex::new(&session, b"m");
        get(&behind, b"x").unwrap();
        proxy.inject(Fault::After(Direction::Answer, 0, End::Stall));
        std::thread::scope(|scope| {
            let locks = scope.spawn(|| mutex.try_lock(&plain()));
            wait_until(LONG, || get(&client, mutex.key()).unwrap().is_some());
            // Takes no more connections, and then ends those that are open.
            drop(proxy);
            let error = locks.join().unwrap().unwrap_err();
            assert!(error.may_have_applied(), "{error:?}");
        });
        behind.set_endpoints(&etcd.url()).unwrap();
        wait_until(LONG, || get(&client, mutex.key()).unwrap().is_none());
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_fenced_write_happens_only_while_its_owner_has_the_mutex() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let session = session_of(&client, 2);
        let mutex = Mutex::new(&session, b"m");
        assert!(mutex.is_owner().is_none(), "no condition that could hold by accident");
        assert!(mutex.lock(None, &plain()).unwrap());
        let fence = mutex.is_owner().unwrap();
        let fenced = |value: &'static [u8]| {
            let put = PutRequest { key: b"data".into(), value: value.into(), ..PutRequest::default() };
            let (compare, success) = (vec![fence.clone()], vec![TxnOp::Put(put)]);
            client.txn(&TxnRequest { compare, success, failure: Vec::new() }, &plain()).unwrap().succeeded
        };
        assert!(fenced(b"mine"));
        client.lease_revoke(session.lease(), &plain()).unwrap();
        assert!(!fenced(b"too late"), "although the owner may not know yet");
        assert_eq!(get(&client, b"data").unwrap().unwrap(), b"mine");
    });
}

#[test]
fn a_prefix_goes_on_names_and_comes_off_keys() {
    on_newest_leaving_no_lease(|etcd| {
        let plain_client = common::client(&etcd.url());
        let client = Client::new(config_below(&etcd.url(), b"app/")).unwrap();
        let (session, other) = (session(&client), session(&client));
        let (mutex, waiting) = (Mutex::new(&session, b"m"), Mutex::new(&other, b"m"));
        assert!(mutex.lock(None, &plain()).unwrap());
        assert_eq!(keys(&plain_client, &prefix(b"")), [format!("app/m/{:x}", session.lease())]);
        assert_eq!(mutex.key(), format!("m/{:x}", session.lease()).as_bytes());
        let ready = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ready.wait();
                assert!(waiting.lock(Some(LONG), &plain()).unwrap());
            });
            ready.wait();
            wait_until(LONG, || keys(&client, &prefix(b"m/")).len() == 2);
            mutex.unlock(&plain()).unwrap();
        });
        drop((session, other));
        nothing_is_left(&plain_client);
    });
}

#[test]
fn who_is_cut_off_hears_of_its_loss_before_another_one_has_the_mutex() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (common::client(&etcd.url()), common::client(&proxy.url()));
        let (tell, told) = std::sync::mpsc::channel();
        let options = SessionOptions { ttl: 3, ..SessionOptions::default() };
        let tell = Box::new(move |_| tell.send(std::time::Instant::now()).unwrap());
        let cut_off = far.session(&options, Some(tell)).unwrap();
        cut_off.start().allow();
        let theirs = session(&near);
        let (holder, next) = (Mutex::new(&cut_off, b"m"), Mutex::new(&theirs, b"m"));
        assert!(holder.lock(None, &plain()).unwrap());
        proxy.inject(Fault::Hole);
        assert!(next.lock(Some(LONG), &plain()).unwrap());
        let locked = std::time::Instant::now();
        assert!(cut_off.is_lost() && told.recv_timeout(LONG).unwrap() <= locked);
        proxy.heal();
        drop((cut_off, theirs));
        nothing_is_left(&near);
    });
}
