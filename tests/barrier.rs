//! Barriers: those who come wait while somebody holds them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::barrier::Barrier;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use std::sync::Arc;
use std::time::Duration;

const NOT: Option<Duration> = Some(Duration::ZERO);

#[test]
fn all_who_wait_go_on_when_the_barrier_is_released() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let barrier = Barrier::new(&client, b"b\0\xff");
        assert!(barrier.wait(NOT, &plain()).unwrap(), "nobody holds it");
        assert!(barrier.hold(&plain()).unwrap());
        assert!(!barrier.hold(&plain()).unwrap(), "it is held already");
        assert!(!barrier.wait(NOT, &plain()).unwrap());
        let (passed, took) = timed(|| barrier.wait(Some(Duration::from_millis(300)), &plain()).unwrap());
        assert!(!passed && took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
        std::thread::scope(|scope| {
            let waiting = [(); 5].map(|()| scope.spawn(|| barrier.wait(Some(LONG), &plain()).unwrap()));
            etcd.wait_for_watchers(5);
            // Held anew at once: who waited goes on all the same.
            barrier.release(&plain()).unwrap();
            assert!(barrier.hold(&plain()).unwrap());
            assert!(waiting.into_iter().all(|waits| waits.join().unwrap()));
        });
        barrier.release(&plain()).unwrap();
        barrier.release(&plain()).unwrap();
        assert!(barrier.wait(None, &plain()).unwrap());
        assert!(keys(&client, &prefix(b"")).is_empty());
    });
}

#[test]
fn a_wait_ends_by_its_token_and_goes_on_over_a_server_that_was_away() {
    for_each_version(|mut etcd| {
        let client = common::client(&etcd.url());
        let barrier = Barrier::new(&client, b"b");
        assert!(barrier.hold(&plain()).unwrap());
        let token = Arc::new(CancelToken::new().unwrap());
        std::thread::scope(|scope| {
            let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
            let barrier = &barrier;
            let waits = scope.spawn(move || barrier.wait(None, &call));
            etcd.wait_for_watchers(1);
            let ((), _) = timed(|| token.trigger());
            let (ended, took) = timed(|| waits.join().unwrap());
            assert!(matches!(ended, Err(Error::Cancelled { .. })), "{ended:?}");
            assert!(took < Duration::from_secs(1), "{took:?}");
        });
        etcd.wait_for_watchers(0);
        let url = etcd.url();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| barrier.wait(Some(LONG), &plain()).unwrap());
            etcd.wait_for_watchers(1);
            etcd.restart();
            Barrier::new(&common::client(&url), b"b").release(&plain()).unwrap();
            assert!(waits.join().unwrap());
        });
    });
}

#[test]
fn a_hold_whose_answer_is_lost_is_looked_up() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&both));
        let barrier = Barrier::new(&behind, b"b");
        for _ in 0..3 {
            for is_held in [true, false] {
                behind.set_endpoints(&both).unwrap();
                get(&behind, b"x").unwrap();
                proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
                let held = barrier.hold(&plain());
                proxy.heal();
                if is_held {
                    assert!(held.unwrap());
                } else {
                    // Another one's hold can't be told from one that came after this one's.
                    assert!(held.unwrap_err().may_have_applied());
                }
                assert!(get(&client, b"b").unwrap().is_some());
            }
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
            barrier.release(&plain()).unwrap();
            proxy.heal();
            assert_eq!(get(&client, b"b").unwrap(), None);
        }
        // Nobody to ask: the answer stays unknown, and is called so.
        let cut_off = common::client(&proxy.url());
        get(&cut_off, b"x").unwrap();
        proxy.inject(Fault::After(Direction::Answer, 0, End::Stall));
        let error = Barrier::new(&cut_off, b"b").hold(&within(Duration::from_millis(500))).unwrap_err();
        assert!(error.may_have_applied(), "{error:?}");
        assert!(get(&client, b"b").unwrap().is_some(), "as it was");
    });
}

#[test]
fn a_prefix_goes_on_the_name() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let bare = common::client(&etcd.url());
    let client = Client::new(Config { key_prefix: b"app/".to_vec(), ..config(&etcd.url()) }).unwrap();
    let barrier = Barrier::new(&client, b"b");
    assert!(barrier.hold(&plain()).unwrap());
    assert_eq!(keys(&bare, &prefix(b"")), ["app/b"]);
    assert!(!barrier.wait(NOT, &plain()).unwrap());
    assert!(Barrier::new(&bare, b"b").wait(NOT, &plain()).unwrap());
    barrier.release(&plain()).unwrap();
    assert!(barrier.wait(NOT, &plain()).unwrap());
}
