//! Which endpoint a call goes to, and where it goes on when that one fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{BlackHole, FakeGateway, config, get, get_with, plain, put, put_with, timed, within};
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Code, Error};
use std::net::TcpListener;
use std::time::Duration;

const PUT: &str = "/v3/kv/put";
const RANGE: &str = "/v3/kv/range";

/// The URL of a port that nobody listens on.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn status(status: &'static str, body: &'static str) -> FakeGateway {
    FakeGateway::start(move |_, reply| reply.status(status, body))
}

#[test]
fn an_endpoint_that_refuses_connections_is_passed_over_by_writes_too() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{},{}", refusing(), refusing(), gateway.url()));
    put(&client, b"key", b"value").unwrap();
    assert_eq!(&*client.base_url(), gateway.url());
    put(&client, b"key", b"value").unwrap();
    assert_eq!((gateway.count(PUT), gateway.connections()), (2, 1));
}

#[test]
fn when_no_endpoint_takes_a_connection_nothing_was_sent_and_the_error_names_one() {
    let urls = [refusing(), refusing()];
    let client = common::client(&urls.join(","));
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(!error.may_have_applied() && error.is_retryable());
    assert!(urls.iter().any(|url| **url == **error.endpoint().unwrap()));
    assert!(error.full_message().contains("Connection refused"), "{}", error.full_message());
}

#[test]
fn a_client_comes_back_to_an_endpoint_that_recovered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = common::client(&format!("http://{address}"));
    get(&client, b"key").unwrap_err();
    let _gateway = FakeGateway::start_at(&address.to_string(), |_, reply| reply.json("{}"));
    get(&client, b"key").unwrap();
}

#[test]
fn an_endpoint_that_does_not_answer_connection_attempts_costs_the_connect_timeout_at_most() {
    let (hole, gateway) = (BlackHole::new(), FakeGateway::answering("{}"));
    let endpoints = format!("{},{}", hole.url(), gateway.url());
    let settings = Config { connect_timeout: Duration::from_millis(300), ..config(&endpoints) };
    let client = Client::new(settings).unwrap();
    let (answer, took) = timed(|| put_with(&client, b"key", b"value", &within(Duration::from_secs(60))));
    answer.unwrap();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_endpoint_that_does_not_answer_connection_attempts_leaves_time_for_the_others() {
    let (holes, gateway) = ([BlackHole::new(), BlackHole::new()], FakeGateway::answering("{}"));
    let client = common::client(&format!("{},{},{}", holes[0].url(), holes[1].url(), gateway.url()));
    let (answer, took) = timed(|| put_with(&client, b"key", b"value", &within(Duration::from_millis(1500))));
    answer.unwrap();
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_single_endpoint_that_does_not_answer_connection_attempts_is_an_error_after_the_connect_timeout() {
    let hole = BlackHole::new();
    let settings = Config { connect_timeout: Duration::from_millis(200), ..config(&hole.url()) };
    let (answer, took) = timed(|| put(&Client::new(settings).unwrap(), b"key", b"value"));
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(!error.may_have_applied());
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn without_retries_the_first_failure_is_the_calls() {
    let gateway = FakeGateway::answering("{}");
    let settings = Config { max_retries: Some(0), ..config(&format!("{},{}", refusing(), gateway.url())) };
    let client = Client::new(settings).unwrap();
    assert!(matches!(get(&client, b"key").unwrap_err(), Error::Connect { .. }));
    assert_eq!(gateway.connections(), 0);
    get(&client, b"key").unwrap();
}

#[test]
fn a_read_that_a_member_cannot_serve_goes_to_another_one() {
    for (line, body) in [
        ("503 Service Unavailable", r#"{"code":14,"message":"etcdserver: no leader"}"#),
        (
            "503 Service Unavailable",
            r#"{"error":"etcdserver: leader changed","code":14,"message":"etcdserver: leader changed"}"#,
        ),
        ("503 Service Unavailable", "<html>overloaded</html>"),
        ("502 Bad Gateway", "no upstream"),
    ] {
        let (failing, gateway) = (status(line, body), FakeGateway::answering("{}"));
        let client = common::client(&format!("{},{}", failing.url(), gateway.url()));
        get(&client, b"key").unwrap();
        assert_eq!((failing.count(RANGE), gateway.count(RANGE)), (1, 1), "{body}");
    }
}

#[test]
fn a_read_that_a_member_refuses_is_not_taken_elsewhere() {
    for (line, body) in [
        ("400 Bad Request", r#"{"code":11,"message":"etcdserver: mvcc: required revision has been compacted"}"#),
        ("403 Forbidden", r#"{"code":7,"message":"etcdserver: permission denied"}"#),
        ("404 Not Found", "404 page not found\n"),
    ] {
        let (failing, gateway) = (status(line, body), FakeGateway::answering("{}"));
        let client = common::client(&format!("{},{}", failing.url(), gateway.url()));
        get(&client, b"key").unwrap_err();
        assert_eq!(gateway.count(RANGE), 0, "{body}");
        assert_eq!(&*client.base_url(), failing.url());
    }
}

#[test]
fn a_write_whose_fate_is_open_is_not_made_again() {
    for (line, body) in [
        ("503 Service Unavailable", r#"{"code":14,"message":"etcdserver: request timed out"}"#),
        ("504 Gateway Timeout", r#"{"code":4,"message":"context deadline exceeded"}"#),
        ("500 Internal Server Error", r#"{"error":"x","message":"context deadline exceeded","code":2}"#),
        ("502 Bad Gateway", "<html>upstream sent nothing</html>"),
    ] {
        let (failing, gateway) = (status(line, body), FakeGateway::answering("{}"));
        let client = common::client(&format!("{},{}", failing.url(), gateway.url()));
        let error = put(&client, b"key", b"value").unwrap_err();
        assert!(error.may_have_applied() && !error.is_retryable(), "{error:?}");
        assert_eq!((failing.count(PUT), gateway.count(PUT)), (1, 0), "{body}");
    }
}

#[test]
fn a_write_that_was_certainly_refused_for_now_goes_to_another_member() {
    let failing = status("429 Too Many Requests", r#"{"code":8,"message":"etcdserver: too many requests"}"#);
    let gateway = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{}", failing.url(), gateway.url()));
    put(&client, b"key", b"value").unwrap();
    assert_eq!((failing.count(PUT), gateway.count(PUT)), (1, 1));
}

#[test]
fn endpoints_are_exchanged_while_the_client_is_used() {
    let (first, second) = (FakeGateway::answering("{}"), FakeGateway::answering("{}"));
    let client = common::client(first.url());
    put(&client, b"key", b"value").unwrap();
    client.set_endpoints(second.url()).unwrap();
    put(&client, b"key", b"value").unwrap();
    assert_eq!((first.count(PUT), second.count(PUT)), (1, 1));
    common::wait_until(common::LONG, || first.open_connections() == 0);
    for wrong in ["", " , ", "ftp://a", "http://a/path"] {
        let error = client.set_endpoints(wrong).unwrap_err();
        assert!(error.to_string().contains("endpoints"), "{error}");
    }
    put(&client, b"key", b"value").unwrap();
    assert_eq!(second.count(PUT), 2);
}

#[test]
fn tls_settings_are_refused_for_an_endpoint_that_does_without() {
    let tls = TlsConfig { ca_cert: Some(Pem::Memory(Vec::new())), ..TlsConfig::default() };
    for tls in [tls, TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() }] {
        let error = Client::new(Config { tls, ..config("http://127.0.0.1:1") }).err().unwrap();
        assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    }
}

#[test]
fn the_state_of_one_member_is_asked_of_that_member_alone() {
    let (first, second) = (FakeGateway::answering("{}"), FakeGateway::answering(r#"{"version":"3.6.16"}"#));
    let client = common::client(first.url());
    assert_eq!(client.status(Some(second.url()), &plain()).unwrap().version, "3.6.16");
    assert_eq!((first.requests().len(), second.requests().len()), (0, 1));
    let error = client.status(Some(&refusing()), &plain()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert_eq!(first.requests().len(), 0);
    assert!(client.status(Some("ftp://x"), &plain()).unwrap_err().to_string().contains("ftp://x"));
}

#[test]
fn the_members_that_answer_are_adopted_and_the_configured_endpoints_stay_behind_them() {
    let member = FakeGateway::answering(r#"{"etcdserver":"3.6.16","etcdcluster":"3.6.0"}"#);
    let (learner, dead) = (FakeGateway::answering("{}"), refusing());
    let list = format!(
        r#"{{"members":[{{"ID":"1","name":"a","clientURLs":["{dead}","{}"]}},
        {{"ID":"2","name":"b","clientURLs":["{}"],"isLearner":true}},{{"ID":"3","peerURLs":["http://127.0.0.1:9"]}}]}}"#,
        member.url(),
        learner.url()
    );
    let configured = FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/cluster/member/list" => reply.json(&list),
        _ => reply.close(),
    });
    let client = common::client(configured.url());
    client.sync_endpoints(&plain()).unwrap();
    get(&client, b"key").unwrap();
    assert_eq!((member.count(RANGE), learner.connections()), (1, 0));
    drop(member);
    let error = get_with(&client, b"key", &within(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, Error::Lost { .. } | Error::Connect { .. }), "{error:?}");
    assert!(configured.count(RANGE) >= 1);
}

#[test]
fn a_code_of_the_server_is_told_from_the_clients_own() {
    let failing = status("504 Gateway Timeout", r#"{"code":4,"message":"context deadline exceeded"}"#);
    let limit = within(Duration::from_millis(300));
    let error = get_with(&common::client(failing.url()), b"key", &limit).unwrap_err();
    assert!(matches!(error, Error::Server { code: Code::DeadlineExceeded, http_status: 504, .. }), "{error:?}");
}
