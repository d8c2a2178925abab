//! Keep-alives, sessions, mutexes, elections and locks: their options, and what they tell.

use crate::common::{FakeGateway, LONG, Reply, Request, wait_until};
use crate::{TestClient, bytes, defaults, ok, read, response, text};
use etcdgw::ffi::*;
use serde_json::json;
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const LEADER: &str = r#"{"header":{"cluster_id":"1","revision":"9"},"kvs":[{"key":"bi83","value":"bWU=",
    "create_revision":"8","mod_revision":"9","version":"2","lease":"7"}],"count":"1"}"#;

/// A cluster in which lease 7 lives for three seconds, and is gone when it is renewed the second time.
fn short_life(request: &Request, reply: &mut Reply<'_>, renewals: &AtomicUsize) {
    match request.path.as_str() {
        "/v3/lease/keepalive" => match renewals.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => reply.json(r#"{"result":{"header":{"revision":"8"},"ID":"7","TTL":"3"}}"#),
            _ => reply.json(r#"{"result":{"header":{"revision":"8"},"ID":"7"}}"#),
        },
        "/v3/lease/grant" => reply.json(r#"{"header":{"revision":"8"},"ID":"7","TTL":"100"}"#),
        "/v3/kv/range" => reply.json(LEADER),
        "/v3/watch" => {
            reply.stream_head();
            reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
            reply.hold();
        }
        "/v3/kv/txn" => reply.json(
            r#"{"header":{"revision":"8"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"8"}}},
                {"response_range":{"kvs":[{"key":"bi83","create_revision":"8","mod_revision":"8","version":"1"}]}}]}"#,
        ),
        _ => reply.json(r#"{"header":{"revision":"8"}}"#),
    }
}

fn gateway() -> FakeGateway {
    let renewals = AtomicUsize::new(0);
    FakeGateway::start(move |request, reply| short_life(request, reply, &renewals))
}

/// What callbacks have told, in words.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    freed: AtomicUsize,
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn user_data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }
}

unsafe extern "C" fn tell_lease(event: *const etcdgw_keepalive_event, user_data: *mut c_void) {
    let (event, told) = unsafe { (&*event, &*user_data.cast::<Told>()) };
    let status = unsafe { etcdgw_error_status(event.lost) };
    told.lines.lock().unwrap().push(format!("{} {} {status}", event.lease, event.ttl_s));
}

unsafe extern "C" fn tell_leader(event: *const etcdgw_election_event, user_data: *mut c_void) {
    let (event, told) = unsafe { (&*event, &*user_data.cast::<Told>()) };
    let leader = unsafe { event.leader.as_ref() };
    let value = leader.map(|kv| String::from_utf8(read(kv.value)).unwrap()).unwrap_or_default();
    let status = unsafe { etcdgw_error_status(event.error) };
    told.lines.lock().unwrap().push(format!("{value} {} {status}", event.header.revision));
}

unsafe extern "C" fn count_freed(user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Told>() }.freed.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_keep_alive_tells_each_renewal_and_then_the_loss() {
    let (gateway, told) = (gateway(), Told::default());
    let client = TestClient::of(gateway.url());
    let keepalive = response(|out, err| unsafe {
        etcdgw_keepalive_start(
            client.0,
            7,
            ptr::null(),
            Some(tell_lease),
            told.user_data(),
            Some(count_freed),
            out,
            err,
        )
    });
    unsafe {
        assert_eq!(etcdgw_keepalive_is_lost(keepalive), 0);
        assert!((2000..=3000).contains(&etcdgw_keepalive_remaining_ms(keepalive)));
        wait_until(LONG, || told.freed.load(Ordering::SeqCst) == 1);
        assert_eq!(told.lines(), ["7 3 0".to_owned(), format!("7 0 {ETCDGW_LEASE_EXPIRED}")]);
        assert_eq!((etcdgw_keepalive_is_lost(keepalive), etcdgw_keepalive_remaining_ms(keepalive)), (1, 0));
        etcdgw_keepalive_free(keepalive);
    }
    assert_eq!(told.freed.load(Ordering::SeqCst), 1);
    assert_eq!(gateway.last().json()["ID"], json!("7"));
}

#[test]
fn a_session_tells_its_loss_alone() {
    let (gateway, told) = (gateway(), Told::default());
    let client = TestClient::of(gateway.url());
    let options = etcdgw_session_options { lease: 7, ..defaults() };
    let session = response(|out, err| unsafe {
        etcdgw_session_new(client.0, &options, Some(tell_lease), told.user_data(), Some(count_freed), out, err)
    });
    unsafe {
        assert_eq!((etcdgw_session_lease(session), etcdgw_session_is_lost(session)), (7, 0));
        assert!((2000..=3000).contains(&etcdgw_session_remaining_ms(session)));
        wait_until(LONG, || told.freed.load(Ordering::SeqCst) == 1);
        assert_eq!(told.lines(), [format!("7 0 {ETCDGW_LEASE_EXPIRED}")]);
        assert_eq!(etcdgw_session_is_lost(session), 1);
        etcdgw_session_free(session);
    }
    assert_eq!(gateway.count("/v3/lease/grant"), 0, "it was adopted");
}

fn next(queue: *mut etcdgw_queue) -> *mut etcdgw_event {
    response(|out, err| unsafe { etcdgw_queue_next(queue, 30_000, out, err) })
}

#[test]
fn an_event_of_a_queue_has_what_became_of_a_lease_and_what_its_keeper_was_given() {
    for source in [ETCDGW_SOURCE_KEEPALIVE, ETCDGW_SOURCE_SESSION] {
        let (gateway, told) = (gateway(), Told::default());
        let client = TestClient::of(gateway.url());
        let queue = response(|out, err| unsafe { etcdgw_queue_new(out, err) });
        let (data, free) = (told.user_data(), Some(count_freed as _));
        let (mut kept, mut session) = (ptr::null_mut(), ptr::null_mut());
        let said = |event: *mut etcdgw_event| unsafe {
            let event = &*event;
            assert_eq!((event.source, event.reserved0, event.user_data), (source, 0, data));
            assert!(event.watch.is_null() && event.election.is_null() && event.mirror.is_null());
            let lease = &*event.keepalive;
            (lease.lease, lease.ttl_s, etcdgw_error_status(lease.lost))
        };
        unsafe {
            if source == ETCDGW_SOURCE_KEEPALIVE {
                let options = etcdgw_keepalive_options { queue, ..defaults() };
                ok(|err| etcdgw_keepalive_start(client.0, 7, &options, None, data, free, &mut kept, err));
                let renewal = next(queue);
                assert_eq!(said(renewal), (7, 3, ETCDGW_OK));
                etcdgw_event_free(renewal);
            } else {
                let options = etcdgw_session_options { lease: 7, queue, ..defaults() };
                ok(|err| etcdgw_session_new(client.0, &options, None, data, free, &mut session, err));
            }
            let loss = next(queue);
            assert_eq!(told.freed.load(Ordering::SeqCst), 0);
            etcdgw_keepalive_free(kept);
            etcdgw_session_free(session);
            etcdgw_queue_free(queue);
            assert_eq!(said(loss), (7, 0, ETCDGW_LEASE_EXPIRED), "the event outlives all else");
            assert!(text(etcdgw_error_message((*(*loss).keepalive).lost)).contains('7'));
            etcdgw_event_free(loss);
        }
        assert_eq!((told.freed.load(Ordering::SeqCst), told.lines().len()), (1, 0));
    }
}

#[test]
fn an_event_of_a_queue_has_the_leader_and_then_why_its_observer_has_ended() {
    let (gateway, told) = (gateway(), Told::default());
    let client = TestClient::of(gateway.url());
    let session = session(&client);
    let election = response(|out, err| unsafe { etcdgw_election_new(session, bytes(b"n"), out, err) });
    let queue = response(|out, err| unsafe { etcdgw_queue_new(out, err) });
    let options = etcdgw_election_observe_options { queue, ..defaults() };
    let (data, free) = (told.user_data(), Some(count_freed as _));
    let observer =
        response(|out, err| unsafe { etcdgw_election_observe(election, &options, None, data, free, out, err) });
    let seen = |event: *mut etcdgw_event| unsafe {
        let event = &*event;
        assert_eq!((event.source, event.reserved0, event.user_data), (ETCDGW_SOURCE_ELECTION, 0, data));
        assert!(event.watch.is_null() && event.keepalive.is_null() && event.mirror.is_null());
        &*event.election
    };
    unsafe {
        let status = etcdgw_election_observer_next(observer, 0, ptr::null_mut(), ptr::null_mut());
        assert_eq!(status, ETCDGW_FAILED_PRECONDITION);
        let first = next(queue);
        etcdgw_client_close(client.0);
        let last = next(queue);
        etcdgw_election_observer_free(observer);
        etcdgw_queue_free(queue);
        etcdgw_election_free(election);
        etcdgw_session_free(session);
        let leader = &*seen(first).leader;
        assert_eq!((read(leader.key), read(leader.value)), (b"n/7".to_vec(), b"me".to_vec()));
        assert_eq!((leader.create_revision, leader.mod_revision, leader.version, leader.lease), (8, 9, 2, 7));
        assert_eq!((seen(first).header.revision, seen(first).error.is_null()), (9, true));
        let (end, header) = (seen(last), seen(last).header);
        assert_eq!((end.leader.is_null(), etcdgw_error_status(end.error)), (true, ETCDGW_CLOSED));
        assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (0, 0, 0, 0));
        etcdgw_event_free(first);
        assert_eq!(told.freed.load(Ordering::SeqCst), 0);
        etcdgw_event_free(last);
    }
    assert_eq!((told.freed.load(Ordering::SeqCst), told.lines().len()), (1, 0));
}

/// A session with a lease that nobody renews here.
fn session(client: &TestClient) -> *mut etcdgw_session {
    let options = etcdgw_session_options { ttl: 100, ..defaults() };
    response(|out, err| unsafe { etcdgw_session_new(client.0, &options, None, ptr::null_mut(), None, out, err) })
}

#[test]
fn times_to_live_reach_the_server_and_have_their_defaults() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let asked = || gateway.requests().into_iter().rfind(|request| request.path == "/v3/lease/grant").unwrap().json();
    unsafe {
        etcdgw_session_free(session(&client));
        assert_eq!(asked()["TTL"], json!("100"));
        etcdgw_session_free(response(|out, err| {
            etcdgw_session_new(client.0, ptr::null(), None, ptr::null_mut(), None, out, err)
        }));
        assert_eq!(asked()["TTL"], json!("60"));
    }
    assert_eq!(gateway.count("/v3/lease/revoke"), 2, "freeing a session revokes its lease");
}

#[test]
fn keys_and_values_are_named_as_go_names_them() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let session = session(&client);
    let mutex = response(|out, err| unsafe { etcdgw_mutex_new(session, bytes(b"n"), out, err) });
    let election = response(|out, err| unsafe { etcdgw_election_new(session, bytes(b"n"), out, err) });
    unsafe {
        assert_eq!(read(etcdgw_mutex_key(mutex)), b"n/7");
        assert_eq!(read(etcdgw_election_key(election)), b"n/7");
        ok(|err| etcdgw_mutex_lock(mutex, 0, ptr::null(), err));
        assert_eq!(etcdgw_mutex_revision(mutex), 8);
        let txn = gateway.requests().into_iter().rfind(|request| request.path == "/v3/kv/txn").unwrap().json();
        let compare = &txn["compare"][0];
        assert_eq!((&compare["target"], &compare["create_revision"]), (&json!("CREATE"), &json!("0")));
        let put = &txn["success"][0]["request_put"];
        assert_eq!((&put["key"], &put["lease"], &put["value"]), (&json!("bi83"), &json!("7"), &json!(null)));
        let leader = response(|out, err| etcdgw_election_leader(election, ptr::null(), out, err));
        let kv = &*(*leader).leader;
        assert_eq!(((*leader).header.revision, read(kv.value), kv.lease), (9, b"me".to_vec(), 7));
        etcdgw_leader_response_free(leader);
        etcdgw_election_free(election);
        etcdgw_mutex_free(mutex);
        etcdgw_session_free(session);
    }
}

#[test]
fn an_observer_tells_the_leader_and_its_end() {
    let (gateway, told) = (gateway(), Told::default());
    let client = TestClient::of(gateway.url());
    let session = session(&client);
    let election = response(|out, err| unsafe { etcdgw_election_new(session, bytes(b"n"), out, err) });
    let none = ptr::null_mut();
    let asked =
        response(|out, err| unsafe { etcdgw_election_observe(election, ptr::null(), None, none, None, out, err) });
    let called = response(|out, err| unsafe {
        let (callback, free) = (Some(tell_leader as _), Some(count_freed as _));
        etcdgw_election_observe(election, ptr::null(), callback, told.user_data(), free, out, err)
    });
    unsafe {
        let seen = response(|out, err| etcdgw_election_observer_next(asked, -1, out, err));
        assert_eq!(read((*(*seen).leader).value), b"me");
        etcdgw_leader_response_free(seen);
        let (mut seen, mut err) = (ptr::dangling_mut(), ptr::dangling_mut());
        assert_eq!(etcdgw_election_observer_next(asked, 0, &mut seen, &mut err), ETCDGW_DEADLINE_EXCEEDED);
        assert!(seen.is_null() && err.is_null());
        wait_until(LONG, || told.lines() == ["me 9 0"]);
        etcdgw_client_close(client.0);
        wait_until(LONG, || told.freed.load(Ordering::SeqCst) == 1);
        assert_eq!(told.lines(), ["me 9 0".to_owned(), format!(" 0 {ETCDGW_CLOSED}")]);
        etcdgw_election_observer_free(asked);
        etcdgw_election_observer_free(called);
        etcdgw_election_free(election);
        etcdgw_session_free(session);
    }
}

#[test]
fn a_lock_has_python_s_key_and_value_and_the_options_uuid_and_time() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/lease/grant" => reply.json(r#"{"header":{"revision":"8"},"ID":"7","TTL":"5"}"#),
        "/v3/lease/keepalive" => reply.json(r#"{"result":{"header":{"revision":"8"},"ID":"7","TTL":"5"}}"#),
        "/v3/kv/range" => reply.json(r#"{"header":{"revision":"8"}}"#),
        _ => reply.json(r#"{"header":{"revision":"8"},"succeeded":true}"#),
    });
    let client = TestClient::of(gateway.url());
    let options = etcdgw_lock_options { ttl: 5, uuid: c"who".as_ptr(), ..defaults() };
    let lock = response(|out, err| unsafe { etcdgw_lock_new(client.0, bytes(b"n"), &options, out, err) });
    unsafe {
        assert_eq!((text(etcdgw_lock_uuid(lock)), read(etcdgw_lock_key(lock))), ("who".into(), b"/locks/n".into()));
        let (mut acquired, mut ttl_s, mut released) = (0, 0, 0);
        ok(|err| etcdgw_lock_acquire(lock, 0, ptr::null(), &mut acquired, err));
        assert_eq!((acquired, etcdgw_lock_revision(lock)), (1, 8));
        let requests = gateway.requests();
        let of = |path: &str| requests.iter().rfind(|request| request.path == path).unwrap().json();
        assert_eq!(of("/v3/lease/grant")["TTL"], json!("5"));
        let put = &of("/v3/kv/txn")["success"][0]["request_put"];
        let expected = (&json!("L2xvY2tzL24="), &json!("d2hv"), &json!("7"));
        assert_eq!((&put["key"], &put["value"], &put["lease"]), expected);
        ok(|err| etcdgw_lock_refresh(lock, ptr::null(), &mut ttl_s, err));
        ok(|err| etcdgw_lock_is_acquired(lock, ptr::null(), &mut acquired, err));
        ok(|err| etcdgw_lock_release(lock, ptr::null(), &mut released, err));
        assert_eq!((ttl_s, acquired, released, etcdgw_lock_revision(lock)), (5, 0, 1, 0));
        etcdgw_lock_free(lock);
    }
}

#[test]
fn a_fence_is_a_condition_on_the_revision_that_created_the_key() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let session = session(&client);
    let mutex = response(|out, err| unsafe { etcdgw_mutex_new(session, bytes(b"n"), out, err) });
    let txn = response(|out, err| unsafe { etcdgw_txn_new(client.0, out, err) });
    let prefixed = etcdgw_client_options { key_prefix: bytes(b"p/"), ..defaults() };
    let prefixed = TestClient::with(gateway.url(), prefixed);
    let elsewhere = response(|out, err| unsafe { etcdgw_txn_new(prefixed.0, out, err) });
    unsafe {
        let mut err = ptr::null_mut();
        assert_eq!(etcdgw_txn_if_owner(txn, mutex, &mut err), ETCDGW_FAILED_PRECONDITION);
        etcdgw_error_free(err);
        ok(|err| etcdgw_mutex_lock(mutex, 0, ptr::null(), err));
        assert_eq!(etcdgw_txn_if_owner(elsewhere, mutex, &mut err), ETCDGW_INVALID_ARGUMENT, "it would be another key");
        etcdgw_error_free(err);
        ok(|err| etcdgw_txn_if_owner(txn, mutex, err));
        ok(|err| etcdgw_txn_commit(txn, ptr::null(), ptr::null_mut(), err));
        let compare = &gateway.last().json()["compare"];
        assert_eq!(compare.as_array().unwrap().len(), 1, "what was refused is not added");
        assert_eq!((&compare[0]["key"], &compare[0]["create_revision"]), (&json!("bi83"), &json!("8")));
        etcdgw_txn_free(elsewhere);
        etcdgw_txn_free(txn);
        etcdgw_mutex_free(mutex);
        etcdgw_session_free(session);
    }
}
