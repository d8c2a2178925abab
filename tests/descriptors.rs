//! Watches of a process that has no descriptor left. A program of its own, because no other test could share it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "limits the process")]

mod common;

use common::{EtcdFace, FakeGateway, LONG, Reply, Request, config};
use etcdgw::client::Client;
use etcdgw::config::{Config, WebSocketUse};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn limit_descriptors(most: libc::rlim_t) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = most.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

/// Leaves the process no descriptor for so long.
fn exhaust_descriptors(time: Duration) {
    limit_descriptors(200);
    let (began, mut files) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            // Some may become free.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    limit_descriptors(libc::rlim_t::MAX);
}

/// Confirms a watch, and sends it a put once it may.
fn watch(request: &Request, reply: &mut Reply<'_>, may_send: &AtomicBool) {
    let wait = || {
        while !may_send.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    if !request.is_upgrade() {
        let header = r#""header":{"revision":"9"}"#;
        reply.stream_head();
        reply.chunk(format!("{{\"result\":{{{header},\"created\":true}}}}\n"));
        wait();
        reply.chunk(format!("{{\"result\":{{{header},\"events\":[{{\"kv\":{{\"mod_revision\":\"5\"}}}}]}}}}\n"));
        return reply.hold();
    }
    let mut socket = reply.upgrade(request);
    assert!(socket.create().is_some());
    socket.created(1, 9);
    // Pings are answered meanwhile.
    while !may_send.load(Ordering::SeqCst) {
        assert_eq!(socket.message_within(Duration::from_millis(10)), None);
    }
    socket.puts(1, &[5]);
    socket.idle();
}

#[test]
fn a_member_that_can_not_be_asked_how_it_is_for_want_of_a_descriptor_is_not_left() {
    const LIVENESS: Duration = Duration::from_millis(600);
    for websocket in [WebSocketUse::Always, WebSocketUse::Never] {
        let (may_send, face) = (Arc::new(AtomicBool::new(false)), EtcdFace::of("3.6.16"));
        let may = may_send.clone();
        let gateway = FakeGateway::start(move |request, reply| match &*request.path {
            "/v3/watch" => watch(request, reply, &may),
            _ => face.answer(request, reply),
        });
        let settings = Config { watch_liveness: LIVENESS, websocket, max_idle_connections: 0, ..config(gateway.url()) };
        let client = Client::new(settings).unwrap();
        let request = WatchRequest { start_revision: 5, ..WatchRequest::new(Keys::One(b"k".into())) };
        let options = WatchOptions { report_connection: true, ..WatchOptions::new(request) };
        let watch = client.watch_open(options).unwrap();
        exhaust_descriptors(LIVENESS * 2);
        may_send.store(true, Ordering::SeqCst);
        let said = watch.next(Some(LONG)).unwrap().unwrap();
        assert_eq!(said.kind, WatchKind::Events, "{websocket:?}: {:?}", said.error);
    }
}
