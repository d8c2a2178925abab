//! The thread that keeps leases: one for all of a client, and gone with the last. It has a program of its own, where the
//! threads can be counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use std::sync::{Arc, Mutex};

fn keepers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    // The kernel keeps 15 characters.
    names.filter(|name| name.trim() == "etcdgw-keepaliv").count()
}

/// The kernel lists a thread for a moment after it was joined.
fn all_are_gone() {
    wait_until(LONG, || keepers() == 0);
}

fn grant(client: &Client, ttl: i64) -> i64 {
    client.lease_grant_new(ttl, Client::new_lease_id().unwrap(), &plain()).unwrap().id
}

#[test]
fn one_thread_keeps_all_leases_of_a_client_and_is_gone_with_the_last() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let leases: Vec<i64> = (0..50).map(|_| grant(&client, 60)).collect();
    for _ in 0..3 {
        assert_eq!(keepers(), 0);
        let kept: Vec<_> = leases.iter().map(|lease| client.keep_alive(*lease, None, &plain()).unwrap()).collect();
        assert_eq!(keepers(), 1);
        drop(kept);
        all_are_gone();
    }
    leases.iter().for_each(|lease| client.lease_revoke(*lease, &plain()).unwrap());
    freed_in_its_callback(&etcd);
}

/// As the last that held its client, too.
fn freed_in_its_callback(etcd: &Etcd) {
    let client = common::client(&etcd.url());
    let lease = grant(&client, 2);
    let owner = Arc::new(Mutex::new(None));
    let (freed, in_callback) = (Gate::new(), owner.clone());
    let is_freed = freed.clone();
    let consumer = Box::new(move |_| {
        drop(in_callback.lock().unwrap().take());
        is_freed.open();
    });
    let kept = client.keep_alive(lease, Some(consumer), &plain()).unwrap();
    let start = kept.start();
    *owner.lock().unwrap() = Some(kept);
    drop(client);
    start.allow();
    freed.wait();
    all_are_gone();
    common::client(&etcd.url()).lease_revoke(lease, &plain()).unwrap();
}
