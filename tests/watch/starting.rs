//! Where watches start that were given no revision: after what was there when their server confirmed them, unless that server
//! is behind.

use crate::common::{Gate, LONG, Reply, Socket, client, get, timed, wait_until};
use crate::support::*;
use etcdgw::error::{Code, Error};
use etcdgw::watch::{Watch, WatchKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Takes a create. Answers its ID and the revision that it begins with.
#[track_caller]
fn create(socket: &mut Socket<'_>) -> (i64, i64) {
    let create = socket.create().unwrap();
    (id(&create), create["start_revision"].as_str().unwrap().parse().unwrap())
}

/// Takes a create and confirms it at this revision.
#[track_caller]
fn confirm(socket: &mut Socket<'_>, revision: i64) -> (i64, i64) {
    let (id, start) = create(socket);
    socket.created(id, revision);
    (id, start)
}

/// The answer to a read of the client's cluster.
fn found(reply: &mut Reply<'_>, revision: i64) {
    reply.json(format!(r#"{{"header":{{"cluster_id":"7","revision":"{revision}"}}}}"#));
}

#[test]
fn of_watches_begun_one_after_another_the_first_starts_after_a_read_and_the_others_where_they_are_confirmed() {
    let (cut, resumed) = (Gate::new(), Gate::new());
    let (is_cut, has_resumed) = (cut.clone(), resumed.clone());
    let gateway = scripted(
        move |number, socket| {
            if number > 0 {
                let mut starts: Vec<i64> = (0..3).map(|_| confirm(socket, 9).1).collect();
                starts.sort_unstable();
                assert_eq!(starts, [5, 8, 9]);
                return resumed.open();
            }
            assert_eq!(confirm(socket, 9).1, 5);
            assert_eq!(confirm(socket, 7).1, 0);
            let (id, start) = confirm(socket, 7);
            assert_eq!(start, 0);
            socket.puts(id, &[6, 7, 8]);
            is_cut.wait();
        },
        |_, _, reply| found(reply, 4),
    );
    let client = client(gateway.url());
    let watches: Vec<Watch> = (0..3).map(|_| client.watch_open(one(b"k")).unwrap()).collect();
    let said = next(&watches[2]);
    assert_eq!((values(&said.changes), said.resume_revision), (vec!["8".to_owned()], 9));
    cut.open();
    has_resumed.wait();
    assert_eq!(gateway.count(READ), 1);
}

#[test]
fn a_server_that_is_behind_what_the_client_has_seen_starts_no_watch_whether_it_lags_or_the_cluster_went_back() {
    for read in [12, 3] {
        let returned = Arc::new(AtomicBool::new(false));
        let has_returned = returned.clone();
        let gateway = scripted(
            move |_, socket| {
                confirm(socket, 4);
                let (behind, start) = confirm(socket, 6);
                assert_eq!(start, 0);
                socket.puts(behind, &[8]);
                assert_eq!(socket.cancel(), Some(behind));
                let (id, start) = create(socket);
                assert_eq!(start, read + 1);
                assert!(!has_returned.load(Ordering::SeqCst), "it was confirmed by a server that is behind");
                socket.created(id, read);
                socket.puts(id, &[start]);
                serve(socket);
            },
            move |number, _, reply| found(reply, [4, 10, read][number.min(2)]),
        );
        let client = client(gateway.url());
        let _first = client.watch_open(one(b"k")).unwrap();
        get(&client, b"k").unwrap();
        let watch = client.watch_open(one(b"k")).unwrap();
        returned.store(true, Ordering::SeqCst);
        let said = next(&watch);
        assert_eq!((said.kind, values(&said.changes)), (WatchKind::Events, vec![(read + 1).to_string()]));
    }
}

#[test]
fn a_watch_begun_long_after_a_read_has_another_one_made() {
    let gateway = scripted(serve_sockets, |_, _, reply| found(reply, 4));
    let client = client(gateway.url());
    let _first = client.watch_open(one(b"k")).unwrap();
    let ((), elapsed) = timed(|| {
        wait_until(LONG, || {
            client.watch_open(one(b"k")).unwrap();
            gateway.count(READ) == 2
        });
    });
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
}

#[test]
fn a_read_that_fails_fails_the_call_and_the_next_one_is_none_the_worse() {
    type Failure = (fn(&mut Reply<'_>), fn(&Error) -> bool);
    let failures: [Failure; 3] = [
        (
            |reply| reply.status("403 Forbidden", r#"{"error":"etcdserver: permission denied","code":7}"#),
            |error| code(error) == Some(Code::PermissionDenied),
        ),
        (
            |reply| reply.status("500 Internal Server Error", r#"{"error":"what is this","code":13}"#),
            |error| code(error) == Some(Code::Internal),
        ),
        (|reply| reply.hold(), |error| matches!(error, Error::Deadline { .. })),
    ];
    for (fail, is_expected) in failures {
        let healed = Gate::new();
        let is_healed = healed.clone();
        let read = move |_, reply: &mut Reply<'_>| if is_healed.is_open() { found(reply, 4) } else { fail(reply) };
        let gateway = scripted(serve_sockets, move |number, _, reply| read(number, reply));
        let client = client(gateway.url());
        // With the last watch would end what is under way.
        let _other = client.watch_open(from(one(b"k"), 5)).unwrap();
        let error = refusal(client.watch_open(confirmed_within(one(b"k"), Duration::from_secs(1))));
        assert!(is_expected(&error), "{error:?}");
        healed.open();
        let (watch, elapsed) = timed(|| client.watch_open(one(b"k")).unwrap());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        assert_eq!(values(&next(&watch).changes), ["5"]);
    }
}

#[test]
fn a_watch_that_nobody_waits_for_starts_once_the_revision_can_be_read() {
    let failures = Arc::new(AtomicUsize::new(0));
    let count = failures.clone();
    let gateway = scripted(serve_sockets, move |_, _, reply| match count.fetch_add(1, Ordering::SeqCst) {
        0..2 => reply.status("500 Internal Server Error", r#"{"error":"what is this","code":13}"#),
        _ => found(reply, 4),
    });
    let watch = client(gateway.url()).watch_open(unconfirmed(one(b"k"))).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
    assert!(failures.load(Ordering::SeqCst) > 2);
}

#[test]
fn a_call_whose_client_is_closed_while_the_revision_is_read_ends_at_once() {
    for round in 0..50 {
        let read = Gate::new();
        let is_read = read.clone();
        let gateway = scripted(
            |_, socket| while socket.message().is_some() {},
            move |_, _, reply| {
                if round % 4 > 0 {
                    found(reply, 4);
                }
                read.open();
                reply.hold();
            },
        );
        let client = client(gateway.url());
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| timed(|| client.watch_open(confirmed_within(one(b"k"), LONG))));
            is_read.wait();
            (0..round).for_each(|_| std::thread::yield_now());
            client.close();
            let (result, elapsed) = watching.join().unwrap();
            assert!(matches!(refusal(result), Error::Closed { .. }));
            assert!(elapsed < AT_ONCE, "{elapsed:?}");
        });
        wait_until(LONG, || gateway.open_connections() == 0);
    }
}
