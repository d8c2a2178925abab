//! Optimistic transactions, barriers and work queues: their options, what they ask and what they give.

use crate::common::{FakeGateway, Reply, Request};
use crate::{TestClient, array, bytes, defaults, ok, read, response, text};
use etcdgw::ffi::*;
use serde_json::{Value, json};
use std::ffi::c_void;
use std::ptr;

/// The key `a` with the value `1` at revision 5, or without it.
const FOUND: &str = r#"{"header":{"revision":"9"},"succeeded":true,"responses":[{"response_range":{"kvs":[{"key":"YQ==",
    "value":"MQ==","create_revision":"4","mod_revision":"5","version":"2","lease":"3"}]}}]}"#;
const DONE: &str = r#"{"header":{"cluster_id":"1","revision":"10"},"succeeded":true,
    "responses":[{"response_put":{}},{"response_delete_range":{"deleted":"1"}}]}"#;

/// What is to happen, and what has happened, in one transaction.
struct Plan {
    status: etcdgw_status,
    calls: usize,
    seen: Vec<(Vec<u8>, i64, i64)>,
    refused: etcdgw_status,
}

impl Plan {
    fn ending_with(status: etcdgw_status) -> Plan {
        Plan { status, calls: 0, seen: Vec::new(), refused: 0 }
    }

    fn user_data(&mut self) -> *mut c_void {
        ptr::from_mut(self).cast()
    }
}

unsafe extern "C" fn apply(stm: *mut etcdgw_stm_handle, user_data: *mut c_void) -> etcdgw_status {
    unsafe {
        let plan = &mut *user_data.cast::<Plan>();
        plan.calls += 1;
        let mut see = |key: &[u8]| {
            let got = response(|out, err| etcdgw_stm_get(stm, bytes(key), out, err));
            for kv in array((*got).kvs, (*got).kvs_len) {
                assert_eq!(read(kv.key), key);
                plan.seen.push((read(kv.value), kv.mod_revision, (*got).header.revision));
            }
            etcdgw_get_response_free(got);
        };
        see(b"a");
        let options = etcdgw_put_options { lease: 7, ..defaults() };
        ok(|err| etcdgw_stm_put(stm, bytes(b"b"), bytes(b"2"), &options, err));
        ok(|err| etcdgw_stm_delete(stm, bytes(b"c"), err));
        see(b"b");
        see(b"c");
        plan.refused = etcdgw_stm_put(
            stm,
            bytes(b"d"),
            bytes(b""),
            &etcdgw_put_options { prev_kv: 1, ..options },
            ptr::null_mut(),
        );
        plan.status
    }
}

fn run(client: &TestClient, options: &etcdgw_stm_options, plan: &mut Plan) -> (etcdgw_status, String) {
    let mut err = ptr::null_mut();
    unsafe {
        let status = etcdgw_stm(client.0, options, Some(apply), plan.user_data(), ptr::null_mut(), &mut err);
        assert_eq!(etcdgw_error_status(err), status);
        let message = text(etcdgw_error_message(err));
        etcdgw_error_free(err);
        (status, message)
    }
}

fn answering(commit: &'static str) -> FakeGateway {
    FakeGateway::start(move |request: &Request, reply: &mut Reply<'_>| {
        let is_read = request.json()["success"][0].get("request_range").is_some();
        reply.json(if is_read { FOUND } else { commit });
    })
}

fn condition(key: &str, result: &str, revision: &str) -> Value {
    json!({"key": key, "target": "MOD", "result": result, "mod_revision": revision})
}

#[test]
fn a_transaction_compares_what_it_read_and_writes_what_it_wrote() {
    let gateway = answering(DONE);
    let client = TestClient::of(gateway.url());
    let (read_a, wrote_b, wrote_c) =
        (condition("YQ==", "EQUAL", "5"), condition("Yg==", "LESS", "10"), condition("Yw==", "LESS", "10"));
    for (isolation, compare) in [
        (ETCDGW_STM_SERIALIZABLE_SNAPSHOT, vec![read_a.clone(), wrote_b, wrote_c]),
        (ETCDGW_STM_SERIALIZABLE, vec![read_a.clone()]),
        (ETCDGW_STM_REPEATABLE_READS, vec![read_a]),
        (ETCDGW_STM_READ_COMMITTED, vec![]),
    ] {
        let mut plan = Plan::ending_with(ETCDGW_OK);
        let options = etcdgw_stm_options { isolation, ..defaults() };
        let done =
            response(|out, err| unsafe { etcdgw_stm(client.0, &options, Some(apply), plan.user_data(), out, err) });
        unsafe {
            assert_eq!(((*done).succeeded, (*done).header.revision, (*done).results_len), (1, 10, 2));
            etcdgw_txn_response_free(done);
        }
        assert_eq!(plan.seen, [(b"1".to_vec(), 5, 9), (b"2".to_vec(), 0, 9)], "and not what it deleted");
        assert_eq!((plan.calls, plan.refused), (1, ETCDGW_INVALID_ARGUMENT));
        let sent = gateway.last().json();
        let conditions = sent.get("compare").cloned().unwrap_or(json!([]));
        assert_eq!(conditions, Value::from(compare));
        let put = json!({"request_put": {"key": "Yg==", "value": "Mg==", "lease": "7"}});
        let delete = json!({"request_delete_range": {"key": "Yw=="}});
        assert_eq!((&sent["success"], sent.get("failure")), (&json!([put, delete]), None));
    }
}

#[test]
fn what_its_function_returns_is_what_a_transaction_returns() {
    let gateway = answering(DONE);
    let client = TestClient::of(gateway.url());
    for status in [ETCDGW_ABORTED, ETCDGW_DEADLINE_EXCEEDED, 4711, -1] {
        let mut plan = Plan::ending_with(status);
        let (ended, message) = run(&client, &defaults(), &mut plan);
        assert_eq!((ended, plan.calls), (status, 1));
        assert!(message.contains(&status.to_string()), "{message}");
    }
    let is_write = |request: &Request| request.json()["success"][0].get("request_range").is_none();
    assert!(!gateway.requests().iter().any(is_write), "nothing is written");
}

#[test]
fn a_transaction_that_always_meets_others_is_aborted_after_its_attempts() {
    let gateway = answering(r#"{"header":{"revision":"10"}}"#);
    let client = TestClient::of(gateway.url());
    let mut plan = Plan::ending_with(ETCDGW_OK);
    let (status, message) = run(&client, &etcdgw_stm_options { max_attempts: 3, ..defaults() }, &mut plan);
    assert_eq!((status, plan.calls), (ETCDGW_ABORTED, 3));
    assert!(message.contains("3 attempts"), "{message}");
}

#[test]
fn a_barrier_is_its_key() {
    const HELD: &str = r#"{"header":{"revision":"8"},"kvs":[{"key":"bg==","create_revision":"7","mod_revision":"7"}]}"#;
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/kv/range" => reply.json(HELD),
        _ => reply.json(r#"{"header":{"revision":"8"},"succeeded":true}"#),
    });
    let client = TestClient::of(gateway.url());
    let barrier = response(|out, err| unsafe { etcdgw_barrier_new(client.0, bytes(b"n"), out, err) });
    unsafe {
        let mut held = 0;
        ok(|err| etcdgw_barrier_hold(barrier, ptr::null(), &mut held, err));
        let sent = gateway.last().json();
        assert_eq!((held, &sent["compare"][0]["key"]), (1, &json!("bg==")));
        assert_eq!(sent["compare"][0]["create_revision"], json!("0"));
        assert_eq!(sent["success"][0]["request_put"]["key"], json!("bg=="));
        let mut err = ptr::dangling_mut();
        assert_eq!(etcdgw_barrier_wait(barrier, 0, ptr::null(), &mut err), ETCDGW_DEADLINE_EXCEEDED);
        assert!(err.is_null());
        ok(|err| etcdgw_barrier_release(barrier, ptr::null(), err));
        let sent = gateway.last().json();
        assert_eq!(sent["compare"][0]["create_revision"], json!("7"), "this hold and no later one");
        assert_eq!(sent["success"][0]["request_delete_range"], json!({"key": "bg=="}));
        etcdgw_barrier_free(barrier);
    }
}

/// A cluster in which lease 7 lives long, with an item in the queue and nobody in the double barrier.
fn cluster(request: &Request, reply: &mut Reply<'_>) {
    const ITEM: &str = r#"{"header":{"revision":"8"},"kvs":[{"key":"bi8x","value":"aXQ=","create_revision":"6",
        "mod_revision":"6","version":"1"}],"count":"1"}"#;
    match request.path.as_str() {
        "/v3/lease/grant" => reply.json(r#"{"header":{"revision":"8"},"ID":"7","TTL":"100"}"#),
        "/v3/kv/range" => reply.json(ITEM),
        _ => reply.json(
            r#"{"header":{"revision":"8"},"succeeded":true,"responses":[{"response_range":{}},
            {"response_range":{"kvs":[{"key":"bi93YWl0ZXJzLzE=","create_revision":"8","mod_revision":"8"}]}}]}"#,
        ),
    }
}

#[test]
fn what_stands_on_a_session_has_the_keys_that_go_gives_it() {
    let gateway = FakeGateway::start(cluster);
    let client = TestClient::of(gateway.url());
    let session = response(|out, err| unsafe {
        etcdgw_session_new(client.0, ptr::null(), None, ptr::null_mut(), None, out, err)
    });
    let double = response(|out, err| unsafe { etcdgw_double_barrier_new(session, bytes(b"n"), 1, out, err) });
    let queue = response(|out, err| unsafe { etcdgw_workqueue_new(session, bytes(b"n"), out, err) });
    let sent = |from_the_end: usize| gateway.requests().into_iter().nth_back(from_the_end).unwrap().json();
    unsafe {
        ok(|err| etcdgw_double_barrier_enter(double, 0, ptr::null(), err));
        let put = &sent(2)["success"][0]["request_put"];
        assert_eq!(put["lease"], json!("7"));
        assert!(put["key"].as_str().unwrap().starts_with("bi93YWl0ZXJzL"), "n/waiters/: {put}");
        assert_eq!(sent(0)["success"][0]["request_put"], json!({"key": "bi9yZWFkeQ=="}), "n/ready");

        ok(|err| etcdgw_workqueue_enqueue(queue, bytes(b"it"), ptr::null(), err));
        let item = &sent(0)["success"][0]["request_put"];
        assert!(item["key"].as_str().unwrap().starts_with("bi8x") && item["value"] == json!("aXQ="), "{item}");
        let receipt = &sent(1)["success"][0]["request_put"];
        assert!(receipt["key"].as_str().unwrap().starts_with("X19uL"), "__n/: {receipt}");
        assert_eq!(receipt["lease"], json!("7"));

        let got = response(|out, err| etcdgw_workqueue_dequeue(queue, -1, ptr::null(), out, err));
        let kv = &array((*got).kvs, (*got).kvs_len)[0];
        assert_eq!((read(kv.key), read(kv.value), kv.create_revision), (b"n/1".to_vec(), b"it".to_vec(), 6));
        etcdgw_get_response_free(got);
        let claim = sent(0);
        assert_eq!(claim["compare"][0], condition("bi8x", "EQUAL", "6"));
        assert_eq!(claim["success"][0]["request_delete_range"], json!({"key": "bi8x"}));
        assert_eq!(claim["success"][1]["request_put"]["key"], receipt["key"], "in the same transaction");
        etcdgw_workqueue_free(queue);
        etcdgw_double_barrier_free(double);
        etcdgw_session_free(session);
    }
}
