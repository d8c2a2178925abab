//! The numbers of a client, and its log as a whole.

use crate::common::{FakeGateway, Gate, LONG, wait_until};
use crate::{TestClient, array, bytes, defaults, ok, response, text};
use etcdgw::ffi::*;
use std::ffi::{c_char, c_void};
use std::net::TcpListener;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Instant;

/// What is read of a client's numbers.
fn with_stats<T>(client: &TestClient, read: impl FnOnce(&etcdgw_stats_response) -> T) -> T {
    let stats = response(|out, err| unsafe { etcdgw_client_stats(client.0, out, err) });
    let result = read(unsafe { &*stats });
    unsafe { etcdgw_stats_response_free(stats) };
    result
}

fn errors(stats: &etcdgw_stats_response) -> Vec<(i32, i64)> {
    let counts = array(stats.errors, stats.errors_len).iter().map(|count| unsafe { &**count });
    counts.map(|count| (count.status, count.count)).collect()
}

#[test]
fn a_client_that_did_nothing_has_an_endpoint_and_no_numbers() {
    let client = TestClient::of("http://127.0.0.1:1,unix:///nowhere");
    with_stats(&client, |stats| {
        assert_eq!((stats.requests, stats.retries, stats.bytes_sent, stats.watches_open), (0, 0, 0, 0));
        assert!(errors(stats).is_empty());
        let endpoints = array(stats.endpoints, stats.endpoints_len).iter().map(|endpoint| unsafe { &**endpoint });
        let read: Vec<_> = endpoints.map(|it| (text(it.url), it.is_current, it.requests, it.backed_off_ms)).collect();
        assert_eq!(read, [("http://127.0.0.1:1".to_owned(), 1, 0, 0), ("unix:///nowhere".to_owned(), 0, 0, 0)]);
    });
}

#[test]
fn what_a_client_does_is_counted_where_it_happens() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/kv/put" => reply.status("403 Forbidden", r#"{"code":7,"message":"etcdserver: permission denied"}"#),
        _ => reply.json("{}"),
    });
    let client = TestClient::of(&format!("http://{nobody},{}", gateway.url()));
    for _ in 0..3 {
        ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
    }
    for _ in 0..2 {
        let status =
            unsafe { etcdgw_put(client.0, bytes(b"k"), bytes(b"v"), ptr::null(), ptr::null_mut(), ptr::null_mut()) };
        assert_eq!(status, ETCDGW_PERMISSION_DENIED);
    }
    with_stats(&client, |stats| {
        assert_eq!((stats.requests, stats.retries), (5, 1));
        assert_eq!((stats.connections_opened, stats.connections_reused, stats.connections_failed), (1, 4, 1));
        assert_eq!(errors(stats), [(ETCDGW_PERMISSION_DENIED, 2)]);
        let sent: usize = gateway.requests().iter().map(|request| request.head.len() + request.body.len()).sum();
        assert_eq!(stats.bytes_sent, sent as i64);
        assert!(stats.bytes_received > 5 * 30);
        let [dead, alive] = array(stats.endpoints, stats.endpoints_len) else { panic!() };
        let (dead, alive) = unsafe { (&**dead, &**alive) };
        assert_eq!((dead.requests, dead.errors, dead.connections_opened, dead.connections_failed), (0, 1, 0, 1));
        assert_eq!((alive.requests, alive.errors, alive.connections_opened, alive.connections_failed), (5, 2, 1, 0));
        assert_eq!((dead.is_current, alive.is_current, alive.backed_off_ms), (0, 1, 0));
        assert!(dead.backed_off_ms > 0);
    });
}

#[test]
fn watches_events_and_resumes_are_counted() {
    let count = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| {
        if request.path != "/v3/watch" {
            return reply.json(r#"{"header":{"revision":"8"}}"#);
        }
        let revision = 9 + count.fetch_add(1, Ordering::SeqCst);
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"20\"},\"created\":true}}\n");
        let event = r#"{"kv":{"key":"YQ==","mod_revision":"REV"}}"#.replace("REV", &revision.to_string());
        reply.chunk(format!("{{\"result\":{{\"header\":{{\"revision\":\"{revision}\"}},\"events\":[{event}]}}}}\n"));
        if revision == 9 { reply.close() } else { reply.hold() }
    });
    let client = TestClient::of(gateway.url());
    let watch = response(|out, err| unsafe { etcdgw_watch_open(client.0, bytes(b"a"), ptr::null(), out, err) });
    for _ in 0..2 {
        let mut event = ptr::null_mut();
        ok(|err| unsafe { etcdgw_watch_next(watch, -1, &mut event, err) });
        unsafe { etcdgw_watch_response_free(event) };
    }
    // The message that confirms the watch anew may have brought the event along.
    wait_until(LONG, || with_stats(&client, |stats| stats.resumes) == 1);
    with_stats(&client, |stats| assert_eq!((stats.watches_open, stats.events_delivered), (1, 2)));
    unsafe { etcdgw_watch_free(watch) };
    with_stats(&client, |stats| assert_eq!(stats.watches_open, 0));
}

unsafe extern "C" fn keep(level: i32, line: *const c_char, user_data: *mut c_void) {
    unsafe { &*user_data.cast::<Mutex<Vec<(i32, String)>>>() }.lock().unwrap().push((level, text(line)));
}

#[test]
fn connecting_fail_over_retry_and_resuming_have_a_line_each_with_endpoint_and_cause() {
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let count = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| {
        if request.path != "/v3/watch" {
            return reply.json(r#"{"header":{"revision":"8"}}"#);
        }
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"8\"},\"created\":true}}\n");
        if count.fetch_add(1, Ordering::SeqCst) == 0 { reply.close() } else { reply.hold() }
    });
    let lines = Mutex::new(Vec::<(i32, String)>::new());
    let options = etcdgw_client_options {
        log: Some(keep),
        log_user_data: ptr::from_ref(&lines).cast_mut().cast(),
        log_level: ETCDGW_LOG_TRACE,
        ..defaults()
    };
    let client = TestClient::with(&format!("{nobody},{}", gateway.url()), options);
    ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
    let watch = response(|out, err| unsafe { etcdgw_watch_open(client.0, bytes(b"a"), ptr::null(), out, err) });
    wait_until(LONG, || with_stats(&client, |stats| stats.resumes) == 1);
    let count = |level, parts: &[&str]| {
        let lines = lines.lock().unwrap();
        lines.iter().filter(|(of, line)| *of == level && parts.iter().all(|part| line.contains(part))).count()
    };
    let (dead, alive) = (nobody.as_str(), gateway.url());
    assert!(count(ETCDGW_LOG_INFO, &["can't connect to", dead, "refused"]) >= 1, "{lines:?}");
    assert_eq!(count(ETCDGW_LOG_WARN, &["calls go to", alive, "no longer to", dead, "refused"]), 1, "{lines:?}");
    assert!(count(ETCDGW_LOG_WARN, &["trying again", dead, "refused"]) >= 1, "{lines:?}");
    assert!(count(ETCDGW_LOG_DEBUG, &["connected to", alive]) >= 2, "{lines:?}");
    assert_eq!(count(ETCDGW_LOG_WARN, &["a watch is to go on from revision 9", alive]), 1, "{lines:?}");
    wait_until(LONG, || count(ETCDGW_LOG_INFO, &["a watch goes on from revision 9 at", alive]) == 1);
    unsafe { etcdgw_watch_free(watch) };
}

/// A log that misbehaves: its callback makes calls with the client that it belongs to.
#[derive(Default)]
struct Meddler {
    client: AtomicPtr<etcdgw_client>,
    lines: Mutex<Vec<String>>,
    calls: AtomicUsize,
}

unsafe extern "C" fn meddle(_: i32, line: *const c_char, user_data: *mut c_void) {
    let log = unsafe { &*user_data.cast::<Meddler>() };
    log.lines.lock().unwrap().push(text(line));
    let client = log.client.load(Ordering::SeqCst);
    let status = unsafe { etcdgw_get_all(client, ptr::null(), ptr::null_mut(), ptr::null_mut()) };
    assert_eq!(status, ETCDGW_OK);
    log.calls.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_log_that_calls_the_library_is_not_called_from_within_itself() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = FakeGateway::answering("{}");
    let log = Meddler::default();
    let options = etcdgw_client_options {
        log: Some(meddle),
        log_user_data: ptr::from_ref(&log).cast_mut().cast(),
        log_level: ETCDGW_LOG_TRACE,
        ..defaults()
    };
    let client = TestClient::with(&format!("http://{nobody},{}", gateway.url()), options);
    log.client.store(client.0, Ordering::SeqCst);
    ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
    let lines = log.lines.lock().unwrap();
    assert_eq!(log.calls.load(Ordering::SeqCst), lines.len(), "each line was taken, and none inside another");
    assert!(lines.iter().any(|line| line.contains(&nobody.to_string())), "{lines:?}");
}

/// A log whose callback waits until it is let go.
#[derive(Default)]
struct Blocker {
    entered: AtomicUsize,
    gate: Gate,
}

unsafe extern "C" fn block(_: i32, _: *const c_char, user_data: *mut c_void) {
    let log = unsafe { &*user_data.cast::<Blocker>() };
    if log.entered.fetch_add(1, Ordering::SeqCst) == 0 {
        log.gate.wait();
    }
}

#[test]
fn a_log_that_takes_its_time_holds_nobody_up_but_the_thread_it_is_on() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = FakeGateway::answering(r#"{"header":{"revision":"8"}}"#);
    let log = Blocker::default();
    let options = etcdgw_client_options {
        log: Some(block),
        log_user_data: ptr::from_ref(&log).cast_mut().cast(),
        log_level: ETCDGW_LOG_TRACE,
        ..defaults()
    };
    let client = TestClient::with(&format!("http://{nobody},{}", gateway.url()), options);
    let address = client.0 as usize;
    std::thread::scope(|scope| {
        let blocked = scope.spawn(move || {
            let client = address as *mut etcdgw_client;
            // It may end either way: the client is closed under it.
            unsafe { etcdgw_get_all(client, ptr::null(), ptr::null_mut(), ptr::null_mut()) }
        });
        wait_until(LONG, || log.entered.load(Ordering::SeqCst) > 0);
        let start = Instant::now();
        ok(|err| unsafe { etcdgw_get_all(client.0, ptr::null(), ptr::null_mut(), err) });
        let endpoints = std::ffi::CString::new(gateway.url()).unwrap();
        ok(|err| unsafe { etcdgw_client_set_endpoints(client.0, endpoints.as_ptr(), err) });
        with_stats(&client, |stats| assert!(stats.requests >= 1));
        assert!(!blocked.is_finished() && start.elapsed() < LONG / 2);
        unsafe { etcdgw_client_close(client.0) };
        log.gate.open();
        blocked.join().unwrap();
    });
}
