//! The fake gateway's WebSockets, against a client that knows nothing of it: what they promise, other tests rest on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Cluster, Dialect, EtcdFace, FakeGateway, LONG, versions, wait_until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, Message, WebSocket, client};

fn connect(gateway: &FakeGateway) -> WebSocket<TcpStream> {
    let address = gateway.url().strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    client(format!("ws://{address}/v3/watch"), stream).unwrap().0
}

fn send(socket: &mut WebSocket<TcpStream>, message: &Value) {
    socket.send(Message::text(message.to_string())).unwrap();
}

fn receive(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn create() -> Value {
    json!({"create_request": {"key": "aw==", "start_revision": "5"}})
}

/// A plain request over a connection of its own.
fn ask(gateway: &FakeGateway, verb: &str, path: &str) -> String {
    let address = gateway.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    write!(stream, "{verb} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_script_reads_creates_and_answers_what_it_likes() {
    let gateway = EtcdFace::of("3.6.16").start(
        |number, socket| {
            assert_eq!(number, 0);
            assert_eq!(socket.create().unwrap()["start_revision"], "5");
            socket.created(0, 4);
            assert_eq!(socket.create().unwrap()["key"], "aw==");
            socket.created(1, 4);
            socket.fragment(1, &[5]);
            socket.puts(1, &[5, 6]);
            socket.progress(-1, 7);
            assert_eq!(socket.cancel(), Some(1));
            socket.canceled(1, 7);
            socket.compacted(0, 6);
            socket.idle();
        },
        |_, _| panic!("no stream was asked for"),
    );
    let mut socket = connect(&gateway);
    send(&mut socket, &create());
    send(&mut socket, &create());
    assert_eq!(receive(&mut socket)["result"]["created"], true);
    assert_eq!(receive(&mut socket)["result"]["watch_id"], "1");
    assert_eq!(receive(&mut socket)["result"]["fragment"], true);
    let events = receive(&mut socket)["result"]["events"].clone();
    assert_eq!(events[1]["kv"], json!({"key": "aw==", "mod_revision": "6", "version": "1", "value": "Ng=="}));
    assert_eq!(
        receive(&mut socket),
        json!({"result": {"header": {"revision": "7", "raft_term": "2"}, "watch_id": "-1"}})
    );
    send(&mut socket, &json!({"cancel_request": {"watch_id": "1"}}));
    assert_eq!(receive(&mut socket)["result"]["canceled"], true);
    assert_eq!(receive(&mut socket)["result"]["compact_revision"], "6");
    socket.close(None).unwrap();
}

#[test]
fn messages_of_every_length_arrive_whole() {
    let lengths = [0, 125, 126, 65_535, 65_536, 1_000_000];
    let gateway = EtcdFace::of("3.7.3").start(
        move |_, socket| {
            for length in lengths {
                assert_eq!(socket.message().unwrap()["text"].as_str().unwrap().len(), length);
                socket.text(json!({"text": "x".repeat(length)}).to_string());
            }
            socket.idle();
        },
        |_, _| {},
    );
    let mut socket = connect(&gateway);
    for length in lengths {
        send(&mut socket, &json!({"text": "x".repeat(length)}));
        assert_eq!(receive(&mut socket)["text"].as_str().unwrap().len(), length);
    }
}

#[test]
fn pings_are_answered_unless_they_are_to_be_ignored() {
    let gateway = EtcdFace::of("3.6.16").start(
        |number, socket| {
            if number == 1 {
                socket.ignore_pings();
            }
            assert!(socket.create().is_some());
            assert_eq!(socket.pings(), 1);
            socket.created(0, 4);
            socket.idle();
        },
        |_, _| {},
    );
    for is_answered in [true, false] {
        let mut socket = connect(&gateway);
        socket.send(Message::Ping(vec![7].into())).unwrap();
        send(&mut socket, &create());
        let first = socket.read().unwrap();
        assert_eq!(first == Message::Pong(vec![7].into()), is_answered, "{first:?}");
    }
}

#[test]
fn a_script_can_close_reset_send_garbage_and_be_silent() {
    let gateway = EtcdFace::of("3.6.16").start(
        |number, socket| match number {
            0 => socket.close(),
            1 => socket.close_with(1001),
            2 => socket.reset(),
            3 => socket.raw(&[0xff; 32]),
            4 => socket.text("no JSON"),
            _ => {
                assert_eq!(socket.message_within(Duration::from_millis(50)), None);
                socket.text("nothing came");
                socket.hold();
            }
        },
        |_, _| {},
    );
    assert!(matches!(connect(&gateway).read(), Err(Error::Protocol(_))), "no close frame came");
    assert!(matches!(connect(&gateway).read(), Ok(Message::Close(Some(_)))));
    assert!(connect(&gateway).read().is_err());
    assert!(matches!(connect(&gateway).read(), Err(Error::Protocol(_))));
    assert_eq!(connect(&gateway).read().unwrap(), Message::text("no JSON"));
    let mut silent = connect(&gateway);
    assert_eq!(silent.read().unwrap(), Message::text("nothing came"));
    silent.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    silent.send(Message::Ping(vec![].into())).unwrap();
    assert!(matches!(silent.read(), Err(Error::Io(_))), "nothing comes");
    drop(silent);
    wait_until(LONG, || gateway.open_connections() == 0);
}

#[test]
fn an_upgrade_can_be_refused_and_requests_are_kept_by_connection() {
    let face = EtcdFace { refuses_upgrades: Some("403 Forbidden"), ..EtcdFace::of("3.5.35") };
    let gateway = face.start(|_, _| panic!("it was refused"), |_, reply| reply.json("{}"));
    let address = gateway.url().strip_prefix("http://").unwrap();
    let request = format!("ws://{address}/v3/watch").into_client_request().unwrap();
    let refused = client(request, TcpStream::connect(address).unwrap());
    assert!(refused.unwrap_err().to_string().contains("403"));
    ask(&gateway, "POST", "/v3/watch");
    let seen: Vec<_> = gateway.requests().into_iter().map(|request| (request.connection, request.verb)).collect();
    assert_eq!(seen, [(0, "GET".to_owned()), (1, "POST".to_owned())]);
}

#[test]
fn a_face_has_a_version_a_revision_a_health_and_a_dialect() {
    let old = EtcdFace { cluster: "not_decided".to_owned(), ..EtcdFace::of("3.5.35") };
    let (revision, trouble) = (old.revision.clone(), old.trouble.clone());
    let gateway = old.start(|_, _| {}, |_, _| {});
    assert!(ask(&gateway, "GET", "/version").ends_with(r#"{"etcdserver":"3.5.35","etcdcluster":"not_decided"}"#));
    assert!(ask(&gateway, "GET", "/health").contains(r#""health":"true""#));
    *trouble.lock().unwrap() = "RAFT NO LEADER".to_owned();
    assert!(ask(&gateway, "GET", "/health").contains("503"));
    revision.store(77, std::sync::atomic::Ordering::SeqCst);
    assert!(ask(&gateway, "POST", "/v3/kv/range").contains(r#""revision":"77""#));
    assert!(ask(&gateway, "POST", "/v3/what").ends_with("\r\n\r\nNot Found\n"));
    let new = EtcdFace::of("3.6.16");
    assert_eq!((new.dialect, &*new.cluster), (Dialect::V2, "3.6.0"));
    assert!(ask(&new.start(|_, _| {}, |_, _| {}), "POST", "/v3/what").ends_with(r#"{"code":5,"message":"Not Found"}"#));
}

#[test]
fn a_member_that_is_cut_off_says_that_it_has_no_leader_and_still_answers() {
    for version in versions() {
        let cluster = Cluster::start_separable(&version, 3);
        let place = cluster.follower();
        let health = || common::http_get(cluster.members[place].address(), "/health").unwrap_or_default();
        assert!(health().contains(r#""health":"true""#), "etcd {version}");
        cluster.separate(place);
        wait_until(LONG, || health().contains(r#""health":"false""#));
        // 3.4 gives no reason.
        assert!(version.starts_with("3.4") || health().contains("RAFT NO LEADER"), "etcd {version}: {}", health());
        cluster.unite();
        wait_until(LONG, || health().contains(r#""health":"true""#));
    }
}
