//! A call's limit bounds every part of it together, and a cancel token and the client's end cut every part short.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{BlackHole, FakeGateway, LONG, config, get_with, put_with, timed, wait_until, within};
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::config::{Config, TlsConfig};
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(400);

/// What the contract gives a call beyond its limit, and a machine that has other things to do.
const LEEWAY: Duration = Duration::from_millis(100 + 400);

/// A server that takes connections and says nothing, of TLS too.
struct Silent {
    url: String,
    taken: Arc<Mutex<Vec<TcpStream>>>,
}

impl Silent {
    fn start() -> Silent {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let taken: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = taken.clone();
        thread::spawn(move || listener.incoming().for_each(|stream| kept.lock().unwrap().extend(stream)));
        Silent { url, taken }
    }
}

/// One part of a call that never ends, and whether it is under way.
struct Stuck {
    name: &'static str,
    client: Client,
    is_reached: Box<dyn Fn() -> bool + Sync>,
    /// Whether a write may have been done by then.
    is_sent: bool,
    _keeps: Box<dyn std::any::Any>,
}

fn stuck_in_every_part() -> Vec<Stuck> {
    let hole = BlackHole::new();
    let connecting = Stuck {
        name: "connecting",
        client: common::client(&hole.url()),
        is_reached: Box::new(|| true),
        is_sent: false,
        _keeps: Box::new(hole),
    };
    let silent = Silent::start();
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    let taken = silent.taken.clone();
    let shaking_hands = Stuck {
        name: "TLS",
        client: Client::new(Config { tls, ..config(&silent.url) }).unwrap(),
        is_reached: Box::new(move || !taken.lock().unwrap().is_empty()),
        is_sent: false,
        _keeps: Box::new(silent),
    };
    let mut parts = vec![connecting, shaking_hands];
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let scripts: [(&'static str, FakeGateway); 4] = [
        ("waiting", FakeGateway::start(|_, reply| reply.hold())),
        (
            "the head, a byte a second",
            FakeGateway::start(move |_, reply| reply.bit_by_bit(head, Duration::from_secs(1))),
        ),
        (
            "the body, a byte a second",
            FakeGateway::start(move |_, reply| {
                reply.raw(head);
                reply.bit_by_bit(" ".repeat(60), Duration::from_secs(1));
            }),
        ),
        (
            "a body that comes quickly and has no end",
            FakeGateway::start(|_, reply| {
                reply.stream_head();
                while reply.is_open() {
                    reply.chunk("\n\n\n\n");
                    thread::sleep(Duration::from_millis(1));
                }
            }),
        ),
    ];
    for (name, gateway) in scripts {
        let gateway = Arc::new(gateway);
        let asked = gateway.clone();
        parts.push(Stuck {
            name,
            client: common::client(gateway.url()),
            is_reached: Box::new(move || !asked.requests().is_empty()),
            is_sent: true,
            _keeps: Box::new(gateway),
        });
    }
    parts
}

fn without_limit(cancel: Option<Arc<CancelToken>>) -> CallOptions {
    CallOptions { timeout: TimeLimit::Never, cancel }
}

#[test]
fn a_call_ends_within_its_limit_in_whatever_part_it_is_stuck() {
    for part in stuck_in_every_part() {
        let (answer, took) = timed(|| put_with(&part.client, b"key", b"value", &within(LIMIT)));
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{}: {error:?}", part.name);
        assert_eq!(error.may_have_applied(), part.is_sent, "{}", part.name);
        assert!(took >= LIMIT && took < LIMIT + LEEWAY, "{}: {took:?}", part.name);
        // Goes the gateways' way out of a script that lasts.
        part.client.close();
    }
}

#[test]
fn a_cancel_token_ends_a_call_in_whatever_part_it_is_stuck() {
    for part in stuck_in_every_part() {
        let token = Arc::new(CancelToken::new().unwrap());
        let options = without_limit(Some(token.clone()));
        thread::scope(|scope| {
            let call = scope.spawn(|| put_with(&part.client, b"key", b"value", &options).map(drop));
            wait_until(LONG, || (part.is_reached)());
            token.trigger();
            let (ended, took) = timed(|| call.join().unwrap());
            let error = ended.unwrap_err();
            assert!(matches!(error, Error::Cancelled { .. }), "{}: {error:?}", part.name);
            assert_eq!(error.may_have_applied(), part.is_sent, "{}", part.name);
            assert!(took < LEEWAY, "{}: {took:?}", part.name);
        });
        part.client.close();
    }
}

#[test]
fn the_end_of_its_client_ends_a_call_in_whatever_part_it_is_stuck() {
    for part in stuck_in_every_part() {
        thread::scope(|scope| {
            let call = scope.spawn(|| put_with(&part.client, b"key", b"value", &without_limit(None)).map(drop));
            wait_until(LONG, || (part.is_reached)());
            part.client.close();
            let (ended, took) = timed(|| call.join().unwrap());
            let error = ended.unwrap_err();
            assert!(matches!(error, Error::Closed { .. }), "{}: {error:?}", part.name);
            assert!(took < LEEWAY, "{}: {took:?}", part.name);
        });
    }
}

#[test]
fn a_call_between_two_attempts_ends_with_its_token_and_with_its_client() {
    let busy = FakeGateway::start(|_, reply| {
        reply.status("503 Text", r#"{"code":14,"message":"etcdserver: no leader"}"#);
    });
    let client = common::client(busy.url());
    let token = Arc::new(CancelToken::new().unwrap());
    let options = without_limit(Some(token.clone()));
    let other = common::client(busy.url());
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| get_with(&other, b"key", &options).map(drop));
        let closed = scope.spawn(|| get_with(&client, b"key", &without_limit(None)).map(drop));
        thread::sleep(Duration::from_millis(300));
        token.trigger();
        let (ended, took) = timed(|| cancelled.join().unwrap());
        assert!(matches!(ended.unwrap_err(), Error::Cancelled { .. }) && took < LEEWAY, "{took:?}");
        client.close();
        let (ended, took) = timed(|| closed.join().unwrap());
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Closed { .. }) && took < LEEWAY, "{took:?}: {error:?}");
    });
}

#[test]
fn retries_together_stay_within_the_calls_limit() {
    // Each attempt takes a third of the limit and fails.
    let slow = || {
        FakeGateway::start(|_, reply| {
            thread::sleep(LIMIT / 3);
            reply.close();
        })
    };
    let gateways = [slow(), slow(), slow()];
    let urls = gateways.each_ref().map(FakeGateway::url).join(",");
    let (answer, took) = timed(|| get_with(&common::client(&urls), b"key", &within(LIMIT)));
    assert!(answer.unwrap_err().is_retryable());
    assert!(took < LIMIT + LEEWAY, "{took:?}");
}
