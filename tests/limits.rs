//! What ends a call early: its time limit, its cancel token, the end of its client. In whichever part of the call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    BlackHole, Etcd, FakeGateway, Gate, LONG, config, get, get_with, plain, put, put_with, shrink_receive_buffer,
    timed, within,
};
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::config::{Config, TlsConfig};
use etcdgw::error::{Error, Phase, Result};
use etcdgw::net::CancelToken;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a machine that is busy with other tests may need beyond a limit.
const SLACK: Duration = Duration::from_secs(1);

const LIMIT: Duration = Duration::from_millis(400);

/// A server on which a call gets stuck in one of its parts.
struct Stuck {
    part: &'static str,
    client: Client,
    value: Vec<u8>,
    /// What the time limit's error says, and whether a write may have been executed by then.
    phase: Phase,
    may_have_applied: bool,
    _server: Server,
}

enum Server {
    Gateway { _gateway: FakeGateway },
    Hole { _hole: BlackHole },
    Deaf { _listener: TcpListener },
}

impl Stuck {
    fn new(part: &'static str, gateway: FakeGateway) -> Stuck {
        let client = common::client(gateway.url());
        let value = b"value".to_vec();
        let _server = Server::Gateway { _gateway: gateway };
        Stuck { part, client, value, phase: Phase::Receiving, may_have_applied: true, _server }
    }

    fn put(&self, options: &CallOptions) -> Result<()> {
        put_with(&self.client, b"key", &self.value, options).map(drop)
    }
}

/// Connecting: no answer to the attempt. The connect timeout is far away.
fn connecting() -> Stuck {
    let hole = BlackHole::new();
    let settings = Config { connect_timeout: LONG, ..config(&hole.url()) };
    Stuck {
        part: "connecting",
        client: Client::new(settings).unwrap(),
        value: b"value".to_vec(),
        phase: Phase::Connecting,
        may_have_applied: false,
        _server: Server::Hole { _hole: hole },
    }
}

/// Shaking hands: the server accepts and says nothing.
fn shaking_hands() -> Stuck {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    Stuck {
        part: "shaking hands",
        client: Client::new(Config { connect_timeout: LONG, tls, ..config(&url) }).unwrap(),
        value: b"value".to_vec(),
        phase: Phase::Connecting,
        may_have_applied: false,
        _server: Server::Deaf { _listener: listener },
    }
}

/// Sending: the server reads nothing, and the value is larger than what the kernel buffers, that is 4 MiB on this side.
fn sending() -> Stuck {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shrink_receive_buffer(&listener);
    Stuck {
        part: "sending",
        client: common::client(&format!("http://{}", listener.local_addr().unwrap())),
        value: vec![b'v'; 4 << 20],
        phase: Phase::Sending,
        may_have_applied: false,
        _server: Server::Deaf { _listener: listener },
    }
}

fn stuck_everywhere() -> Vec<Stuck> {
    let slowly = |bytes: &'static str| {
        FakeGateway::start(move |_, reply| reply.bit_by_bit(bytes.repeat(100), Duration::from_millis(100)))
    };
    let body_slowly = |head: &'static str| {
        FakeGateway::start(move |_, reply| {
            reply.raw(head);
            reply.bit_by_bit("{\"".to_owned() + &"x".repeat(400), Duration::from_millis(100));
        })
    };
    let endless = FakeGateway::start(|_, reply| {
        while reply.is_open() {
            reply.raw("HTTP/1.1 100 Continue\r\n\r\n".repeat(100));
        }
    });
    vec![
        connecting(),
        shaking_hands(),
        sending(),
        Stuck::new("waiting for the answer", FakeGateway::start(|_, reply| reply.hold())),
        Stuck::new("a head that trickles", slowly("HTTP/1.1 200 OK\r\nX: y\r\nX: y\r\n")),
        Stuck::new("a body that trickles", body_slowly("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n")),
        Stuck::new(
            "a chunk that trickles",
            body_slowly("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n"),
        ),
        Stuck::new("interim answers without end", endless),
    ]
}

fn token() -> Arc<CancelToken> {
    Arc::new(CancelToken::new().unwrap())
}

/// Runs a call on another thread, lets something happen while it is stuck, and tells how it ended and how soon after.
fn interrupted(stuck: &Stuck, options: &CallOptions, interrupt: impl FnOnce()) -> (Error, Duration) {
    thread::scope(|scope| {
        let call = scope.spawn(|| stuck.put(options));
        // Long enough for the call to get stuck; where a slow machine has it shorter, the test is weaker and still right.
        thread::sleep(Duration::from_millis(150));
        assert!(!call.is_finished(), "{}", stuck.part);
        timed(|| {
            interrupt();
            call.join().unwrap().unwrap_err()
        })
    })
}

#[test]
fn a_time_limit_bounds_every_part_of_a_call_and_says_which_it_was() {
    let stuck = stuck_everywhere();
    thread::scope(|scope| {
        for stuck in &stuck {
            scope.spawn(move || {
                let (ended, took) = timed(|| stuck.put(&within(LIMIT)));
                let error = ended.unwrap_err();
                let part = stuck.part;
                assert!(matches!(error, Error::Deadline { phase, .. } if phase == stuck.phase), "{part}: {error:?}");
                assert_eq!(error.may_have_applied(), stuck.may_have_applied, "{part}");
                assert!(took >= LIMIT && took < LIMIT + SLACK, "{part}: {took:?}");
            });
        }
    });
}

#[test]
fn a_time_limit_bounds_a_call_that_holds_a_cancel_token_too() {
    let stuck = stuck_everywhere();
    thread::scope(|scope| {
        for stuck in &stuck {
            scope.spawn(move || {
                let options = CallOptions { cancel: Some(token()), ..within(LIMIT) };
                let (ended, took) = timed(|| stuck.put(&options));
                let part = stuck.part;
                let error = ended.unwrap_err();
                assert!(matches!(error, Error::Deadline { phase, .. } if phase == stuck.phase), "{part}: {error:?}");
                assert!(took >= LIMIT && took < LIMIT + SLACK, "{part}: {took:?}");
            });
        }
    });
}

#[test]
fn a_triggered_token_ends_a_call_in_every_part_of_it() {
    for stuck in stuck_everywhere() {
        let cancel = token();
        let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(cancel.clone()) };
        let (error, took) = interrupted(&stuck, &options, || cancel.trigger());
        assert!(matches!(error, Error::Cancelled { .. }), "{}: {error:?}", stuck.part);
        assert_eq!(error.may_have_applied(), stuck.may_have_applied, "{}", stuck.part);
        assert!(took < SLACK, "{}: {took:?}", stuck.part);
    }
}

#[test]
fn closing_the_client_ends_a_call_in_every_part_of_it() {
    for stuck in stuck_everywhere() {
        let options = CallOptions { timeout: TimeLimit::Never, cancel: None };
        let (error, took) = interrupted(&stuck, &options, || stuck.client.close());
        assert!(matches!(error, Error::Closed { .. }), "{}: {error:?}", stuck.part);
        assert_eq!(error.may_have_applied(), stuck.may_have_applied, "{}", stuck.part);
        assert!(took < SLACK, "{}: {took:?}", stuck.part);
    }
}

#[test]
fn closing_the_client_ends_a_call_that_holds_a_token_too() {
    for stuck in stuck_everywhere() {
        let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(token()) };
        let (error, took) = interrupted(&stuck, &options, || stuck.client.close());
        assert!(matches!(error, Error::Closed { .. }), "{}: {error:?}", stuck.part);
        assert!(took < SLACK, "{}: {took:?}", stuck.part);
    }
}

#[test]
fn a_token_that_is_triggered_already_ends_a_call_before_anything_is_sent() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    let cancel = token();
    cancel.trigger();
    let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(cancel) };
    let error = put_with(&client, b"key", b"value", &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }) && !error.may_have_applied(), "{error:?}");
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn a_limit_that_has_passed_ends_a_call_before_anything_is_sent() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    let error = put_with(&client, b"key", b"value", &within(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }) && !error.may_have_applied(), "{error:?}");
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn a_closed_client_takes_no_call_and_sends_nothing() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    client.close();
    for client in [client.clone(), client] {
        let error = put(&client, b"key", b"value").unwrap_err();
        assert!(matches!(error, Error::Closed { .. }) && !error.may_have_applied(), "{error:?}");
    }
    assert_eq!(gateway.requests().len(), 1);
}

#[test]
fn one_token_ends_all_the_calls_that_hold_it_and_no_other() {
    let gate = Gate::new();
    let may_answer = gate.clone();
    let gateway = FakeGateway::start(move |_, reply| {
        may_answer.wait();
        reply.json("{}");
    });
    let client = common::client(gateway.url());
    let cancel = token();
    let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(cancel.clone()) };
    thread::scope(|scope| {
        let held: Vec<_> = (0..4).map(|_| scope.spawn(|| get_with(&client, b"key", &options))).collect();
        let other = scope.spawn(|| get(&client, b"key"));
        common::wait_until(LONG, || gateway.requests().len() == 5);
        let ((), took) = timed(|| {
            cancel.trigger();
            for call in held {
                assert!(matches!(call.join().unwrap(), Err(Error::Cancelled { .. })));
            }
        });
        assert!(took < SLACK, "{took:?}");
        gate.open();
        other.join().unwrap().unwrap();
    });
}

#[test]
fn a_client_is_usable_after_a_call_that_was_ended_early() {
    let gateway = FakeGateway::start(|request, reply| match request.connection {
        0 => reply.hold(),
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    put_with(&client, b"key", b"value", &within(Duration::from_millis(100))).unwrap_err();
    put(&client, b"key", b"value").unwrap();
    assert_eq!(gateway.connections(), 2);
}

#[test]
fn a_call_that_gives_no_limit_has_the_clients() {
    let gateway = FakeGateway::start(|_, reply| reply.hold());
    let settings = Config { timeout: TimeLimit::After(LIMIT), ..config(gateway.url()) };
    let (answer, took) = timed(|| put(&Client::new(settings).unwrap(), b"key", b"value"));
    assert!(matches!(answer, Err(Error::Deadline { .. })));
    assert!(took >= LIMIT && took < LIMIT + SLACK, "{took:?}");
}

#[test]
fn a_call_without_a_limit_waits_for_an_answer_that_comes_late() {
    let gate = Gate::new();
    let may_answer = gate.clone();
    let gateway = FakeGateway::start(move |_, reply| {
        may_answer.wait();
        reply.json("{}");
    });
    let settings = Config { timeout: TimeLimit::After(LIMIT), ..config(gateway.url()) };
    let client = Client::new(settings).unwrap();
    thread::scope(|scope| {
        let options = CallOptions { timeout: TimeLimit::Never, cancel: None };
        let call = scope.spawn({
            let client = client.clone();
            move || get_with(&client, b"key", &options).map(drop)
        });
        thread::sleep(2 * LIMIT);
        assert!(!call.is_finished());
        gate.open();
        call.join().unwrap().unwrap();
    });
}

#[test]
fn a_short_limit_after_a_long_one_and_a_long_one_after_a_short_one_both_hold_on_one_connection() {
    let gateway = FakeGateway::start(|request, reply| {
        let is_slow = request.json()["key"] == "c2xvdw==";
        thread::sleep(Duration::from_millis(if is_slow { 300 } else { 0 }));
        reply.json("{}");
    });
    let client = common::client(gateway.url());
    for _ in 0..2 {
        put_with(&client, b"fast", b"", &within(LONG)).unwrap();
        put_with(&client, b"fast", b"", &within(Duration::from_millis(100))).unwrap();
        put_with(&client, b"slow", b"", &within(LONG)).unwrap();
    }
    assert_eq!(gateway.connections(), 1);
    let (answer, took) = timed(|| put_with(&client, b"slow", b"", &within(Duration::from_millis(100))));
    assert!(matches!(answer, Err(Error::Deadline { .. })));
    assert!(took < Duration::from_millis(290), "{took:?}");
}

#[test]
fn a_frozen_server_costs_the_limit_and_no_more() {
    let version = common::versions().pop().unwrap();
    let etcd = Etcd::start(&version);
    let client = common::client(&etcd.url());
    put(&client, b"key", b"value").unwrap();
    etcd.stop();
    let (answer, took) = timed(|| put_with(&client, b"key", b"value", &within(LIMIT)));
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Deadline { phase: Phase::Receiving, .. }), "{error:?}");
    assert!(error.may_have_applied() && took < LIMIT + SLACK);
    etcd.cont();
    common::wait_until(LONG, || get(&client, b"key").is_ok());
}

#[test]
fn a_client_leaves_no_connection_behind() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    let clone = client.clone();
    drop(client);
    put(&clone, b"key", b"value").unwrap();
    drop(clone);
    common::wait_until(LONG, || gateway.open_connections() == 0);
    let client = common::client(gateway.url());
    client.api_path(&plain()).unwrap();
    client.close();
    common::wait_until(LONG, || gateway.open_connections() == 0);
    drop(TcpStream::connect(gateway.url().replace("http://", "")).unwrap());
}
