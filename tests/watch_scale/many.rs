//! Ten thousand watches, each of a key of its own.

use crate::alone;
use crate::common::{Etcd, LONG, client, put_request, sharing_versions, wait_until, within};
use etcdgw::client::Client;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WATCHES: usize = 10_000;

/// Operations that etcd allows in a transaction.
const OPS: usize = 128;

fn key(number: usize) -> Vec<u8> {
    format!("scale/{number:05}").into_bytes()
}

/// Counts the events of a watch, each of which must be the next one of its key.
fn watch(client: &Client, number: usize) -> (Watch, Arc<AtomicUsize>) {
    let request = WatchRequest::new(Keys::One(Cow::Owned(key(number))));
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let count = move |response: WatchResponse| {
        assert_eq!(response.kind, WatchKind::Events, "{:?}", response.error);
        for event in &response.events {
            let round = counted.fetch_add(1, Ordering::SeqCst) + 1;
            assert_eq!(response.bytes(event.kv.key), key(number));
            assert_eq!(response.bytes(event.kv.value), round.to_string().as_bytes());
        }
    };
    let watch = client.watch(WatchOptions::new(request), Box::new(count)).unwrap();
    watch.start();
    (watch, seen)
}

/// Writes every key.
fn write_all(client: &Client, value: &str) {
    let numbers: Vec<usize> = (0..WATCHES).collect();
    for numbers in numbers.chunks(OPS) {
        let keys: Vec<Vec<u8>> = numbers.iter().map(|number| key(*number)).collect();
        let success = keys.iter().map(|key| TxnOp::Put(put_request(key, value.as_bytes()))).collect();
        client.txn(&TxnRequest { success, ..TxnRequest::default() }, &within(LONG)).unwrap();
    }
}

fn survive_a_kill(version: &str) {
    let mut etcd = Etcd::start(version);
    let (watching, writing) = (client(&etcd.url()), client(&etcd.url()));
    let threads = 8;
    let watches: Vec<(Watch, Arc<AtomicUsize>)> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = (thread..WATCHES).step_by(threads);
                let watching = &watching;
                scope.spawn(move || numbers.map(|number| watch(watching, number)).collect::<Vec<_>>())
            })
            .collect();
        started.into_iter().flat_map(|started| started.join().unwrap()).collect()
    });
    assert_eq!(etcd.watchers(), WATCHES);
    for round in 1..=3 {
        if round > 1 {
            etcd.kill();
            etcd.restart();
        }
        write_all(&writing, &round.to_string());
        wait_until(2 * LONG, || watches.iter().all(|(_, seen)| seen.load(Ordering::SeqCst) >= round));
    }
    drop(watching);
    drop(watches);
    etcd.wait_for_watchers(0);
}

#[test]
fn every_one_of_ten_thousand_watches_goes_on_after_the_server_was_killed() {
    let _alone = alone();
    // Only these share a connection.
    sharing_versions().iter().for_each(|version| survive_a_kill(version));
}
