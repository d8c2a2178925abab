//! What C says, as it reaches the server.

use crate::common::FakeGateway;
use crate::{TestClient, bytes, defaults, ok, response};
use etcdgw::ffi::*;
use serde_json::json;
use std::ptr;

#[test]
fn a_put_carries_every_option() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let options = etcdgw_put_options { lease: 7, prev_kv: 1, ignore_value: 1, ignore_lease: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_put(client.0, bytes(b"a\0\xff"), bytes(b"b"), &options, ptr::null_mut(), err) });
    let expected = json!({
        "key": "YQD/", "value": "Yg==", "lease": "7", "prev_kv": true, "ignore_value": true, "ignore_lease": true
    });
    assert_eq!(gateway.last().json(), expected);
    assert_eq!(gateway.last().path, "/v3/kv/put");
}

#[test]
fn a_get_carries_every_option() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let options = etcdgw_get_options {
        range_end: bytes(b"b"),
        limit: 1,
        revision: 2,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
        sort_order: ETCDGW_SORT_DESCEND,
        sort_target: ETCDGW_SORT_BY_CREATE,
        serializable: 1,
        keys_only: 1,
        count_only: 1,
        ..defaults()
    };
    ok(|err| unsafe { etcdgw_get(client.0, bytes(b"a"), &options, ptr::null_mut(), err) });
    let expected = json!({
        "key": "YQ==", "range_end": "Yg==", "limit": "1", "revision": "2", "min_mod_revision": "3",
        "max_mod_revision": "4", "min_create_revision": "5", "max_create_revision": "6", "sort_order": "DESCEND",
        "sort_target": "CREATE", "serializable": true, "keys_only": true, "count_only": true
    });
    assert_eq!(gateway.last().json(), expected);
    assert_eq!(gateway.last().path, "/v3/kv/range");
}

#[test]
fn every_sort_constant_has_its_name() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let sorted = |sort_order, sort_target| {
        let options = etcdgw_get_options { sort_order, sort_target, ..defaults() };
        ok(|err| unsafe { etcdgw_get_all(client.0, &options, ptr::null_mut(), err) });
        let json = gateway.last().json();
        (json["sort_order"].clone(), json["sort_target"].clone())
    };
    assert_eq!(sorted(ETCDGW_SORT_ASCEND, ETCDGW_SORT_BY_VERSION), (json!("ASCEND"), json!("VERSION")));
    assert_eq!(sorted(ETCDGW_SORT_DESCEND, ETCDGW_SORT_BY_MOD), (json!("DESCEND"), json!("MOD")));
    assert_eq!(sorted(ETCDGW_SORT_NONE, ETCDGW_SORT_BY_VALUE), (json!(null), json!("VALUE")));
    assert_eq!(sorted(ETCDGW_SORT_NONE, ETCDGW_SORT_BY_KEY), (json!(null), json!(null)));
}

#[test]
fn ranges_go_out_in_etcds_own_form() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let range = || (gateway.last().json()["key"].clone(), gateway.last().json()["range_end"].clone());
    let get = |key: &[u8], range_end: &[u8], prefix| {
        let options = etcdgw_get_options { range_end: bytes(range_end), prefix, ..defaults() };
        ok(|err| unsafe { etcdgw_get(client.0, bytes(key), &options, ptr::null_mut(), err) });
        range()
    };
    assert_eq!(get(b"a", b"", 0), (json!("YQ=="), json!(null)));
    assert_eq!(get(b"a", b"", 1), (json!("YQ=="), json!("Yg==")));
    assert_eq!(get(b"a", b"\0", 0), (json!("YQ=="), json!("AA==")));
    ok(|err| unsafe { etcdgw_get_prefix(client.0, bytes(b"a\xff"), ptr::null(), ptr::null_mut(), err) });
    assert_eq!(range(), (json!("Yf8="), json!("Yg==")));
    ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
    assert_eq!(range(), (json!("AA=="), json!("AA==")));
}

#[test]
fn a_delete_carries_every_option() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let options = etcdgw_delete_options { prev_kv: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_delete_prefix(client.0, bytes(b"a"), &options, ptr::null_mut(), err) });
    assert_eq!(gateway.last().json(), json!({"key": "YQ==", "range_end": "Yg==", "prev_kv": true}));
    let options = etcdgw_delete_options { prefix: 1, all: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_delete(client.0, bytes(b""), &options, ptr::null_mut(), err) });
    assert_eq!(gateway.last().json(), json!({"key": "AA==", "range_end": "AA=="}));
    assert_eq!(gateway.last().path, "/v3/kv/deleterange");
}

#[test]
fn create_and_replace_are_transactions_with_one_condition() {
    let gateway = FakeGateway::answering(r#"{"header":{"revision":"9"},"succeeded":true,"responses":[]}"#);
    let client = TestClient::of(gateway.url());
    let options = etcdgw_put_options { lease: 7, ..defaults() };
    let (mut done, mut revision) = (0, 0);
    let (key, old, new) = (bytes(b"a"), bytes(b"b"), bytes(b"c"));
    ok(|err| unsafe { etcdgw_create(client.0, key, new, &options, &mut done, &mut revision, err) });
    assert_eq!((done, revision), (1, 9));
    let put = json!([{"request_put": {"key": "YQ==", "value": "Yw==", "lease": "7"}}]);
    let json = gateway.last().json();
    assert_eq!(json["success"], put);
    let absent = json!([{"result": "EQUAL", "target": "CREATE", "create_revision": "0", "key": "YQ=="}]);
    assert_eq!(json["compare"], absent);
    ok(|err| unsafe { etcdgw_replace(client.0, key, old, new, &options, &mut done, ptr::null_mut(), err) });
    let json = gateway.last().json();
    assert_eq!(json["success"], put);
    assert_eq!(json["compare"], json!([{"result": "EQUAL", "target": "VALUE", "value": "Yg==", "key": "YQ=="}]));
}

#[test]
fn a_transaction_carries_every_condition_and_operation() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let (a, none) = (bytes(b"a"), bytes(b""));
    let txn = response(|out, err| unsafe { etcdgw_txn_new(client.0, out, err) });
    let inner = response(|out, err| unsafe { etcdgw_txn_new(client.0, out, err) });
    unsafe {
        ok(|err| etcdgw_txn_if_value(txn, a, none, ETCDGW_EQUAL, bytes(b"b"), err));
        ok(|err| etcdgw_txn_if_version(txn, a, bytes(b"b"), ETCDGW_GREATER, 1, err));
        ok(|err| etcdgw_txn_if_create_revision(txn, a, none, ETCDGW_LESS, 2, err));
        ok(|err| etcdgw_txn_if_mod_revision(txn, a, none, ETCDGW_NOT_EQUAL, 3, err));
        ok(|err| etcdgw_txn_if_lease(txn, a, none, ETCDGW_EQUAL, 4, err));
        ok(|err| etcdgw_txn_then_put(txn, a, bytes(b"b"), ptr::null(), err));
        ok(|err| etcdgw_txn_then_get(txn, a, ptr::null(), err));
        ok(|err| etcdgw_txn_then_delete(txn, a, ptr::null(), err));
        ok(|err| etcdgw_txn_else_put(inner, a, none, ptr::null(), err));
        ok(|err| etcdgw_txn_then_txn(txn, inner, err));
        ok(|err| etcdgw_txn_else_get(txn, a, ptr::null(), err));
        ok(|err| etcdgw_txn_else_delete(txn, a, ptr::null(), err));
        ok(|err| etcdgw_txn_else_txn(txn, inner, err));
        etcdgw_txn_free(inner);
        ok(|err| etcdgw_txn_commit(txn, ptr::null(), ptr::null_mut(), err));
        ok(|err| etcdgw_txn_commit(txn, ptr::null(), ptr::null_mut(), err));
        etcdgw_txn_free(txn);
    }
    assert_eq!(gateway.count("/v3/kv/txn"), 2, "it may be committed again");
    let json = gateway.last().json();
    let expected = json!([
        {"result": "EQUAL", "target": "VALUE", "value": "Yg==", "key": "YQ=="},
        {"result": "GREATER", "target": "VERSION", "version": "1", "key": "YQ==", "range_end": "Yg=="},
        {"result": "LESS", "target": "CREATE", "create_revision": "2", "key": "YQ=="},
        {"result": "NOT_EQUAL", "target": "MOD", "mod_revision": "3", "key": "YQ=="},
        {"result": "EQUAL", "target": "LEASE", "lease": "4", "key": "YQ=="},
    ]);
    assert_eq!(json["compare"], expected);
    let success = json["success"].as_array().unwrap();
    assert_eq!(success[0], json!({"request_put": {"key": "YQ==", "value": "Yg=="}}));
    assert_eq!(success[1], json!({"request_range": {"key": "YQ=="}}));
    assert_eq!(success[2], json!({"request_delete_range": {"key": "YQ=="}}));
    assert_eq!(success[3]["request_txn"]["failure"], json!([{"request_put": {"key": "YQ=="}}]));
    let failure = json["failure"].as_array().unwrap();
    let names: Vec<&str> = failure.iter().map(|one| one.as_object().unwrap().keys().next().unwrap().as_str()).collect();
    assert_eq!(names, ["request_range", "request_delete_range", "request_txn"]);
}

#[test]
fn leases_compaction_and_members_carry_their_options() {
    let gateway = FakeGateway::answering(r#"{"ID":"5","TTL":"60"}"#);
    let client = TestClient::of(gateway.url());
    let (mut id, mut ttl) = (0, 0);
    let grant = etcdgw_lease_grant_options { id: 5, ..defaults() };
    ok(|err| unsafe { etcdgw_lease_grant(client.0, 60, &grant, &mut id, &mut ttl, err) });
    assert_eq!((id, ttl), (5, 60));
    assert_eq!(gateway.last().json(), json!({"TTL": "60", "ID": "5"}));
    ok(|err| unsafe { etcdgw_lease_revoke(client.0, 5, ptr::null(), err) });
    assert_eq!((gateway.last().json(), gateway.last().path), (json!({"ID": "5"}), "/v3/lease/revoke".to_owned()));
    let keys = etcdgw_lease_ttl_options { keys: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_lease_ttl(client.0, 5, &keys, ptr::null_mut(), err) });
    assert_eq!(gateway.last().json(), json!({"ID": "5", "keys": true}));
    let physical = etcdgw_compact_options { physical: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_compact(client.0, 5, &physical, err) });
    assert_eq!(gateway.last().json(), json!({"revision": "5", "physical": true}));
    let linearizable = etcdgw_member_list_options { linearizable: 1, ..defaults() };
    ok(|err| unsafe { etcdgw_member_list(client.0, &linearizable, ptr::null_mut(), err) });
    assert_eq!(gateway.last().json(), json!({"linearizable": true}));
}

#[test]
fn a_lease_without_an_id_gets_one_of_the_librarys() {
    let gateway = FakeGateway::start(|request, reply| {
        let id = request.json()["ID"].as_str().unwrap().to_owned();
        reply.json(format!(r#"{{"ID":"{id}","TTL":"60"}}"#));
    });
    let client = TestClient::of(gateway.url());
    let mut id = 0;
    ok(|err| unsafe { etcdgw_lease_grant(client.0, 60, ptr::null(), &mut id, ptr::null_mut(), err) });
    assert!(id > 0);
}

#[test]
fn a_key_prefix_goes_on_every_key_and_comes_off_it() {
    let gateway = FakeGateway::answering(r#"{"kvs":[{"key":"cC9h","value":"Yg=="}],"count":"1"}"#);
    let options = etcdgw_client_options { key_prefix: bytes(b"p/"), ..defaults() };
    let client = TestClient::with(gateway.url(), options);
    let answer = response(|out, err| unsafe { etcdgw_get(client.0, bytes(b"a"), ptr::null(), out, err) });
    assert_eq!(gateway.last().json(), json!({"key": "cC9h"}));
    unsafe {
        assert_eq!(crate::read((*(*answer).kvs).key), b"a");
        etcdgw_get_response_free(answer);
    }
}

#[test]
fn raw_requests_go_out_as_they_are() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let json = b"{ \"key\":\"YQ==\" }";
    ok(|err| unsafe { etcdgw_post(client.0, c"kv/range".as_ptr(), bytes(json), ptr::null(), ptr::null_mut(), err) });
    assert_eq!((gateway.last().body, gateway.last().path), (json.to_vec(), "/v3/kv/range".to_owned()));
    ok(|err| unsafe { etcdgw_txn_json(client.0, bytes(b"{}"), ptr::null(), ptr::null_mut(), err) });
    assert_eq!((gateway.last().body, gateway.last().path), (b"{}".to_vec(), "/v3/kv/txn".to_owned()));
}
