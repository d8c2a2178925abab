//! What mirrors tell, by callback and through a queue.

use crate::common::{FakeGateway, LONG, Reply, Request, wait_until};
use crate::{TestClient, array, bytes, defaults, read, response, text};
use etcdgw::ffi::*;
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const KEYS: &str = r#"{"header":{"cluster_id":"1","revision":"8"},"count":"1",
    "kvs":[{"key":"YWE=","value":"Yw==","create_revision":"7","mod_revision":"8","version":"1"}]}"#;

const EVENTS: &str = r#"{"result":{"header":{"cluster_id":"1","revision":"10"},"events":[
    {"kv":{"key":"YWE=","value":"Yg==","create_revision":"7","mod_revision":"9","version":"2","lease":"6"}},
    {"type":"DELETE","kv":{"key":"YWE=","mod_revision":"10"}},
    {"kv":{"key":"YWI=","value":"ZA==","create_revision":"10","mod_revision":"10","version":"1"}}]}}"#;

/// Has one key, tells of two revisions once a mirror watches, and then of nothing.
fn two_revisions(request: &Request, reply: &mut Reply<'_>) {
    if request.path != "/v3/watch" {
        return reply.json(KEYS);
    }
    reply.stream_head();
    reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
    reply.chunk(EVENTS.replace('\n', " ") + "\n");
    reply.hold();
}

fn assert_the_revisions(event: &etcdgw_mirror_event) {
    assert_eq!((event.kind, event.reserved0, event.revision), (ETCDGW_MIRROR_EVENTS, 0, 10));
    assert!(event.error.is_null());
    let events = array(event.events, event.events_len);
    let types: Vec<_> = events.iter().map(|event| (event.r#type, event.reserved0)).collect();
    assert_eq!(types, [(ETCDGW_EVENT_PUT, 0), (ETCDGW_EVENT_DELETE, 0), (ETCDGW_EVENT_PUT, 0)]);
    unsafe {
        let (kv, prev_kv) = (&*events[0].kv, &*events[0].prev_kv);
        assert_eq!((read(kv.key), read(kv.value)), (b"aa".into(), b"b".into()));
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (7, 9, 2, 6));
        assert_eq!((read(prev_kv.key), read(prev_kv.value)), (b"aa".into(), b"c".into()));
        assert_eq!((prev_kv.create_revision, prev_kv.mod_revision, prev_kv.version, prev_kv.lease), (7, 8, 1, 0));
        let (kv, prev_kv) = (&*events[1].kv, &*events[1].prev_kv);
        assert_eq!((read(kv.key), kv.value.len, kv.mod_revision, kv.version), (b"aa".into(), 0, 10, 0));
        assert_eq!((read(prev_kv.value), prev_kv.mod_revision), (b"b".into(), 9));
        assert_eq!((read((*events[2].kv).key), events[2].prev_kv.is_null()), (b"ab".into(), true));
    }
}

fn assert_the_end(event: &etcdgw_mirror_event) {
    assert_eq!((event.kind, event.events_len, event.revision), (ETCDGW_MIRROR_ENDED, 0, 10));
    assert!(event.events.is_null());
    unsafe { assert_eq!(etcdgw_error_status(event.error), ETCDGW_CLOSED) };
    assert!(!text(unsafe { etcdgw_error_message(event.error) }).is_empty());
}

/// What a callback has seen.
#[derive(Default)]
struct Seen {
    kinds: Mutex<Vec<i32>>,
    freed: AtomicUsize,
}

impl Seen {
    fn user_data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }
}

unsafe extern "C" fn note(event: *const etcdgw_mirror_event, user_data: *mut c_void) {
    let (event, seen) = unsafe { (&*event, &*user_data.cast::<Seen>()) };
    if event.kind == ETCDGW_MIRROR_ENDED {
        assert_the_end(event)
    } else {
        assert_the_revisions(event)
    }
    seen.kinds.lock().unwrap().push(event.kind);
}

unsafe extern "C" fn count_freed(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Seen>() }.freed.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_callback_is_given_every_field() {
    let gateway = FakeGateway::start(two_revisions);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let mirror = response(|out, err| unsafe {
        etcdgw_mirror_open(
            client.0,
            bytes(b"a"),
            ptr::null(),
            Some(note),
            seen.user_data(),
            Some(count_freed),
            out,
            err,
        )
    });
    wait_until(LONG, || seen.kinds.lock().unwrap().len() == 1);
    unsafe { etcdgw_client_close(client.0) };
    wait_until(LONG, || *seen.kinds.lock().unwrap() == [ETCDGW_MIRROR_EVENTS, ETCDGW_MIRROR_ENDED]);
    wait_until(LONG, || seen.freed.load(Ordering::SeqCst) == 1);
    unsafe { etcdgw_mirror_free(mirror) };
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn an_event_of_a_queue_has_every_field_and_what_the_mirror_was_given() {
    let gateway = FakeGateway::start(two_revisions);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let queue = response(|out, err| unsafe { etcdgw_queue_new(out, err) });
    let options = etcdgw_mirror_options { queue, ..defaults() };
    let mirror = response(|out, err| unsafe {
        etcdgw_mirror_open(client.0, bytes(b"a"), &options, None, seen.user_data(), Some(count_freed), out, err)
    });
    let next = || response(|out, err| unsafe { etcdgw_queue_next(queue, 30_000, out, err) });
    unsafe {
        let told = next();
        etcdgw_client_close(client.0);
        let end = next();
        etcdgw_mirror_free(mirror);
        etcdgw_queue_free(queue);
        for event in [&*told, &*end] {
            assert_eq!((event.source, event.reserved0, event.user_data), (ETCDGW_SOURCE_MIRROR, 0, seen.user_data()));
            assert!(event.watch.is_null() && event.keepalive.is_null() && event.election.is_null());
        }
        assert_the_revisions(&*(*told).mirror);
        assert_the_end(&*(*end).mirror);
        etcdgw_event_free(end);
        assert_eq!(seen.freed.load(Ordering::SeqCst), 0);
        etcdgw_event_free(told);
    }
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
}

#[test]
fn without_a_callback_and_a_queue_the_user_data_is_of_no_use() {
    let gateway = FakeGateway::start(two_revisions);
    let client = TestClient::of(gateway.url());
    let seen = Box::new(Seen::default());
    let mirror = response(|out, err| unsafe {
        etcdgw_mirror_open(client.0, bytes(b"a"), ptr::null(), None, seen.user_data(), Some(count_freed), out, err)
    });
    assert_eq!(seen.freed.load(Ordering::SeqCst), 1);
    unsafe { etcdgw_mirror_free(mirror) };
}
