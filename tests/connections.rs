//! What becomes of a call when its connection ends: a write is never made twice, and nothing fails that was not sent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{DONE, FakeGateway, Fault, Gate, LONG, Proxy, config, get, plain, put, put_with, with_length, within};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use std::io::Read;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

const PUT: &str = "/v3/kv/put";
const RANGE: &str = "/v3/kv/range";

#[test]
fn calls_one_after_another_share_a_connection() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    for _ in 0..5 {
        put(&client, b"key", b"value").unwrap();
        get(&client, b"key").unwrap();
    }
    assert_eq!((gateway.connections(), gateway.requests().len()), (1, 10));
}

#[test]
fn a_connection_that_the_server_closed_while_it_was_idle_fails_no_call() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    for round in 1..=5 {
        put(&client, b"key", b"value").unwrap();
        gateway.close_connections();
        assert_eq!((gateway.connections(), gateway.count(PUT)), (round, round));
    }
}

#[test]
fn a_connection_that_was_reset_while_it_was_idle_fails_no_call() {
    let gate = Gate::new();
    let may_reset = gate.clone();
    let gateway = FakeGateway::start(move |request, reply| {
        reply.json("{}");
        if request.connection == 0 {
            may_reset.wait();
            reply.reset();
        }
    });
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    gate.open();
    common::wait_until(LONG, || gateway.open_connections() == 0);
    put(&client, b"key", b"value").unwrap();
    assert_eq!((gateway.connections(), gateway.count(PUT)), (2, 2));
}

#[test]
fn a_write_that_was_sent_and_not_answered_is_lost_and_never_sent_again() {
    let gateway = FakeGateway::start(|_, reply| reply.close());
    let other = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{}", gateway.url(), other.url()));
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(error.may_have_applied() && !error.is_retryable());
    assert_eq!(&**error.endpoint().unwrap(), gateway.url());
    assert_eq!((gateway.count(PUT), other.count(PUT)), (1, 0));
}

#[test]
fn a_write_on_a_connection_that_was_idle_is_not_sent_again_either() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        PUT => reply.close(),
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    get(&client, b"key").unwrap();
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(error.may_have_applied(), "{error:?}");
    assert_eq!((gateway.connections(), gateway.count(PUT)), (1, 1));
    get(&client, b"key").unwrap();
}

#[test]
fn a_write_whose_answer_broke_off_is_not_sent_again() {
    let gateway = FakeGateway::sending("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"header\"");
    let client = common::client(&format!("{},{}", gateway.url(), gateway.url().replace("127.0.0.1", "localhost")));
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && error.may_have_applied(), "{error:?}");
    assert_eq!(gateway.count(PUT), 1);
}

#[test]
fn a_write_whose_last_byte_was_not_taken_goes_on_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reader = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Closed with something unread: that is a reset.
        stream.read_exact(&mut [0; 1000]).unwrap();
    });
    let other = FakeGateway::answering("{}");
    let client = common::client(&format!("{url},{}", other.url()));
    put(&client, b"key", &vec![b'v'; 32 << 20]).unwrap();
    assert_eq!(other.count(PUT), 1);
    reader.join().unwrap();
}

#[test]
fn a_read_that_was_not_answered_goes_on_on_another_endpoint() {
    for answer in [&b""[..], b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"] {
        let gateway = FakeGateway::sending(answer);
        let other = FakeGateway::answering(r#"{"kvs":[{"key":"aw==","value":"dg=="}],"count":"1"}"#);
        let client = common::client(&format!("{},{}", gateway.url(), other.url()));
        assert_eq!(get(&client, b"k").unwrap().unwrap(), b"v");
        assert_eq!((gateway.count(RANGE), other.count(RANGE)), (1, 1));
        assert_eq!(&*client.base_url(), other.url());
    }
}

#[test]
fn a_read_that_no_endpoint_answers_is_lost_and_may_be_made_again() {
    let gateways = [FakeGateway::sending(""), FakeGateway::sending("")];
    let client = common::client(&format!("{},{}", gateways[0].url(), gateways[1].url()));
    let error = get(&client, b"k").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(!error.may_have_applied() && error.is_retryable());
    assert_eq!(gateways.map(|gateway| gateway.count(RANGE)), [1, 1]);
}

#[test]
fn a_call_that_is_never_to_be_tried_again_is_sent_once_also_over_an_idle_connection() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/kv/range" => reply.close(),
        _ => reply.json("{}"),
    });
    let client = common::client_without_retries(gateway.url());
    put(&client, b"key", b"value").unwrap();
    assert!(matches!(get(&client, b"key"), Err(Error::Lost { .. })));
    assert_eq!(gateway.count("/v3/kv/range"), 1);
}

#[test]
fn a_read_on_an_idle_connection_that_ends_under_it_is_made_again_on_a_new_one() {
    let gateway = FakeGateway::start(|request, reply| match (request.connection, request.path.as_str()) {
        (0, RANGE) => reply.close(),
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    get(&client, b"key").unwrap();
    assert_eq!((gateway.connections(), gateway.count(RANGE)), (2, 2));
}

/// The end of what was sent over an idle connection whose server went away with it, and how often it had come.
fn ended_with_its_server(path: &'static str, end: impl Fn(&Client) -> Error) -> (Error, usize) {
    let way: Arc<OnceLock<Proxy>> = Arc::default();
    let shut = way.clone();
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        asked if asked == path => {
            shut.get().unwrap().inject(Fault::Refuse);
            reply.close();
        }
        _ => reply.json("{}"),
    });
    let client = common::client(&way.get_or_init(|| Proxy::start(gateway.url())).url());
    put(&client, b"key", b"value").unwrap();
    (end(&client), gateway.count(path))
}

#[test]
fn what_was_sent_over_an_idle_connection_may_have_been_done_though_no_new_one_can_be_made() {
    let (error, count) = ended_with_its_server("/v3/maintenance/transfer-leadership", |client| {
        client.move_leader(1, &plain()).unwrap_err()
    });
    assert!(error.may_have_applied() && error.is_retryable(), "{error:?}");
    assert!(matches!(error, Error::Lost { .. }) && count == 1, "{error:?}");
    let (error, count) = ended_with_its_server("/v3/lease/revoke", |client| {
        client.lease_revoke(1, &within(Duration::from_millis(300))).unwrap_err()
    });
    assert!(error.may_have_applied() && count == 1, "{error:?}");
    let (error, count) = ended_with_its_server(RANGE, |client| get(client, b"key").unwrap_err());
    assert!(!error.may_have_applied() && count == 1, "{error:?}");
    assert!(matches!(error, Error::Connect { .. }), "why a read has no answer: {error:?}");
}

#[test]
fn a_connection_with_something_left_over_is_not_used_again() {
    let left_over = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    let answer = with_length(DONE) + left_over;
    let gateway = FakeGateway::start(move |_, reply| reply.raw(&answer));
    let client = common::client(gateway.url());
    for _ in 0..3 {
        put(&client, b"key", b"value").unwrap();
    }
    assert_eq!(gateway.connections(), 3);
}

#[test]
fn a_connection_that_the_server_will_close_is_not_used_again() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 28\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 28\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let gateway = FakeGateway::sending(format!("{head}{DONE}"));
        let client = common::client(gateway.url());
        for count in 1..=3 {
            put(&client, b"key", b"value").unwrap();
            assert_eq!(gateway.connections(), count, "{head}");
        }
    }
}

#[test]
fn no_more_connections_are_kept_than_configured() {
    let gate = Gate::new();
    let may_answer = gate.clone();
    let gateway = FakeGateway::start(move |_, reply| {
        may_answer.wait();
        reply.json("{}");
    });
    let client = Client::new(Config { max_idle_connections: 2, ..config(gateway.url()) }).unwrap();
    thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| put(&client, b"key", b"value").map(drop))).collect();
        common::wait_until(LONG, || gateway.connections() == 6);
        gate.open();
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
    });
    common::wait_until(LONG, || gateway.open_connections() == 2);
    put(&client, b"key", b"value").unwrap();
    assert_eq!(gateway.connections(), 6);
}

#[test]
fn a_connection_to_where_no_call_goes_any_more_is_not_kept() {
    let (asked, may_answer) = (Gate::new(), Gate::new());
    let (has_asked, answers) = (asked.clone(), may_answer.clone());
    let old = FakeGateway::start(move |_, reply| {
        has_asked.open();
        answers.wait();
        reply.json("{}");
    });
    let [new, stranger] = [FakeGateway::answering("{}"), FakeGateway::answering("{}")];
    let client = common::client(old.url());
    thread::scope(|scope| {
        let call = scope.spawn(|| get(&client, b"key"));
        asked.wait();
        client.set_endpoints(new.url()).unwrap();
        may_answer.open();
        call.join().unwrap().unwrap();
    });
    client.status(Some(stranger.url()), &plain()).unwrap();
    put(&client, b"key", b"value").unwrap();
    common::wait_until(LONG, || old.open_connections() + stranger.open_connections() == 0);
    assert_eq!(new.open_connections(), 1);
}

#[test]
fn many_threads_share_a_client() {
    let gateway = FakeGateway::start(|request, reply| {
        let key = request.json()["key"].as_str().unwrap().to_owned();
        reply.json(format!(r#"{{"kvs":[{{"key":"{key}","value":"{key}"}}],"count":"1"}}"#));
    });
    let client = common::client(gateway.url());
    thread::scope(|scope| {
        for thread in 0..8 {
            let client = &client;
            scope.spawn(move || {
                for i in 0..50 {
                    let key = format!("{thread}/{i}").into_bytes();
                    assert_eq!(get(client, &key).unwrap().unwrap(), key);
                }
            });
        }
    });
    assert!(gateway.connections() <= 8);
    assert_eq!(gateway.requests().len(), 400);
}

#[test]
fn a_server_that_closes_connections_all_the_time_fails_no_read() {
    let count = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |_, reply| {
        reply.json("{}");
        if count.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            reply.close();
        }
    });
    let client = common::client(gateway.url());
    for _ in 0..200 {
        get(&client, b"key").unwrap();
    }
}

#[test]
fn a_request_says_what_it_is() {
    let gateway = FakeGateway::answering(r#"{"ID":"5"}"#);
    let client = common::client(gateway.url());
    put_with(&client, b"key", b"value", &within(LONG)).unwrap();
    let request = gateway.last();
    assert_eq!(request.verb, "POST");
    assert_eq!(request.header("host").unwrap(), gateway.url().strip_prefix("http://").unwrap());
    assert_eq!(request.header("content-type").unwrap(), "application/json");
    assert_eq!(request.header("content-length").unwrap(), request.body.len().to_string());
    assert!(request.header("user-agent").unwrap().starts_with("libetcdgw/"));
    assert_eq!(request.json(), serde_json::json!({"key": "a2V5", "value": "dmFsdWU="}));
    client.lease_grant(60, 5, &plain()).unwrap();
    assert_eq!(gateway.last().json(), serde_json::json!({"TTL": "60", "ID": "5"}));
}
