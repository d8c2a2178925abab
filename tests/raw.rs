//! The gateway itself: posts and transactions in its own JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{FakeGateway, config, get, on_each_version, plain, put};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};
use serde_json::{Value, json};

#[test]
fn a_post_gives_the_answer_as_it_came() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let body = json!({"key": "cmF3L2s=", "value": "dg=="}).to_string();
        let answer = client.post("/kv/put", body.as_bytes(), &plain()).unwrap();
        let header: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.http_status, 200);
        assert!(header["header"]["revision"].as_str().unwrap().parse::<i64>().unwrap() > 1);
        let answer = client.post("kv/range", br#"{"key":"cmF3L2s="}"#, &plain()).unwrap();
        let range: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(range["kvs"][0]["value"], "dg==");
    });
}

#[test]
fn an_empty_post_asks_with_every_field_at_its_default() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let answer = client.post("/maintenance/status", b"", &plain()).unwrap();
        let status: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(status["version"], etcd.version());
    });
}

#[test]
fn a_stream_that_ends_is_answered_whole() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = Client::new_lease_id().unwrap();
        client.lease_grant(60, id, &plain()).unwrap();
        let request = json!({"ID": id.to_string()}).to_string();
        let answer = client.post("/lease/keepalive", request.as_bytes(), &plain()).unwrap();
        let line: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(line["result"]["TTL"], "60");
        client.lease_revoke(id, &plain()).unwrap();
    });
}

#[test]
fn an_error_of_a_post_is_an_error_as_everywhere() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let error = client.post("/kv/put", b"{}", &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::InvalidArgument, http_status: 400, .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::EmptyKey);
        let error = client.post("/no/such/path", b"{}", &plain()).unwrap_err();
        assert_eq!(error.http_status(), 404, "{error:?}");
        assert!(!error.may_have_applied());
    });
}

#[test]
fn a_transaction_in_the_gateways_json_is_run() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let request = json!({
            "compare": [{"key": "cmF3L3R4bg==", "target": "VERSION", "result": "EQUAL", "version": "0"}],
            "success": [{"request_put": {"key": "cmF3L3R4bg==", "value": "MQ=="}}],
            "failure": [{"request_range": {"key": "cmF3L3R4bg=="}}],
        });
        let run = || -> Value {
            let answer = client.txn_json(request.to_string().as_bytes(), &plain()).unwrap();
            serde_json::from_slice(&answer.body).unwrap()
        };
        assert_eq!(run()["succeeded"], true);
        let second = run();
        assert!(second.get("succeeded").is_none());
        assert_eq!(second["responses"][0]["response_range"]["kvs"][0]["value"], "MQ==");
        assert_eq!(get(&client, b"raw/txn").unwrap().unwrap(), b"1");
    });
}

#[test]
fn json_that_is_none_is_refused_before_anything_is_sent() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    for json in [&b"{"[..], b"{}}", b"{} {}", b"nonsense", b"{\"key\":}", b"\xff", b"[1,]", b"{\"a\" 1}"] {
        let error = client.post("/kv/put", json, &plain()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
        assert!(error.to_string().starts_with("json is malformed: "), "{error}");
        client.txn_json(json, &plain()).unwrap_err();
    }
    assert_eq!(gateway.connections(), 0);
}

#[test]
fn a_path_that_cannot_stand_in_a_request_is_refused_before_anything_is_sent() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    for path in [
        "",
        "/",
        "//kv/put",
        "/kv put",
        "/kv\r\nX: y",
        "/kv?x=y",
        "http://x/kv",
        "/kv#x",
        "/é",
        "/../version",
        "kv/./put",
        "..",
    ] {
        let error = client.post(path, b"{}", &plain()).unwrap_err();
        assert!(error.to_string().starts_with("path "), "{error}");
    }
    assert_eq!(gateway.connections(), 0);
}

#[test]
fn a_post_that_may_write_is_not_made_twice_and_one_that_reads_is() {
    let gateway = FakeGateway::sending("");
    let other = FakeGateway::answering("{}");
    let endpoints = format!("{},{}", gateway.url(), other.url());
    let error = common::client(&endpoints).post("/auth/user/add", b"{}", &plain()).unwrap_err();
    assert!(error.may_have_applied(), "{error:?}");
    assert_eq!(other.requests().len(), 0);
    common::client(&endpoints).post("/maintenance/hashkv", b"{}", &plain()).unwrap();
    assert_eq!(other.requests().len(), 1);
}

#[test]
fn a_key_prefix_does_not_touch_what_is_raw() {
    let gateway = FakeGateway::answering("{}");
    let client = Client::new(Config { key_prefix: b"prefix/".to_vec(), ..config(gateway.url()) }).unwrap();
    put(&client, b"k", b"v").unwrap();
    assert_eq!(gateway.last().json()["key"], "cHJlZml4L2s=");
    let body = br#"{"key":"aw=="}"#;
    client.post("/kv/range", body, &plain()).unwrap();
    assert_eq!(gateway.last().body, body);
}
