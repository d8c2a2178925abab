//! Many watches on one WebSocket: each gets what is its own, whatever becomes of the others and of the connection.

use crate::common::{EtcdFace, FakeGateway, Gate, LONG, Reply, Request, Socket, client, config, timed, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error};
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A gateway of etcd 3.6: WebSockets go to the script, with how many came before; streams are served.
pub fn sharing(script: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static) -> FakeGateway {
    EtcdFace::of("3.6.16").start(script, stream)
}

/// Confirms a watch of a stream and sends it a put at the revision it begins with.
fn stream(request: &Request, reply: &mut Reply<'_>) {
    let start = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
    reply.stream_head();
    reply.chunk([CREATED.to_owned(), puts(&[start])].concat());
    reply.hold();
}

pub fn upgrades(gateway: &FakeGateway) -> usize {
    gateway.requests().iter().filter(|request| request.is_upgrade()).count()
}

fn streams(gateway: &FakeGateway) -> usize {
    gateway.requests().iter().filter(|request| request.verb == "POST" && request.path == "/v3/watch").count()
}

/// A client whose members may be silent for so long.
pub fn impatient(gateway: &FakeGateway, liveness: Duration) -> Client {
    Client::new(Config { watch_liveness: liveness, ..config(gateway.url()) }).unwrap()
}

/// Watches from revision 5 on that wait for no confirmation, in this order.
fn open<const COUNT: usize>(client: &Client) -> [Watch; COUNT] {
    std::array::from_fn(|_| client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap())
}

/// The IDs of so many creates.
fn creates<const COUNT: usize>(socket: &mut Socket<'_>) -> [i64; COUNT] {
    std::array::from_fn(|_| id(&socket.create().unwrap()))
}

/// The values of the next changes, of which there must be so many.
fn take(watch: &Watch, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(values(&next(watch).changes));
    }
    taken
}

const PERMISSION_DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

fn refuse(socket: &mut Socket<'_>, reason: &str) {
    socket.result(-1, 4, &format!(r#""created":true,"canceled":true,"cancel_reason":"{reason}""#));
}

#[test]
fn a_refused_create_is_told_from_the_others_by_its_place() {
    let gateway = sharing(|_, socket| {
        let [first, _, third, _] = creates(socket);
        socket.created(first, 9);
        refuse(socket, PERMISSION_DENIED);
        socket.created(third, 9);
        refuse(socket, "mvcc: watcher range is empty");
        socket.puts(third, &[6]);
        socket.puts(first, &[5]);
        serve(socket);
    });
    let client = client(gateway.url());
    let [first, second, third, fourth] = open(&client);
    assert_eq!(values(&next(&first).changes), ["5"]);
    assert_eq!(values(&next(&third).changes), ["6"]);
    for (refused, expected) in [(second, Code::PermissionDenied), (fourth, Code::InvalidArgument)] {
        let ended = next(&refused);
        assert_eq!((ended.kind, code(ended.error.as_ref().unwrap())), (WatchKind::Ended, Some(expected)));
    }
    // They are not cancelled: the server knows nothing of them. The next create works as well.
    let another = client.watch_open(from(one(b"k"), 7)).unwrap();
    assert_eq!(values(&next(&another).changes), ["7"]);
    assert_eq!((upgrades(&gateway), streams(&gateway)), (1, 0));
}

#[test]
fn a_watch_that_may_be_owed_much_is_created_once_the_server_is_done_with_what_it_sends() {
    let is_amid = Gate::new();
    let amid = is_amid.clone();
    let gateway = sharing(move |_, socket| {
        let [first] = creates(socket);
        socket.created(first, 9);
        socket.fragment(first, &[5]);
        socket.ping(b"read");
        while socket.frame().is_some_and(|frame| frame.payload != b"read") {}
        amid.open();
        let early = socket.message_within(Duration::from_millis(100));
        assert_eq!(early, None);
        socket.puts(first, &[6]);
        serve(socket);
    });
    let client = client(gateway.url());
    let [first] = open(&client);
    is_amid.wait();
    let [second] = open(&client);
    assert_eq!(take(&first, 2), ["5", "6"]);
    assert_eq!(values(&next(&second).changes), ["5"]);
    assert_eq!((upgrades(&gateway), streams(&gateway)), (1, 0));
}

#[test]
fn a_watch_that_the_server_has_ended_keeps_no_other_from_its_beginning() {
    let gateway = sharing(|_, socket| {
        let [first, second, _] = creates(socket);
        socket.created(first, 9);
        refuse(socket, PERMISSION_DENIED);
        socket.created(second + 1, 9);
        socket.compacted(first, 8);
        // It leaves what it doesn't know unanswered.
        while let Some(message) = socket.message() {
            if let Some(create) = message.get("create_request") {
                socket.created(id(create), 9);
            }
        }
    });
    let client = client(gateway.url());
    let [compacted, refused, _other] = open(&client);
    assert_eq!((next(&compacted).kind, next(&refused).kind), (WatchKind::Ended, WatchKind::Ended));
    let (begun, elapsed) = timed(|| client.watch_open(from(one(b"k"), 8)));
    assert!(begun.is_ok() && elapsed < AT_ONCE, "{elapsed:?}");
}

#[test]
fn a_watch_that_the_server_has_refused_by_its_name_keeps_no_other_from_its_beginning() {
    let gateway = sharing(|_, socket| {
        // As early etcd 3.5 does: etcd-io/etcd#14296.
        let [refused] = creates(socket);
        let reason = format!(r#""created":true,"canceled":true,"cancel_reason":"{PERMISSION_DENIED}""#);
        socket.result(refused, 4, &reason);
        // It leaves what it doesn't know unanswered.
        while let Some(message) = socket.message() {
            if let Some(create) = message.get("create_request") {
                socket.created(id(create), 9);
            }
        }
    });
    let client = client(gateway.url());
    let [refused] = open(&client);
    assert_eq!(next(&refused).kind, WatchKind::Ended);
    let (begun, elapsed) = timed(|| client.watch_open(from(one(b"k"), 8)));
    assert!(begun.is_ok() && elapsed < AT_ONCE, "{elapsed:?}");
}

/// Confirms every watch of a WebSocket, and answers each cancel so much later, as over a long way.
fn serve_far_away(socket: &mut Socket<'_>, delay: Duration) {
    let mut cancelled: VecDeque<(Instant, i64)> = VecDeque::new();
    while socket.is_open() {
        let message = socket.message_within(Duration::from_millis(2)).unwrap_or_default();
        if let Some(create) = message.get("create_request") {
            socket.created(id(create), 9);
        } else if let Some(cancel) = message.get("cancel_request") {
            cancelled.push_back((Instant::now() + delay, id(cancel)));
        }
        while let Some((_, id)) = cancelled.front().copied().filter(|(due, _)| *due <= Instant::now()) {
            cancelled.pop_front();
            socket.canceled(id, 9);
        }
    }
}

#[test]
fn watches_that_come_and_go_all_the_time_keep_none_from_its_beginning() {
    let gateway = sharing(|_, socket| serve_far_away(socket, Duration::from_millis(100)));
    let (client, is_over) = (client(gateway.url()), AtomicBool::new(false));
    let (begun, elapsed) = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    drop(client.watch_open(one(b"k")).unwrap());
                }
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        let begun = timed(|| client.watch_open(from(one(b"k"), 5)));
        is_over.store(true, Ordering::SeqCst);
        begun
    });
    assert!(begun.is_ok() && elapsed < AT_ONCE, "{elapsed:?}: {:?}", begun.err());
}

#[test]
fn watches_of_one_time_that_follow_on_each_other_share_a_connection() {
    let gateway = sharing(serve_sockets);
    let client = client(gateway.url());
    // It has a connection of its own, and keeps that of the others open.
    let _kept = client.watch_open(WatchOptions { require_leader: false, ..one(b"k") }).unwrap();
    for _ in 0..20 {
        assert_eq!(client.watch_once(from(one(b"k"), 5)).unwrap().events.len(), 1);
    }
    assert_eq!((upgrades(&gateway), streams(&gateway)), (2, 0));
}

#[test]
fn what_goes_on_and_on_for_a_watch_that_was_full_keeps_no_other_waiting_and_comes_over_a_connection_of_its_own() {
    let sockets = |number, socket: &mut Socket<'_>| {
        if number > 0 {
            return serve(socket);
        }
        let [slow, other] = creates(socket);
        socket.created(slow, 9);
        socket.created(other, 9);
        let revisions: Vec<i64> = (5..10_000).collect();
        socket.fragment(slow, &revisions);
        assert_eq!(socket.cancel(), Some(slow));
        while socket.is_open() {
            socket.fragment(slow, &revisions);
        }
    };
    let rest = |_: &Request, reply: &mut Reply<'_>| {
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"9999\"},\"created\":true}}\n");
        reply.chunk(puts(&[9999]));
        reply.hold();
    };
    let gateway = EtcdFace::of("3.6.16").start(sockets, rest);
    let client = Client::new(Config { watch_buffer_bytes: 1000, ..config(gateway.url()) }).unwrap();
    let [slow] = open(&client);
    let reporting = WatchOptions { report_connection: true, ..unconfirmed(from(one(b"k"), 5)) };
    let other = client.watch_open(reporting).unwrap();
    assert_eq!(values(&next(&other).changes), ["5"]);
    assert_eq!((upgrades(&gateway), streams(&gateway)), (2, 0));
    let first = next(&slow);
    assert_eq!(values(&first.changes).last().unwrap(), "9998", "the next one was not whole");
    let second = next(&slow);
    assert_eq!(values(&second.changes), ["9999"], "{second:?}");
    assert_eq!((upgrades(&gateway), streams(&gateway)), (2, 1));
}

#[test]
fn of_many_watches_that_were_full_a_few_get_connections_of_their_own_and_the_others_wait() {
    const SLOW: usize = 100;
    let are_gone = Gate::new();
    let gone = are_gone.clone();
    let sockets = move |number, socket: &mut Socket<'_>| {
        if number > 0 {
            return serve(socket);
        }
        let [other] = creates(socket);
        let slow: [i64; SLOW] = creates(socket);
        socket.created(other, 9);
        slow.iter().for_each(|id| {
            socket.created(*id, 9);
            socket.puts(*id, &[5, 6, 7]);
        });
        let cancelled: [Option<i64>; SLOW] = std::array::from_fn(|_| socket.cancel());
        socket.fragment(other, &[5]);
        socket.ping(b"read");
        while socket.frame().is_some_and(|frame| frame.payload != b"read") {}
        gone.open();
        assert_eq!(socket.message_within(Duration::from_millis(500)), None);
        socket.puts(other, &[6]);
        cancelled.into_iter().flatten().for_each(|id| socket.canceled(id, 9));
        serve(socket);
    };
    let gateway = EtcdFace::of("3.6.16").start(sockets, stream);
    let client = Client::new(Config { watch_buffer_bytes: 100, ..config(gateway.url()) }).unwrap();
    let [other] = open(&client);
    let slow: [Watch; SLOW] = open(&client);
    are_gone.wait();
    slow.iter().for_each(|watch| assert_eq!(values(&next(watch).changes), ["5", "6", "7"]));
    slow.iter().for_each(|watch| assert_eq!(values(&next(watch).changes), ["8"]));
    assert_eq!(take(&other, 2), ["5", "6"]);
    // Each of those was full once more.
    assert!((1..=2 * 16).contains(&streams(&gateway)), "{}", streams(&gateway));
}

#[test]
fn what_goes_on_and_on_for_a_watch_that_waits_to_be_created_again_comes_over_a_connection_of_its_own() {
    let (is_cancelled, is_drained) = (Gate::new(), Gate::new());
    let (cancelled, drained) = (is_cancelled.clone(), is_drained.clone());
    let sockets = move |number, socket: &mut Socket<'_>| {
        if number > 0 {
            return serve(socket);
        }
        let [slow, other] = creates(socket);
        socket.created(slow, 4);
        socket.created(other, 4);
        socket.puts(slow, &[5, 6, 7]);
        assert_eq!(socket.cancel(), Some(slow));
        cancelled.open();
        drained.wait();
        assert_eq!(socket.message_within(Duration::from_millis(100)), None);
        let revisions: Vec<i64> = (8..10_000).collect();
        while socket.is_open() {
            socket.fragment(slow, &revisions);
        }
    };
    let gateway = EtcdFace::of("3.6.16").start(sockets, stream);
    let client = Client::new(Config { watch_buffer_bytes: 100, ..config(gateway.url()) }).unwrap();
    let [slow, other] = open(&client);
    is_cancelled.wait();
    assert_eq!(values(&next(&slow).changes), ["5", "6", "7"]);
    is_drained.open();
    assert_eq!(values(&next(&other).changes), ["5"]);
    assert_eq!(values(&next(&slow).changes), ["8"]);
    assert_eq!((upgrades(&gateway), streams(&gateway)), (2, 1));
}

#[test]
fn watches_that_wait_for_the_future_leave_connections_of_their_own_to_those_that_were_full() {
    const FAR: usize = 16;
    let confirm = |socket: &mut Socket<'_>, revision, sent: &[i64]| {
        while let Some(message) = socket.message() {
            match message.get("create_request") {
                Some(create) => {
                    socket.created(id(create), revision);
                    sent.iter().for_each(|sent| socket.puts(id(create), &[*sent]));
                }
                None => socket.canceled(id(&message["cancel_request"]), revision),
            }
        }
    };
    let sockets = move |number, socket: &mut Socket<'_>| match number {
        0 => confirm(socket, 9, &[]),
        1 => {
            let [slow, other] = creates(socket);
            socket.created(slow, 9);
            socket.created(other, 9);
            let revisions: Vec<i64> = (5..10_000).collect();
            while socket.is_open() {
                socket.fragment(slow, &revisions);
            }
        }
        _ => confirm(socket, 9999, &[9999]),
    };
    let streams_of = |gateway: &FakeGateway, start: &str| {
        let starts = |request: &Request| request.json()["create_request"]["start_revision"] == start;
        let is_stream = |request: &&Request| request.verb == "POST" && request.path == "/v3/watch";
        gateway.requests().iter().filter(is_stream).filter(|request| starts(request)).count()
    };
    let rest = |request: &Request, reply: &mut Reply<'_>| {
        let start = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"9999\"},\"created\":true}}\n");
        reply.chunk(puts(&[start]));
        reply.hold();
    };
    let gateway = EtcdFace::of("3.6.16").start(sockets, rest);
    let client = Client::new(Config { watch_buffer_bytes: 1000, ..config(gateway.url()) }).unwrap();
    let far = WatchOptions { require_leader: false, ..from(one(b"k"), 20_000) };
    let _far: [Watch; FAR] = std::array::from_fn(|_| client.watch_open(far.clone()).unwrap());
    let [slow, other] = open(&client);
    assert_eq!(values(&next(&other).changes), ["9999"]);
    assert_eq!(values(&next(&slow).changes).last().unwrap(), "9998", "the next one was not whole");
    let second = next(&slow);
    assert_eq!(values(&second.changes), ["9999"], "{second:?}");
    assert_eq!(streams_of(&gateway, "9999"), 1);
    wait_until(LONG, || streams_of(&gateway, "20000") == FAR / 2);
}

#[test]
fn who_is_apart_from_others_whose_progress_can_not_be_asked_for_is_told_so() {
    for (server, can_ask) in [("3.5.7", false), ("3.5.8", true)] {
        let sockets = |_, socket: &mut Socket<'_>| {
            let [far] = creates(socket);
            socket.created(far, 9);
            serve(socket);
        };
        // The older one loses deletions, and is asked for what was before as well.
        let at_100 = |_: &Request, reply: &mut Reply<'_>| {
            reply.stream_head();
            reply.chunk([CREATED.to_owned(), puts(&[100])].concat());
            reply.hold();
        };
        let gateway = EtcdFace::of(server).start(sockets, at_100);
        let client = client(gateway.url());
        let watch = client.watch_open(from(one(b"k"), 100)).unwrap();
        assert_eq!((values(&next(&watch).changes), streams(&gateway)), (vec!["100".to_owned()], 1));
        let asked = watch.request_progress();
        assert_eq!(!matches!(asked, Err(Error::Unimplemented { .. })), can_ask, "{server}: {asked:?}");
    }
}

#[test]
fn a_watch_is_cancelled_while_its_create_is_unanswered_and_what_comes_of_it_is_ignored() {
    for is_refused in [false, true] {
        let are_there = Gate::new();
        let there = are_there.clone();
        let gateway = sharing(move |_, socket| {
            let [first, second] = creates(socket);
            there.open();
            assert_eq!(socket.cancel(), Some(first));
            if is_refused {
                refuse(socket, PERMISSION_DENIED);
            } else {
                socket.created(first, 9);
                socket.puts(first, &[5]);
                socket.canceled(first, 9);
                socket.puts(first, &[6]);
            }
            socket.created(second, 9);
            socket.puts(second, &[5]);
            serve(socket);
        });
        let client = client(gateway.url());
        let [first, second] = open(&client);
        are_there.wait();
        first.cancel();
        let ended = next(&first);
        assert!(matches!(ended.error, Some(Error::Closed { .. })), "{ended:?}");
        assert_eq!(values(&next(&second).changes), ["5"]);
        assert!(matches!(first.next(Some(Duration::ZERO)), Err(Error::Closed { .. })));
        assert_eq!(upgrades(&gateway), 1);
    }
}

#[test]
fn what_the_server_does_to_one_watch_is_no_matter_of_the_others() {
    let gateway = sharing(|_, socket| {
        let [first, second, third] = creates(socket);
        for id in [first, second, third] {
            socket.created(id, 9);
            socket.puts(id, &[5]);
        }
        socket.canceled(first, 9);
        socket.compacted(second, 7);
        socket.puts(third, &[6]);
        serve(socket);
    });
    let client = client(gateway.url());
    let [first, second, third] =
        [0, 1, 2].map(|_| client.watch_open(unconfirmed(reporting(from(one(b"k"), 5)))).unwrap());
    for watch in [&first, &second] {
        assert_eq!(values(&next(watch).changes), ["5"]);
    }
    assert_eq!(take(&third, 2), ["5", "6"]);
    let ended = next(&second);
    assert_eq!((ended.kind, ended.compact_revision, ended.resume_revision), (WatchKind::Ended, 7, 6));
    // Created anew, after what it has, on the same connection.
    assert_eq!([(); 2].map(|()| next(&first).kind), [WatchKind::Disconnected, WatchKind::Resumed]);
    assert_eq!(values(&next(&first).changes), ["6"]);
    assert_eq!(upgrades(&gateway), 1);
}

/// How a connection ends, and whether its endpoint is one that can't be trusted with another.
type Ending = (&'static str, bool, fn(&mut Socket<'_>));

const ENDINGS: [Ending; 10] = [
    ("an end of the server", false, |socket| {
        socket.error(14, "error reading from server: EOF");
        socket.close();
    }),
    ("an error that stays open", false, |socket| socket.error(14, "etcdserver: no leader")),
    ("a close frame", false, |socket| socket.close_with(1001)),
    ("an end without a word", false, |socket| socket.close()),
    ("a reset", false, |socket| socket.reset()),
    ("no JSON", true, |socket| socket.text("<html>")),
    ("an empty message", true, |socket| socket.text("")),
    ("neither result nor error", true, |socket| socket.text(r#"{"hello":"world"}"#)),
    ("no frame", true, |socket| socket.raw(&[0xff; 16])),
    ("an error that is about one of them", true, |socket| socket.error(3, "malformed")),
];

#[test]
fn however_a_connection_ends_its_watches_go_on_after_what_they_have() {
    for (case, is_distrusted, end) in ENDINGS {
        let gateway = sharing(move |number, socket| {
            if number > 0 {
                return serve(socket);
            }
            let ids: [i64; 2] = creates(socket);
            for id in ids {
                socket.created(id, 9);
                socket.puts(id, &[5]);
            }
            // One event of the revision after it has come.
            socket.fragment(ids[0], &[6]);
            end(socket);
            if socket.is_open() {
                socket.idle();
            }
        });
        let client = client(gateway.url());
        let watches = [0, 1].map(|_| client.watch_open(unconfirmed(reporting(from(one(b"k"), 5)))).unwrap());
        for watch in &watches {
            assert_eq!(values(&next(watch).changes), ["5"], "{case}");
            let lost = next(watch);
            assert_eq!((lost.kind, lost.resume_revision), (WatchKind::Disconnected, 6), "{case}");
            assert!(lost.error.is_some());
            assert_eq!(next(watch).kind, WatchKind::Resumed, "{case}");
            assert_eq!(values(&next(watch).changes), ["6"], "{case}");
        }
        let expected = if is_distrusted { (1, 2) } else { (2, 0) };
        assert_eq!((upgrades(&gateway), streams(&gateway)), expected, "{case}");
    }
}

#[test]
fn creates_that_nobody_answers_are_made_as_streams_although_the_server_is_there() {
    let gateway = sharing(|_, socket| {
        let [first] = creates(socket);
        socket.created(first, 9);
        socket.puts(first, &[5]);
        // As etcd does after a request that it could not read.
        socket.idle();
    });
    let client = impatient(&gateway, Duration::from_secs(1));
    let first = client.watch_open(from(one(b"k"), 5)).unwrap();
    assert_eq!(values(&next(&first).changes), ["5"]);
    let second = client.watch_open(from(one(b"k"), 7)).unwrap();
    assert_eq!(values(&next(&second).changes), ["7"]);
    assert_eq!(values(&next(&first).changes), ["6"]);
    assert_eq!((upgrades(&gateway), streams(&gateway)), (1, 2));
}

#[test]
fn creates_that_a_server_answers_one_after_another_are_no_sign_that_it_reads_no_more() {
    const COUNT: usize = 12;
    let liveness = Duration::from_secs(1);
    let gateway = sharing(move |_, socket| {
        let ids: [i64; COUNT] = creates(socket);
        // All of them take far longer than one may.
        for id in ids {
            std::thread::sleep(liveness / 4);
            socket.created(id, 9);
            socket.puts(id, &[5]);
        }
        serve(socket);
    });
    let client = impatient(&gateway, liveness);
    let watches: [Watch; COUNT] = open(&client);
    for watch in &watches {
        assert_eq!(values(&next(watch).changes), ["5"]);
    }
    assert_eq!((upgrades(&gateway), streams(&gateway)), (1, 0));
}

#[test]
fn a_server_that_answers_no_ping_is_left() {
    let liveness = Duration::from_millis(800);
    let gateway = sharing(|number, socket| {
        if number > 0 {
            return serve(socket);
        }
        let [first] = creates(socket);
        socket.created(first, 9);
        socket.hold();
    });
    let client = impatient(&gateway, liveness);
    let watch = client.watch_open(reporting(from(one(b"k"), 5))).unwrap();
    let (lost, elapsed) = timed(|| next(&watch));
    assert_eq!(lost.kind, WatchKind::Disconnected);
    assert!(matches!(lost.error, Some(Error::Lost { .. })), "{:?}", lost.error);
    assert!(elapsed < liveness + Duration::from_secs(2), "{elapsed:?}");
    assert_eq!(next(&watch).kind, WatchKind::Resumed);
    assert_eq!(upgrades(&gateway), 2);
}

#[test]
fn a_server_is_not_left_in_the_midst_of_a_message_that_takes_long() {
    let liveness = Duration::from_millis(600);
    let gateway = sharing(move |number, socket| {
        assert_eq!(number, 0, "it was left");
        let [first] = creates(socket);
        socket.created(first, 9);
        // No pong can come before its end.
        let value = base64_simd::STANDARD.encode_to_string(vec![b'v'; 30_000]);
        let message = format!(
            r#"{{"result":{{"header":{{"revision":"9"}},"watch_id":"{first}","events":[{{"kv":{{"key":"aw==","mod_revision":"5","value":"{value}"}}}}]}}}}"#
        );
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        socket.raw(&[&[0x81, 126][..], &length].concat());
        let piece = message.len().div_ceil(30);
        for piece in message.as_bytes().chunks(piece) {
            std::thread::sleep(liveness / 10);
            socket.raw(piece);
        }
        serve(socket);
    });
    let client = impatient(&gateway, liveness);
    let watch = client.watch_open(reporting(from(one(b"k"), 5))).unwrap();
    let said = next(&watch);
    assert_eq!((said.kind, said.changes[0].value.len()), (WatchKind::Events, 30_000));
    assert_eq!(upgrades(&gateway), 1);
}

#[test]
fn a_large_page_in_place_of_the_version_is_no_end_of_a_watch() {
    let (face, asked) = (EtcdFace::of("3.6.16"), AtomicUsize::new(0));
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/v3/watch" if request.is_upgrade() => {
            let mut socket = reply.upgrade(request);
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                let [first] = creates(&mut socket);
                socket.created(first, 9);
                return reply.close();
            }
            serve(&mut socket);
            reply.close();
        }
        "/version" if asked.load(Ordering::SeqCst) == 1 => {
            asked.fetch_add(1, Ordering::SeqCst);
            reply.json(vec![b'x'; 2 << 20]);
        }
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let [watch] = open(&client);
    let said = next(&watch);
    assert_eq!(values(&said.changes), ["5"], "{said:?}");
}

#[test]
fn messages_come_as_text_as_bytes_and_in_pieces_with_pings_among_them() {
    const CONTINUATION: u8 = 0;
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const PONG: u8 = 10;
    let gateway = sharing(|_, socket| {
        let [id] = creates(socket);
        let message = |revision: i64| {
            format!(
                r#"{{"result":{{"header":{{"revision":"9"}},"watch_id":"{id}","events":[{{"kv":{{"key":"aw==","mod_revision":"{revision}"}}}}]}}}}"#
            )
        };
        socket.created(id, 9);
        socket.send(TEXT, true, message(5).as_bytes());
        socket.send(BINARY, true, message(6).as_bytes());
        let pieces = message(7);
        let (first, rest) = pieces.as_bytes().split_at(10);
        let (second, third) = rest.split_at(1);
        socket.send(TEXT, false, first);
        socket.ping(b"are you there?");
        socket.send(CONTINUATION, false, second);
        socket.send(CONTINUATION, true, third);
        let answer = socket.frame().unwrap();
        assert_eq!((answer.opcode, &*answer.payload), (PONG, &b"are you there?"[..]));
        serve(socket);
    });
    let watch = client(gateway.url()).watch_open(from(one(b"k"), 5)).unwrap();
    let mut revisions = Vec::new();
    while revisions.len() < 3 {
        revisions.extend(next(&watch).changes.iter().map(|change| change.revision));
    }
    assert_eq!(revisions, [5, 6, 7]);
}

#[test]
fn large_and_small_messages_of_a_watch_come_in_their_order_with_those_of_others_among_them() {
    let gateway = sharing(|_, socket| {
        let [first, second] = creates(socket);
        socket.created(first, 9_000);
        socket.created(second, 9_000);
        socket.puts(first, &[5]);
        socket.puts(first, &(6..2_000).collect::<Vec<_>>());
        socket.puts(second, &[6]);
        socket.puts(first, &[2_000]);
        socket.puts(first, &[2_001]);
        socket.puts(second, &[7]);
        socket.puts(first, &(2_002..4_000).collect::<Vec<_>>());
        socket.puts(first, &[4_000]);
        serve(socket);
    });
    let client = client(gateway.url());
    let [first, second] = open(&client);
    let wanted: Vec<String> = (5..=4_000).map(|revision: i64| revision.to_string()).collect();
    assert_eq!(take(&first, wanted.len()), wanted);
    assert_eq!(take(&second, 2), ["6", "7"]);
}

#[test]
fn a_connection_whose_last_watch_has_gone_is_closed_and_a_later_watch_gets_another() {
    let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begins, ends) = (begun.clone(), ended.clone());
    let gateway = sharing(move |_, socket| {
        begins.fetch_add(1, Ordering::SeqCst);
        serve(socket);
        ends.fetch_add(1, Ordering::SeqCst);
    });
    let client = impatient(&gateway, Duration::from_millis(800));
    // On a connection of its own, so that the threads go on.
    let other = WatchOptions { require_leader: false, ..from(one(b"k"), 5) };
    let _other = client.watch_open(other).unwrap();
    for round in 1..=2 {
        drop(client.watch_open(from(one(b"k"), 5)).unwrap());
        wait_until(LONG, || ended.load(Ordering::SeqCst) == round);
        assert_eq!(begun.load(Ordering::SeqCst), 1 + round);
    }
}

/// Brings a watch into some state, and what must stay alive meanwhile.
type Arrange = fn() -> (FakeGateway, Client, Watch);

fn dialling() -> (FakeGateway, Client, Watch) {
    let face = EtcdFace::of("3.6.16");
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/version" => reply.hold(),
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let [watch] = open(&client);
    wait_until(LONG, || gateway.count("/version") == 1);
    (gateway, client, watch)
}

fn unanswered() -> (FakeGateway, Client, Watch) {
    let is_created = Gate::new();
    let created = is_created.clone();
    let gateway = sharing(move |_, socket| {
        socket.create();
        created.open();
        socket.idle();
    });
    let client = client(gateway.url());
    let [watch] = open(&client);
    is_created.wait();
    (gateway, client, watch)
}

fn resting() -> (FakeGateway, Client, Watch) {
    let face = EtcdFace::of("3.6.16");
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/version" => reply.close(),
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let [watch] = open(&client);
    wait_until(LONG, || gateway.count("/version") > 8);
    (gateway, client, watch)
}

fn full() -> (FakeGateway, Client, Watch) {
    let is_cancelled = Gate::new();
    let cancelled = is_cancelled.clone();
    let gateway = sharing(move |_, socket| {
        let [id] = creates(socket);
        socket.created(id, 9);
        let revisions: Vec<i64> = (5..500).collect();
        socket.puts(id, &revisions);
        assert_eq!(socket.cancel(), Some(id));
        cancelled.open();
        socket.idle();
    });
    let client = Client::new(Config { watch_buffer_bytes: 1000, ..config(gateway.url()) }).unwrap();
    let [watch] = open(&client);
    is_cancelled.wait();
    (gateway, client, watch)
}

#[test]
fn a_watch_that_left_its_connection_by_intent_tells_where_there_is_none_to_go_on_over() {
    let (is_gone, is_cancelled) = (Arc::new(AtomicBool::new(false)), Gate::new());
    let (gone, cancelled, sockets) = (is_gone.clone(), is_cancelled.clone(), AtomicUsize::new(0));
    let face = EtcdFace::of("3.6.16");
    let gateway = FakeGateway::start(move |request, reply| {
        if gone.load(Ordering::SeqCst) {
            return reply.close();
        }
        if !request.is_upgrade() {
            return face.answer(request, reply);
        }
        let mut socket = reply.upgrade(request);
        let [id] = creates(&mut socket);
        if sockets.fetch_add(1, Ordering::SeqCst) > 0 {
            socket.created(id, 500);
            socket.puts(id, &[500]);
            return socket.idle();
        }
        socket.created(id, 9);
        socket.puts(id, &(5..500).collect::<Vec<_>>());
        assert_eq!(socket.cancel(), Some(id));
        gone.store(true, Ordering::SeqCst);
        socket.close();
        cancelled.open();
    });
    let client = Client::new(Config { watch_buffer_bytes: 1000, ..config(gateway.url()) }).unwrap();
    let watch = client.watch_open(reporting(unconfirmed(from(one(b"k"), 5)))).unwrap();
    is_cancelled.wait();
    assert_eq!(next(&watch).changes.len(), 495);
    let lost = next(&watch);
    assert_eq!((lost.kind, lost.resume_revision), (WatchKind::Disconnected, 500), "{lost:?}");
    is_gone.store(false, Ordering::SeqCst);
    let said = [(); 2].map(|()| next(&watch));
    assert_eq!(said.each_ref().map(|said| said.kind), [WatchKind::Resumed, WatchKind::Events]);
    assert_eq!(values(&said[1].changes), ["500"]);
}

#[test]
fn a_watch_ends_at_once_in_every_state_whoever_ends_it() {
    let states: [(&str, Arrange); 4] =
        [("dialling", dialling), ("unanswered", unanswered), ("resting", resting), ("full", full)];
    type Way = (&'static str, fn(Client, Watch));
    let ways: [Way; 3] = [
        ("freed", |_, watch| drop(watch)),
        ("closed", |client, watch| {
            client.close();
            while next(&watch).kind != WatchKind::Ended {}
            assert!(matches!(watch.next(Some(Duration::ZERO)), Err(Error::Closed { .. })));
        }),
        ("cancelled by two threads", |_, watch| {
            std::thread::scope(|scope| {
                scope.spawn(|| watch.cancel());
                scope.spawn(|| watch.cancel());
            });
            assert_eq!(next(&watch).kind, WatchKind::Ended);
            assert!(matches!(watch.next(Some(Duration::ZERO)), Err(Error::Closed { .. })));
        }),
    ];
    for (state, arrange) in states {
        for (way, end) in ways {
            let (gateway, client, watch) = arrange();
            let ((), elapsed) = timed(|| end(client, watch));
            assert!(elapsed < AT_ONCE, "{state}, {way}: {elapsed:?}");
            wait_until(LONG, || gateway.open_connections() == 0);
        }
    }
}
