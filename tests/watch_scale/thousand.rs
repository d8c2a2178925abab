//! What a thousand watches take: two threads and one connection, as one does.

use crate::alone;
use crate::common::{Etcd, LONG, client, config, put_request, sharing_versions, wait_until, within};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WATCHES: usize = 1000;

/// Operations that etcd allows in a transaction.
const OPS: usize = 125;

fn key(number: usize) -> Vec<u8> {
    format!("thousand/{number:04}").into_bytes()
}

/// The threads of the library and of this test, by name: those without a name of their own have that of who began them.
fn threads() -> Vec<String> {
    let test = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut threads: Vec<String> =
        names.filter(|name| name.starts_with("etcdgw-") || *name == test).map(|name| name.trim().to_owned()).collect();
    threads.sort();
    threads
}

/// Connections of this process to a port.
fn connections_to(port: u16) -> usize {
    let own: HashSet<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_one = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[2].ends_with(&format!(":{port:04X}")) && own.contains(columns[9])
    };
    table.lines().skip(1).filter(is_one).count()
}

/// Counts the events of a key, which must be its own.
fn watch(client: &Client, number: usize) -> (Watch, Arc<AtomicUsize>) {
    let keys = Keys::One(Cow::Owned(key(number)));
    let request = WatchRequest::new(keys);
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let count = move |response: WatchResponse| {
        assert_eq!(response.kind, WatchKind::Events, "{:?}", response.error);
        assert!(response.events.iter().all(|event| response.bytes(event.kv.key) == key(number)));
        counted.fetch_add(response.events.len(), Ordering::SeqCst);
    };
    let watch = client.watch(WatchOptions::new(request), Box::new(count)).unwrap();
    watch.start();
    (watch, seen)
}

fn write_all(client: &Client) {
    let keys: Vec<Vec<u8>> = (0..WATCHES).map(key).collect();
    for keys in keys.chunks(OPS) {
        let success = keys.iter().map(|key| TxnOp::Put(put_request(key, b"value"))).collect();
        client.txn(&TxnRequest { success, ..TxnRequest::default() }, &within(LONG)).unwrap();
    }
}

/// Helpers open connections and look whether the server is there, and end when that is done.
#[track_caller]
fn assert_two_threads_and_one_connection(etcd: &Etcd, before: &[String]) {
    let wanted = [&["etcdgw-deliver".to_owned(), "etcdgw-watch".to_owned()], before].concat();
    wait_until(LONG, || threads() == wanted);
    wait_until(LONG, || connections_to(etcd.port()) == 1);
    assert_eq!(etcd.watch_streams(), 1);
}

fn cost_what_one_costs(version: &str) {
    let etcd = Etcd::start(version);
    let writing = client(&etcd.url());
    // No connection is kept for calls, so that those that are there are the watches'.
    let watching = Client::new(Config { max_idle_connections: 0, ..config(&etcd.url()) }).unwrap();
    let before = threads();
    assert_eq!((before.len(), connections_to(etcd.port())), (1, 0));
    let mut watches = vec![watch(&watching, 0)];
    assert_two_threads_and_one_connection(&etcd, &before);
    watches.extend((1..WATCHES).map(|number| watch(&watching, number)));
    assert_eq!(etcd.watchers(), WATCHES);
    assert_two_threads_and_one_connection(&etcd, &before);
    write_all(&writing);
    wait_until(LONG, || watches.iter().all(|(_, seen)| seen.load(Ordering::SeqCst) == 1));
    drop(writing);
    assert_two_threads_and_one_connection(&etcd, &before);
    watches.truncate(WATCHES / 2);
    etcd.wait_for_watchers(WATCHES / 2);
    assert_two_threads_and_one_connection(&etcd, &before);
    drop(watches);
    drop(watching);
    wait_until(LONG, || threads() == before && connections_to(etcd.port()) == 0);
}

#[test]
fn a_thousand_watches_take_two_threads_and_one_connection() {
    let _alone = alone();
    sharing_versions().iter().for_each(|version| cost_what_one_costs(version));
}
