//! How connections of many watches end, and what becomes of the watches.

use crate::common::{EtcdFace, FakeGateway, Gate, Socket, client, config, timed};
use crate::shared::*;
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::watch::{Watch, WatchKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

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
