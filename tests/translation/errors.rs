//! What went wrong, as C is told.

use crate::common::FakeGateway;
use crate::{TestClient, bytes, defaults, text};
use etcdgw::ffi::*;
use std::net::TcpListener;
use std::ptr;

/// The error of a put, and its status.
fn error_of_put(url: &str, options: etcdgw_put_options) -> (etcdgw_status, *mut etcdgw_error) {
    let client = TestClient::of(url);
    let mut err = ptr::null_mut();
    let status = unsafe { etcdgw_put(client.0, bytes(b"a"), bytes(b"b"), &options, ptr::null_mut(), &mut err) };
    assert_eq!(status, unsafe { etcdgw_error_status(err) });
    (status, err)
}

#[test]
fn a_refusal_of_the_server_has_its_code_its_words_and_its_reason() {
    let gateway = FakeGateway::start(|_, reply| {
        let body = r#"{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}"#;
        reply.status("404 Not Found", body);
    });
    let (status, err) = error_of_put(gateway.url(), defaults());
    unsafe {
        assert_eq!(status, ETCDGW_NOT_FOUND);
        assert_eq!(etcdgw_error_grpc_code(err), 5);
        assert_eq!(etcdgw_error_http_status(err), 404);
        assert_eq!(etcdgw_error_reason(err), ETCDGW_REASON_LEASE_NOT_FOUND);
        assert_eq!(text(etcdgw_error_endpoint(err)), gateway.url());
        assert!(text(etcdgw_error_message(err)).contains("etcdserver: requested lease not found"));
        assert_eq!((etcdgw_error_is_retryable(err), etcdgw_error_may_have_applied(err)), (0, 0));
        etcdgw_error_free(err);
    }
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_left() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, err) = error_of_put(&format!("http://{nobody}"), defaults());
    unsafe {
        assert_eq!(status, ETCDGW_CONNECTION_FAILED);
        assert_eq!((etcdgw_error_is_retryable(err), etcdgw_error_may_have_applied(err)), (1, 0));
        assert_eq!((etcdgw_error_grpc_code(err), etcdgw_error_http_status(err)), (-1, 0));
        etcdgw_error_free(err);
    }
    let leaving = FakeGateway::start(|_, reply| reply.close());
    let (status, err) = error_of_put(leaving.url(), defaults());
    unsafe {
        assert_eq!(status, ETCDGW_CONNECTION_LOST);
        assert_eq!((etcdgw_error_is_retryable(err), etcdgw_error_may_have_applied(err)), (0, 1));
        etcdgw_error_free(err);
    }
}

#[test]
fn time_limit_token_and_close_have_their_statuses() {
    let silent = FakeGateway::start(|_, reply| reply.hold());
    let (status, err) = error_of_put(silent.url(), etcdgw_put_options { timeout_ms: 50, ..defaults() });
    assert_eq!(status, ETCDGW_DEADLINE_EXCEEDED);
    unsafe {
        assert_eq!(etcdgw_error_may_have_applied(err), 1);
        etcdgw_error_free(err);
        let mut cancel = ptr::null_mut();
        assert_eq!(etcdgw_cancel_new(&mut cancel, ptr::null_mut()), ETCDGW_OK);
        etcdgw_cancel_trigger(cancel);
        let (status, err) = error_of_put(silent.url(), etcdgw_put_options { cancel, ..defaults() });
        assert_eq!((status, etcdgw_error_may_have_applied(err)), (ETCDGW_CANCELLED, 0));
        etcdgw_error_free(err);
        etcdgw_cancel_free(cancel);
        let client = TestClient::of(silent.url());
        etcdgw_client_close(client.0);
        assert_eq!(etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), ptr::null_mut()), ETCDGW_CLOSED);
    }
}

#[test]
fn a_lease_that_may_exist_is_named_although_its_grant_failed() {
    let leaving = FakeGateway::start(|_, reply| reply.close());
    let client = TestClient::of(leaving.url());
    let (mut id, mut ttl) = (0, 7);
    let soon = etcdgw_lease_grant_options { timeout_ms: 300, ..defaults() };
    let status = unsafe { etcdgw_lease_grant(client.0, 60, &soon, &mut id, &mut ttl, ptr::null_mut()) };
    assert_eq!((status, ttl), (ETCDGW_CONNECTION_LOST, 0));
    assert!(id > 0);

    let refusing = FakeGateway::start(|_, reply| {
        reply.status("400 Bad Request", r#"{"message":"etcdserver: lease already exists","code":9}"#);
    });
    let client = TestClient::of(refusing.url());
    let options = etcdgw_lease_grant_options { id: 5, ..defaults() };
    let status = unsafe { etcdgw_lease_grant(client.0, 60, &options, &mut id, &mut ttl, ptr::null_mut()) };
    assert_eq!((status, id), (ETCDGW_FAILED_PRECONDITION, 0));
}

#[test]
fn an_endpoint_of_another_cluster_has_its_status() {
    let [ours, theirs] =
        ["1", "2"].map(|id| FakeGateway::answering(format!(r#"{{"header":{{"cluster_id":"{id}"}}}}"#)));
    let client = TestClient::of(&format!("{},{}", ours.url(), theirs.url()));
    let mut err = ptr::null_mut();
    unsafe {
        assert_eq!(etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), &mut err), ETCDGW_OK);
        drop(ours);
        let status = etcdgw_put(client.0, bytes(b"a"), bytes(b"b"), ptr::null(), ptr::null_mut(), &mut err);
        assert_eq!(status, ETCDGW_CLUSTER_MISMATCH);
        assert_eq!((etcdgw_error_is_retryable(err), etcdgw_error_may_have_applied(err)), (0, 1));
        assert_eq!(text(etcdgw_error_endpoint(err)), theirs.url());
        etcdgw_error_free(err);
    }
}

#[test]
fn a_refresh_of_a_lease_that_is_gone_says_so_twice() {
    let gateway = FakeGateway::answering("{\"result\":{\"header\":{\"revision\":\"3\"},\"ID\":\"5\"}}\n");
    let client = TestClient::of(gateway.url());
    let (mut ttl, mut err) = (0, ptr::null_mut());
    unsafe {
        assert_eq!(etcdgw_lease_refresh(client.0, 5, ptr::null(), &mut ttl, &mut err), ETCDGW_LEASE_EXPIRED);
        assert_eq!(ttl, -1);
        assert_eq!(etcdgw_error_reason(err), ETCDGW_REASON_LEASE_NOT_FOUND);
        etcdgw_error_free(err);
    }
}

#[test]
fn an_old_error_is_overwritten_and_stays_its_owners() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let mut err = ptr::null_mut();
    unsafe {
        assert_eq!(etcdgw_cancel_new(ptr::null_mut(), &mut err), ETCDGW_INVALID_ARGUMENT);
        let old = err;
        assert_eq!(etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), &mut err), ETCDGW_OK);
        assert!(err.is_null());
        assert_eq!(etcdgw_error_status(old), ETCDGW_INVALID_ARGUMENT);
        etcdgw_error_free(old);
    }
}
