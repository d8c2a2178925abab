//! What becomes of a call for every way that it can fail: code × message × phase × kind of request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{FakeGateway, LONG, client, config, get, get_with, plain, put, put_with, timed, within};
use etcdgw::client::{CallOptions, Client};
use etcdgw::config::Config;
use etcdgw::error::{Error, Reason};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const GRANT: &str = "/v3/lease/grant";
const TIME_TO_LIVE: &str = "/v3/lease/timetolive";
const REVOKE: &str = "/v3/lease/revoke";
const RANGE: &str = "/v3/kv/range";
const PUT: &str = "/v3/kv/put";

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is made on another endpoint, and succeeds there.
    Moves,
    /// It fails.
    Fails { may_have_applied: bool, is_retryable: bool },
}
use Fate::Moves;

/// It was refused for good.
const REFUSED: Fate = Fate::Fails { may_have_applied: false, is_retryable: false };
/// It may have been done, so that its caller must look.
const OPEN: Fate = Fate::Fails { may_have_applied: true, is_retryable: false };

/// A kind of request.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A range.
    Read,
    /// A put.
    Write,
    /// A keep-alive.
    Idempotent,
    /// A grant of an ID that the library picked, and a revoke.
    Once,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Read, Kind::Write, Kind::Idempotent, Kind::Once];

    fn call(self, client: &Client, options: &CallOptions) -> Result<(), Error> {
        match self {
            Kind::Read => get_with(client, b"key", options).map(drop),
            Kind::Write => put_with(client, b"key", b"value", options).map(drop),
            Kind::Idempotent => client.lease_refresh(5, options).map(drop),
            Kind::Once => client.lease_grant_new(60, Client::new_lease_id().unwrap(), options).map(drop),
        }
    }
}

/// What a failing server does, and the fates of the four kinds of requests in the order of [`Kind::ALL`].
struct Row {
    answer: Answer,
    fates: [Fate; 4],
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    /// HTTP status, gRPC code, message.
    Grpc(u16, u8, &'static str),
    /// HTTP status and a proxy's page.
    Page(u16),
    /// The same with more than any answer without values has.
    LongPage(u16),
    /// These bytes, then the end of the connection.
    Bytes(&'static str),
    Reset,
    /// Nobody listens.
    Refuses,
}
use Answer::{Bytes, Grpc, LongPage, Page, Refuses, Reset};

impl Answer {
    fn gateway(self) -> FakeGateway {
        FakeGateway::start(move |_, reply| match self {
            Grpc(status, code, message) => {
                let message = message.replace('"', "\\\"");
                reply.status(&format!("{status} Text"), format!(r#"{{"code":{code},"message":"{message}"}}"#));
            }
            Page(status) => reply.status(&format!("{status} Text"), "<html>no</html>"),
            LongPage(status) => reply.status(&format!("{status} Text"), vec![b' '; 2 << 20]),
            Bytes(bytes) => {
                reply.raw(bytes);
                reply.close();
            }
            Reset => reply.reset(),
            Refuses => {}
        })
    }
}

fn row(answer: Answer, read: Fate, write: Fate, idempotent: Fate, once: Fate) -> Row {
    Row { answer, fates: [read, write, idempotent, once] }
}

/// Every kind of request is made elsewhere.
fn moves(answer: Answer) -> Row {
    row(answer, Moves, Moves, Moves, Moves)
}

/// Every kind of request is made elsewhere, except a write, which may have been done.
fn open(answer: Answer) -> Row {
    row(answer, Moves, OPEN, Moves, Moves)
}

/// Every kind of request ends with a refusal.
fn refused(answer: Answer) -> Row {
    row(answer, REFUSED, REFUSED, REFUSED, REFUSED)
}

/// Nobody knows what it means, so that nothing is made again.
fn unclear(answer: Answer) -> Row {
    row(answer, REFUSED, OPEN, OPEN, OPEN)
}

const DIALING: &str = r#"connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused""#;

fn table() -> Vec<Row> {
    vec![
        // Refused before anything is proposed, for the time being or by this member alone.
        moves(Grpc(429, 8, "etcdserver: too many requests")),
        moves(Grpc(503, 14, "etcdserver: not capable")),
        moves(Grpc(400, 9, "etcdserver: not capable")),
        moves(Grpc(503, 14, "etcdserver: rpc not supported for learner")),
        moves(Grpc(400, 9, "etcdserver: rpc not supported for learner")),
        moves(Grpc(400, 9, "etcdserver: not leader")),
        moves(Grpc(503, 14, "etcdserver: unhealthy cluster")),
        moves(Grpc(500, 2, "raft proposal dropped")),
        moves(Grpc(503, 14, DIALING)),
        // The request was cut on its way.
        moves(Grpc(400, 3, "unexpected EOF")),
        // The keep-alive is a stream, which may also be ended in its middle.
        moves(Grpc(503, 14, "etcdserver: no leader")),
        // Proposed, perhaps.
        open(Grpc(503, 14, "etcdserver: request timed out")),
        open(Grpc(503, 14, "etcdserver: request timed out, possibly due to previous leader failure")),
        open(Grpc(503, 14, "etcdserver: request timed out, possibly due to connection lost")),
        open(Grpc(503, 14, "etcdserver: leader changed")),
        open(Grpc(503, 14, "etcdserver: server stopped")),
        open(Grpc(503, 14, "error reading from server: EOF")),
        open(Grpc(504, 4, "context deadline exceeded")),
        open(Grpc(500, 2, "context deadline exceeded")),
        open(Grpc(500, 2, "raft: stopped")),
        open(Grpc(500, 2, "lease: not a primary lessor")),
        // The gateway's connection to its own server ends, under calls on their way as well as before new ones.
        open(Grpc(499, 1, "grpc: the client connection is closing")),
        open(Grpc(503, 14, "grpc: the client connection is closing")),
        open(Grpc(499, 1, "context canceled")),
        open(Grpc(408, 1, "context canceled")),
        open(Page(502)),
        open(Page(503)),
        open(Page(504)),
        open(LongPage(503)),
        // Refused for good, before it is proposed or in place of executing it.
        refused(Grpc(400, 3, "etcdserver: key is not provided")),
        refused(Grpc(400, 3, "etcdserver: request is too large")),
        refused(Grpc(400, 3, "etcdserver: user name is empty")),
        refused(Grpc(404, 5, "etcdserver: requested lease not found")),
        refused(Grpc(403, 7, "etcdserver: permission denied")),
        refused(Grpc(400, 9, "etcdserver: lease already exists")),
        refused(Grpc(400, 11, "etcdserver: mvcc: required revision has been compacted")),
        refused(Grpc(501, 12, "Method Not Allowed")),
        refused(Grpc(401, 16, "etcdserver: invalid auth token")),
        refused(Grpc(500, 15, "etcdserver: corrupt cluster")),
        refused(Page(400)),
        refused(Page(404)),
        refused(Page(421)),
        // Executed, perhaps, with the last of the space.
        unclear(Grpc(429, 8, "etcdserver: mvcc: database space exceeded")),
        // Who knows.
        unclear(Grpc(500, 2, "something new")),
        unclear(Grpc(500, 13, "grpc: failed to unmarshal")),
        unclear(Grpc(500, 13, "unexpected EOF")),
        unclear(Page(500)),
        // No answer.
        moves(Refuses),
        open(Bytes("")),
        open(Bytes("HTTP/1.1 200")),
        open(Bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\"")),
        open(Reset),
        open(Bytes("\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0")),
    ]
}

/// Answers whatever is asked.
fn good() -> FakeGateway {
    FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/lease/keepalive" => reply.json("{\"result\":{\"ID\":\"5\",\"TTL\":\"9\"}}\n"),
        "/v3/lease/grant" => reply.json(r#"{"ID":"5","TTL":"9"}"#),
        _ => reply.json("{}"),
    })
}

#[test]
fn the_fate_of_a_call_follows_from_code_message_phase_and_kind() {
    let mut wrong = Vec::new();
    for row in table() {
        for (kind, wanted) in Kind::ALL.into_iter().zip(row.fates) {
            let (failing, good) = (row.answer.gateway(), good());
            let mut first = failing.url().to_owned();
            if let Refuses = row.answer {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                first = format!("http://{}", listener.local_addr().unwrap());
            }
            let client = client(&format!("{first},{}", good.url()));
            let seen = match kind.call(&client, &within(LONG)) {
                Ok(()) => Moves,
                Err(error) => {
                    Fate::Fails { may_have_applied: error.may_have_applied(), is_retryable: error.is_retryable() }
                }
            };
            let made = (failing.requests().len(), good.requests().len());
            let expected = match (row.answer, wanted) {
                (Refuses, _) => (0, 1),
                (_, Moves) => (1, 1),
                (_, Fate::Fails { .. }) => (1, 0),
            };
            if seen != wanted || made != expected {
                wrong.push(format!("{:?}, {kind:?}: {seen:?} and not {wanted:?}; requests {made:?}", row.answer));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_call_cut_short_by_its_limit_tells_whether_it_may_have_been_done() {
    let silent = FakeGateway::start(|_, reply| reply.hold());
    for (kind, may_have_applied, is_retryable) in [
        (Kind::Read, false, true),
        (Kind::Write, true, false),
        (Kind::Idempotent, true, true),
        (Kind::Once, true, false),
    ] {
        let error = kind.call(&client(silent.url()), &within(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
        assert_eq!((error.may_have_applied(), error.is_retryable()), (may_have_applied, is_retryable), "{kind:?}");
    }
}

#[test]
fn what_may_have_been_done_once_stays_so_whatever_the_next_attempt_met() {
    let first = FakeGateway::start(|_, reply| reply.close());
    for second in [Refuses, Grpc(429, 8, "etcdserver: mvcc: database space exceeded")] {
        let gateway = second.gateway();
        let url = if let Refuses = second { "http://127.0.0.1:1" } else { gateway.url() };
        let client = Client::new(Config { max_retries: Some(1), ..config(&format!("{},{url}", first.url())) }).unwrap();
        let error = Kind::Once.call(&client, &within(LONG)).unwrap_err();
        assert!(error.may_have_applied() && !error.is_retryable(), "{second:?}: {error:?}");
    }
}

#[test]
fn reads_go_on_until_the_trouble_has_passed() {
    let count = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |_, reply| match count.fetch_add(1, Ordering::SeqCst) {
        0..=4 => reply.status("503 Service Unavailable", r#"{"code":14,"message":"etcdserver: leader changed"}"#),
        _ => reply.json("{}"),
    });
    let (answer, took) = timed(|| get(&client(gateway.url()), b"key"));
    answer.unwrap();
    // 25, 50, 100, 200 and 250 ms, a tenth either way.
    assert!(took >= Duration::from_millis(560) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(gateway.count(RANGE), 6);
}

#[test]
fn a_write_that_is_refused_for_the_time_being_is_made_until_it_is_taken_and_done_once() {
    for message in ["etcdserver: too many requests", "etcdserver: no leader", "raft proposal dropped"] {
        let count = AtomicUsize::new(0);
        let gateway = FakeGateway::start(move |_, reply| match count.fetch_add(1, Ordering::SeqCst) {
            0..=2 => reply.status("500 Text", format!(r#"{{"code":2,"message":"{message}"}}"#)),
            _ => reply.json("{}"),
        });
        let error = put(&client(gateway.url()), b"key", b"value").err();
        match message {
            // Unless its code says that it was refused.
            "etcdserver: too many requests" => assert!(error.unwrap().may_have_applied()),
            _ => assert!(error.is_none() && gateway.count(PUT) == 4, "{message}: {error:?}"),
        }
    }
}

#[test]
fn no_attempt_is_made_beyond_the_bound_on_retries_and_none_at_all_without_retries() {
    for (max_retries, attempts) in [(Some(0), 1), (Some(1), 2), (Some(5), 6)] {
        let gateway = Page(503).gateway();
        let client = Client::new(Config { max_retries, ..config(gateway.url()) }).unwrap();
        let error = get_with(&client, b"key", &within(LONG)).unwrap_err();
        assert!(matches!(error, Error::Protocol { http_status: 503, .. }), "{error:?}");
        assert_eq!(gateway.count(RANGE), attempts);
    }
}

#[test]
fn retries_end_before_the_calls_limit_and_with_what_the_server_said() {
    let gateway = Grpc(503, 14, "etcdserver: no leader").gateway();
    let client = client(&format!("{},http://127.0.0.1:1", gateway.url()));
    let (answer, took) = timed(|| put_with(&client, b"key", b"value", &within(Duration::from_millis(700))));
    let error = answer.unwrap_err();
    assert_eq!(error.reason(), Reason::NoLeader, "{error:?}");
    assert!(!error.may_have_applied() && error.is_retryable());
    assert!(took < Duration::from_millis(800), "{took:?}");
}

#[test]
fn a_grant_that_got_no_answer_is_made_again_and_found() {
    let lost = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        GRANT if lost.fetch_add(1, Ordering::SeqCst) == 0 => reply.close(),
        GRANT => reply.status("400 Bad Request", r#"{"code":9,"message":"etcdserver: lease already exists"}"#),
        _ => reply.json(r#"{"header":{"revision":"7"},"ID":"5","TTL":"59","grantedTTL":"60"}"#),
    });
    let granted = client(gateway.url()).lease_grant_new(1, 5, &plain()).unwrap();
    assert_eq!((granted.id, granted.ttl, granted.header.revision), (5, 60, 7));
    assert_eq!((gateway.count(GRANT), gateway.count(TIME_TO_LIVE)), (2, 1));
    let ids: Vec<_> = gateway.requests().iter().map(|request| request.json()["ID"].clone()).collect();
    assert!(ids.iter().all(|id| id == "5"), "{ids:?}");
}

#[test]
fn a_grant_under_an_id_of_the_callers_is_made_once() {
    let gateway = FakeGateway::start(|_, reply| reply.close());
    let error = client(gateway.url()).lease_grant(60, 5, &plain()).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && error.may_have_applied(), "{error:?}");
    assert_eq!(gateway.count(GRANT), 1);
}

#[test]
fn a_lease_that_exists_at_the_first_attempt_is_somebody_elses() {
    let gateway = Grpc(400, 9, "etcdserver: lease already exists").gateway();
    let error = client(gateway.url()).lease_grant_new(60, 5, &plain()).unwrap_err();
    assert_eq!(error.reason(), Reason::LeaseExists);
    assert!(!error.may_have_applied());
}

#[test]
fn a_granted_lease_that_has_expired_before_it_was_found_is_said_to_have() {
    let lost = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
        GRANT if lost.fetch_add(1, Ordering::SeqCst) == 0 => reply.close(),
        GRANT => reply.status("400 Bad Request", r#"{"code":9,"message":"etcdserver: lease already exists"}"#),
        _ => reply.json(r#"{"ID":"5","TTL":"-1"}"#),
    });
    let error = client(gateway.url()).lease_grant_new(1, 5, &plain()).unwrap_err();
    assert!(matches!(error, Error::LeaseExpired { id: 5 }), "{error:?}");
}

#[test]
fn a_revoke_that_got_no_answer_is_made_again_and_a_lease_that_is_gone_by_then_was_revoked() {
    for endings in [["close", "gone"], ["timeout", "gone"]] {
        let count = AtomicUsize::new(0);
        let gateway = FakeGateway::start(move |_, reply| match endings[count.fetch_add(1, Ordering::SeqCst).min(1)] {
            "close" => reply.close(),
            "timeout" => reply.status("503 Text", r#"{"code":14,"message":"etcdserver: request timed out"}"#),
            _ => reply.status("404 Not Found", r#"{"code":5,"message":"etcdserver: requested lease not found"}"#),
        });
        client(gateway.url()).lease_revoke(5, &plain()).unwrap();
        assert_eq!(gateway.count(REVOKE), 2);
    }
    let gateway = Grpc(404, 5, "etcdserver: requested lease not found").gateway();
    let error = client(gateway.url()).lease_revoke(5, &plain()).unwrap_err();
    assert_eq!((error.reason(), gateway.count(REVOKE)), (Reason::LeaseNotFound, 1));
}

#[test]
fn a_revoke_over_an_idle_connection_that_ended_under_it_knows_that_it_was_made_twice() {
    let gateway = FakeGateway::start(|request, reply| match (request.connection, request.path.as_str()) {
        (0, REVOKE) => reply.close(),
        (_, REVOKE) => {
            reply.status("404 Not Found", r#"{"code":5,"message":"etcdserver: requested lease not found"}"#);
        }
        _ => reply.json("{}"),
    });
    let client = client(gateway.url());
    put(&client, b"key", b"value").unwrap();
    client.lease_revoke(5, &plain()).unwrap();
    assert_eq!((gateway.connections(), gateway.count(REVOKE)), (2, 2));
}

#[test]
fn a_server_is_told_how_much_time_is_left_and_whether_a_leader_is_needed() {
    let gateway = good();
    let client = client(gateway.url());
    put_with(&client, b"key", b"value", &within(Duration::from_secs(3))).unwrap();
    let timeout = gateway.last().header("grpc-timeout").unwrap().to_owned();
    let millis: u64 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((2500..=3100).contains(&millis), "{timeout}");
    assert_eq!(gateway.last().header("grpc-metadata-hasleader"), Some("true"));
    let serializable = etcdgw::rpc::kv::RangeRequest { serializable: true, ..common::one(b"key") };
    let no_limit = CallOptions { timeout: etcdgw::client::TimeLimit::Never, cancel: None };
    client.range(&serializable, &no_limit).unwrap();
    assert_eq!(gateway.last().header("grpc-timeout"), None);
    assert_eq!(gateway.last().header("grpc-metadata-hasleader"), None, "any member can answer from what it has");
    client.member_list(false, &plain()).unwrap();
    assert_eq!(gateway.last().header("grpc-metadata-hasleader"), None);
}
