//! Holders that are killed, and holders that are stopped for longer than their lease lives.

use crate::common::*;
use crate::peers::*;
use etcdgw::client::Client;
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::rpc::txn::{Compare, TxnOp, TxnRequest};
use std::io::BufRead;
use std::time::{Duration, Instant};

const TTL_S: i64 = 2;

fn session(client: &Client) -> Session {
    client.session(&SessionOptions { ttl: TTL_S, ..SessionOptions::default() }, None).unwrap()
}

fn lock_of(client: &Client) -> Lock {
    Lock::new(client, b"held", LockOptions { ttl: TTL_S, uuid: None }).unwrap()
}

/// Counts up only while the condition holds. Answers whether it did.
fn count_up_fenced(client: &Client, fence: Compare<'static>) -> bool {
    let next = (number(client, "counter") + 1).to_string();
    let put = TxnOp::Put(put_request(b"counter", next.as_bytes()));
    let request = TxnRequest { compare: vec![fence], success: vec![put], failure: Vec::new() };
    client.txn(&request, &plain()).unwrap().succeeded
}

/// What the tests below start this program for: takes what it is told to, says so, and when it is told to go on counts
/// up with a fence.
#[test]
fn the_other_process() {
    let (Ok(task), Ok(endpoint)) = (std::env::var("INTEROP_TASK"), std::env::var("INTEROP_ENDPOINT")) else { return };
    let client = client(&endpoint);
    let go_on = || {
        println!("\nlocked");
        std::io::stdin().lock().lines().next().unwrap().unwrap();
    };
    if task == "worker" {
        return crate::recipes::work(&client);
    }
    let counted = if task == "mutex" {
        let session = session(&client);
        let mutex = Mutex::new(&session, b"held");
        assert!(mutex.lock(None, &plain()).unwrap());
        let fence = mutex.is_owner().unwrap();
        go_on();
        println!("\n{}", if session.is_lost() { "it knows" } else { "it believes to hold it" });
        count_up_fenced(&client, fence)
    } else {
        let lock = lock_of(&client);
        assert!(lock.acquire(None, &plain()).unwrap());
        let fence = lock.is_held().unwrap();
        go_on();
        count_up_fenced(&client, fence)
    };
    println!("\n{}", if counted { "counted" } else { "refused" });
}

#[test]
fn what_was_locked_is_free_when_the_lease_of_a_killed_process_has_run_out() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        for peer in [ourselves(etcd, "mutex"), go(etcd, "hold", &["held"])] {
            let mutex = Mutex::new(&session, b"held");
            let peer = Peer::start(peer);
            peer.says("locked");
            assert!(!mutex.try_lock(&plain()).unwrap());
            peer.kill();
            let (locked, took) = timed(|| mutex.lock(Some(LONG), &plain()).unwrap());
            assert!(locked && took < Duration::from_secs(8), "{took:?}");
            mutex.unlock(&plain()).unwrap();
        }
        let lock = lock_of(&client);
        let peer = Peer::start(ourselves(etcd, "lock"));
        peer.says("locked");
        assert!(!lock.acquire(Some(Duration::ZERO), &plain()).unwrap());
        peer.kill();
        assert!(lock.acquire(Some(LONG), &plain()).unwrap() && lock.release(&plain()).unwrap());
        drop(session);
        no_lease_is_left(&client);
    });
}

#[test]
fn who_was_stopped_beyond_its_time_knows_and_counts_nothing_over_its_successor() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        let mutex = Mutex::new(&session, b"held");
        let mut stopped = Peer::start(ourselves(etcd, "mutex"));
        stopped.says("locked");
        stopped.signal("STOP");
        assert!(mutex.lock(Some(LONG), &plain()).unwrap());
        assert!(count_up_fenced(&client, mutex.is_owner().unwrap()));
        stopped.tell("go on");
        stopped.signal("CONT");
        stopped.says("it knows");
        stopped.says("refused");
        assert_eq!(number(&client, "counter"), 1);
        stopped.finish();
        let lock = lock_of(&client);
        let mut stopped = Peer::start(ourselves(etcd, "lock"));
        stopped.says("locked");
        stopped.signal("STOP");
        assert!(lock.acquire(Some(LONG), &plain()).unwrap());
        assert!(count_up_fenced(&client, lock.is_held().unwrap()));
        stopped.tell("go on");
        stopped.signal("CONT");
        stopped.says("refused");
        assert_eq!(number(&client, "counter"), 2);
        stopped.finish();
        lock.release(&plain()).unwrap();
        drop(session);
        no_lease_is_left(&client);
    });
}

#[test]
fn one_that_goes_on_in_time_counts() {
    on_newest_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        for task in ["mutex", "lock"] {
            let before = number(&client, "counter");
            let mut holding = Peer::start(ourselves(etcd, task));
            holding.says("locked");
            let since = Instant::now();
            holding.tell("go on");
            holding.says("counted");
            assert!(since.elapsed() < Duration::from_secs(2), "it was in time");
            assert_eq!(number(&client, "counter"), before + 1);
            holding.finish();
        }
        no_lease_is_left(&client);
    });
}
