//! Watches whose token is refused.

use crate::common::{Gate, LONG, put, wait_until};
use crate::door::*;
use crate::guarded::*;
use crate::watching::*;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::watch::WatchKind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How etcd refuses a watch: in a text inside a message of a stream that began well.
fn refused(code: &str, message: &str) -> String {
    format!(
        "{{\"result\":{{\"header\":{{}},\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,\
         \"cancel_reason\":\"rpc error: code = {code} desc = {message}\"}}}}\n"
    )
}

const REFUSALS: [(&str, &str); 3] = [
    ("Unauthenticated", "etcdserver: invalid auth token"),
    ("InvalidArgument", "etcdserver: user name is empty"),
    ("InvalidArgument", "etcdserver: revision of auth store is old"),
];

/// A gateway at revision 4 that logs in whoever asks; watches go to the script.
fn gateway(
    lock: &Lock,
    script: impl Fn(usize, &crate::common::Request, &mut crate::common::Reply<'_>) + Send + Sync + 'static,
) -> crate::common::FakeGateway {
    let (lock, watches) = (lock.clone(), AtomicUsize::new(0));
    crate::common::FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN => lock.issue(request, reply),
        "/v3/watch" => script(watches.fetch_add(1, Ordering::SeqCst), request, reply),
        _ if lock.admits(request, reply) => reply.json(r#"{"header":{"revision":"4"}}"#),
        _ => {}
    })
}

#[test]
fn a_new_watch_that_is_refused_for_its_token_logs_in_and_is_confirmed() {
    for (code, message) in REFUSALS {
        let gateway = gateway(&Lock::new(INVALID_TOKEN), move |watches, request, reply| {
            reply.stream_head();
            if watches == 0 {
                assert_eq!(request.header("authorization"), Some("token-1"));
                reply.chunk(refused(code, message));
                // As etcd does: the stream stays open.
                return reply.hold();
            }
            assert_eq!(request.header("authorization"), Some("token-2"));
            reply.chunk(CREATED);
            reply.chunk(puts(&[5]));
            reply.hold();
        });
        let watch = client_as(gateway.url(), user("user", "right")).watch_open(one(b"k")).unwrap();
        assert_eq!(values(&next(&watch).changes), ["5"]);
        assert_eq!((start_revisions(&gateway), gateway.count(LOGIN)), (vec![5, 5], 2), "{message}");
    }
}

#[test]
fn a_watch_that_is_refused_when_it_is_created_anew_logs_in_and_goes_on_where_it_was() {
    for (code, message) in REFUSALS {
        let gateway = gateway(&Lock::new(INVALID_TOKEN), move |watches, _, reply| {
            reply.stream_head();
            match watches {
                0 => {
                    reply.chunk(CREATED);
                    reply.chunk(puts(&[5, 6]));
                    reply.close();
                }
                1 => {
                    reply.chunk(refused(code, message));
                    reply.hold();
                }
                _ => {
                    reply.chunk(CREATED);
                    reply.chunk(puts(&[7]));
                    reply.hold();
                }
            }
        });
        let (seen, consumer) = Seen::new();
        let client = client_as(gateway.url(), user("user", "right"));
        let watch = client.watch(reporting(one(b"k")), consumer).unwrap();
        watch.start();
        assert_eq!(values(&seen.wait_for_changes(3)), ["5", "6", "7"]);
        assert_exact(&seen.all());
        assert_eq!((start_revisions(&gateway), gateway.count(LOGIN)), (vec![5, 7, 7], 2), "{message}");
        let kinds: Vec<WatchKind> = seen.all().iter().map(|said| said.kind).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == WatchKind::Disconnected).count(), 1, "{kinds:?}");
    }
}

#[test]
fn a_running_watch_that_is_cancelled_for_its_token_goes_on_with_another() {
    let gateway = gateway(&Lock::new(INVALID_TOKEN), move |watches, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(puts(&[5 + watches as i64]));
        if watches == 0 {
            reply.chunk(refused("Unauthenticated", "etcdserver: invalid auth token").replace("\"created\":true,", ""));
        }
        reply.hold();
    });
    let watch = client_as(gateway.url(), user("user", "right")).watch_open(one(b"k")).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
    assert_eq!(values(&next(&watch).changes), ["6"]);
    assert_eq!(gateway.count(LOGIN), 2);
}

#[test]
fn a_watch_whose_every_token_is_refused_ends_with_the_servers_words() {
    let is_over = Gate::new();
    let over = is_over.clone();
    let gateway = gateway(&Lock::new(INVALID_TOKEN), move |watches, _, reply| {
        reply.stream_head();
        if watches == 0 {
            reply.chunk(CREATED);
            over.wait();
            return reply.close();
        }
        reply.chunk(refused("Unauthenticated", "etcdserver: invalid auth token"));
        reply.hold();
    });
    let client = client_as(gateway.url(), user("user", "right"));
    let watch = client.watch_open(one(b"k")).unwrap();
    is_over.open();
    let ended = next(&watch);
    assert_eq!(ended.kind, WatchKind::Ended);
    let error = ended.error.unwrap();
    assert!(
        matches!(error, Error::Server { code: Code::Unauthenticated, reason: Reason::InvalidToken, .. }),
        "{error:?}"
    );
    assert!(gateway.count(LOGIN) <= 5, "{}", gateway.count(LOGIN));
    let error = refusal(client.watch_open(one(b"k")));
    assert!(matches!(error, Error::Server { reason: Reason::InvalidToken, .. }), "{error:?}");
}

#[test]
fn a_watch_that_can_not_begin_with_an_outdated_token_ends_where_that_can_not_be_replaced() {
    let gateway = crate::common::FakeGateway::start(|request, reply| match request.path.as_str() {
        READ => reply.status("400 Bad Request", r#"{"code":3,"message":"etcdserver: revision of auth store is old"}"#),
        other => whereabouts(other, reply),
    });
    let client = client_as(gateway.url(), etcdgw::config::Credentials::Token("elsewhere".into()));
    let ended = next(&client.watch_open(unconfirmed(one(b"k"))).unwrap());
    assert_eq!(ended.error.map(|error| error.reason()), Some(Reason::OldAuthRevision));
}

#[test]
fn a_watch_without_permission_ends_and_logs_in_no_further() {
    let gateway = gateway(&Lock::new(INVALID_TOKEN), move |_, _, reply| {
        reply.stream_head();
        reply.chunk(refused("PermissionDenied", "etcdserver: permission denied"));
        reply.hold();
    });
    let error = refusal(client_as(gateway.url(), user("user", "right")).watch_open(one(b"k")));
    assert_eq!((code(&error), gateway.count(LOGIN)), (Some(Code::PermissionDenied), 1));
}

#[test]
fn a_watch_that_runs_keeps_running_and_is_created_anew_with_the_credentials_of_then() {
    let lock = Lock::new(INVALID_TOKEN);
    let may_end = Gate::new();
    let end = may_end.clone();
    let gateway = gateway(&lock, move |watches, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(puts(&[5 + watches as i64]));
        if watches == 0 {
            end.wait();
            return reply.close();
        }
        reply.hold();
    });
    let client = client_as(gateway.url(), user("user", "right"));
    let watch = client.watch_open(one(b"k")).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
    client.set_credentials(etcdgw::config::Credentials::Token("elsewhere".into())).unwrap();
    may_end.open();
    assert_eq!(values(&next(&watch).changes), ["6"]);
    wait_until(LONG, || gateway.count("/v3/watch") == 2);
    assert_eq!(gateway.last().header("authorization"), Some("elsewhere"));
}

#[test]
fn a_watch_goes_on_over_a_token_that_expires_and_a_server_that_restarts() {
    on_each(&["--auth-token-ttl=2"], |mut etcd| {
        enable(&etcd);
        let (client, writer) = (app(&etcd), root(&etcd));
        let (seen, consumer) = Seen::new();
        let watch = client.watch(reporting(prefix(b"app/")), consumer).unwrap();
        watch.start();
        for round in 1..=3 {
            put(&writer, b"app/key", format!("{round} before").as_bytes()).unwrap();
            if round == 1 {
                // The token dies of old age while the watch runs, and with the server afterwards.
                std::thread::sleep(std::time::Duration::from_secs(4));
            }
            put(&writer, b"app/key", format!("{round} after").as_bytes()).unwrap();
            etcd.restart();
        }
        put(&writer, b"app/key", b"last").unwrap();
        let wanted = ["1 before", "1 after", "2 before", "2 after", "3 before", "3 after", "last"];
        assert_eq!(values(&seen.wait_for_changes(wanted.len())), wanted);
        assert_exact(&seen.all());
        assert!(seen.all().iter().all(|said| said.kind != WatchKind::Ended));
    });
}

#[test]
fn a_watch_goes_on_when_signed_tokens_are_outdated_and_the_server_restarts() {
    let dir = crate::common::TempDir::new("jwt");
    std::fs::write(dir.path().join("key"), "a key of the tests").unwrap();
    let flag = format!("--auth-token=jwt,priv-key={}/key,sign-method=HS256,ttl=10m", dir.path().display());
    on_each(&[&flag], |mut etcd| {
        enable(&etcd);
        let (client, writer) = (app(&etcd), root(&etcd));
        let watch = client.watch_open(prefix(b"app/")).unwrap();
        put(&writer, b"app/key", b"1").unwrap();
        post(&writer, "auth/role/add", r#"{"name":"unused"}"#);
        put(&writer, b"app/key", b"2").unwrap();
        etcd.restart();
        put(&writer, b"app/key", b"3").unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.extend(values(&next(&watch).changes));
        }
        assert_eq!(seen, ["1", "2", "3"]);
    });
}

#[test]
fn a_watch_is_created_anew_with_the_password_that_was_set_since() {
    on_each(&[], |mut etcd| {
        enable(&etcd);
        let (client, writer) = (app(&etcd), root(&etcd));
        let watch = client.watch_open(prefix(b"app/")).unwrap();
        post(&writer, "auth/user/changepw", r#"{"name":"app","password":"other-password"}"#);
        put(&writer, b"app/key", b"1").unwrap();
        assert_eq!(values(&next(&watch).changes), ["1"], "a running watch needs no password");
        client.set_credentials(user("app", "other-password")).unwrap();
        etcd.restart();
        put(&writer, b"app/key", b"2").unwrap();
        assert_eq!(values(&next(&watch).changes), ["2"]);
    });
}
