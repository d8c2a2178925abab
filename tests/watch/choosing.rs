//! Which connection watches are put on: what is asked of a member before, and what becomes of members that have no
//! WebSocket.

use crate::common::{Dialect, EtcdFace, FakeGateway, LONG, Reply, Request, client, config, timed, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials, WebSocketUse};
use etcdgw::error::Error;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

const HEALTH: &str = "GET /health";
const VERSION: &str = "GET /version";
const UNKNOWN: &str = "POST /v3/unknown";
const UPGRADE: &str = "GET /v3/watch";
const STREAM: &str = "POST /v3/watch";

/// Confirms every watch of a stream and sends it revision 5.
fn stream(_: &Request, reply: &mut Reply<'_>) {
    reply.stream_head();
    reply.chunk([CREATED.to_owned(), puts(&[5])].concat());
    reply.hold();
}

/// A gateway with this face, which confirms every watch and sends it revision 5.
fn serving(face: EtcdFace) -> FakeGateway {
    face.start(serve_sockets, stream)
}

fn with(gateway: &FakeGateway, websocket: WebSocketUse, token: Option<&str>) -> Client {
    let credentials = token.map_or(Credentials::Nobody, |token| Credentials::Token(token.into()));
    Client::new(Config { websocket, credentials, ..config(gateway.url()) }).unwrap()
}

fn line(request: &Request) -> String {
    format!("{} {}", request.verb, request.path)
}

/// What was asked of a gateway, connection by connection.
fn asked(gateway: &FakeGateway) -> Vec<Vec<String>> {
    let requests = gateway.requests();
    let on = |number| requests.iter().filter(move |request| request.connection == number).map(line).collect();
    (0..gateway.connections()).map(on).filter(|lines: &Vec<String>| !lines.is_empty()).collect()
}

#[test]
fn a_member_is_asked_for_a_websocket_only_where_one_is_safe_and_right_after_its_version() {
    use WebSocketUse::{Always, Auto, Never};
    let shared = vec![vec![HEALTH, VERSION, UPGRADE]];
    let shared_3_5 = vec![vec![HEALTH, VERSION, UNKNOWN, VERSION, UPGRADE]];
    let own = vec![vec![HEALTH, VERSION], vec![STREAM]];
    let own_3_5 = vec![vec![HEALTH, VERSION, UNKNOWN], vec![STREAM]];
    let unasked = vec![vec![STREAM]];
    for (server, cluster, dialect, token, websocket, expected) in [
        ("3.7.3", "3.7.0", Dialect::V2, None, Auto, &shared),
        ("3.6.16", "3.6.0", Dialect::V2, None, Auto, &shared),
        ("3.6.16", "3.5.0", Dialect::V2, None, Auto, &shared),
        ("3.6.16", "3.4.0", Dialect::V2, None, Auto, &own),
        ("3.6.16", "not_decided", Dialect::V2, None, Auto, &own),
        ("3.8.0-alpha.0", "3.8.0", Dialect::V2, None, Auto, &shared),
        ("3.5.35", "3.5.0", Dialect::V1, None, Auto, &shared_3_5),
        ("3.5.35", "3.5.0", Dialect::V2, None, Auto, &own_3_5),
        ("3.5.35", "3.4.0", Dialect::V1, None, Auto, &own),
        ("3.5.35", "not_decided", Dialect::V1, None, Auto, &own),
        ("3.4.23", "3.4.0", Dialect::V1, None, Auto, &own),
        ("3.4.39", "3.4.0", Dialect::V1, None, Auto, &own),
        ("3.5.31", "3.5.0", Dialect::V1, Some("t"), Auto, &own),
        ("3.5.32", "3.5.0", Dialect::V1, Some("t"), Auto, &shared_3_5),
        ("3.6.12", "3.6.0", Dialect::V2, Some("t"), Auto, &own),
        ("3.6.13", "3.6.0", Dialect::V2, Some("t"), Auto, &shared),
        ("3.7.0", "3.7.0", Dialect::V2, Some("t"), Auto, &shared),
        ("3.7.3", "3.7.0", Dialect::V2, None, Never, &unasked),
        ("3.4.23", "3.4.0", Dialect::V1, None, Never, &unasked),
        ("3.7.3", "3.7.0", Dialect::V2, None, Always, &shared),
        ("3.5.30", "3.5.0", Dialect::V2, None, Always, &shared),
        ("3.6.12", "3.6.0", Dialect::V2, Some("t"), Always, &shared),
    ] {
        let case = format!("{server} in {cluster}, {dialect:?}, {token:?}, {websocket:?}");
        let face = EtcdFace { cluster: cluster.to_owned(), dialect, ..EtcdFace::of(server) };
        let gateway = serving(face);
        let client = with(&gateway, websocket, token);
        let watch = client.watch_open(from(one(b"k"), 5)).unwrap();
        assert_eq!(values(&next(&watch).changes), ["5"], "{case}");
        assert_eq!(&asked(&gateway), expected, "{case}");
        assert_tokens(&gateway, token);
    }
}

/// A stream carries its token as any request, an upgrade as a protocol, and nothing else carries one.
#[track_caller]
fn assert_tokens(gateway: &FakeGateway, token: Option<&str>) {
    for request in gateway.requests() {
        let (expected, bearer) = match &*line(&request) {
            UPGRADE => (None, token.map(|token| format!("Bearer, {token}"))),
            STREAM => (token, None),
            _ => (None, None),
        };
        assert_eq!(request.header("authorization"), expected, "{}", line(&request));
        assert_eq!(request.header("sec-websocket-protocol"), bearer.as_deref(), "{}", line(&request));
    }
}

#[test]
fn who_insists_on_a_websocket_is_told_where_there_is_none_that_is_safe() {
    for (server, cluster) in [("3.4.39", "3.4.0"), ("3.6.16", "3.4.0"), ("3.6.16", "not_decided")] {
        let gateway = serving(EtcdFace { cluster: cluster.to_owned(), ..EtcdFace::of(server) });
        let error = refusal(with(&gateway, WebSocketUse::Always, None).watch_open(from(one(b"k"), 5)));
        assert!(matches!(error, Error::Unimplemented { .. }), "{error:?}");
        assert!(error.to_string().contains("WebSocket"), "{error}");
        assert_eq!(asked(&gateway), [[HEALTH, VERSION]], "{server} in {cluster}");
    }
}

#[test]
fn who_needs_no_leader_asks_for_no_health_and_shares_no_connection_with_those_who_do() {
    let gateway = serving(EtcdFace::of("3.6.16"));
    let client = client(gateway.url());
    let without = WatchOptions { require_leader: false, ..from(one(b"k"), 5) };
    let _watches = [without.clone(), without, from(one(b"k"), 5)].map(|options| client.watch_open(options).unwrap());
    assert_eq!(asked(&gateway), [vec![VERSION, UPGRADE], vec![HEALTH, VERSION, UPGRADE]]);
}

#[test]
fn a_member_without_a_leader_is_not_upgraded_for_watches_that_need_one() {
    let face = EtcdFace::of("3.6.16");
    *face.trouble.lock().unwrap() = "RAFT NO LEADER".to_owned();
    let (cut_off, healthy) = (serving(face), serving(EtcdFace::of("3.6.16")));
    let client = client(&[cut_off.url(), healthy.url()].join(","));
    let watch = client.watch_open(from(one(b"k"), 5)).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
    assert_eq!((cut_off.count("/v3/watch"), healthy.count("/v3/watch")), (0, 1));
}

#[test]
fn watches_move_to_a_websocket_once_their_cluster_has_agreed_on_a_version() {
    let (asked, young, grown) = (AtomicUsize::new(0), EtcdFace::of("3.6.16"), EtcdFace::of("3.6.16"));
    let young = EtcdFace { cluster: "not_decided".to_owned(), ..young };
    let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE => serve_sockets(0, &mut reply.upgrade(request)),
        STREAM => stream(request, reply),
        VERSION if asked.fetch_add(1, Ordering::SeqCst) == 0 => young.answer(request, reply),
        _ => grown.answer(request, reply),
    });
    let client = client(gateway.url());
    let watches = [(); 3].map(|()| client.watch_open(reporting(from(one(b"k"), 5))).unwrap());
    let upgrades = || gateway.requests().iter().filter(|request| line(request) == UPGRADE).count();
    assert_eq!(upgrades(), 0);
    wait_until(LONG, || upgrades() == 1 && gateway.open_connections() <= 3);
    // Each goes on where it was, and that it has moved is nobody's business.
    for watch in &watches {
        let said = [(); 2].map(|()| next(watch));
        assert_eq!(said.each_ref().map(|said| said.kind), [WatchKind::Events; 2]);
        assert_eq!(said.map(|said| values(&said.changes).join(",")), ["5", "6"]);
    }
}

#[test]
fn watches_move_to_a_websocket_although_its_member_could_not_be_asked_once() {
    let (asked, face) = (AtomicUsize::new(0), EtcdFace::of("3.6.16"));
    let young = EtcdFace { cluster: "not_decided".to_owned(), ..face.clone() };
    let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE => serve_sockets(0, &mut reply.upgrade(request)),
        STREAM => stream(request, reply),
        VERSION => match asked.fetch_add(1, Ordering::SeqCst) {
            0 => young.answer(request, reply),
            1 => reply.close(),
            _ => face.answer(request, reply),
        },
        _ => face.answer(request, reply),
    });
    let watch = client(gateway.url()).watch_open(reporting(from(one(b"k"), 5))).unwrap();
    for expected in ["5", "6"] {
        assert_eq!(values(&next(&watch).changes), [expected]);
    }
}

/// Answers upgrades so, and all else as etcd 3.6; confirms every watch of a stream.
fn upgrading_with(upgrade: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
    let face = EtcdFace::of("3.6.16");
    FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE => upgrade(request, reply),
        STREAM => stream(request, reply),
        _ => face.answer(request, reply),
    })
}

#[test]
fn what_lets_no_upgrade_through_gets_streams_and_is_not_asked_again() {
    type Answer = fn(&Request, &mut Reply<'_>);
    let answers: [(&str, Answer); 7] = [
        ("403", |_, reply| reply.status("403 Forbidden", "no")),
        ("404", |_, reply| reply.status("404 Not Found", r#"{"code":5,"message":"Not Found"}"#)),
        ("502", |_, reply| reply.status("502 Bad Gateway", "<html>")),
        ("200", |_, reply| reply.json("{}")),
        ("garbage", |_, reply| reply.raw("garbage\r\n\r\n")),
        ("no accept", |_, reply| reply.raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")),
        ("silence", |_, reply| reply.hold()),
    ];
    for (case, answer) in answers {
        let gateway = upgrading_with(answer);
        let client = client(gateway.url());
        for _ in 0..2 {
            let watch = client.watch_open(from(one(b"k"), 5)).unwrap();
            assert_eq!(values(&next(&watch).changes), ["5"], "{case}");
        }
        let count = |what: &str| gateway.requests().iter().filter(|request| line(request) == what).count();
        assert_eq!((count(UPGRADE), count(STREAM)), (1, 2), "{case}");
    }
}

#[test]
fn what_lets_no_upgrade_through_for_a_moment_is_asked_again_soon_and_watches_move_there_also_where_one_is_lost_before()
{
    for lost in [0, 1] {
        let upgrades = AtomicUsize::new(0);
        let gateway = upgrading_with(move |request, reply| match upgrades.fetch_add(1, Ordering::SeqCst) {
            0 => reply.status("503 Service Unavailable", "<html>"),
            number if number <= lost => reply.close(),
            _ => serve_sockets(0, &mut reply.upgrade(request)),
        });
        let client = client(gateway.url());
        let watch = client.watch_open(from(one(b"k"), 5)).unwrap();
        let said = [(); 2].map(|()| values(&next(&watch).changes).join(","));
        assert_eq!(said, ["5", "6"], "{lost} lost: the second is sent over a WebSocket only");
    }
}

#[test]
fn who_has_little_time_keeps_nobody_from_a_connection() {
    let face = EtcdFace::of("3.6.16");
    let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE => serve_sockets(0, &mut reply.upgrade(request)),
        HEALTH => {
            std::thread::sleep(Duration::from_millis(100));
            face.answer(request, reply);
        }
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_done.load(Ordering::SeqCst) {
                    let _ = client.watch_open(confirmed_within(from(one(b"hasty"), 5), Duration::from_millis(20)));
                }
            });
        }
        wait_until(LONG, || gateway.connections() > 2);
        let patient = client.watch_open(confirmed_within(from(one(b"patient"), 5), Duration::from_secs(10)));
        is_done.store(true, Ordering::SeqCst);
        patient.unwrap();
    });
}

#[test]
fn who_has_no_time_for_a_slow_upgrade_gets_a_stream_and_the_upgrade_another_chance_at_once() {
    let upgrades = AtomicUsize::new(0);
    let gateway = upgrading_with(move |request, reply| match upgrades.fetch_add(1, Ordering::SeqCst) {
        0 => reply.hold(),
        _ => serve_sockets(0, &mut reply.upgrade(request)),
    });
    let client = client(gateway.url());
    let begin = Instant::now();
    let watch = client.watch_open(confirmed_within(from(one(b"k"), 5), Duration::from_secs(1))).unwrap();
    let said = [(); 2].map(|()| values(&next(&watch).changes).join(","));
    assert_eq!(said, ["5", "6"], "the second is sent over a WebSocket only");
    // The upgrade had half a second, and is made again as long after that. One that was refused would rest for 3 s.
    assert!(begin.elapsed() < Duration::from_millis(2800), "after {:?}", begin.elapsed());
}

#[test]
fn who_insists_on_a_websocket_and_has_no_time_for_a_slow_upgrade_is_told_that_time_is_over() {
    let gateway = upgrading_with(|_, reply| reply.hold());
    let hasty = confirmed_within(from(one(b"k"), 5), Duration::from_millis(300));
    let error = refusal(with(&gateway, WebSocketUse::Always, None).watch_open(hasty));
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
}

#[test]
fn who_insists_on_a_websocket_and_has_little_time_gets_one_elsewhere() {
    let (slow, fit) = (upgrading_with(|_, reply| reply.hold()), serving(EtcdFace::of("3.6.16")));
    let endpoints = [slow.url(), fit.url()].join(",");
    let client = Client::new(Config { websocket: WebSocketUse::Always, ..config(&endpoints) }).unwrap();
    let watch = client.watch_open(confirmed_within(from(one(b"k"), 5), Duration::from_secs(2))).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
}

#[test]
fn a_stream_that_is_confirmed_only_when_there_is_a_websocket_is_left_for_that() {
    let (upgrades, face) = (AtomicUsize::new(0), EtcdFace::of("3.6.16"));
    let (has_moved, others_have_moved) = mpsc::channel();
    let others_have_moved = Mutex::new(others_have_moved);
    let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE if upgrades.fetch_add(1, Ordering::SeqCst) == 0 => reply.status("503 Service Unavailable", "<html>"),
        UPGRADE => {
            let mut socket = reply.upgrade(request);
            let create = socket.message().unwrap();
            has_moved.send(()).unwrap();
            socket.created(id(&create["create_request"]), 9);
            socket.puts(id(&create["create_request"]), &[6]);
            serve(&mut socket);
        }
        STREAM if request.json()["create_request"]["key"] == "bGF0ZQ==" => {
            others_have_moved.lock().unwrap().recv_timeout(LONG).unwrap();
            stream(request, reply);
        }
        STREAM => stream(request, reply),
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let watches = [client.watch_open(from(one(b"k"), 5)), client.watch_open(unconfirmed(from(one(b"late"), 5)))];
    for watch in watches.map(Result::unwrap) {
        let said = [(); 2].map(|()| values(&next(&watch).changes).join(","));
        assert_eq!(said, ["5", "6"], "the second is sent over a WebSocket only");
    }
}

#[test]
fn what_ends_upgraded_connections_without_a_word_gets_streams_in_the_end() {
    type Answer = fn(&Request, &mut Reply<'_>);
    let answers: [(&str, Answer); 3] = [
        ("closed", |_, reply| reply.close()),
        ("reset", |_, reply| reply.reset()),
        ("accepted and closed", |request, reply| reply.upgrade(request).close()),
    ];
    for (case, answer) in answers {
        let gateway = upgrading_with(answer);
        let watch = client(gateway.url()).watch_open(from(one(b"k"), 5)).unwrap();
        assert_eq!(values(&next(&watch).changes), ["5"], "{case}");
        let upgrades = gateway.requests().iter().filter(|request| line(request) == UPGRADE).count();
        assert!((2..10).contains(&upgrades), "{case}: {upgrades}");
    }
}

#[test]
fn what_comes_along_with_the_answer_to_an_upgrade_is_read_at_once() {
    const CLOSE: &[u8] = &[0x88, 2, 3, 0xe9];
    let is_first = AtomicBool::new(true);
    let gateway = upgrading_with(move |request, reply| {
        let first = if is_first.swap(false, Ordering::SeqCst) { CLOSE } else { &[] };
        let mut socket = reply.upgrade_with(request, first);
        // The one who closes a WebSocket waits for the other.
        if first.is_empty() { serve(&mut socket) } else { socket.hold() }
    });
    let (watch, elapsed) = timed(|| client(gateway.url()).watch_open(from(one(b"k"), 5)));
    assert!(watch.is_ok() && elapsed < AT_ONCE, "{elapsed:?}");
}

#[test]
fn a_connection_that_is_lost_while_it_is_upgraded_is_made_again() {
    let upgrades = AtomicUsize::new(0);
    let gateway = upgrading_with(move |request, reply| match upgrades.fetch_add(1, Ordering::SeqCst) {
        0 => reply.close(),
        1 => reply.reset(),
        _ => {
            let mut socket = reply.upgrade(request);
            serve(&mut socket);
            reply.close();
        }
    });
    let client = client(gateway.url());
    let watches: Vec<_> = (0..20).map(|_| client.watch_open(from(one(b"k"), 5)).unwrap()).collect();
    for watch in &watches {
        assert_eq!(values(&next(watch).changes), ["5"]);
    }
    let count = |what: &str| gateway.requests().iter().filter(|request| line(request) == what).count();
    assert_eq!((count(UPGRADE), count(STREAM)), (3, 0));
}

#[test]
fn who_insists_on_a_websocket_that_is_lost_time_and_again_is_told() {
    let gateway = upgrading_with(|_, reply| reply.close());
    let error = refusal(with(&gateway, WebSocketUse::Always, None).watch_open(from(one(b"k"), 5)));
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
}

#[test]
fn what_tells_no_version_over_a_connection_that_lasts_gets_streams() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 48\r\n\r\n{\"etcdserver\":\"3.6.16\",\"etcdcluster\":\"3.6.0\"}  \r\n",
    ] {
        let face = EtcdFace::of("3.6.16");
        let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
            VERSION => {
                reply.raw(answer);
                if answer.contains("close") {
                    // Late, so that whoever took it for one to be used again would find that out.
                    std::thread::sleep(Duration::from_millis(20));
                    reply.close();
                }
            }
            STREAM => stream(request, reply),
            _ => face.answer(request, reply),
        });
        let client = client(gateway.url());
        let watch = client.watch_open(from(one(b"k"), 5)).unwrap();
        assert_eq!(values(&next(&watch).changes), ["5"], "{answer}");
        assert!(gateway.requests().iter().all(|request| line(request) != UPGRADE));
        if answer.contains("close") {
            let put = crate::common::put(&client, b"k", b"");
            assert!(put.is_ok(), "a connection that was to be closed was used: {put:?}");
        }
    }
}

#[test]
fn an_endpoint_that_has_been_replaced_by_an_older_one_is_not_upgraded() {
    let asked_before = AtomicUsize::new(0);
    let (new, old) = (EtcdFace::of("3.6.16"), EtcdFace::of("3.4.39"));
    let gateway = FakeGateway::start(move |request, reply| match &*line(request) {
        UPGRADE => {
            assert_eq!(asked_before.fetch_add(1, Ordering::SeqCst), 0, "this would have killed it");
            let mut socket = reply.upgrade(request);
            let create = socket.create().unwrap();
            socket.created(id(&create), 9);
            socket.close();
        }
        STREAM => stream(request, reply),
        _ if asked_before.load(Ordering::SeqCst) > 0 => old.answer(request, reply),
        _ => new.answer(request, reply),
    });
    let watch = client(gateway.url()).watch_open(from(one(b"k"), 5)).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
}
