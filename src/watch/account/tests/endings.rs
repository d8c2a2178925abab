//! What ends a watch, and what only interrupts it.

use super::*;

#[test]
fn compaction_ends_the_watch_and_tells_where_the_store_begins() {
    let mut watched = Watched::from_5();
    // As every server answers a compacted start: no revision, no reason.
    let line = r#"{"result":{"header":{"cluster_id":"12811601696947692177","member_id":"1194676938371073159","raft_term":"2"},"canceled":true,"compact_revision":"21"}}"#;
    let ended = watched.receive(&[puts(&[(5, "a")], false), line.to_owned()]);
    match ended {
        Err(Interruption::Ended(Error::Compacted { wanted, compact_revision, .. })) => {
            assert_eq!((wanted, compact_revision), (6, 21));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(watched.said(), [events("5:a", 6)]);
}

#[test]
fn a_server_that_loses_deletions_is_asked_for_one_revision_more_by_a_watch_that_may_miss_none() {
    let compacted = |revision| format!(r#"{{"result":{{"canceled":true,"compact_revision":"{revision}"}}}}"#);
    // Where the caller has chosen the first revision.
    assert_eq!(Account::new(5, settings()).ask(true), 5);
    let following = || Account::new(5, Settings { follows_read: true, ..settings() });
    assert_eq!((following().ask(true), following().ask(false)), (4, 5));
    assert_eq!(Account::new(1, Settings { follows_read: true, ..settings() }).ask(true), 1);

    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(7, "a")], false)]).unwrap();
    watched.account.lose_stream(&Error::client_closed(Outcome::NotApplied), &mut |_| {});
    assert_eq!((watched.account.ask(false), watched.account.ask(true)), (8, 7));
    watched.receive(&[created(9), puts(&[(7, "a"), (8, "b")], false)]).unwrap();
    assert_eq!(watched.said().last(), Some(&events("8:b", 9)));
    // The history is compacted at the revision that is owed next.
    match watched.receive(&[compacted(9)]) {
        Err(Interruption::Ended(Error::Compacted { wanted, compact_revision, .. })) => {
            assert_eq!((wanted, compact_revision), (8, 9));
        }
        other => panic!("{other:?}"),
    }
    // It was there when the server was asked for it, and not for more.
    let mut watched = Watched::from_5();
    assert!(matches!(watched.receive(&[compacted(5)]), Err(Interruption::Lost(_))));
}

#[test]
fn a_refusal_carries_the_servers_code_or_text() {
    for (reason, code) in [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", Code::PermissionDenied),
        ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", Code::Unauthenticated),
        ("mvcc: watcher range is empty", Code::InvalidArgument),
        ("etcdserver: mvcc: required revision has been compacted", Code::OutOfRange),
        ("something that no version says", Code::Unknown),
    ] {
        let mut account = Account::new(5, settings());
        let line = format!(
            r#"{{"result":{{{},"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"{reason}"}}}}"#,
            header(3)
        );
        match account.receive(frames(&[line]), &endpoint(), &mut |_| {}) {
            Err(Interruption::Ended(error) | Interruption::Refused(error)) => {
                let Error::Server { code: found, message, .. } = error else { panic!("{error:?}") };
                assert_eq!(found, code, "{reason}");
                assert!(reason.ends_with(&message), "{message}");
            }
            other => panic!("{reason}: {other:?}"),
        }
        assert!(!account.is_confirmed());
    }
}

#[test]
fn a_refusal_that_speaks_of_the_member_is_no_end() {
    let mut watched = Watched::from_5();
    let line = r#"{"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"rpc error: code = Unavailable desc = etcdserver: no leader"}}"#;
    let lost = watched.receive(&[line.to_owned()]);
    assert!(matches!(&lost, Err(Interruption::Lost(error)) if error.reason() == Reason::NoLeader), "{lost:?}");
}

#[test]
fn a_cancellation_without_a_reason_ends_a_create_and_interrupts_a_watch() {
    let line = |created: bool| format!(r#"{{"result":{{{},"created":{created},"canceled":true}}}}"#, header(9));
    assert!(matches!(Watched::from_5().receive(&[line(false)]), Err(Interruption::Lost(_))));
    let mut account = Account::new(5, settings());
    let refused = account.receive(frames(&[line(true)]), &endpoint(), &mut |_| {});
    assert!(matches!(refused, Err(Interruption::Ended(_))), "{refused:?}");
}

#[test]
fn error_objects_of_both_dialects_interrupt_a_watch_after_what_came_before_them() {
    for (line, code) in [
        (
            r#"{"error":{"grpc_code":1,"http_code":408,"message":"grpc: the client connection is closing","http_status":"Request Timeout"}}"#,
            Code::Cancelled,
        ),
        (
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#,
            Code::Unavailable,
        ),
        (r#"{"error":{"code":14,"message":"error reading from server: EOF"}}"#, Code::Unavailable),
        (r#"{"error":{"grpc_code":2,"http_code":500,"message":"context deadline exceeded"}}"#, Code::Unknown),
    ] {
        let mut watched = Watched::from_5();
        let lost = watched.receive(&[puts(&[(5, "a")], false), puts(&[(6, "a")], true), line.to_owned()]);
        assert!(
            matches!(&lost, Err(Interruption::Lost(Error::Server { code: found, .. })) if *found == code),
            "{lost:?}"
        );
        assert_eq!(watched.said(), [events("5:a", 6)]);
    }
}

#[test]
fn an_error_object_that_refuses_the_watch_ends_it() {
    let mut watched = Watched::from_5();
    let ended = watched.receive(&[r#"{"error":{"code":7,"message":"etcdserver: permission denied"}}"#.to_owned()]);
    assert!(matches!(ended, Err(Interruption::Ended(Error::Server { .. }))), "{ended:?}");
}

#[test]
fn garbage_interrupts_a_watch_after_what_came_before_it() {
    for garbage in ["<html>", "{}", r#"{"result":1}"#, r#"{"result":{"events":[{"kv":{"mod_revision":"x"}}]}}"#, "[]"] {
        let mut watched = Watched::from_5();
        let lost = watched.receive(&[puts(&[(5, "a")], false), garbage.to_owned(), puts(&[(6, "a")], false)]);
        assert!(matches!(lost, Err(Interruption::Lost(Error::Protocol { .. }))), "{garbage}: {lost:?}");
        assert_eq!(watched.said(), [events("5:a", 6)]);
    }
}

#[test]
fn a_compaction_below_what_is_owed_next_is_no_loss() {
    for compact_revision in [5, 6] {
        let mut watched = Watched::from_5();
        let line = format!(r#"{{"result":{{"canceled":true,"compact_revision":"{compact_revision}"}}}}"#);
        let lost = watched.receive(&[puts(&[(5, "a")], false), line]);
        assert!(matches!(&lost, Err(Interruption::Lost(Error::Server { code: Code::Cancelled, .. }))), "{lost:?}");
        assert_eq!(watched.said(), [events("5:a", 6)]);
    }
}
