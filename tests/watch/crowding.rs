//! Watches that share a connection and must not keep each other waiting: with what is sent to one, or is yet to be answered.

use crate::common::{EtcdFace, FakeGateway, Gate, LONG, Reply, Request, Socket, client, config, timed, wait_until};
use crate::shared::*;
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
