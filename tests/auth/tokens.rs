//! Where a token goes, and where not.

use crate::common::{FakeGateway, Gate, LONG, config, get, plain, put, wait_until};
use crate::door::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use std::thread;

#[test]
fn a_question_for_the_version_carries_no_token() {
    let lock = Lock::new(INVALID_TOKEN);
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/version" => reply.json(r#"{"etcdserver":"3.6.16","etcdcluster":"3.6.0"}"#),
        LOGIN => lock.issue(request, reply),
        _ if lock.admits(request, reply) => reply.json("{}"),
        _ => {}
    });
    let credentials = user("user", "right");
    let client = Client::new(Config { api_path: None, credentials, ..config(gateway.url()) }).unwrap();
    put(&client, b"key", b"value").unwrap();
    let asked = gateway.requests().into_iter().find(|request| request.path == "/version").unwrap();
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn a_member_that_is_none_of_the_clients_endpoints_gets_no_token() {
    let (ours, stranger) = (locked_gateway(&Lock::new(INVALID_TOKEN)), FakeGateway::answering("{}"));
    let client = client_as(ours.url(), user("user", "right"));
    client.status(Some(ours.url()), &plain()).unwrap();
    assert_eq!(ours.last().header("authorization"), Some("token-1"));
    client.status(Some(stranger.url()), &plain()).unwrap();
    assert_eq!((stranger.requests().len(), stranger.last().header("authorization")), (1, None));
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = FakeGateway::answering("{}");
    let location =
        format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let gateway = FakeGateway::start(move |_, reply| reply.raw(&location));
    let client = client_as(gateway.url(), Credentials::Token("secret".into()));
    put(&client, b"key", b"value").unwrap_err();
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn other_endpoints_get_a_token_of_their_own() {
    let (first, second) = (Lock::new(INVALID_TOKEN), Lock::new(INVALID_TOKEN));
    second.take("nobody's");
    let (first, second) = (locked_gateway(&first), locked_gateway(&second));
    let client = client_as(first.url(), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    client.set_endpoints(second.url()).unwrap();
    put(&client, b"key", b"value").unwrap();
    let paths: Vec<String> = second.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, [LOGIN, PUT], "the first one's token never went there");
}

#[test]
fn a_log_in_under_way_when_the_endpoints_are_replaced_gives_the_new_ones_no_token() {
    let (first, second, gate) = (Lock::new(INVALID_TOKEN), Lock::new(INVALID_TOKEN), Gate::new());
    second.take("nobody's");
    let (first, second) = (slow_gateway(&first, &gate), locked_gateway(&second));
    let client = client_as(first.url(), user("user", "right"));
    thread::scope(|scope| {
        let call = scope.spawn(|| put(&client, b"key", b"value"));
        wait_until(LONG, || first.count(LOGIN) == 1);
        client.set_endpoints(second.url()).unwrap();
        gate.open();
        call.join().unwrap().unwrap();
    });
    put(&client, b"key", b"value").unwrap();
    let paths: Vec<String> = second.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, [LOGIN, PUT], "the token of the first one's never went there");
}

#[test]
fn a_token_as_long_as_a_signed_one_goes_through() {
    let token = "eyJhbGciOiJSUzUxMiJ9.".to_owned() + &"a1-_".repeat(1000);
    let lock = Lock::new(INVALID_TOKEN);
    lock.take(&token);
    let (answer, locked) = (format!(r#"{{"token":"{token}"}}"#), lock.clone());
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN => reply.json(&answer),
        _ if locked.admits(request, reply) => reply.json("{}"),
        _ => {}
    });
    let client = client_as(gateway.url(), user("user", "right"));
    put(&client, b"key", &vec![b'v'; 200_000]).unwrap();
    get(&client, b"key").unwrap();
    assert_eq!(gateway.connections(), 1);
}

#[test]
fn a_log_in_of_the_callers_own_carries_no_token() {
    let gateway = locked_gateway(&Lock::new(INVALID_TOKEN));
    let client = client_as(gateway.url(), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    let answer = client.post("/auth/authenticate", br#"{"name":"other","password":"right"}"#, &plain()).unwrap();
    assert!(String::from_utf8(answer.body).unwrap().contains("token-2"));
    assert_eq!(gateway.last().header("authorization"), None);
}
