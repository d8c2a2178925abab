//! What a server may refuse, and what becomes of the call then.

use crate::common::{FakeGateway, LONG, config, get, plain, put, timed};
use crate::door::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use etcdgw::error::{Code, Error, Reason};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_token_is_fetched_on_first_use_and_goes_with_every_request() {
    let gateway = locked_gateway(&Lock::new(INVALID_TOKEN));
    let client = client_as(gateway.url(), user("us\"er\\\u{1}é", "right"));
    assert_eq!(gateway.connections(), 0);
    put(&client, b"key", b"value").unwrap();
    get(&client, b"key").unwrap();
    client.lease_grant(60, 7, &plain()).unwrap();
    client.lease_list(&plain()).unwrap();
    client.lease_revoke(7, &plain()).unwrap();
    client.member_list(true, &plain()).unwrap();
    client.status(None, &plain()).unwrap();
    client.status(Some(gateway.url()), &plain()).unwrap();
    client.post("/kv/range", b"{}", &plain()).unwrap();
    let requests = gateway.requests();
    let (login, others) = requests.split_first().unwrap();
    assert_eq!((login.path.as_str(), login.header("authorization")), (LOGIN, None));
    assert_eq!(login.json()["name"], "us\"er\\\u{1}é");
    assert!(others.iter().all(|request| request.header("authorization") == Some("token-1")), "{others:#?}");
    assert_eq!(gateway.count(LOGIN), 1);
}

#[test]
fn whatever_the_refusal_says_a_new_token_is_fetched_once_and_a_write_is_made_again() {
    for refusal in [INVALID_TOKEN, NO_USER, OLD_REVISION] {
        let lock = Lock::new(refusal);
        let gateway = locked_gateway(&lock);
        let client = client_as(gateway.url(), user("user", "right"));
        put(&client, b"key", b"value").unwrap();
        lock.change();
        put(&client, b"key", b"value").unwrap();
        let paths: Vec<String> = gateway.requests().into_iter().map(|request| request.path).collect();
        assert_eq!(paths, [LOGIN, PUT, PUT, LOGIN, PUT], "{refusal:?}");
    }
}

#[test]
fn a_server_that_refuses_what_it_issues_is_not_asked_without_end() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        LOGIN => reply.json(r#"{"token":"worthless"}"#),
        _ => reply.status(INVALID_TOKEN.0, INVALID_TOKEN.1),
    });
    let client = client_as(gateway.url(), user("user", "right"));
    let (result, took) = timed(|| put(&client, b"key", b"value"));
    let error = result.unwrap_err();
    assert!(
        matches!(error, Error::Server { code: Code::Unauthenticated, reason: Reason::InvalidToken, .. }),
        "{error}"
    );
    assert!(!error.may_have_applied());
    assert!(gateway.count(LOGIN) <= 4 && took < LONG, "{} log-ins in {took:?}", gateway.count(LOGIN));
}

#[test]
fn a_wrong_password_is_told_in_the_servers_words_and_tried_once_per_call() {
    let gateway = locked_gateway(&Lock::new(INVALID_TOKEN));
    // The word is in the reason, too.
    let client = client_as(gateway.url(), user("user", "password"));
    for calls in 1..=3 {
        let error = put(&client, b"key", b"value").unwrap_err();
        let Error::Server { code, reason, message, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*code, *reason), (Code::InvalidArgument, Reason::AuthFailed));
        assert_eq!(message, "etcdserver: authentication failed, invalid user ID or password");
        assert!(!error.may_have_applied() && !error.is_retryable());
        assert_eq!((gateway.count(LOGIN), gateway.requests().len()), (calls, calls));
    }
}

#[test]
fn without_authentication_calls_go_on_without_a_token_and_learn_of_it_when_it_is_enabled() {
    let is_enabled = std::sync::Arc::new(AtomicBool::new(false));
    let (lock, enabled) = (Lock::new(NO_USER), is_enabled.clone());
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN if enabled.load(Ordering::SeqCst) => lock.issue(request, reply),
        LOGIN => reply.status(NOT_ENABLED.0, NOT_ENABLED.1),
        _ if !enabled.load(Ordering::SeqCst) || lock.admits(request, reply) => reply.json("{}"),
        _ => {}
    });
    let client = client_as(gateway.url(), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    put(&client, b"key", b"value").unwrap();
    assert_eq!((gateway.count(LOGIN), gateway.last().header("authorization")), (1, None));
    is_enabled.store(true, Ordering::SeqCst);
    put(&client, b"key", b"value").unwrap();
    assert_eq!((gateway.count(LOGIN), gateway.last().header("authorization")), (2, Some("token-1")));
}

#[test]
fn a_token_that_is_no_longer_wanted_is_dropped() {
    // 3.4 refuses an old token although authentication was disabled.
    let is_enabled = std::sync::Arc::new(AtomicBool::new(true));
    let (lock, enabled) = (Lock::new(INVALID_TOKEN), is_enabled.clone());
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN if enabled.load(Ordering::SeqCst) => lock.issue(request, reply),
        LOGIN => reply.status(NOT_ENABLED.0, NOT_ENABLED.1),
        _ if !enabled.load(Ordering::SeqCst) && request.header("authorization").is_none() => reply.json("{}"),
        _ if lock.admits(request, reply) => reply.json("{}"),
        _ => {}
    });
    let client = client_as(gateway.url(), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    is_enabled.store(false, Ordering::SeqCst);
    Lock::new(INVALID_TOKEN).change();
    put(&client, b"key", b"value").unwrap();
    put(&client, b"key", b"value").unwrap();
}

#[test]
fn a_client_without_credentials_is_told_that_it_needs_some() {
    let gateway = locked_gateway(&Lock::new(NO_USER));
    let error = put(&crate::common::client(gateway.url()), b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Server { reason: Reason::AuthFailed, .. }), "{error:?}");
    assert!(!error.may_have_applied());
    assert_eq!((gateway.count(LOGIN), gateway.requests().len()), (0, 1));
}

#[test]
fn a_token_issued_elsewhere_is_used_as_it_is_and_never_refreshed() {
    let lock = Lock::new(INVALID_TOKEN);
    lock.take("issued.elsewhere");
    let gateway = locked_gateway(&lock);
    let client = client_as(gateway.url(), Credentials::Token("issued.elsewhere".into()));
    put(&client, b"key", b"value").unwrap();
    lock.change();
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Server { reason: Reason::InvalidToken, .. }), "{error:?}");
    assert_eq!((gateway.count(LOGIN), gateway.requests().len()), (0, 2));
}

#[test]
fn a_token_or_a_user_that_can_not_be_one_is_refused_before_anything_is_sent() {
    for (credentials, named) in [
        (Credentials::Token("".into()), "token"),
        (Credentials::Token("a b".into()), "token"),
        (Credentials::Token("a\r\nX: y".into()), "token"),
        (Credentials::Token("é".into()), "token"),
        (user("", "password"), "user"),
    ] {
        let made = Client::new(Config { credentials: credentials.clone(), ..config("http://127.0.0.1:1") });
        let Err(Error::InvalidArgument { what, .. }) = made else { panic!("{credentials:?} was taken") };
        assert!(what.contains(named), "{what}");
        let client = crate::common::client("http://127.0.0.1:1");
        assert!(matches!(client.set_credentials(credentials), Err(Error::InvalidArgument { .. })));
    }
}

#[test]
fn a_certificate_with_a_common_name_is_explained() {
    let text = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
    let gateway = FakeGateway::start(move |_, reply| reply.status("400 Bad Request", text));
    for credentials in [Credentials::Nobody, user("user", "right")] {
        let error = put(&client_as(gateway.url(), credentials), b"key", b"value").unwrap_err();
        assert!(matches!(error, Error::Server { http_status: 400, reason: Reason::AuthFailed, .. }), "{error:?}");
        let message = error.full_message();
        for part in ["common name (CN)", "client certificate without one", "user and a password"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(!error.may_have_applied() && !error.is_retryable());
    }
}

#[test]
fn other_credentials_are_used_from_the_next_call_on() {
    let lock = Lock::new(INVALID_TOKEN);
    let gateway = locked_gateway(&lock);
    let client = client_as(gateway.url(), user("user", "wrong"));
    put(&client, b"key", b"value").unwrap_err();
    client.set_credentials(user("other", "right")).unwrap();
    put(&client, b"key", b"value").unwrap();
    assert_eq!(gateway.requests().last().unwrap().header("authorization"), Some("token-1"));
    client.set_credentials(Credentials::Nobody).unwrap();
    put(&client, b"key", b"value").unwrap_err();
    assert_eq!(gateway.last().header("authorization"), None);
    lock.take("elsewhere");
    client.set_credentials(Credentials::Token("elsewhere".into())).unwrap();
    put(&client, b"key", b"value").unwrap();
}

#[test]
fn an_answer_without_a_token_ends_the_call_and_is_not_quoted() {
    for body in ["{}", "", r#"{"token":""}"#, r#"{"token":"se cret"}"#, r#"{"token":"secret","#, "<html>secret"] {
        let gateway = FakeGateway::start(move |_, reply| reply.json(body));
        let error = put(&client_as(gateway.url(), user("user", "right")), b"key", b"value").unwrap_err();
        assert!(matches!(error, Error::Protocol { http_status: 200, .. }), "{body}: {error:?}");
        assert!(!error.full_message().contains("cret") && !error.may_have_applied(), "{}", error.full_message());
        assert_eq!(gateway.count(PUT), 0);
    }
}
