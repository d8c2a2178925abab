//! No password and no token in an error or a line of the log, whatever a server sends back.

use crate::common::{FakeGateway, config, get, plain, put, within};
use crate::door::*;
use crate::watching::{one, refusal};
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use etcdgw::error::Error;
use std::time::Duration;

const PASSWORD: &str = "pass-W0RD";
const TOKEN: &str = "token-S3CRET.17";

/// A client whose every line is kept.
fn logged(endpoints: &str, credentials: Credentials) -> (Client, Lines) {
    let lines = Lines::default();
    (Client::new(Config { credentials, log: lines.sink(), ..config(endpoints) }).unwrap(), lines)
}

#[track_caller]
fn assert_secret(lines: &Lines, errors: &[Error]) {
    let mut said = lines.all();
    said.extend(errors.iter().flat_map(|error| [error.full_message(), format!("{error:?}")]));
    for text in said {
        assert!(!text.contains("W0RD") && !text.contains("S3CRET"), "{text}");
    }
}

#[test]
fn a_server_that_sends_back_what_it_got_does_not_bring_it_to_light() {
    for status in ["200 OK", "400 Bad Request", "401 Unauthorized", "404 Not Found", "502 Bad Gateway"] {
        for is_json in [false, true] {
            let gateway = FakeGateway::start(move |request, reply| {
                let text = format!("{} {}", request.header("authorization").unwrap_or("?"), request.head);
                let json = serde_json::json!({ "code": 2, "message": text }).to_string();
                match request.path.as_str() {
                    LOGIN => reply.json(format!(r#"{{"token":"{TOKEN}"}}"#)),
                    _ if is_json => reply.status(status, json),
                    _ => reply.status(status, text),
                }
            });
            for credentials in [user("user", PASSWORD), Credentials::Token(TOKEN.into())] {
                let (client, lines) = logged(gateway.url(), credentials);
                let brief = within(Duration::from_millis(300));
                let errors = [
                    client.lease_revoke(1, &brief).err(),
                    client.lease_list(&brief).err(),
                    client.range(&crate::common::one(b"key"), &brief).err(),
                    client.watch_open(etcdgw::watch::WatchOptions { call: brief.clone(), ..one(b"key") }).err(),
                ];
                assert_secret(&lines, &errors.into_iter().flatten().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_server_that_sends_the_password_back_does_not_bring_it_to_light() {
    for status in ["200 OK", "400 Bad Request", "502 Bad Gateway"] {
        for quoted in [false, true] {
            let gateway = FakeGateway::start(move |request, reply| {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let json = serde_json::json!({ "code": 3, "message": body }).to_string();
                reply.status(status, if quoted { json } else { body });
            });
            let (client, lines) = logged(gateway.url(), user("user", PASSWORD));
            let error = client.range(&crate::common::one(b"key"), &within(Duration::from_millis(300))).unwrap_err();
            assert_secret(&lines, &[error]);
        }
    }
}

#[test]
fn what_an_ordinary_session_says_has_no_secrets() {
    let lock = Lock::new(INVALID_TOKEN);
    let gateway = locked_gateway(&lock);
    let (client, lines) = logged(gateway.url(), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    lock.change();
    get(&client, b"key").unwrap();
    client.set_credentials(user("user", PASSWORD)).unwrap();
    let error = put(&client, b"key", b"value").unwrap_err();
    lock.take(TOKEN);
    client.set_credentials(Credentials::Token(TOKEN.into())).unwrap();
    put(&client, b"key", b"value").unwrap();
    lock.change();
    let other = client.member_list(true, &plain()).unwrap_err();
    assert_secret(&lines, &[error, other]);
    let said = lines.all().join("\n");
    assert!(said.contains("token") && !said.contains("token-1") && !said.contains("right"), "{said}");
}

#[test]
fn what_may_not_be_shown_is_not_shown_for_debugging_either() {
    let shown = format!("{:?} {:?}", user("user", PASSWORD), Credentials::Token(TOKEN.into()));
    assert!(shown.contains("user") && !shown.contains(PASSWORD) && !shown.contains(TOKEN), "{shown}");
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let made = Client::new(config(&format!("http://user:{PASSWORD}@127.0.0.1:2379")));
    let error = refusal(made);
    assert!(!error.full_message().contains(PASSWORD), "{error}");
    assert!(error.full_message().contains("127.0.0.1:2379"), "{error}");
}
