//! The error answers that real gateways gave, in both dialects: what a caller is told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{ServedCaptures, capture, capture_names, plain, within};
use etcdgw::client::CallOptions;
use etcdgw::error::{Code, Error, Reason};
use std::time::Duration;

/// What an error answer is to a caller.
enum Told {
    /// A server's error: its code, its meaning, and whether a write that got it may have been executed.
    Server(Code, Reason, bool),
    /// Plain text that no gateway gives: a refusal all the same.
    Text,
    /// JSON in one dialect, text in the other.
    ServerOrText(Code),
    /// An answer that is none.
    Success,
}
use Told::{Server, ServerOrText, Success, Text};

#[rustfmt::skip]
const CASES: &[(&str, Told)] = &[
    ("err-404", ServerOrText(Code::NotFound)),
    ("err-404-root", Text),
    ("err-405", ServerOrText(Code::Unimplemented)),
    ("err-auth-badtoken", Server(Code::Unauthenticated, Reason::InvalidToken, false)),
    ("err-auth-expired", Server(Code::Unauthenticated, Reason::InvalidToken, false)),
    ("err-auth-noroot", Server(Code::FailedPrecondition, Reason::Other, false)),
    ("err-auth-notenabled", Server(Code::FailedPrecondition, Reason::AuthNotEnabled, false)),
    ("err-auth-notoken", Server(Code::InvalidArgument, Reason::AuthFailed, false)),
    ("err-auth-old-revision", Server(Code::InvalidArgument, Reason::OldAuthRevision, false)),
    ("err-auth-wrongpw", Server(Code::InvalidArgument, Reason::AuthFailed, false)),
    ("err-bad-base64", Server(Code::InvalidArgument, Reason::Other, false)),
    ("err-compact-compacted", Server(Code::OutOfRange, Reason::Compacted, false)),
    ("err-compact-future", Server(Code::OutOfRange, Reason::FutureRevision, false)),
    ("err-election-noleader", Server(Code::Unknown, Reason::NoLeader, true)),
    ("err-empty-key", Server(Code::InvalidArgument, Reason::EmptyKey, false)),
    ("err-ignorevalue", Server(Code::InvalidArgument, Reason::KeyNotFound, false)),
    ("err-invalid-json", Server(Code::Unavailable, Reason::Other, false)),
    ("err-invalid-json2", Server(Code::InvalidArgument, Reason::Other, false)),
    ("err-learner-notready", Server(Code::FailedPrecondition, Reason::Learner, false)),
    ("err-lease-exists", Server(Code::FailedPrecondition, Reason::LeaseExists, false)),
    ("err-lease-notfound", Server(Code::NotFound, Reason::LeaseNotFound, false)),
    ("err-lock-lease", Server(Code::Unknown, Reason::LeaseNotFound, true)),
    ("err-lock-timeout", Server(Code::DeadlineExceeded, Reason::Timeout, true)),
    ("err-member-badurl", Server(Code::InvalidArgument, Reason::Other, false)),
    ("err-member-notfound", Server(Code::NotFound, Reason::MemberNotFound, false)),
    ("err-member-notlearner", Server(Code::FailedPrecondition, Reason::Learner, false)),
    ("err-moveleader", Server(Code::FailedPrecondition, Reason::Other, false)),
    ("err-nospace", Server(Code::ResourceExhausted, Reason::NoSpace, true)),
    ("err-permission-denied", Server(Code::PermissionDenied, Reason::Other, false)),
    ("err-proclaim", Server(Code::Unknown, Reason::NotLeader, true)),
    ("err-put-unknown-lease", Server(Code::NotFound, Reason::LeaseNotFound, false)),
    ("err-range-compacted", Server(Code::OutOfRange, Reason::Compacted, false)),
    ("err-range-future", Server(Code::OutOfRange, Reason::FutureRevision, false)),
    ("err-resign-missing", Server(Code::Unknown, Reason::Other, true)),
    ("err-role-notfound", Server(Code::FailedPrecondition, Reason::RoleNotFound, false)),
    ("err-tls-cn", Server(Code::PermissionDenied, Reason::AuthFailed, false)),
    ("err-too-large", Server(Code::InvalidArgument, Reason::RequestTooLarge, false)),
    ("err-too-large-grpc", Server(Code::ResourceExhausted, Reason::RequestTooLarge, false)),
    ("err-too-many-learners", Server(Code::FailedPrecondition, Reason::Learner, false)),
    ("err-txn-dup", Server(Code::InvalidArgument, Reason::DuplicateKey, false)),
    ("err-txn-toomany", Server(Code::InvalidArgument, Reason::TooManyOps, false)),
    ("err-user-exists", Server(Code::FailedPrecondition, Reason::Other, false)),
    ("err-user-notfound", Server(Code::FailedPrecondition, Reason::UserNotFound, false)),
    // The gateway gives a stream's first error the status of its code, and puts it into an object of its own.
    ("noleader-keepalive", Server(Code::Unavailable, Reason::NoLeader, true)),
    ("noleader-member_add", Server(Code::Unavailable, Reason::Other, false)),
    ("noleader-range_lin", Server(Code::Unavailable, Reason::Timeout, true)),
    ("noleader-ttl", Server(Code::Unavailable, Reason::NoLeader, true)),
    // 3.4.23deb gives 2 where the others give 4.
    ("noleader-lease_grant", Server(Code::DeadlineExceeded, Reason::Timeout, true)),
    ("noleader-put", Server(Code::DeadlineExceeded, Reason::Timeout, true)),
    ("noleader-leases", Success),
    ("noleader-member_list", Success),
    // 3.4 answers at once whatever is asked for.
    ("noleader-member_list_lin", Server(Code::Unavailable, Reason::Timeout, true)),
    ("noleader-range_serializable", Success),
    ("noleader-status", Success),
];

fn status_line_code(name: &str) -> u16 {
    let raw = capture(name);
    std::str::from_utf8(&raw[9..12]).unwrap().parse().unwrap()
}

/// What the case gives on this version.
fn check(name: &str, version: &str, case: &str, told: &Told, error: &Error) {
    assert_eq!(error.http_status(), status_line_code(name), "{name}");
    match (told, error) {
        (Server(code, reason, may_have_applied), Error::Server { code: got, message, .. }) => {
            let is_odd = version == "3.4.23deb" && matches!(case, "noleader-put" | "noleader-lease_grant");
            assert_eq!(*got, if is_odd { Code::Unknown } else { *code }, "{name}");
            assert_eq!(error.reason(), *reason, "{name}");
            assert_eq!(error.may_have_applied(), *may_have_applied, "{name}");
            assert!(!message.is_empty() && error.to_string().contains(message.as_str()), "{name}: {error}");
        }
        (ServerOrText(code), Error::Server { code: got, .. }) => {
            assert_eq!(got, code, "{name}");
            assert!(!error.may_have_applied(), "{name}");
        }
        (Text | ServerOrText(_), Error::Protocol { what, .. }) => {
            let raw = capture(name);
            let text = String::from_utf8(raw).unwrap();
            let first_word = text.split("\r\n\r\n").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
            assert!(what.contains(&first_word), "{name}: {what}");
            assert!(!error.may_have_applied(), "{name}");
        }
        _ => panic!("{name}: {error:?}"),
    }
}

/// Some of the answers say what passes: a read is not to wait for that.
fn soon() -> CallOptions {
    within(Duration::from_millis(200))
}

/// JSON without an end is taken for a request that was cut on its way, and made again.
fn time_for(case: &str) -> CallOptions {
    if case.ends_with("err-invalid-json") { soon() } else { plain() }
}

#[test]
fn every_recorded_error_has_the_right_code_meaning_and_outcome() {
    let served = ServedCaptures::start();
    let names = capture_names();
    let mut seen = 0;
    for (case, told) in CASES {
        let of_case = names.iter().filter_map(|name| Some((name, name.strip_suffix(&format!("-{case}"))?)));
        for (name, version) in of_case.filter(|(_, version)| !version.contains('-')) {
            seen += 1;
            let is_old_list = *case == "noleader-member_list_lin" && version.starts_with("3.4");
            let answered = served.client(name).post("/kv/put", b"{}", &time_for(case));
            match (told, answered) {
                (Success, answered) => assert_eq!(answered.unwrap().http_status, 200, "{name}"),
                (_, answered) if is_old_list => assert_eq!(answered.unwrap().http_status, 200, "{name}"),
                (told, answered) => check(name, version, case, told, &answered.unwrap_err()),
            }
        }
    }
    assert_eq!(seen, CASES.len() * 6, "every case has a recording of each of six servers");
    let cases = names.iter().filter_map(|name| name.split_once('-')).map(|(_, case)| case);
    let recorded = cases.filter(|case| case.starts_with("err-") || case.starts_with("noleader-")).count();
    assert_eq!(seen, recorded, "every recorded error is in the list");
}

#[test]
fn a_connection_is_used_again_after_every_recorded_error() {
    let served = ServedCaptures::start();
    let gateway = &served.gateway;
    for name in capture_names().iter().filter(|name| name.contains("-err-")) {
        let client = served.client(name);
        let before = gateway.connections();
        client.post("/kv/put", b"{}", &time_for(name)).unwrap_err();
        client.post("/kv/put", b"{}", &time_for(name)).unwrap_err();
        assert_eq!(gateway.connections(), before + 1, "{name}");
    }
}

#[test]
fn an_error_of_a_read_says_that_nothing_was_written() {
    let served = ServedCaptures::start();
    for name in capture_names().iter().filter(|name| name.ends_with("noleader-range_lin")) {
        let error = served.client(name).post("/kv/range", b"{}", &soon()).unwrap_err();
        assert!(!error.may_have_applied() && error.is_retryable(), "{name}: {error:?}");
    }
}

#[test]
fn a_keep_alive_without_a_leader_is_the_servers_error_and_not_an_expired_lease() {
    let served = ServedCaptures::start();
    for name in capture_names().iter().filter(|name| name.ends_with("noleader-keepalive")) {
        let error = served.client(name).lease_refresh(1, &soon()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::Unavailable, .. }), "{name}: {error:?}");
        assert_eq!(error.reason(), Reason::NoLeader);
    }
}
