//! Transactions on real servers of every version: every condition, every operation, and their bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    FakeGateway, for_each_version, get, keys, on_each_version, one, plain, prefix, put, put_request, put_revision,
};
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Reason, Result};
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest};
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use etcdgw::rpc::{Keys, Response};
use std::borrow::Cow;

fn bytes(text: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(text)
}

fn compare<'a>(key: &'a [u8], op: CompareOp, target: CompareTarget<'a>) -> Compare<'a> {
    Compare { keys: Keys::One(bytes(key)), op, target }
}

fn holds(client: &Client, condition: Compare<'_>) -> bool {
    let request = TxnRequest { compare: vec![condition], ..TxnRequest::default() };
    client.txn(&request, &plain()).unwrap().succeeded
}

fn then(success: Vec<TxnOp<'_>>) -> TxnRequest<'_> {
    TxnRequest { success, ..TxnRequest::default() }
}

fn run(client: &Client, request: &TxnRequest<'_>) -> Result<Response<TxnResponse>> {
    client.txn(request, &plain())
}

fn delete(key: &[u8]) -> TxnOp<'_> {
    TxnOp::DeleteRange(DeleteRangeRequest { keys: Keys::One(bytes(key)), prev_kv: true, all: false })
}

/// Checks a target against a number below, at and above the field's value, with every operator.
#[track_caller]
fn check_number<'a>(client: &Client, key: &[u8], value: i64, target: impl Fn(i64) -> CompareTarget<'a>) {
    for (given, equal, greater, less) in
        [(value - 1, false, true, false), (value, true, false, false), (value + 1, false, false, true)]
    {
        for (op, wanted) in [
            (CompareOp::Equal, equal),
            (CompareOp::NotEqual, !equal),
            (CompareOp::Greater, greater),
            (CompareOp::Less, less),
        ] {
            assert_eq!(holds(client, compare(key, op, target(given))), wanted, "{:?} {op:?} {value}", target(given));
        }
    }
}

#[test]
fn every_field_is_compared_with_every_operator() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = Client::new_lease_id().unwrap() >> 1;
        client.lease_grant(60, lease, &plain()).unwrap();
        let key = b"txn/compare";
        let created = put_revision(&client, key, b"m");
        let changed = client.put(&PutRequest { lease, ..put_request(key, b"m") }, &plain()).unwrap().header.revision;
        check_number(&client, key, 2, CompareTarget::Version);
        check_number(&client, key, created, CompareTarget::CreateRevision);
        check_number(&client, key, changed, CompareTarget::ModRevision);
        check_number(&client, key, lease, CompareTarget::Lease);
        for (given, equal, greater, less) in [
            (&b"l"[..], false, true, false),
            (b"m", true, false, false),
            (b"m\0", false, false, true),
            (b"", false, true, false),
        ] {
            let value = |op| holds(&client, compare(key, op, CompareTarget::Value(bytes(given))));
            assert_eq!(value(CompareOp::Equal), equal);
            assert_eq!(value(CompareOp::NotEqual), !equal);
            assert_eq!(value(CompareOp::Greater), greater);
            assert_eq!(value(CompareOp::Less), less);
        }
    });
}

#[test]
fn a_key_that_is_not_there_has_zeros_and_no_value() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let key = b"txn/missing";
        check_number(&client, key, 0, CompareTarget::Version);
        check_number(&client, key, 0, CompareTarget::CreateRevision);
        check_number(&client, key, 0, CompareTarget::ModRevision);
        check_number(&client, key, 0, CompareTarget::Lease);
        for op in [CompareOp::Equal, CompareOp::NotEqual, CompareOp::Greater, CompareOp::Less] {
            assert!(!holds(&client, compare(key, op, CompareTarget::Value(bytes(b"")))), "{op:?}");
        }
    });
}

#[test]
fn values_are_compared_byte_by_byte() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for value in [&b""[..], b"\0", b"\xff\0\xff", "ä".as_bytes(), &[0xff; 100_000]] {
            put(&client, b"txn/bytes", value).unwrap();
            let equal =
                |value| holds(&client, compare(b"txn/bytes", CompareOp::Equal, CompareTarget::Value(bytes(value))));
            assert!(equal(value));
            assert!(!equal(b"\xff\0"));
        }
    });
}

#[test]
fn a_condition_on_a_range_holds_where_it_holds_for_every_key() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for key in ["txn/range/a", "txn/range/b", "txn/range/b"] {
            put(&client, key.as_bytes(), b"v").unwrap();
        }
        let version_of = |keys: Keys<'static>, op, version| {
            holds(&client, Compare { keys, op, target: CompareTarget::Version(version) })
        };
        let all = || Keys::Prefix(bytes(b"txn/range/"));
        let range = |key: &'static [u8], end: &'static [u8]| Keys::Range { key: bytes(key), end: bytes(end) };
        assert!(version_of(all(), CompareOp::Greater, 0));
        assert!(!version_of(all(), CompareOp::Greater, 1));
        assert!(version_of(range(b"txn/range/b", b"txn/range/c"), CompareOp::Greater, 1));
        assert!(version_of(range(b"txn/range/", b"txn/range/b"), CompareOp::Equal, 1));
        assert!(version_of(Keys::From(bytes(b"txn/range/a")), CompareOp::Greater, 0));
        let value = CompareTarget::Value(bytes(b"v"));
        assert!(holds(&client, Compare { keys: all(), op: CompareOp::Equal, target: value }));
    });
}

#[test]
fn every_operation_is_done_in_order_and_answered_in_order() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let before = put_revision(&client, b"txn/ops/old", b"1");
        let request = then(vec![
            TxnOp::Range(prefix(b"txn/ops/")),
            TxnOp::Put(PutRequest { prev_kv: true, ..put_request(b"txn/ops/new", b"\0") }),
            TxnOp::Range(prefix(b"txn/ops/")),
            delete(b"txn/ops/old"),
            TxnOp::Range(RangeRequest { count_only: true, ..prefix(b"txn/ops/") }),
        ]);
        let response = run(&client, &request).unwrap();
        assert!(response.succeeded);
        assert!(response.header.revision > before);
        let [
            TxnResult::Range(first),
            TxnResult::Put(put),
            TxnResult::Range(second),
            TxnResult::DeleteRange(deleted),
            TxnResult::Range(third),
        ] = &response.results[..]
        else {
            panic!("{:?}", response.results)
        };
        assert_eq!((first.count, second.count, third.count, deleted.deleted), (1, 2, 1, 1));
        assert!(put.prev_kv.is_none());
        assert_eq!(response.bytes(deleted.prev_kvs[0].value), b"1");
        assert_eq!(response.bytes(second.kvs[0].value), b"\0");
        // What was written in one transaction has one revision.
        assert_eq!(second.kvs[0].mod_revision, response.header.revision);
    });
}

#[test]
fn the_other_operations_are_done_where_a_condition_does_not_hold() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let key = b"txn/else";
        let request = |version| TxnRequest {
            compare: vec![
                compare(key, CompareOp::Greater, CompareTarget::Version(-1)),
                compare(key, CompareOp::Equal, CompareTarget::Version(version)),
            ],
            success: vec![TxnOp::Put(put_request(key, b"then"))],
            failure: vec![TxnOp::Range(one(key)), TxnOp::Put(put_request(key, b"else"))],
        };
        let response = run(&client, &request(5)).unwrap();
        assert!(!response.succeeded);
        assert!(matches!(&response.results[..], [TxnResult::Range(range), TxnResult::Put(_)] if range.count == 0));
        assert_eq!(get(&client, key).unwrap().unwrap(), b"else");
        assert!(run(&client, &request(1)).unwrap().succeeded);
        assert_eq!(get(&client, key).unwrap().unwrap(), b"then");
    });
}

#[test]
fn an_empty_transaction_succeeds() {
    on_each_version(|etcd| {
        let response = run(&common::client(&etcd.url()), &TxnRequest::default()).unwrap();
        assert!(response.succeeded && response.results.is_empty());
        assert!(response.header.revision > 0);
    });
}

#[test]
fn transactions_may_be_nested() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let is_missing = |key| compare(key, CompareOp::Equal, CompareTarget::CreateRevision(0));
        let innermost = TxnRequest {
            compare: vec![is_missing(b"txn/nest/none")],
            success: vec![TxnOp::Put(put_request(b"txn/nest/in", b"3"))],
            failure: Vec::new(),
        };
        let inner = TxnRequest {
            compare: vec![compare(b"txn/nest/none", CompareOp::Equal, CompareTarget::Version(7))],
            success: Vec::new(),
            failure: vec![TxnOp::Range(prefix(b"txn/nest/")), TxnOp::Txn(innermost)],
        };
        let outer = then(vec![TxnOp::Put(put_request(b"txn/nest/out", b"1")), TxnOp::Txn(inner)]);
        let response = run(&client, &outer).unwrap();
        let [TxnResult::Put(_), TxnResult::Txn(inner)] = &response.results[..] else {
            panic!("{:?}", response.results)
        };
        assert!(!inner.succeeded);
        let [TxnResult::Range(range), TxnResult::Txn(innermost)] = &inner.results[..] else {
            panic!("{:?}", inner.results)
        };
        assert_eq!(response.bytes(range.kvs[0].key), b"txn/nest/out");
        assert!(innermost.succeeded);
        assert_eq!(keys(&client, &prefix(b"txn/nest/")), ["txn/nest/in", "txn/nest/out"]);
    });
}

#[test]
fn many_operations_fit_and_more_are_refused_as_a_whole() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let names: Vec<Vec<u8>> = (0..129).map(|i| format!("txn/many/{i:03}").into_bytes()).collect();
        let puts = |count: usize| then(names[..count].iter().map(|name| TxnOp::Put(put_request(name, b"v"))).collect());
        let error = run(&client, &puts(129)).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::InvalidArgument, .. }), "{error:?}");
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::TooManyOps, false));
        assert!(keys(&client, &prefix(b"txn/many/")).is_empty());
        let response = run(&client, &puts(128)).unwrap();
        assert_eq!(response.results.len(), 128);
        assert_eq!(keys(&client, &prefix(b"txn/many/")).len(), 128);
    });
}

#[test]
fn a_server_may_be_set_to_take_more_operations() {
    let version = common::versions().pop().unwrap();
    let etcd = common::Etcd::start_with_flags(&version, &["--max-txn-ops=2000"]);
    let client = common::client(&etcd.url());
    let names: Vec<Vec<u8>> = (0..2000).map(|i| format!("{i:04}").into_bytes()).collect();
    let response = run(&client, &then(names.iter().map(|name| TxnOp::Put(put_request(name, name))).collect())).unwrap();
    assert_eq!(response.results.len(), 2000);
    let response = run(&client, &then(names.iter().map(|name| TxnOp::Range(one(name))).collect())).unwrap();
    for (name, result) in names.iter().zip(&response.results) {
        let TxnResult::Range(range) = result else { panic!("{result:?}") };
        assert_eq!(response.bytes(range.kvs[0].value), &name[..]);
    }
}

#[test]
fn a_key_may_be_written_once_in_a_transaction() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let key = b"txn/twice";
        let request = then(vec![TxnOp::Put(put_request(key, b"1")), TxnOp::Put(put_request(key, b"2"))]);
        let error = run(&client, &request).unwrap_err();
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::DuplicateKey, false), "{error:?}");
        let request = then(vec![TxnOp::Put(put_request(key, b"1")), delete(key)]);
        assert_eq!(run(&client, &request).unwrap_err().reason(), Reason::DuplicateKey);
        assert_eq!(get(&client, key).unwrap(), None);
    });
}

#[test]
fn an_operation_that_fails_undoes_the_others() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let first = put_revision(&client, b"old", b"1");
        let last = put_revision(&client, b"old", b"2");
        common::administrator(&etcd.url()).compact(last, false, &plain()).unwrap();
        let past = TxnOp::Range(RangeRequest { revision: first, ..one(b"old") });
        let error = run(&client, &then(vec![TxnOp::Put(put_request(b"new", b"v")), past])).unwrap_err();
        assert_eq!(error.reason(), Reason::Compacted, "{error:?}");
        let lost = TxnOp::Put(PutRequest { lease: 424_242, ..put_request(b"other", b"v") });
        let error = run(&client, &then(vec![TxnOp::Put(put_request(b"new", b"v")), lost])).unwrap_err();
        assert_eq!(error.reason(), Reason::LeaseNotFound, "{error:?}");
        assert_eq!(get(&client, b"new").unwrap(), None);
    });
}

#[test]
fn a_delete_of_everything_in_a_transaction_must_be_said_too() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    let everything = |all| {
        let delete = DeleteRangeRequest { keys: Keys::Prefix(bytes(b"")), prev_kv: false, all };
        then(vec![TxnOp::Txn(TxnRequest { failure: vec![TxnOp::DeleteRange(delete)], ..TxnRequest::default() })])
    };
    let error = run(&client, &everything(false)).unwrap_err();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
    assert_eq!(gateway.connections(), 0);
    run(&client, &everything(true)).unwrap();
}

#[test]
fn a_transaction_that_only_reads_is_made_again_elsewhere_and_one_that_writes_is_not() {
    let (failing, gateway) = (FakeGateway::sending(""), FakeGateway::answering("{}"));
    let endpoints = format!("{},{}", failing.url(), gateway.url());
    let reading = then(vec![TxnOp::Range(one(b"k")), TxnOp::Txn(then(vec![TxnOp::Range(one(b"l"))]))]);
    run(&common::client(&endpoints), &reading).unwrap();
    for writing in [
        then(vec![TxnOp::Put(put_request(b"k", b"v"))]),
        TxnRequest { failure: vec![delete(b"k")], ..TxnRequest::default() },
        then(vec![TxnOp::Range(one(b"k")), TxnOp::Txn(then(vec![TxnOp::Put(put_request(b"k", b"v"))]))]),
    ] {
        let error = run(&common::client(&endpoints), &writing).unwrap_err();
        assert!(error.may_have_applied(), "{error:?}");
    }
    assert_eq!((failing.requests().len(), gateway.requests().len()), (4, 1));
}

#[test]
fn an_operation_without_an_answer_is_refused() {
    for body in [r#"{"responses":[{}]}"#, r#"{"responses":[{"response_new":{}}]}"#, r#"{"responses":[null]}"#] {
        let gateway = FakeGateway::answering(body);
        let error = run(&common::client(gateway.url()), &TxnRequest::default()).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{body}: {error:?}");
    }
}
