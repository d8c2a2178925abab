//! The API path: given, or found by asking the server for its version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{FakeGateway, Request, config, get, on_each_version, plain, put};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn with_path(url: &str, api_path: Option<&str>) -> Client {
    Client::new(Config { api_path: api_path.map(str::to_owned), ..config(url) }).unwrap()
}

/// A gateway of one version: it answers below that version's API path and nowhere else.
fn gateway_of(version: &'static str, api_path: &'static str) -> FakeGateway {
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/version" => reply.json(format!(r#"{{"etcdserver":"{version}","etcdcluster":"{version}"}}"#)),
        path if path.starts_with(api_path) => reply.json("{}"),
        _ => reply.status("404 Not Found", "404 page not found\n"),
    })
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

#[test]
fn a_given_path_is_taken_with_and_without_slashes_and_the_server_is_not_asked() {
    for given in ["/v3/", "/v3", "v3/", "v3", "//v3//"] {
        let gateway = FakeGateway::answering("{}");
        let client = with_path(gateway.url(), Some(given));
        put(&client, b"key", b"value").unwrap();
        assert_eq!(paths(&gateway.requests()), ["/v3/kv/put"], "{given}");
        assert_eq!(&*client.api_path(&plain()).unwrap(), "/v3/");
    }
    let gateway = FakeGateway::answering("{}");
    put(&with_path(gateway.url(), Some("/behind/a/proxy/v3")), b"key", b"value").unwrap();
    assert_eq!(paths(&gateway.requests()), ["/behind/a/proxy/v3/kv/put"]);
}

#[test]
fn a_path_that_cannot_stand_in_a_url_is_refused() {
    for given in ["", "/", "/v 3/", "/v3?x", "/v3#x", "/v3\r\nHost: x", "/v3\0", "/é/"] {
        let error =
            Client::new(Config { api_path: Some(given.to_owned()), ..config("http://127.0.0.1") }).err().unwrap();
        assert!(error.to_string().contains("api_path"), "{given:?}: {error}");
    }
}

#[test]
fn every_version_has_its_path_pre_releases_too_and_it_is_asked_for_once() {
    for (version, api_path) in [
        ("3.2.32", "/v3alpha/"),
        ("3.3.27", "/v3beta/"),
        ("3.4.0", "/v3/"),
        ("3.4.23", "/v3/"),
        ("3.5.30+git", "/v3/"),
        ("3.6.0-rc.1", "/v3/"),
        ("3.8.0-alpha.0", "/v3/"),
        ("3.11.2", "/v3/"),
        ("4.0.0", "/v3/"),
    ] {
        let gateway = gateway_of(version, api_path);
        let client = with_path(gateway.url(), None);
        put(&client, b"key", b"value").unwrap();
        put(&client, b"key", b"value").unwrap();
        let put = format!("{api_path}kv/put");
        assert_eq!(paths(&gateway.requests()), ["/version", &put, &put], "{version}");
        assert_eq!(gateway.connections(), 1);
        assert_eq!(&*client.api_path(&plain()).unwrap(), api_path);
    }
}

#[test]
fn a_server_that_does_not_tell_its_version_is_an_error_of_its_own_that_quotes_it() {
    for (status, body) in [
        ("200 OK", "<html>Welcome</html>"),
        ("200 OK", r#"{"etcdcluster":"3.5.0"}"#),
        ("200 OK", r#"{"etcdserver":"not_decided"}"#),
        ("200 OK", r#"{"etcdserver":3}"#),
        ("200 OK", r#"{"etcdserver":"3"}"#),
        ("200 OK", ""),
        ("404 Not Found", "404 page not found"),
        ("503 Service Unavailable", r#"{"code":14,"message":"overloaded"}"#),
    ] {
        let gateway = FakeGateway::start(move |_, reply| reply.status(status, body));
        let error = put(&with_path(gateway.url(), None), b"key", b"value").unwrap_err();
        assert!(matches!(error, Error::VersionDiscovery { .. }), "{body}: {error:?}");
        let told = error.to_string();
        assert!(told.contains(gateway.url()) && told.contains(&body.escape_debug().to_string()), "{told}");
        assert!(!error.may_have_applied());
        assert_eq!(paths(&gateway.requests()), ["/version"]);
    }
}

#[test]
fn an_endpoint_that_does_not_tell_its_version_is_passed_over() {
    let (broken, gateway) = (FakeGateway::answering("<html>"), gateway_of("3.5.35", "/v3/"));
    let client = with_path(&format!("{},{}", broken.url(), gateway.url()), None);
    put(&client, b"key", b"value").unwrap();
    assert_eq!(paths(&gateway.requests()), ["/version", "/v3/kv/put"]);
}

#[test]
fn a_version_answer_that_breaks_off_loses_no_write() {
    let count = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/version" if count.fetch_add(1, Ordering::SeqCst) == 0 => reply.close(),
        "/version" => reply.json(r#"{"etcdserver":"3.6.16"}"#),
        _ => reply.json("{}"),
    });
    let client = with_path(gateway.url(), None);
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && !error.may_have_applied(), "{error:?}");
    put(&client, b"key", b"value").unwrap();
}

#[test]
fn a_path_that_was_found_is_asked_for_again_when_the_server_no_longer_has_it() {
    static VERSION: Mutex<(&str, &str)> = Mutex::new(("3.3.27", "/v3beta/"));
    let gateway = FakeGateway::start(|request, reply| {
        let (version, api_path) = *VERSION.lock().unwrap();
        match request.path.as_str() {
            "/version" => reply.json(format!(r#"{{"etcdserver":"{version}"}}"#)),
            path if path.starts_with(api_path) => reply.json("{}"),
            _ => reply.status("404 Not Found", "404 page not found\n"),
        }
    });
    let client = with_path(gateway.url(), None);
    put(&client, b"key", b"value").unwrap();
    *VERSION.lock().unwrap() = ("3.4.0", "/v3/");
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Protocol { http_status: 404, .. }) && !error.may_have_applied(), "{error:?}");
    put(&client, b"key", b"value").unwrap();
    assert_eq!(gateway.count("/version"), 2);
}

#[test]
fn a_missing_lease_is_not_taken_for_a_missing_path() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/version" => reply.json(r#"{"etcdserver":"3.6.16"}"#),
        _ => reply.status("404 Not Found", r#"{"code":5,"message":"etcdserver: requested lease not found"}"#),
    });
    let client = with_path(gateway.url(), None);
    for _ in 0..3 {
        let error = client.lease_revoke(1, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::NotFound, .. }), "{error:?}");
    }
    assert_eq!(gateway.count("/version"), 1);
}

#[test]
fn other_endpoints_may_be_of_another_version() {
    let (old, new) = (gateway_of("3.3.27", "/v3beta/"), gateway_of("3.6.16", "/v3/"));
    let client = with_path(old.url(), None);
    put(&client, b"key", b"value").unwrap();
    client.set_endpoints(new.url()).unwrap();
    put(&client, b"key", b"value").unwrap();
    assert_eq!(paths(&new.requests()), ["/version", "/v3/kv/put"]);
}

#[test]
fn the_path_of_real_servers_is_found() {
    on_each_version(|etcd| {
        let client = with_path(&etcd.url(), None);
        assert_eq!(&*client.api_path(&plain()).unwrap(), "/v3/");
        get(&client, b"key").unwrap();
    });
}
