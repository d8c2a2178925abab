//! Mirrors: what lookups show is what the server has, at one revision.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Fault, LONG, Proxy, client, delete_request, for_each_version, plain, put, put_request, put_revision};
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::{ChangeKind, Mirror, MirrorChange, MirrorOptions};
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Told = Arc<Mutex<Vec<MirrorChange>>>;

fn open(client: &Client, prefix: &[u8]) -> (Mirror, Told) {
    let told = Told::default();
    let tells = told.clone();
    let options = MirrorOptions { prefix: prefix.to_vec(), call: plain() };
    let mirror = client.mirror(options, Some(Box::new(move |change| tells.lock().unwrap().push(change)))).unwrap();
    mirror.start();
    (mirror, told)
}

fn shown(mirror: &Mirror) -> BTreeMap<Vec<u8>, (Vec<u8>, i64)> {
    let snapshot = mirror.snapshot();
    snapshot.range(b"").map(|e| (e.key().to_vec(), (e.value().to_vec(), e.mod_revision()))).collect()
}

fn stored(client: &Client, prefix: &[u8]) -> BTreeMap<Vec<u8>, (Vec<u8>, i64)> {
    let all = client.range(&common::prefix(prefix), &plain()).unwrap();
    all.kvs.iter().map(|kv| (all.bytes(kv.key).to_vec(), (all.bytes(kv.value).to_vec(), kv.mod_revision))).collect()
}

#[test]
fn no_snapshot_shows_a_part_of_a_transaction_and_in_the_end_all_is_as_on_the_server() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        put(&client, b"m/before", b"1").unwrap();
        let (mirror, told) = open(&client, b"m/");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut last = 0;
                for number in 0..200 {
                    let value = number.to_string().into_bytes();
                    let success = [&b"m/left"[..], b"m/right"].map(|key| TxnOp::Put(put_request(key, &value))).to_vec();
                    client.txn(&TxnRequest { success, ..TxnRequest::default() }, &plain()).unwrap();
                    let key = format!("m/{}", number % 17);
                    put(&client, key.as_bytes(), b"x").unwrap();
                    let gone = format!("m/{}", (number + 5) % 17);
                    let keys = Keys::One(Cow::Owned(gone.into_bytes()));
                    last = client.delete_range(&delete_request(keys), &plain()).unwrap().header.revision;
                }
                last
            });
            while !writer.is_finished() {
                let snapshot = mirror.snapshot();
                let value = |key: &[u8]| snapshot.get(key).map(|entry| entry.value().to_vec());
                assert_eq!(value(b"m/left"), value(b"m/right"));
            }
            assert!(mirror.wait_for_revision(writer.join().unwrap(), Some(LONG)).unwrap());
        });
        assert_eq!(shown(&mirror), stored(&client, b"m/"));
        assert!(told.lock().unwrap().iter().all(|change| change.kind == ChangeKind::Events));
        let outside = put_revision(&client, b"beside", b"");
        assert!(mirror.wait_for_revision(outside, Some(LONG)).unwrap());
        assert!(mirror.age() < LONG && mirror.wait_for_revision(0, Some(LONG)).unwrap());
        assert!(!mirror.wait_for_revision(outside + 1, Some(Duration::from_millis(50))).unwrap());
    });
}

#[test]
fn a_compaction_while_disconnected_rebuilds_it_and_tells_the_difference() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        ["r/a", "r/b", "r/c"].iter().for_each(|key| drop(put(&direct, key.as_bytes(), b"1").unwrap()));
        let (mirror, told) = open(&through, b"r/");
        proxy.inject(Fault::Refuse);
        proxy.cut(common::End::Reset);
        put(&direct, b"r/b", b"2").unwrap();
        put(&direct, b"r/d", b"1").unwrap();
        direct.delete_range(&delete_request(Keys::One(Cow::Borrowed(b"r/a"))), &plain()).unwrap();
        let last = put_revision(&direct, b"beside", b"");
        direct.compact(last, true, &plain()).unwrap();
        assert_eq!(shown(&mirror).len(), 3);
        proxy.heal();
        assert!(mirror.wait_for_revision(last, Some(LONG)).unwrap());
        assert_eq!(shown(&mirror), stored(&direct, b"r/"));
        common::wait_until(LONG, || !told.lock().unwrap().is_empty());
        let told = told.lock().unwrap();
        assert_eq!((told.len(), told[0].kind), (1, ChangeKind::Rebuilt));
        let keys: Vec<_> = told[0].events.iter().map(|event| event.kv.key().to_vec()).collect();
        assert_eq!(keys, [b"r/a", b"r/b", b"r/d"]);
    });
}
