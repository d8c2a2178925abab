//! A token that was triggered and a client that was closed, for the calls that have nothing to wait for.

use crate::common::FakeGateway;
use crate::{TestClient, bytes, defaults, ok, response};
use etcdgw::ffi::*;
use std::ptr;

/// A scan that is at its end.
fn ended_scan(client: &TestClient) -> *mut etcdgw_scan {
    let scan = response(|out, err| unsafe { etcdgw_scan_open(client.0, bytes(b""), ptr::null(), out, err) });
    for _ in 0..2 {
        ok(|err| unsafe { etcdgw_scan_next(scan, ptr::null(), ptr::null_mut(), err) });
    }
    scan
}

/// A watch that nothing has been heard of.
fn watch_of(client: &TestClient) -> *mut etcdgw_watch_handle {
    let options = etcdgw_watch_options { no_wait_created: 1, start_revision: 1, ..defaults() };
    response(|out, err| unsafe { etcdgw_watch_open(client.0, bytes(b"k"), &options, out, err) })
}

fn gateway() -> FakeGateway {
    FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/watch" => reply.hold(),
        _ => reply.json(r#"{"header":{"revision":"5"}}"#),
    })
}

#[test]
fn a_token_that_was_triggered_ends_also_the_calls_that_would_not_have_waited() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let (scan, watch) = (ended_scan(&client), watch_of(&client));
    let cancel = response(|out, err| unsafe { etcdgw_cancel_new(out, err) });
    let options = etcdgw_call_options { cancel, ..defaults() };
    let (mut text, err) = (ptr::null_mut(), ptr::null_mut());
    unsafe {
        etcdgw_cancel_trigger(cancel);
        assert_eq!(etcdgw_client_api_path(client.0, &options, &mut text, err), ETCDGW_CANCELLED);
        assert_eq!(etcdgw_client_base_url(client.0, &options, &mut text, err), ETCDGW_CANCELLED);
        assert_eq!(etcdgw_client_url(client.0, c"kv/put".as_ptr(), &options, &mut text, err), ETCDGW_CANCELLED);
        assert!(text.is_null());
        assert_eq!(etcdgw_watch_request_progress(watch, &options, err), ETCDGW_CANCELLED);
        assert_eq!(etcdgw_scan_next(scan, &options, ptr::null_mut(), err), ETCDGW_CANCELLED);
        etcdgw_scan_free(scan);
        let options = etcdgw_scan_options { cancel, ..defaults() };
        let mut scan = ptr::null_mut();
        assert_eq!(etcdgw_scan_open(client.0, bytes(b""), &options, &mut scan, err), ETCDGW_OK);
        assert_eq!(etcdgw_scan_next(scan, ptr::null(), ptr::null_mut(), err), ETCDGW_CANCELLED);
        etcdgw_scan_free(scan);
        etcdgw_watch_free(watch);
        etcdgw_cancel_free(cancel);
    }
}

#[test]
fn a_watch_that_has_ended_is_not_asked_for_progress() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let (watch, err) = (watch_of(&client), ptr::null_mut());
    unsafe {
        assert_eq!(etcdgw_watch_request_progress(watch, ptr::null(), err), ETCDGW_OK);
        etcdgw_watch_cancel(watch);
        assert_eq!(etcdgw_watch_request_progress(watch, ptr::null(), err), ETCDGW_CLOSED);
        assert_eq!(etcdgw_watch_next(watch, 0, ptr::null_mut(), err), ETCDGW_OK);
        assert_eq!(etcdgw_watch_request_progress(watch, ptr::null(), err), ETCDGW_CLOSED);
        etcdgw_watch_free(watch);
    }
}

#[test]
fn a_client_that_was_closed_refuses_also_the_calls_that_would_not_have_waited() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let (mut scan, watch) = (ended_scan(&client), watch_of(&client));
    let err = ptr::null_mut();
    unsafe {
        etcdgw_client_close(client.0);
        assert_eq!(etcdgw_scan_next(scan, ptr::null(), ptr::null_mut(), err), ETCDGW_CLOSED);
        etcdgw_scan_free(scan);
        assert_eq!(etcdgw_scan_open(client.0, bytes(b""), ptr::null(), &mut scan, err), ETCDGW_CLOSED);
        assert_eq!(etcdgw_watch_request_progress(watch, ptr::null(), err), ETCDGW_CLOSED);
        assert_eq!(etcdgw_client_set_endpoints(client.0, c"http://[::1]".as_ptr(), err), ETCDGW_CLOSED);
        let (user, password) = (c"user".as_ptr(), c"password".as_ptr());
        assert_eq!(etcdgw_client_set_credentials(client.0, user, password, err), ETCDGW_CLOSED);
        etcdgw_watch_free(watch);
    }
    // What is only made or read in memory needs no cluster.
    let txn = response(|out, err| unsafe { etcdgw_txn_new(client.0, out, err) });
    let lock = response(|out, err| unsafe { etcdgw_lock_new(client.0, bytes(b"name"), ptr::null(), out, err) });
    let url = response(|out, err| unsafe { etcdgw_client_base_url(client.0, ptr::null(), out, err) });
    unsafe {
        etcdgw_string_free(url);
        etcdgw_lock_free(lock);
        etcdgw_txn_free(txn);
    }
}
