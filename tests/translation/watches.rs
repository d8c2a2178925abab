//! Watches, their options, and what they tell.

use crate::common::{FakeGateway, LONG, Reply, Request, wait_until};
use crate::{TestClient, array, bytes, defaults, ok, read, response, text};
use etcdgw::ffi::*;
use serde_json::json;
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const EVENTS: &str = r#"{"result":{"header":{"cluster_id":"1","member_id":"2","revision":"9","raft_term":"4"},"events":[
    {"kv":{"key":"YQ==","value":"Yg==","create_revision":"8","mod_revision":"9","version":"2","lease":"6"},
     "prev_kv":{"key":"YQ==","value":"Yw==","create_revision":"8","mod_revision":"8","version":"1"}},
    {"type":"DELETE","kv":{"key":"Yw==","mod_revision":"9"}}]}}"#;

/// Confirms a watch, tells of one revision, and then of nothing.
fn one_revision(request: &Request, reply: &mut Reply<'_>) {
    if request.path != "/v3/watch" {
        return reply.json(r#"{"header":{"revision":"8"}}"#);
    }
    reply.stream_head();
    reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
    reply.chunk(EVENTS.replace('\n', " ") + "\n");
    reply.hold();
}

fn assert_the_revision(response: &etcdgw_watch_response) {
    assert_eq!((response.kind, response.header.revision, response.header.cluster_id), (ETCDGW_WATCH_EVENTS, 9, 1));
    assert_eq!((response.resume_revision, response.compact_revision), (10, 0));
    assert!(response.error.is_null());
    let events = array(response.events, response.events_len);
    assert_eq!(events.iter().map(|event| event.r#type).collect::<Vec<_>>(), [ETCDGW_EVENT_PUT, ETCDGW_EVENT_DELETE]);
    unsafe {
        let (kv, prev_kv) = (&*events[0].kv, &*events[0].prev_kv);
        assert_eq!((read(kv.key), read(kv.value), read(prev_kv.value)), (b"a".into(), b"b".into(), b"c".into()));
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (8, 9, 2, 6));
        assert_eq!((prev_kv.mod_revision, prev_kv.version), (8, 1));
        assert_eq!(read((*events[1].kv).key), b"c");
        assert!(events[1].prev_kv.is_null());
    }
}

#[test]
fn a_pulled_response_has_every_field_and_its_descriptor_shows_it() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, prefix: 1, ..defaults() };
    let watch = response(|out, err| unsafe { etcdgw_watch_open(client.0, bytes(b"a"), &options, out, err) });
    unsafe {
        let mut polled = libc::pollfd { fd: etcdgw_watch_fd(watch), events: libc::POLLIN, revents: 0 };
        assert_eq!(libc::poll(&mut polled, 1, 30_000), 1);
        let answer = response(|out, err| etcdgw_watch_next(watch, 0, out, err));
        assert_the_revision(&*answer);
        etcdgw_watch_free(watch);
        assert_the_revision(&*answer);
        etcdgw_watch_response_free(answer);
    }
}

#[test]
fn watch_options_reach_the_server() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, no_put: 1, no_delete: 1, ..defaults() };
    let answer = response(|out, err| unsafe { etcdgw_watch_prefix_once(client.0, bytes(b"a"), &options, out, err) });
    unsafe { etcdgw_watch_response_free(answer) };
    let request = gateway.requests().into_iter().find(|request| request.path == "/v3/watch").unwrap().json();
    let create = &request["create_request"];
    assert_eq!((&create["key"], &create["range_end"]), (&json!("YQ=="), &json!("Yg==")));
    assert_eq!((&create["start_revision"], &create["prev_kv"]), (&json!("9"), &json!(true)));
    assert_eq!(create["filters"], json!(["NOPUT", "NODELETE"]));
}

#[test]
fn a_watch_once_that_waits_in_vain_has_an_error() {
    let gateway = FakeGateway::start(|request, reply| {
        if request.path != "/v3/watch" {
            return reply.json(r#"{"header":{"revision":"8"}}"#);
        }
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
        reply.hold();
    });
    let client = TestClient::of(gateway.url());
    let options = etcdgw_watch_options { timeout_ms: 100, ..defaults() };
    let mut err = ptr::null_mut();
    unsafe {
        let status = etcdgw_watch_once(client.0, bytes(b"a"), &options, ptr::null_mut(), &mut err);
        assert_eq!((status, etcdgw_error_status(err)), (ETCDGW_DEADLINE_EXCEEDED, ETCDGW_DEADLINE_EXCEEDED));
        assert_eq!(etcdgw_error_may_have_applied(err), 0);
        etcdgw_error_free(err);
    }
}

/// What a callback has seen, and the handle that it finds in place when it runs.
#[derive(Default)]
struct Seen {
    kinds: Mutex<Vec<i32>>,
    watch: Mutex<usize>,
    freed: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

unsafe extern "C" fn note(response: *const etcdgw_watch_response, user_data: *mut c_void) {
    let (response, seen) = unsafe { (&*response, &*user_data.cast::<Seen>()) };
    if response.kind == ETCDGW_WATCH_EVENTS {
        assert_the_revision(response);
    }
    seen.kinds.lock().unwrap().push(response.kind);
    if !response.error.is_null() {
        seen.errors.lock().unwrap().push(text(unsafe { etcdgw_error_message(response.error) }));
    }
}

/// Frees its own watch, whose handle must be there by then.
unsafe extern "C" fn free_the_watch(response: *const etcdgw_watch_response, user_data: *mut c_void) {
    unsafe { note(response, user_data) };
    let mut watch = unsafe { &*user_data.cast::<Seen>() }.watch.lock().unwrap();
    unsafe { etcdgw_watch_free(ptr::with_exposed_provenance_mut(*watch)) };
    *watch = 0;
}

unsafe extern "C" fn count_freed(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Seen>() }.freed.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_callback_gets_every_field_and_its_data_are_freed_once() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let user_data = ptr::from_ref(&*seen).cast_mut().cast::<c_void>();
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, ..defaults() };
    let watch = response(|out, err| unsafe {
        etcdgw_watch(client.0, bytes(b"a"), &options, Some(note), user_data, Some(count_freed), out, err)
    });
    wait_until(LONG, || !seen.kinds.lock().unwrap().is_empty());
    unsafe {
        assert_eq!(etcdgw_watch_fd(watch), -1);
        let next = etcdgw_watch_next(watch, 0, ptr::null_mut(), ptr::null_mut());
        assert_eq!(next, ETCDGW_FAILED_PRECONDITION);
        assert_eq!(etcdgw_watch_join(watch, 0, ptr::null_mut()), ETCDGW_DEADLINE_EXCEEDED);
        etcdgw_watch_cancel(watch);
        ok(|err| etcdgw_watch_join(watch, -1, err));
        assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
        etcdgw_watch_free(watch);
    }
    assert_eq!(*seen.kinds.lock().unwrap(), [ETCDGW_WATCH_EVENTS], "a watch that its owner ends falls silent");
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn a_callback_may_free_its_own_watch() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let user_data = ptr::from_ref(&*seen).cast_mut().cast::<c_void>();
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, ..defaults() };
    {
        // The callback waits for this lock, behind which it finds the handle.
        let mut place = seen.watch.lock().unwrap();
        let watch = response(|out, err| unsafe {
            etcdgw_watch(client.0, bytes(b"a"), &options, Some(free_the_watch), user_data, Some(count_freed), out, err)
        });
        *place = watch.expose_provenance();
    }
    wait_until(LONG, || seen.freed.load(Ordering::SeqCst) == 1);
    assert_eq!(*seen.watch.lock().unwrap(), 0);
}

#[test]
fn a_closed_client_ends_its_watches_with_the_reason() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let user_data = ptr::from_ref(&*seen).cast_mut().cast::<c_void>();
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, ..defaults() };
    let watch = response(|out, err| unsafe {
        etcdgw_watch(client.0, bytes(b"a"), &options, Some(note), user_data, Some(count_freed), out, err)
    });
    wait_until(LONG, || !seen.kinds.lock().unwrap().is_empty());
    unsafe { etcdgw_client_close(client.0) };
    wait_until(LONG, || seen.freed.load(Ordering::SeqCst) == 1);
    assert_eq!(*seen.kinds.lock().unwrap(), [ETCDGW_WATCH_EVENTS, ETCDGW_WATCH_ENDED]);
    assert_eq!(seen.errors.lock().unwrap().len(), 1);
    unsafe { etcdgw_watch_free(watch) };
}

#[test]
fn a_pulled_watch_whose_revision_is_compacted_ends_once_and_is_closed_from_then_on() {
    let gateway = FakeGateway::start(|request, reply| {
        if request.path != "/v3/watch" {
            return reply.json(r#"{"header":{"revision":"8"}}"#);
        }
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"canceled\":true,\"compact_revision\":\"7\"}}\n");
        reply.hold();
    });
    let client = TestClient::of(gateway.url());
    let options = etcdgw_watch_options { start_revision: 2, ..defaults() };
    let watch = response(|out, err| unsafe { etcdgw_watch_open(client.0, bytes(b"a"), &options, out, err) });
    unsafe {
        let answer = response(|out, err| etcdgw_watch_next(watch, -1, out, err));
        assert_eq!(((*answer).kind, (*answer).compact_revision), (ETCDGW_WATCH_ENDED, 7));
        assert_eq!(etcdgw_error_status((*answer).error), ETCDGW_COMPACTED);
        assert_eq!(etcdgw_error_reason((*answer).error), ETCDGW_REASON_COMPACTED);
        etcdgw_watch_response_free(answer);
        assert_eq!(etcdgw_watch_next(watch, -1, ptr::null_mut(), ptr::null_mut()), ETCDGW_CLOSED);
        etcdgw_watch_free(watch);
    }
}

#[test]
fn an_event_of_a_queue_has_every_field_and_what_the_watch_was_given() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let user_data = ptr::from_ref(&*seen).cast_mut().cast::<c_void>();
    let queue = response(|out, err| unsafe { etcdgw_queue_new(out, err) });
    let options = etcdgw_watch_options { start_revision: 9, prev_kv: 1, queue, ..defaults() };
    let watch = response(|out, err| unsafe {
        etcdgw_watch(client.0, bytes(b"a"), &options, None, user_data, Some(count_freed), out, err)
    });
    unsafe {
        assert_eq!(etcdgw_watch_fd(watch), -1);
        let mut polled = libc::pollfd { fd: etcdgw_queue_fd(queue), events: libc::POLLIN, revents: 0 };
        assert_eq!(libc::poll(&mut polled, 1, 30_000), 1);
        let event = response(|out, err| etcdgw_queue_next(queue, 0, out, err));
        assert_eq!(((*event).source, (*event).reserved0, (*event).user_data), (ETCDGW_SOURCE_WATCH, 0, user_data));
        assert!((*event).keepalive.is_null() && (*event).election.is_null() && (*event).mirror.is_null());
        assert_the_revision(&*(*event).watch);
        etcdgw_watch_free(watch);
        etcdgw_queue_free(queue);
        assert_the_revision(&*(*event).watch);
        assert_eq!(seen.freed.load(Ordering::SeqCst), 0);
        etcdgw_event_free(event);
    }
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn an_event_that_nobody_wants_is_thrown_away() {
    let gateway = FakeGateway::start(one_revision);
    let client = TestClient::of(gateway.url());
    let queue = response(|out, err| unsafe { etcdgw_queue_new(out, err) });
    let options = etcdgw_watch_options { start_revision: 9, queue, ..defaults() };
    let watch = response(|out, err| unsafe {
        etcdgw_watch_prefix(client.0, bytes(b"a"), &options, None, ptr::null_mut(), None, out, err)
    });
    ok(|err| unsafe { etcdgw_queue_next(queue, -1, ptr::null_mut(), err) });
    let mut err = ptr::dangling_mut();
    unsafe {
        assert_eq!(etcdgw_queue_next(queue, 20, ptr::null_mut(), &mut err), ETCDGW_DEADLINE_EXCEEDED);
        assert!(err.is_null());
        etcdgw_queue_free(queue);
        etcdgw_watch_free(watch);
    }
}
