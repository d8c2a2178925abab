//! etcd3gw's locks.

use crate::common::*;
use crate::peers::*;
use etcdgw::client::Client;
use etcdgw::concurrency::lock::{Lock, LockOptions};
use std::time::Duration;

fn lock_of(client: &Client, name: &str) -> Lock {
    Lock::new(client, name.as_bytes(), LockOptions::default()).unwrap()
}

#[test]
fn a_thousand_turns_with_python_count_to_a_thousand() {
    for_each_version_leaving_no_lease(|etcd| {
        let pythons = Peer::start(python(etcd, "turns", &["shared", "400"]));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let client = client(&etcd.url());
                    let lock = lock_of(&client, "shared");
                    for _ in 0..300 {
                        assert!(lock.acquire(Some(LONG), &plain()).unwrap());
                        count_up(&client, "shared-counter");
                        assert!(lock.release(&plain()).unwrap());
                    }
                });
            }
        });
        pythons.finish();
        let client = client(&etcd.url());
        assert_eq!(number(&client, "shared-counter"), 1000);
        no_lease_is_left(&client);
    });
}

#[test]
fn each_sees_what_the_other_holds() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let lock = lock_of(&client, "name");
        let look = |expected: &str| Peer::start(python(etcd, "look", &["name"])).says(expected);
        let mut holding = Peer::start(python(etcd, "hold", &["name"]));
        holding.says("locked");
        let uuid = holding.line();
        assert!(!lock.acquire(Some(Duration::ZERO), &plain()).unwrap());
        let theirs = LockOptions { uuid: Some(uuid), ..LockOptions::default() };
        assert!(Lock::new(&client, b"name", theirs).unwrap().is_acquired(&plain()).unwrap());
        assert!(!lock.is_acquired(&plain()).unwrap() && !lock.release(&plain()).unwrap());
        holding.finish_input();
        holding.says("released");
        holding.finish();
        assert!(lock.acquire(Some(Duration::ZERO), &plain()).unwrap());
        look("taken");
        assert!(lock.is_acquired(&plain()).unwrap() && lock.release(&plain()).unwrap());
        look("free");
        no_lease_is_left(&client);
    });
}

#[test]
fn a_python_that_is_killed_holds_the_lock_for_its_time_and_no_longer() {
    on_newest_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let holding = Peer::start(python(etcd, "hold", &["name"]));
        holding.says("locked");
        holding.kill();
        let lock = lock_of(&client, "name");
        assert!(!lock.acquire(Some(Duration::ZERO), &plain()).unwrap());
        assert!(lock.acquire(Some(LONG), &plain()).unwrap());
        assert!(lock.release(&plain()).unwrap());
        no_lease_is_left(&client);
    });
}
