//! Where watches start that were given no revision: after what a read finds, or, where no member can lag, after what was there
//! when their server confirmed them.

use crate::common::{
    EtcdFace, FakeGateway, Gate, LONG, MEMBER_LIST, Reply, Socket, client, get, members, timed, wait_until,
};
use crate::support::*;
use etcdgw::client::Client;
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

/// A gateway like the scripted one, of a cluster that has as many members as the script says.
fn with_members(
    count: impl Fn() -> usize + Send + Sync + 'static,
    sockets: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static,
    reads: impl Fn(usize, &mut Reply<'_>) + Send + Sync + 'static,
) -> FakeGateway {
    let (face, opened, asked) = (EtcdFace::of("3.6.16"), AtomicUsize::new(0), AtomicUsize::new(0));
    FakeGateway::start(move |request, reply| match (&*request.verb, &*request.path) {
        ("GET", "/v3/watch") => {
            sockets(opened.fetch_add(1, Ordering::SeqCst), &mut reply.upgrade(request));
            reply.close();
        }
        ("POST", READ) => reads(asked.fetch_add(1, Ordering::SeqCst), reply),
        ("POST", MEMBER_LIST) => members(reply, count()),
        _ => face.answer(request, reply),
    })
}

/// Takes creates that begin after a read, and confirms them, up to one that doesn't, whose ID it answers.
#[track_caller]
fn create_unread(socket: &mut Socket<'_>) -> i64 {
    loop {
        let (id, start) = create(socket);
        if start == 0 {
            return id;
        }
        assert_eq!(start, 5);
        socket.created(id, 4);
    }
}

/// Begins watches up to the first one that begins without a read, which is the last.
fn begin(client: &Client, unread: &Gate) -> Vec<Watch> {
    let mut watches = Vec::new();
    wait_until(LONG, || {
        watches.push(client.watch_open(one(b"k")).unwrap());
        unread.is_open()
    });
    watches
}

#[test]
fn many_watches_of_a_cluster_with_one_member_start_where_they_are_confirmed() {
    let (unread, cut, resumed) = (Gate::new(), Gate::new(), Gate::new());
    let (is_unread, is_cut, has_resumed) = (unread.clone(), cut.clone(), resumed.clone());
    let gateway = with_members(
        || 1,
        move |number, socket| {
            if number > 0 {
                while confirm(socket, 9).1 != 9 {}
                return resumed.open();
            }
            let id = create_unread(socket);
            unread.open();
            socket.created(id, 7);
            socket.puts(id, &[6, 7, 8]);
            is_cut.wait();
        },
        |_, reply| found(reply, 4),
    );
    let client = client(gateway.url());
    let watches = begin(&client, &is_unread);
    let said = next(watches.last().unwrap());
    assert_eq!((values(&said.changes), said.resume_revision), (vec!["8".to_owned()], 9));
    cut.open();
    has_resumed.wait();
    assert!(gateway.count(READ) < watches.len(), "of {} each had its read", watches.len());
}

#[test]
fn watches_of_a_cluster_with_several_members_have_the_revision_read_however_many_they_are() {
    for count in [0, 2, 3] {
        let gateway = with_members(move || count, serve_sockets, |_, reply| found(reply, 4));
        let client = client(gateway.url());
        let mut watches: Vec<Watch> = Vec::new();
        wait_until(LONG, || {
            watches.push(client.watch_open(one(b"k")).unwrap());
            gateway.count(MEMBER_LIST) > 0
        });
        // The answer is there by then, or doesn't matter.
        (0..20).for_each(|_| watches.push(client.watch_open(one(b"k")).unwrap()));
        assert_eq!((gateway.count(READ), gateway.count(MEMBER_LIST)), (watches.len(), 1), "{count} members");
    }
}

#[test]
fn a_server_that_is_behind_what_the_client_has_seen_starts_no_watch_whether_it_lags_or_the_cluster_went_back() {
    for read in [12, 3] {
        let (unread, returned) = (Gate::new(), Gate::new());
        let (is_unread, has_returned) = (unread.clone(), returned.clone());
        let gateway = with_members(
            || 1,
            move |_, socket| {
                let first = create_unread(socket);
                unread.open();
                socket.created(first, 4);
                let (behind, start) = confirm(socket, 6);
                assert_eq!(start, 0);
                socket.puts(behind, &[8]);
                assert_eq!(socket.cancel(), Some(behind));
                let (id, start) = create(socket);
                assert_eq!(start, read + 1);
                assert!(!has_returned.is_open(), "it was confirmed by a server that is behind");
                socket.created(id, read);
                socket.puts(id, &[start]);
                serve(socket);
            },
            {
                let (is_unread, has_seen) = (is_unread.clone(), AtomicBool::new(false));
                move |_, reply| match is_unread.is_open() {
                    false => found(reply, 4),
                    true if has_seen.swap(true, Ordering::SeqCst) => found(reply, read),
                    true => found(reply, 10),
                }
            },
        );
        let client = client(gateway.url());
        let _watches = begin(&client, &is_unread);
        get(&client, b"k").unwrap();
        let watch = client.watch_open(one(b"k")).unwrap();
        returned.open();
        let said = next(&watch);
        assert_eq!((said.kind, values(&said.changes)), (WatchKind::Events, vec![(read + 1).to_string()]));
    }
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
