//! Writing and deleting keys on real servers of every version, with every option.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    config, for_each_version, get, keys, on_each_version, one, plain, prefix, put, put_request, put_revision,
};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest};
use std::borrow::Cow;

fn bytes(text: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(text)
}

fn lease_of(client: &Client, key: &[u8]) -> i64 {
    client.range(&one(key), &plain()).unwrap().kvs[0].lease
}

#[test]
fn a_put_shows_the_key_before_it_where_that_is_asked_for() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let asking = |value| PutRequest { prev_kv: true, ..put_request(b"put/before", value) };
        assert!(client.put(&asking(b"1"), &plain()).unwrap().prev_kv.is_none());
        let response = client.put(&asking(b""), &plain()).unwrap();
        let before = response.prev_kv.unwrap();
        assert_eq!((response.bytes(before.key), response.bytes(before.value)), (&b"put/before"[..], &b"1"[..]));
        assert_eq!(before.version, 1);
        let response = client.put(&asking(b"3"), &plain()).unwrap();
        assert_eq!(response.bytes(response.prev_kv.unwrap().value), b"");
        assert!(put(&client, b"put/before", b"4").unwrap().prev_kv.is_none());
    });
}

#[test]
fn a_put_may_keep_the_value_or_the_lease() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let [first, second] = [0; 2].map(|_| Client::new_lease_id().unwrap());
        for id in [first, second] {
            client.lease_grant(60, id, &plain()).unwrap();
        }
        let key = b"put/keep";
        client.put(&PutRequest { lease: first, ..put_request(key, b"1") }, &plain()).unwrap();
        client.put(&PutRequest { lease: second, ignore_value: true, ..put_request(key, b"") }, &plain()).unwrap();
        assert_eq!((get(&client, key).unwrap().unwrap(), lease_of(&client, key)), (b"1".to_vec(), second));
        client.put(&PutRequest { ignore_lease: true, ..put_request(key, b"2") }, &plain()).unwrap();
        assert_eq!((get(&client, key).unwrap().unwrap(), lease_of(&client, key)), (b"2".to_vec(), second));
        put(&client, key, b"3").unwrap();
        assert_eq!(lease_of(&client, key), 0);
        for id in [first, second] {
            client.lease_revoke(id, &plain()).unwrap();
        }
        assert_eq!(get(&client, key).unwrap().unwrap(), b"3");
    });
}

#[test]
fn what_cannot_be_kept_is_refused() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let refused = |request| {
            let error = client.put(&request, &plain()).unwrap_err();
            assert!(matches!(error, Error::Server { code: Code::InvalidArgument, .. }), "{error:?}");
            assert!(!error.may_have_applied());
            error
        };
        let missing = PutRequest { ignore_value: true, ..put_request(b"put/none", b"") };
        assert_eq!(refused(missing).reason(), Reason::KeyNotFound);
        put(&client, b"put/some", b"1").unwrap();
        let message = refused(PutRequest { ignore_value: true, ..put_request(b"put/some", b"v") }).to_string();
        assert!(message.contains("value is provided"), "{message}");
        let message =
            refused(PutRequest { ignore_lease: true, lease: 5, ..put_request(b"put/some", b"v") }).to_string();
        assert!(message.contains("lease is provided"), "{message}");
    });
}

#[test]
fn a_put_with_a_lease_that_is_not_there_is_refused() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let request = PutRequest { lease: 424_242, ..put_request(b"put/leased", b"v") };
        let error = client.put(&request, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::NotFound, .. }), "{error:?}");
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::LeaseNotFound, false));
    });
}

#[test]
fn an_empty_key_is_refused_by_the_server() {
    on_each_version(|etcd| {
        // Below a prefix there is no empty key to send.
        let client = Client::new(Config { key_prefix: Vec::new(), ..config(&etcd.url()) }).unwrap();
        for error in [put(&client, b"", b"v").unwrap_err(), get(&client, b"").unwrap_err()] {
            assert!(matches!(error, Error::Server { code: Code::InvalidArgument, .. }), "{error:?}");
            assert_eq!(error.reason(), Reason::EmptyKey);
        }
    });
}

#[test]
fn a_request_that_is_too_large_is_refused_and_the_client_goes_on() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        put(&client, b"large/fits", &vec![0xff; (1_572_864) - 600]).unwrap();
        // Too large for etcd, and too large for gRPC before it.
        for (size, code) in [(1_572_864, Code::InvalidArgument), (3 << 20, Code::ResourceExhausted)] {
            let error = put(&client, b"large/refused", &vec![0xff; size]).unwrap_err();
            assert!(matches!(error, Error::Server { code: got, .. } if got == code), "{error:?}");
            assert_eq!((error.reason(), error.may_have_applied()), (Reason::RequestTooLarge, false));
            assert_eq!(get(&client, b"large/refused").unwrap(), None);
        }
    });
}

#[test]
fn a_delete_counts_and_shows_what_it_deleted() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for key in ["delete/a", "delete/b", "delete/c", "delete/d"] {
            put(&client, key.as_bytes(), key.as_bytes()).unwrap();
        }
        let delete = |keys, prev_kv| client.delete_range(&DeleteRangeRequest { keys, prev_kv, all: false }, &plain());
        let one = |key| Keys::One(bytes(key));
        let response = delete(one(b"delete/a"), true).unwrap();
        assert_eq!((response.deleted, response.bytes(response.prev_kvs[0].value)), (1, &b"delete/a"[..]));
        let again = delete(one(b"delete/a"), true).unwrap();
        assert_eq!((again.deleted, again.prev_kvs.len()), (0, 0));
        let range = Keys::Range { key: bytes(b"delete/b"), end: bytes(b"delete/d") };
        let response = delete(range, false).unwrap();
        assert_eq!((response.deleted, response.prev_kvs.len()), (2, 0));
        assert_eq!(keys(&client, &prefix(b"delete/")), ["delete/d"]);
        assert_eq!(delete(Keys::Prefix(bytes(b"delete/")), true).unwrap().prev_kvs.len(), 1);
    });
}

#[test]
fn everything_is_deleted_only_where_that_is_said() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for key in [&b"\0"[..], b"a", b"\xff\xff"] {
            put(&client, key, b"v").unwrap();
        }
        let [prefix_is, end_is] = ["prefix is empty", "range_end is without end"];
        for (keys, what) in [
            (Keys::Prefix(bytes(b"")), prefix_is),
            (Keys::From(bytes(b"")), end_is),
            (Keys::From(bytes(b"\0")), end_is),
        ] {
            let request = DeleteRangeRequest { keys, prev_kv: false, all: false };
            let error = client.delete_range(&request, &plain()).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
            assert!(error.to_string().contains(what), "{error}");
        }
        assert_eq!(client.range(&prefix(b""), &plain()).unwrap().count, 3);
        let from_a = DeleteRangeRequest { keys: Keys::From(bytes(b"a")), prev_kv: false, all: false };
        assert_eq!(client.delete_range(&from_a, &plain()).unwrap().deleted, 2);
        let all = common::delete_request(Keys::Prefix(bytes(b"")));
        assert_eq!(client.delete_range(&all, &plain()).unwrap().deleted, 1);
        assert_eq!(client.delete_range(&all, &plain()).unwrap().deleted, 0);
    });
}

#[test]
fn a_key_is_created_once() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = Client::new_lease_id().unwrap();
        client.lease_grant(60, lease, &plain()).unwrap();
        let request = |value| PutRequest { lease, ..put_request(b"create", value) };
        let (created, revision) = client.create(request(b"1"), &plain()).unwrap();
        assert!(created);
        let response = client.range(&one(b"create"), &plain()).unwrap();
        assert_eq!((response.kvs[0].create_revision, response.kvs[0].lease), (revision, lease));
        let (created, at) = client.create(request(b"2"), &plain()).unwrap();
        assert!(!created && at >= revision);
        assert_eq!(get(&client, b"create").unwrap().unwrap(), b"1");
        client.lease_revoke(lease, &plain()).unwrap();
        assert!(client.create(put_request(b"create", b"3"), &plain()).unwrap().0);
    });
}

#[test]
fn a_key_is_replaced_only_where_it_has_the_expected_value() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let replace =
            |expected: &[u8], value| client.replace(put_request(b"replace", value), expected, &plain()).unwrap();
        // A key that is not there has no value, not even an empty one.
        assert!(!replace(b"", b"1").0);
        assert_eq!(get(&client, b"replace").unwrap(), None);
        put(&client, b"replace", b"\0\xff").unwrap();
        assert!(!replace(b"\0", b"2").0);
        let (replaced, revision) = replace(b"\0\xff", b"");
        assert!(replaced);
        let response = client.range(&one(b"replace"), &plain()).unwrap();
        assert_eq!((response.kvs[0].mod_revision, response.kvs[0].value.len()), (revision, 0));
        assert!(replace(b"", b"3").0);
        assert_eq!(get(&client, b"replace").unwrap().unwrap(), b"3");
    });
}

#[test]
fn one_of_many_that_create_the_same_key_at_once_succeeds() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let created = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    let client = &client;
                    let value = [b'0' + i];
                    scope.spawn(move || client.create(put_request(b"race", &value), &plain()).unwrap().0)
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count()
        });
        assert_eq!(created, 1);
    });
}

#[test]
fn calls_go_on_after_the_server_restarts() {
    for_each_version(|mut etcd| {
        let client = common::client(&etcd.url());
        let mut last = put_revision(&client, b"restart", b"0");
        for round in 1..3 {
            etcd.restart();
            assert_eq!(get(&client, b"restart").unwrap().unwrap(), [b'0' + round - 1]);
            etcd.restart();
            // A write goes first over a connection that the restart has ended.
            let revision = put_revision(&client, b"restart", &[b'0' + round]);
            assert_eq!(revision, last + 1);
            last = revision;
        }
    });
}
