//! Reading keys on real servers of every version, with every option.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{for_each_version, get, keys, on_each_version, one, plain, prefix, put, put_revision};
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{PutRequest, RangeRequest, SortOrder, SortTarget};
use std::borrow::Cow;

fn bytes(text: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(text)
}

/// Five keys of which each field has another order; answers their revisions.
fn fill(client: &Client, root: &str) -> [i64; 5] {
    let key = |name: &str| format!("{root}{name}").into_bytes();
    for (name, value) in [("b", "old"), ("a", "5"), ("e", "1"), ("c", "4"), ("d", "2")] {
        put(client, &key(name), value.as_bytes()).unwrap();
    }
    // Written again, so that the order of the last changes is another than that of creation.
    put(client, &key("a"), b"5").unwrap();
    put(client, &key("b"), b"3").unwrap();
    put(client, &key("b"), b"3").unwrap();
    let response = client.range(&prefix(root.as_bytes()), &plain()).unwrap();
    let revisions: Vec<i64> = response.kvs.iter().map(|kv| kv.create_revision).collect();
    revisions.try_into().unwrap()
}

fn without_root(root: &str, keys: Vec<String>) -> String {
    keys.iter().map(|key| key.strip_prefix(root).unwrap()).collect()
}

#[test]
fn a_missing_key_is_an_answer_without_keys() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let response = client.range(&one(b"missing"), &plain()).unwrap();
        assert_eq!((response.count, response.more, response.kvs.len()), (0, false, 0));
        assert!(response.header.revision > 0 && response.header.cluster_id > 0 && response.header.raft_term > 0);
    });
}

#[test]
fn a_key_has_its_history_in_its_fields() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let created = put_revision(&client, b"history", b"1");
        put(&client, b"history/other", b"").unwrap();
        let changed = put_revision(&client, b"history", b"2");
        let response = client.range(&one(b"history"), &plain()).unwrap();
        let kv = response.kvs[0];
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (created, changed, 2, 0));
        assert_eq!((response.bytes(kv.key), response.bytes(kv.value)), (&b"history"[..], &b"2"[..]));
        assert!(response.header.revision >= changed);
    });
}

#[test]
fn keys_are_found_by_prefix_by_range_and_from_one_on() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for key in ["a", "b", "b1", "b2", "c"] {
            put(&client, key.as_bytes(), b"").unwrap();
        }
        let of = |found| keys(&client, &RangeRequest::new(found));
        assert_eq!(of(Keys::Prefix(bytes(b"b"))), ["b", "b1", "b2"]);
        assert_eq!(of(Keys::Range { key: bytes(b"b"), end: bytes(b"b2") }), ["b", "b1"]);
        assert_eq!(of(Keys::From(bytes(b"b1"))), ["b1", "b2", "c"]);
        let all = ["a", "b", "b1", "b2", "c"];
        assert_eq!(of(Keys::Prefix(bytes(b""))), all);
        assert_eq!(of(Keys::From(bytes(b""))), all);
        assert_eq!(of(Keys::from_wire(bytes(b"\0"), bytes(b"\0"))), all);
        assert!(of(Keys::Range { key: bytes(b"b"), end: bytes(b"a") }).is_empty());
    });
}

#[test]
fn a_limit_leaves_keys_out_and_says_so() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        fill(&client, "limit/");
        for (limit, found, more) in [(2, 2, true), (4, 4, true), (5, 5, false), (6, 5, false), (0, 5, false)] {
            let response = client.range(&RangeRequest { limit, ..prefix(b"limit/") }, &plain()).unwrap();
            assert_eq!((response.kvs.len(), response.more, response.count), (found, more, 5), "{limit}");
        }
    });
}

#[test]
fn counting_reads_no_keys_and_keys_only_no_values() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        fill(&client, "count/");
        let response = client.range(&RangeRequest { count_only: true, ..prefix(b"count/") }, &plain()).unwrap();
        assert_eq!((response.count, response.kvs.len(), response.more), (5, 0, false));
        let response = client.range(&RangeRequest { keys_only: true, ..prefix(b"count/") }, &plain()).unwrap();
        assert_eq!((response.count, response.kvs.len()), (5, 5));
        assert!(response.kvs.iter().all(|kv| kv.value.is_empty() && kv.version > 0));
    });
}

#[test]
fn a_revision_shows_the_keys_as_they_were() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let first = put_revision(&client, b"past", b"1");
        put(&client, b"past", b"2").unwrap();
        client.delete_range(&common::delete_request(Keys::One(bytes(b"past"))), &plain()).unwrap();
        assert_eq!(get(&client, b"past").unwrap(), None);
        let value_at = |revision| {
            let response = client.range(&RangeRequest { revision, ..one(b"past") }, &plain()).unwrap();
            response.kvs.first().map(|kv| response.bytes(kv.value).to_vec())
        };
        assert_eq!(value_at(first - 1), None);
        assert_eq!(value_at(first).unwrap(), b"1");
    });
}

#[test]
fn a_future_revision_is_refused() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let error = client.range(&RangeRequest { revision: 1 << 40, ..one(b"future") }, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::OutOfRange, .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::FutureRevision);
        assert!(!error.is_retryable());
    });
}

#[test]
fn keys_come_in_every_order() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        fill(&client, "sort/");
        for (target, ascending) in [
            (SortTarget::Key, "abcde"),
            (SortTarget::Create, "baecd"),
            (SortTarget::Mod, "ecdab"),
            (SortTarget::Value, "edbca"),
        ] {
            let in_order = |sort_order| {
                let request = RangeRequest { sort_order, sort_target: target, ..prefix(b"sort/") };
                without_root("sort/", keys(&client, &request))
            };
            assert_eq!(in_order(SortOrder::Ascend), ascending, "{target:?}");
            assert_eq!(in_order(SortOrder::Descend), ascending.chars().rev().collect::<String>(), "{target:?}");
        }
        // Of equal versions the order is open; a and b have been written more often than the others.
        let request = RangeRequest {
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Version,
            limit: 2,
            ..prefix(b"sort/")
        };
        assert_eq!(keys(&client, &request), ["sort/b", "sort/a"]);
    });
}

#[test]
fn keys_are_chosen_by_when_they_were_created_and_changed() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        // Created in the order b, a, e, c, d; changed last in the order e, c, d, a, b.
        let [_, b, c, _, e] = fill(&client, "when/");
        let of = |request| without_root("when/", keys(&client, &request));
        assert_eq!(of(RangeRequest { min_create_revision: e, ..prefix(b"when/") }), "cde");
        assert_eq!(of(RangeRequest { max_create_revision: e, ..prefix(b"when/") }), "abe");
        assert_eq!(of(RangeRequest { min_create_revision: b + 1, max_create_revision: c, ..prefix(b"when/") }), "ace");
        assert_eq!(of(RangeRequest { min_mod_revision: c, ..prefix(b"when/") }), "abcd");
        assert_eq!(of(RangeRequest { max_mod_revision: c, ..prefix(b"when/") }), "ce");
    });
}

#[test]
fn a_serializable_read_is_answered() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        put(&client, b"serializable", b"value").unwrap();
        let response = client.range(&RangeRequest { serializable: true, ..one(b"serializable") }, &plain()).unwrap();
        assert_eq!(response.bytes(response.kvs[0].value), b"value");
    });
}

#[test]
fn keys_and_values_may_be_any_bytes_of_any_length() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let every_byte: Vec<u8> = (0..=255).collect();
        for bytes in
            [&b"\0"[..], b"\xff", b"\xff\xff\xff", b"a\0b", b"\0\0", "ключ".as_bytes(), b"\"\\/\n", &every_byte]
        {
            let key = [b"any/", bytes].concat();
            put(&client, &key, bytes).unwrap();
            let response = client.range(&one(&key), &plain()).unwrap();
            assert_eq!((response.bytes(response.kvs[0].key), response.bytes(response.kvs[0].value)), (&key[..], bytes));
        }
        put(&client, b"any/empty", b"").unwrap();
        assert_eq!(get(&client, b"any/empty").unwrap().unwrap(), b"");
        for length in 0..70 {
            let value = vec![b'v'; length];
            put(&client, b"any/length", &value).unwrap();
            assert_eq!(get(&client, b"any/length").unwrap().unwrap(), value);
        }
        let large: Vec<u8> = (0..1_u32 << 20).map(|i| ((i * 7) >> 3) as u8).collect();
        put(&client, b"any/large", &large).unwrap();
        assert_eq!(get(&client, b"any/large").unwrap().unwrap(), large);
        let long_key = vec![b'k'; 64 << 10];
        put(&client, &long_key, b"v").unwrap();
        assert_eq!(get(&client, &long_key).unwrap().unwrap(), b"v");
    });
}

#[test]
fn the_shortest_keys_there_are_can_be_used() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for key in [&b"\0"[..], b"\xff", b"\xff\xff", b"a\xff", b"a\x7f", b"\x80a", b"\xc3\xbf", b"\xbf"] {
            put(&client, key, key).unwrap();
            assert_eq!(get(&client, key).unwrap().unwrap(), key);
            let response = client.range(&prefix(key), &plain()).unwrap();
            assert!(response.kvs.iter().all(|kv| response.bytes(kv.key).starts_with(key)), "{key:?}");
            assert!(response.count >= 1);
        }
        assert_eq!(client.range(&prefix(b""), &plain()).unwrap().count, 8);
        assert_eq!(client.range(&prefix(b"\xff"), &plain()).unwrap().count, 2);
    });
}

#[test]
fn ten_thousand_keys_come_in_one_answer() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let value = |i: usize| format!("value {i}").repeat(5).into_bytes();
        for chunk in (0..10_000_usize).collect::<Vec<_>>().chunks(100) {
            let puts = chunk.iter().map(|i| {
                let key = format!("many/{i:05}").into_bytes();
                etcdgw::rpc::txn::TxnOp::Put(PutRequest {
                    key: key.into(),
                    value: value(*i).into(),
                    ..PutRequest::default()
                })
            });
            let request = etcdgw::rpc::txn::TxnRequest { success: puts.collect(), ..Default::default() };
            client.txn(&request, &plain()).unwrap();
        }
        let response = client.range(&prefix(b"many/"), &plain()).unwrap();
        assert_eq!((response.count, response.kvs.len(), response.more), (10_000, 10_000, false));
        for (i, kv) in response.kvs.iter().enumerate() {
            assert_eq!(response.bytes(kv.key), format!("many/{i:05}").as_bytes());
            assert_eq!(response.bytes(kv.value), value(i));
        }
    });
}

#[test]
fn reading_the_compacted_past_is_refused() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let administrator = common::administrator(&etcd.url());
        let first = put_revision(&client, b"key", b"1");
        let second = put_revision(&client, b"key", b"2");
        administrator.compact(second, true, &plain()).unwrap();
        let at = |revision| client.range(&RangeRequest { revision, ..one(b"key") }, &plain());
        let error = at(first).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::OutOfRange, .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::Compacted);
        assert_eq!(at(second).unwrap().count, 1);
        assert_eq!(administrator.compact(second, false, &plain()).unwrap_err().reason(), Reason::Compacted);
        assert_eq!(administrator.compact(1 << 40, false, &plain()).unwrap_err().reason(), Reason::FutureRevision);
    });
}
