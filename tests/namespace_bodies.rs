//! A client with a key prefix does what a client without one does: the same bodies, run by both, see the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{LONG, config_below, delete_request, for_each_version, one, plain, prefix, put, put_request};
use etcdgw::client::Client;
use etcdgw::error::Reason;
use etcdgw::rpc::kv::{DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, SortOrder, SortTarget};
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use etcdgw::rpc::watch::{EventType, WatchRequest};
use etcdgw::rpc::{Keys, Response};
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::time::Instant;

/// None; one that ends a range in the ordinary way; two that no key comes after; bytes of any kind.
const PREFIXES: [&[u8]; 5] = [b"", b"p/", b"\xff", b"\xff\xff", b"\0\xfe/"];

/// Keys beside each other, with bytes at the edges.
const KEYS: [&[u8]; 7] = [b"\0", b"a", b"a\0", b"a\xff", b"b/1", b"b/2", b"\xff\xff"];

fn below(url: &str, key_prefix: &[u8]) -> Client {
    Client::new(config_below(url, key_prefix)).unwrap()
}

/// Runs a body on a fresh server of every version, for every prefix on what the one before has left beside it.
#[track_caller]
fn with_and_without(body: impl Fn(&Client, &str) + Sync) {
    for_each_version(|etcd| {
        let bare = common::client(&etcd.url());
        for key_prefix in PREFIXES {
            // Without a prefix everything is the body's own.
            let empty = delete_request(Keys::Prefix(Cow::Borrowed(b"")));
            bare.delete_range(&empty, &plain()).unwrap();
            let beside: &[&[u8]] = if key_prefix.is_empty() { &[] } else { &[b"o", b"p", b"p0", b"\xfe", b"\0\xfe0"] };
            for key in beside.iter().filter(|key| !key.starts_with(key_prefix)) {
                put(&bare, key, b"beside").unwrap();
            }
            body(&below(&etcd.url(), key_prefix), &format!("with the prefix {key_prefix:?}"));
            for key in beside.iter().filter(|key| !key.starts_with(key_prefix)) {
                let found = common::get(&bare, key).unwrap();
                assert_eq!(found.as_deref(), Some(&b"beside"[..]), "{key:?} lies beside {key_prefix:?}");
            }
        }
    });
}

fn bytes(bytes: &'static [u8]) -> Cow<'static, [u8]> {
    Cow::Borrowed(bytes)
}

/// Every way to mean keys, and those of [`KEYS`] that are meant.
fn meanings() -> Vec<(Keys<'static>, Vec<&'static [u8]>)> {
    let range = |key, end| Keys::Range { key: bytes(key), end: bytes(end) };
    let meant = |first: usize, end: usize| KEYS[first..end].to_vec();
    vec![
        (Keys::One(bytes(b"a")), meant(1, 2)),
        (Keys::One(bytes(b"missing")), vec![]),
        (Keys::Prefix(bytes(b"a")), meant(1, 4)),
        (Keys::Prefix(bytes(b"a\xff")), meant(3, 4)),
        (Keys::Prefix(bytes(b"\xff")), meant(6, 7)),
        (Keys::Prefix(bytes(b"")), meant(0, 7)),
        (Keys::From(bytes(b"a\0")), meant(2, 7)),
        (Keys::From(bytes(b"")), meant(0, 7)),
        (range(b"a", b"b/2"), meant(1, 5)),
        (range(b"a\0", b"\xff"), meant(2, 6)),
        (range(b"a", b""), meant(1, 2)),
        (range(b"a\0", b"\0"), meant(2, 7)),
    ]
}

fn fill(client: &Client) {
    for key in KEYS {
        put(client, key, key).unwrap();
    }
}

fn names(response: &Response<impl std::fmt::Debug>, kvs: &[KeyValue]) -> Vec<Vec<u8>> {
    kvs.iter().map(|kv| response.bytes(kv.key).to_vec()).collect()
}

fn range(client: &Client, request: &RangeRequest<'_>) -> Vec<Vec<u8>> {
    let response = client.range(request, &plain()).unwrap();
    names(&response, &response.kvs)
}

#[test]
fn every_way_to_mean_keys_means_the_same_to_a_read_and_to_a_delete() {
    with_and_without(|client, what| {
        for (keys, meant) in meanings() {
            fill(client);
            let read = client.range(&RangeRequest::new(keys.clone()), &plain()).unwrap();
            assert_eq!(names(&read, &read.kvs), meant, "{keys:?} {what}");
            assert_eq!((read.count, read.more), (meant.len() as i64, false), "{keys:?} {what}");
            let request = DeleteRangeRequest { prev_kv: true, ..delete_request(keys.clone()) };
            let deleted = client.delete_range(&request, &plain()).unwrap();
            assert_eq!(names(&deleted, &deleted.prev_kvs), meant, "{keys:?} {what}");
            assert_eq!(deleted.deleted, meant.len() as i64, "{keys:?} {what}");
            let left: Vec<&[u8]> = KEYS.into_iter().filter(|key| !meant.contains(key)).collect();
            assert_eq!(range(client, &prefix(b"")), left, "{keys:?} {what}");
        }
    });
}

#[test]
fn options_of_a_read_work_on_the_short_names() {
    with_and_without(|client, what| {
        fill(client);
        let descending = RangeRequest { sort_order: SortOrder::Descend, limit: 2, ..prefix(b"") };
        assert_eq!(range(client, &descending), [KEYS[6], KEYS[5]], "{what}");
        let last_changed = client.put(&PutRequest { prev_kv: true, ..put_request(b"a", b"new") }, &plain()).unwrap();
        assert_eq!(last_changed.bytes(last_changed.prev_kv.unwrap().key), b"a", "{what}");
        let (sort_order, sort_target) = (SortOrder::Descend, SortTarget::Mod);
        let newest = RangeRequest { sort_order, sort_target, limit: 1, keys_only: true, ..prefix(b"") };
        assert_eq!(range(client, &newest), [b"a"], "{what}");
        let changed_since = RangeRequest { min_mod_revision: last_changed.header.revision, ..prefix(b"") };
        assert_eq!(range(client, &changed_since), [b"a"], "{what}");
        let counted = client.range(&RangeRequest { count_only: true, ..prefix(b"") }, &plain()).unwrap();
        assert_eq!((counted.count, counted.kvs.len()), (7, 0), "{what}");
        let before = RangeRequest { revision: last_changed.header.revision - 1, ..one(b"a") };
        let before = client.range(&before, &plain()).unwrap();
        assert_eq!(
            (before.bytes(before.kvs[0].key), before.bytes(before.kvs[0].value)),
            (&b"a"[..], &b"a"[..]),
            "{what}"
        );
    });
}

/// Whether a condition holds.
fn holds(client: &Client, compare: Compare<'_>) -> bool {
    client.txn(&TxnRequest { compare: vec![compare], ..TxnRequest::default() }, &plain()).unwrap().succeeded
}

#[test]
fn a_condition_looks_at_the_keys_that_are_meant() {
    with_and_without(|client, what| {
        fill(client);
        for (keys, meant) in meanings() {
            let written =
                |version| Compare { keys: keys.clone(), op: CompareOp::Equal, target: CompareTarget::Version(version) };
            // Of a key that doesn't exist the version is 0; of a range without keys everything holds.
            let is_one = matches!(&keys, Keys::One(_)) || matches!(&keys, Keys::Range { end, .. } if end.is_empty());
            assert_eq!(holds(client, written(1)), !meant.is_empty() || !is_one, "{keys:?} {what}");
            // Once one of the keys meant has been written again it holds no more; another one makes no difference.
            for key in KEYS {
                put(client, key, key).unwrap();
                let is_meant = meant.contains(&key);
                assert_eq!(
                    holds(client, written(1)),
                    !is_meant && (!meant.is_empty() || !is_one),
                    "{key:?} {keys:?} {what}"
                );
                client.delete_range(&delete_request(Keys::One(Cow::Borrowed(key))), &plain()).unwrap();
                put(client, key, key).unwrap();
            }
        }
        let value = CompareTarget::Value(bytes(b"b/1"));
        assert!(
            holds(client, Compare { keys: Keys::One(bytes(b"b/1")), op: CompareOp::Equal, target: value }),
            "{what}"
        );
    });
}

/// The names in every answer of a transaction, those of transactions in it too.
fn told(response: &Response<TxnResponse>, results: &[TxnResult]) -> Vec<Vec<u8>> {
    let of_one = |result: &TxnResult| match result {
        TxnResult::Put(put) => names(response, put.prev_kv.as_slice()),
        TxnResult::Range(range) => names(response, &range.kvs),
        TxnResult::DeleteRange(delete) => names(response, &delete.prev_kvs),
        TxnResult::Txn(inner) => told(response, &inner.results),
    };
    results.iter().flat_map(of_one).collect()
}

#[test]
fn a_transaction_in_transactions_speaks_of_the_short_names_at_every_depth() {
    with_and_without(|client, what| {
        fill(client);
        let absent = |key| {
            let target = CompareTarget::CreateRevision(0);
            vec![Compare { keys: Keys::One(bytes(key)), op: CompareOp::Equal, target }]
        };
        let put_again = TxnOp::Put(PutRequest { prev_kv: true, ..put_request(b"a", b"again") });
        let delete = DeleteRangeRequest { prev_kv: true, ..delete_request(Keys::Prefix(bytes(b"b/"))) };
        let innermost = TxnRequest { compare: absent(b"new"), success: vec![put_again], failure: vec![] };
        let failure = vec![TxnOp::DeleteRange(delete), TxnOp::Txn(innermost)];
        let inner = TxnRequest { compare: absent(b"a"), success: vec![], failure };
        let request = TxnRequest {
            compare: vec![],
            success: vec![
                TxnOp::Range(RangeRequest::new(Keys::From(bytes(b"\xff")))),
                TxnOp::Txn(inner),
                TxnOp::Range(prefix(b"b/")),
            ],
            failure: vec![],
        };
        let response = client.txn(&request, &plain()).unwrap();
        let wanted: [&[u8]; 4] = [b"\xff\xff", b"b/1", b"b/2", b"a"];
        assert_eq!(told(&response, &response.results), wanted, "{what}");
        assert_eq!(range(client, &prefix(b"")), [&KEYS[..4], &KEYS[6..]].concat(), "{what}");
    });
}

#[test]
fn create_and_replace_look_at_the_key_that_is_meant() {
    with_and_without(|client, what| {
        assert!(client.create(put_request(b"key", b"1"), &plain()).unwrap().0, "{what}");
        assert!(!client.create(put_request(b"key", b"2"), &plain()).unwrap().0, "{what}");
        assert!(!client.replace(put_request(b"key", b"2"), b"other", &plain()).unwrap().0, "{what}");
        assert!(client.replace(put_request(b"key", b"2"), b"1", &plain()).unwrap().0, "{what}");
        assert_eq!(common::get(client, b"key").unwrap().unwrap(), b"2", "{what}");
    });
}

/// An event as its consumer sees it: type, key, and the key and value before it.
type Seen = (EventType, Vec<u8>, Option<(Vec<u8>, Vec<u8>)>);

#[test]
fn a_watch_tells_of_the_keys_that_are_meant_and_of_no_others() {
    with_and_without(|client, what| {
        for (keys, meant) in meanings() {
            client.delete_range(&delete_request(Keys::Prefix(bytes(b""))), &plain()).unwrap();
            let request = WatchRequest { prev_kv: true, ..WatchRequest::new(keys.clone()) };
            let watch = client.watch_open(WatchOptions::new(request)).unwrap();
            fill(client);
            client.delete_range(&delete_request(Keys::Prefix(bytes(b""))), &plain()).unwrap();
            let mut wanted: Vec<Seen> = meant.iter().map(|key| (EventType::Put, key.to_vec(), None)).collect();
            let gone = |key: &&[u8]| (EventType::Delete, key.to_vec(), Some((key.to_vec(), key.to_vec())));
            wanted.extend(meant.iter().map(gone));
            let (mut seen, end): (Vec<Seen>, _) = (Vec::new(), Instant::now() + LONG);
            while seen.len() < wanted.len() {
                let left = end.saturating_duration_since(Instant::now());
                let response = watch.next(Some(left)).unwrap().unwrap();
                assert_eq!(response.kind, WatchKind::Events, "{keys:?} {what}");
                seen.extend(response.events.iter().map(|event| {
                    let before =
                        event.prev_kv.map(|kv| (response.bytes(kv.key).to_vec(), response.bytes(kv.value).to_vec()));
                    (event.event_type, response.bytes(event.kv.key).to_vec(), before)
                }));
            }
            assert_eq!(seen, wanted, "{keys:?} {what}");
        }
    });
}

#[test]
fn a_lease_shows_the_short_names_of_its_keys() {
    with_and_without(|client, what| {
        let lease = Client::new_lease_id().unwrap();
        client.lease_grant(60, lease, &plain()).unwrap();
        for key in KEYS {
            client.put(&PutRequest { lease, ..put_request(key, b"") }, &plain()).unwrap();
        }
        let left = client.lease_time_to_live(lease, true, &plain()).unwrap();
        let mut shown: Vec<&[u8]> = left.keys.iter().map(|key| left.bytes(*key)).collect();
        shown.sort();
        assert_eq!(shown, KEYS, "{what}");
        client.lease_revoke(lease, &plain()).unwrap();
        assert_eq!(range(client, &prefix(b"")), Vec::<Vec<u8>>::new(), "{what}");
    });
}

#[test]
fn an_empty_key_is_refused_alike() {
    with_and_without(|client, what| {
        fill(client);
        let nameless = || Keys::One(bytes(b""));
        let until = Keys::Range { key: bytes(b""), end: bytes(b"b") };
        let compare = vec![Compare { keys: nameless(), op: CompareOp::Equal, target: CompareTarget::Version(0) }];
        let in_txn = |operation| TxnRequest { success: vec![operation], ..TxnRequest::default() };
        for (operation, error) in [
            ("put", put(client, b"", b"value").err()),
            ("get", client.range(&RangeRequest::new(nameless()), &plain()).err()),
            ("get until", client.range(&RangeRequest::new(until), &plain()).err()),
            ("delete", client.delete_range(&delete_request(nameless()), &plain()).err()),
            ("create", client.create(put_request(b"", b"value"), &plain()).err()),
            ("compare", client.txn(&TxnRequest { compare, ..TxnRequest::default() }, &plain()).err()),
            ("put in a transaction", client.txn(&in_txn(TxnOp::Put(PutRequest::default())), &plain()).err()),
        ] {
            let error = error.unwrap_or_else(|| panic!("{operation} {what}"));
            assert_eq!(error.reason(), Reason::EmptyKey, "{operation} {what}: {error:?}");
            assert!(
                error.to_string().contains("etcdserver: key is not provided") && !error.may_have_applied(),
                "{error}"
            );
        }
        assert_eq!(range(client, &prefix(b"")), KEYS, "{what}");
    });
}
