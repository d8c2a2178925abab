//! What a watch reports on real servers, and in what form.

use crate::common::{LONG, client, config_below, on_each_version, plain, put, put_revision, timed, wait_until, within};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest};
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use etcdgw::rpc::watch::{EventType, WatchRequest};
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::time::Duration;

fn delete(client: &Client, key: &[u8]) -> i64 {
    let keys = Keys::One(Cow::Borrowed(key));
    let response = client.delete_range(&DeleteRangeRequest { keys, prev_kv: false, all: false }, &plain());
    response.unwrap().header.revision
}

fn put_op<'a>(key: &'a [u8], value: &'a [u8]) -> TxnOp<'a> {
    TxnOp::Put(PutRequest { key: Cow::Borrowed(key), value: Cow::Borrowed(value), ..PutRequest::default() })
}

#[test]
fn a_put_that_starts_after_the_watch_returned_is_seen() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        for _ in 0..20 {
            let watch = client.watch_open(one(b"events/seen")).unwrap();
            let revision = put_revision(&client, b"events/seen", b"value");
            let said = next(&watch);
            assert_eq!((said.kind, said.resume_revision), (WatchKind::Events, revision + 1));
            assert_eq!(said.changes.len(), 1);
            assert_eq!((said.changes[0].revision, &said.changes[0].value[..]), (revision, &b"value"[..]));
        }
    });
}

#[test]
fn every_field_of_puts_and_deletions_comes_with_what_was_before() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let options = one(b"events/\0fields\xff");
        let request = WatchRequest { prev_kv: true, ..options.request };
        let watch = client.watch_open(WatchOptions { request, ..options }).unwrap();
        let first = put_revision(&client, b"events/\0fields\xff", b"");
        let second = put_revision(&client, b"events/\0fields\xff", b"\0\xff\n");
        let third = delete(&client, b"events/\0fields\xff");

        let mut responses = Vec::new();
        while responses.iter().map(|response: &etcdgw::watch::WatchResponse| response.events.len()).sum::<usize>() < 3 {
            responses.push(watch.next(Some(LONG)).unwrap().unwrap());
        }
        let events: Vec<_> =
            responses.iter().flat_map(|response| response.events.iter().map(move |event| (response, event))).collect();
        let (response, created) = events[0];
        assert_eq!(response.bytes(created.kv.key), b"events/\0fields\xff");
        assert_eq!((created.kv.create_revision, created.kv.mod_revision, created.kv.version), (first, first, 1));
        assert!(response.header.cluster_id != 0 && response.header.member_id != 0 && response.header.raft_term != 0);
        assert!(response.bytes(created.kv.value).is_empty() && created.prev_kv.is_none());
        let (response, changed) = events[1];
        assert_eq!(response.bytes(changed.kv.value), b"\0\xff\n");
        assert_eq!((changed.kv.create_revision, changed.kv.mod_revision, changed.kv.version), (first, second, 2));
        assert_eq!(changed.prev_kv.unwrap().mod_revision, first);
        let (response, deleted) = events[2];
        assert_eq!((deleted.event_type, deleted.kv.mod_revision), (EventType::Delete, third));
        assert_eq!(response.bytes(deleted.kv.key), b"events/\0fields\xff");
        let previous = deleted.prev_kv.unwrap();
        assert_eq!(response.bytes(previous.key), b"events/\0fields\xff");
        assert_eq!(response.bytes(previous.value), b"\0\xff\n");
        assert_eq!((previous.create_revision, previous.mod_revision, previous.version), (first, second, 2));
    });
}

#[test]
fn a_prefix_a_range_and_an_open_range_report_their_keys_and_no_others() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let range = |key: &'static [u8], end: &'static [u8]| {
            let keys = Keys::Range { key: Cow::Borrowed(key), end: Cow::Borrowed(end) };
            WatchOptions::new(request(keys, 0))
        };
        let watches = [
            client.watch_open(prefix(b"events/keys/b")).unwrap(),
            client.watch_open(range(b"events/keys/b", b"events/keys/c")).unwrap(),
            client.watch_open(one(b"events/keys/b")).unwrap(),
            client.watch_open(WatchOptions::new(request(Keys::From(Cow::Borrowed(b"events/keys/b")), 0))).unwrap(),
        ];
        for key in [&b"events/keys/a"[..], b"events/keys/b", b"events/keys/b/1", b"events/keys/c", b"events/keys/b"] {
            put(&client, key, b"").unwrap();
        }
        let end = b"events/keys/b";
        let seen = |index: usize| {
            let mut keys = Vec::new();
            while keys.iter().filter(|key| *key == end).count() < 2 {
                let ours = next(&watches[index]).changes.into_iter().map(|change| change.key);
                // Other tests write beyond the open range's first key.
                keys.extend(ours.filter(|key| key.starts_with(b"events/keys/")));
            }
            keys.into_iter().map(|key| String::from_utf8(key[12..].to_vec()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(seen(0), ["b", "b/1", "b"]);
        assert_eq!(seen(1), ["b", "b/1", "b"]);
        assert_eq!(seen(2), ["b", "b"]);
        assert_eq!(seen(3), ["b", "b/1", "c", "b"]);
    });
}

#[test]
fn an_empty_prefix_reports_every_key() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let watch = client.watch_open(prefix(b"")).unwrap();
        let revision = put_revision(&client, b"\x01", b"");
        loop {
            if next(&watch).changes.iter().any(|change| change.revision == revision && change.key == b"\x01") {
                break;
            }
        }
    });
}

#[test]
fn filters_leave_out_puts_or_deletions() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let options = prefix(b"events/filters");
        let filtered = |no_put, no_delete| {
            let request = WatchRequest { no_put, no_delete, ..options.request.clone() };
            client.watch_open(WatchOptions { request, ..options.clone() }).unwrap()
        };
        let (no_put, no_delete) = (filtered(true, false), filtered(false, true));
        put(&client, b"events/filters", b"1").unwrap();
        delete(&client, b"events/filters");
        put(&client, b"events/filters", b"2").unwrap();
        delete(&client, b"events/filters");
        let types = |watch| {
            let mut types = Vec::new();
            while types.len() < 2 {
                types.extend(next(watch).changes.into_iter().map(|change| change.event_type));
            }
            types
        };
        assert_eq!(types(&no_put), [EventType::Delete; 2]);
        assert_eq!(types(&no_delete), [EventType::Put; 2]);
    });
}

#[test]
fn keys_of_a_namespace_come_without_its_prefix() {
    on_each_version(|etcd| {
        let outside = client(&etcd.url());
        let inside = Client::new(config_below(&etcd.url(), b"events/ns/")).unwrap();
        let (some, all) = (inside.watch_open(prefix(b"k")).unwrap(), inside.watch_open(prefix(b"")).unwrap());
        put(&outside, b"events/ns0", b"").unwrap();
        put(&outside, b"events/ns/k", b"1").unwrap();
        put(&inside, b"k/2", b"2").unwrap();
        for watch in [&some, &all] {
            let mut changes = Vec::new();
            while changes.len() < 2 {
                changes.extend(next(watch).changes);
            }
            let keys: Vec<&[u8]> = changes.iter().map(|change| &change.key[..]).collect();
            assert_eq!(keys, [&b"k"[..], b"k/2"]);
        }
    });
}

#[test]
fn the_changes_of_one_transaction_come_in_one_response() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let watch = client.watch_open(prefix(b"events/txn/")).unwrap();
        let keys: Vec<String> = (0..100).map(|i| format!("events/txn/{i:03}")).collect();
        let success = keys.iter().map(|key| put_op(key.as_bytes(), b"value")).collect();
        let request = TxnRequest { success, ..TxnRequest::default() };
        let revision = client.txn(&request, &plain()).unwrap().header.revision;
        let said = next(&watch);
        assert_eq!(said.changes.len(), 100);
        assert!(said.changes.iter().all(|change| change.revision == revision));
        let reported: Vec<&[u8]> = said.changes.iter().map(|change| &change.key[..]).collect();
        assert_eq!(reported, keys.iter().map(String::as_bytes).collect::<Vec<_>>());
        assert_eq!(said.resume_revision, revision + 1);
    });
}

#[test]
fn a_watch_that_catches_up_gets_large_revisions_whole() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let value = vec![b'v'; 300_000];
        let keys: Vec<String> = (0..4).map(|i| format!("events/large/{i}")).collect();
        let mut revisions = Vec::new();
        for _ in 0..6 {
            let success = keys.iter().map(|key| put_op(key.as_bytes(), &value)).collect();
            let request = TxnRequest { success, ..TxnRequest::default() };
            revisions.push(client.txn(&request, &plain()).unwrap().header.revision);
        }
        let (seen, consumer) = Seen::new();
        let watch = client.watch(from(prefix(b"events/large/"), revisions[0]), consumer).unwrap();
        watch.start();
        let changes = seen.wait_for_changes(24);
        assert_exact(&seen.all());
        let expected: Vec<(i64, &[u8])> =
            revisions.iter().flat_map(|revision| keys.iter().map(|key| (*revision, key.as_bytes()))).collect();
        let reported: Vec<(i64, &[u8])> = changes.iter().map(|change| (change.revision, &change.key[..])).collect();
        assert_eq!(reported, expected);
        assert!(changes.iter().all(|change| change.value == value));
    });
}

#[test]
fn a_start_in_the_future_reports_nothing_before_it() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let revision = put_revision(&client, b"events/future", b"0");
        let watch = client.watch_open(from(one(b"events/future"), revision + 1000)).unwrap();
        put(&client, b"events/future", b"1").unwrap();
        assert!(watch.next(Some(Duration::from_millis(50))).unwrap().is_none());
    });
}

#[test]
fn a_start_in_the_future_keeps_no_other_watch_from_its_progress() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let revision = put_revision(&client, b"events/far", b"0");
        let far = client.watch_open(from(one(b"events/far"), revision + 1_000_000)).unwrap();
        let options = WatchOptions { progress_notify: true, ..one(b"events/quiet") };
        let quiet = client.watch_open(options).unwrap();
        if quiet.request_progress().is_err() {
            return;
        }
        let revision = put_revision(&client, b"events/far", b"1");
        wait_until(LONG, || {
            quiet.request_progress().unwrap();
            let response = quiet.next(Some(Duration::from_secs(1))).unwrap();
            response.is_some_and(|response| response.kind == WatchKind::Progress && response.resume_revision > revision)
        });
        // It has come nowhere yet, but may be asked, though it has a connection of its own.
        far.request_progress().unwrap();
    });
}

#[test]
fn once_is_the_first_change_or_the_end_of_the_time_limit() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let revision = put_revision(&client, b"events/once/1", b"first");
        put(&client, b"events/once/2", b"second").unwrap();
        // The key of another prefix doesn't count.
        put(&client, b"events/oncf", b"other").unwrap();
        let response = client.watch_once(from(prefix(b"events/once/"), revision)).unwrap();
        let said = Said::from(&response);
        assert_eq!((said.kind, &said.changes[0].value[..]), (WatchKind::Events, &b"first"[..]));
        assert_eq!((said.changes.len(), response.resume_revision), (1, revision + 1), "what came later is left");

        let limit = Duration::from_millis(200);
        let options = WatchOptions { call: within(limit), ..prefix(b"events/once/") };
        let (result, elapsed) = timed(|| client.watch_once(options));
        assert!(matches!(refusal(result), Error::Deadline { .. }));
        assert!(elapsed >= limit && elapsed < limit + Duration::from_secs(2), "{elapsed:?}");
    });
}
