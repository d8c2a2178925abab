//! A client's key prefix: it goes on every key and comes off every key, at the edges too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Etcd, FakeGateway, for_each_version, get, keys, on_each_version, one, plain, prefix, put, put_request};
use etcdgw::client::Client;
use etcdgw::error::{Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest};
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResult};
use serde_json::{Value, json};
use std::borrow::Cow;

fn within_prefix(url: &str, key_prefix: &[u8]) -> Client {
    Client::new(common::config_below(url, key_prefix)).unwrap()
}

fn bytes(text: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(text)
}

/// What goes out for a range of these keys below this prefix: `key` and `range_end`, in base64.
fn sent(key_prefix: &[u8], keys: Keys<'_>) -> Value {
    let gateway = FakeGateway::answering("{}");
    within_prefix(gateway.url(), key_prefix).range(&RangeRequest::new(keys), &plain()).unwrap();
    gateway.last().json()
}

#[test]
fn every_kind_of_range_goes_out_below_the_prefix() {
    let range = |key: &'static [u8], end: &'static [u8]| Keys::Range { key: bytes(key), end: bytes(end) };
    for (keys, wanted) in [
        (Keys::One(bytes(b"k")), json!({"key": "cC9r"})),
        // "p/k" up to "p/l", and all after "p/k" up to "p0".
        (Keys::Prefix(bytes(b"k")), json!({"key": "cC9r", "range_end": "cC9s"})),
        (Keys::From(bytes(b"k")), json!({"key": "cC9r", "range_end": "cDA="})),
        (range(b"a", b"b"), json!({"key": "cC9h", "range_end": "cC9i"})),
        // Everything is everything below the prefix.
        (Keys::Prefix(bytes(b"")), json!({"key": "cC8=", "range_end": "cDA="})),
        (Keys::From(bytes(b"")), json!({"key": "cC8=", "range_end": "cDA="})),
        // What ends in 0xff ends with the whole prefix.
        (Keys::Prefix(bytes(b"\xff")), json!({"key": "cC//", "range_end": "cDA="})),
    ] {
        assert_eq!(sent(b"p/", keys.clone()), wanted, "{keys:?}");
    }
}

#[test]
fn a_prefix_of_0xff_has_no_key_after_it() {
    for (keys, wanted) in [
        (Keys::From(bytes(b"k")), json!({"key": "//9r", "range_end": "AA=="})),
        (Keys::Prefix(bytes(b"")), json!({"key": "//8=", "range_end": "AA=="})),
        (Keys::Prefix(bytes(b"\xff")), json!({"key": "////", "range_end": "AA=="})),
        (Keys::Prefix(bytes(b"k")), json!({"key": "//9r", "range_end": "//9s"})),
    ] {
        assert_eq!(sent(b"\xff\xff", keys.clone()), wanted, "{keys:?}");
    }
}

#[test]
fn without_a_prefix_everything_begins_with_the_smallest_key() {
    for keys in [Keys::Prefix(bytes(b"")), Keys::From(bytes(b"")), Keys::From(bytes(b"\0"))] {
        assert_eq!(sent(b"", keys.clone()), json!({"key": "AA==", "range_end": "AA=="}), "{keys:?}");
    }
}

#[test]
fn an_empty_key_is_refused_with_the_servers_words_and_the_prefix_itself_is_not_touched() {
    let gateway = FakeGateway::answering("{}");
    let client = within_prefix(gateway.url(), b"p/");
    let in_txn = |operation| TxnRequest { success: vec![operation], ..TxnRequest::default() };
    let compare = Compare { keys: Keys::One(bytes(b"")), op: CompareOp::Equal, target: CompareTarget::Version(0) };
    let delete = || DeleteRangeRequest { keys: Keys::One(bytes(b"")), prev_kv: false, all: false };
    let nested = in_txn(TxnOp::Txn(in_txn(TxnOp::Put(PutRequest::default()))));
    let errors = [
        put(&client, b"", b"v").unwrap_err(),
        get(&client, b"").unwrap_err(),
        client.range(&RangeRequest::new(Keys::Range { key: bytes(b""), end: bytes(b"z") }), &plain()).unwrap_err(),
        client.delete_range(&delete(), &plain()).unwrap_err(),
        client.create(put_request(b"", b"v"), &plain()).unwrap_err(),
        client.replace(put_request(b"", b"v"), b"old", &plain()).unwrap_err(),
        client.txn(&in_txn(TxnOp::Put(PutRequest::default())), &plain()).unwrap_err(),
        client.txn(&in_txn(TxnOp::Range(one(b""))), &plain()).unwrap_err(),
        client.txn(&in_txn(TxnOp::DeleteRange(delete())), &plain()).unwrap_err(),
        client.txn(&TxnRequest { compare: vec![compare], ..TxnRequest::default() }, &plain()).unwrap_err(),
        client.txn(&nested, &plain()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::InvalidArgument { reason: Reason::EmptyKey, .. }), "{error:?}");
        assert_eq!(error.to_string(), "etcdserver: key is not provided");
    }
    assert_eq!(gateway.connections(), 0);
}

/// Some keys below the prefix and some beside it.
fn fill(etcd: &Etcd, root: &str) -> (Client, Client) {
    let bare = common::client(&etcd.url());
    let client = within_prefix(&etcd.url(), format!("{root}/").as_bytes());
    for key in ["a", "b", "c/1", "c/2"] {
        put(&client, key.as_bytes(), key.as_bytes()).unwrap();
    }
    for key in [root.to_owned(), format!("{root}0"), format!("{root}.")] {
        put(&bare, key.as_bytes(), b"beside").unwrap();
    }
    (client, bare)
}

#[test]
fn a_client_sees_what_is_below_its_prefix_and_nothing_else() {
    on_each_version(|etcd| {
        let (client, bare) = fill(etcd, "sees");
        let all = ["a", "b", "c/1", "c/2"];
        assert_eq!(keys(&client, &prefix(b"")), all);
        assert_eq!(keys(&client, &RangeRequest::new(Keys::From(bytes(b"")))), all);
        assert_eq!(keys(&client, &RangeRequest::new(Keys::From(bytes(b"b")))), all[1..]);
        assert_eq!(keys(&client, &RangeRequest::new(Keys::Range { key: bytes(b"a"), end: bytes(b"c") })), all[..2]);
        assert_eq!(keys(&client, &prefix(b"c/")), all[2..]);
        assert_eq!(keys(&bare, &prefix(b"sees/")), all.map(|key| format!("sees/{key}")));
        let previous = client.put(&PutRequest { prev_kv: true, ..put_request(b"a", b"new") }, &plain()).unwrap();
        assert_eq!(previous.bytes(previous.prev_kv.unwrap().key), b"a");
    });
}

#[test]
fn a_delete_of_everything_stays_below_the_prefix() {
    on_each_version(|etcd| {
        let (client, bare) = fill(etcd, "deletes");
        let everything = |all| DeleteRangeRequest { keys: Keys::Prefix(bytes(b"")), prev_kv: true, all };
        client.delete_range(&everything(false), &plain()).unwrap_err();
        let deleted = client.delete_range(&everything(true), &plain()).unwrap();
        let before: Vec<_> = deleted.prev_kvs.iter().map(|kv| deleted.bytes(kv.key)).collect();
        assert_eq!((deleted.deleted, &before[..]), (4, &[&b"a"[..], b"b", b"c/1", b"c/2"][..]));
        assert_eq!(keys(&bare, &prefix(b"deletes")), ["deletes", "deletes.", "deletes0"]);
    });
}

#[test]
fn a_transaction_is_below_the_prefix_in_its_conditions_its_operations_and_its_answers() {
    on_each_version(|etcd| {
        let (client, bare) = fill(etcd, "txn-below");
        // Holds below the prefix only: beside it the same keys don't exist.
        let compare = |keys| Compare { keys, op: CompareOp::Greater, target: CompareTarget::Version(0) };
        let inner = TxnRequest {
            compare: vec![compare(Keys::One(bytes(b"b")))],
            success: vec![TxnOp::Range(prefix(b"c/")), TxnOp::Put(put_request(b"d", b"new"))],
            failure: Vec::new(),
        };
        let delete = DeleteRangeRequest { keys: Keys::One(bytes(b"b")), prev_kv: true, all: false };
        let request = TxnRequest {
            compare: vec![compare(Keys::One(bytes(b"a"))), compare(Keys::Prefix(bytes(b"c/")))],
            success: vec![TxnOp::Txn(inner), TxnOp::Range(one(b"a")), TxnOp::DeleteRange(delete)],
            failure: Vec::new(),
        };
        let response = client.txn(&request, &plain()).unwrap();
        assert!(response.succeeded);
        let [TxnResult::Txn(inner), TxnResult::Range(range), TxnResult::DeleteRange(delete)] = &response.results[..]
        else {
            panic!("{:?}", response.results)
        };
        let TxnResult::Range(nested) = &inner.results[0] else { panic!("{:?}", inner.results) };
        let names: Vec<_> = nested.kvs.iter().map(|kv| response.bytes(kv.key)).collect();
        assert_eq!(names, [b"c/1", b"c/2"]);
        assert_eq!(response.bytes(range.kvs[0].key), b"a");
        assert_eq!(response.bytes(delete.prev_kvs[0].key), b"b");
        assert_eq!(get(&bare, b"txn-below/d").unwrap().unwrap(), b"new");
    });
}

#[test]
fn a_lease_shows_the_keys_below_the_prefix_and_hides_the_others() {
    for_each_version(|etcd| {
        let bare = common::client(&etcd.url());
        let client = within_prefix(&etcd.url(), b"p/");
        let lease = Client::new_lease_id().unwrap();
        client.lease_grant(60, lease, &plain()).unwrap();
        for (client, key) in [(&bare, &b"p"[..]), (&bare, b"q"), (&client, b"mine"), (&client, b"")] {
            let request = PutRequest { lease, ..put_request(key, b"") };
            assert_eq!(client.put(&request, &plain()).is_err(), key.is_empty());
        }
        let left = client.lease_time_to_live(lease, true, &plain()).unwrap();
        let names: Vec<_> = left.keys.iter().map(|key| left.bytes(*key)).collect();
        assert_eq!(names, [b"mine"]);
        assert_eq!(bare.lease_time_to_live(lease, true, &plain()).unwrap().keys.len(), 3);
    });
}

#[test]
fn a_prefix_may_hold_any_bytes() {
    on_each_version(|etcd| {
        let bare = common::client(&etcd.url());
        for key_prefix in [&b"\0"[..], b"any\0\xff/", b"any\xff\xff", "äny/".as_bytes()] {
            let client = within_prefix(&etcd.url(), key_prefix);
            put(&client, b"k\0\xff", b"v").unwrap();
            let response = client.range(&prefix(b""), &plain()).unwrap();
            assert_eq!((response.count, response.bytes(response.kvs[0].key)), (1, &b"k\0\xff"[..]));
            let full = [key_prefix, b"k\0\xff"].concat();
            assert_eq!(get(&bare, &full).unwrap().unwrap(), b"v");
            client.delete_range(&common::delete_request(Keys::Prefix(bytes(b""))), &plain()).unwrap();
            assert_eq!(get(&bare, &full).unwrap(), None);
        }
    });
}
