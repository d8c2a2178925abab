//! Many watches on one WebSocket: each gets what is its own, whatever becomes of the others and of the connection.

use crate::common::{EtcdFace, FakeGateway, Gate, LONG, Reply, Request, Socket, client, config, timed, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error};
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A gateway of etcd 3.6: WebSockets go to the script, with how many came before; streams are served.
pub fn sharing(script: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static) -> FakeGateway {
    EtcdFace::of("3.6.16").start(script, stream)
}

/// Confirms a watch of a stream and sends it a put at the revision it begins with.
pub fn stream(request: &Request, reply: &mut Reply<'_>) {
    let start = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
    reply.stream_head();
    reply.chunk([CREATED.to_owned(), puts(&[start])].concat());
    reply.hold();
}

pub fn upgrades(gateway: &FakeGateway) -> usize {
    gateway.requests().iter().filter(|request| request.is_upgrade()).count()
}

pub fn streams(gateway: &FakeGateway) -> usize {
    gateway.requests().iter().filter(|request| request.verb == "POST" && request.path == "/v3/watch").count()
}

/// A client whose members may be silent for so long.
pub fn impatient(gateway: &FakeGateway, liveness: Duration) -> Client {
    Client::new(Config { watch_liveness: liveness, ..config(gateway.url()) }).unwrap()
}

/// Watches from revision 5 on that wait for no confirmation, in this order.
pub fn open<const COUNT: usize>(client: &Client) -> [Watch; COUNT] {
    std::array::from_fn(|_| client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap())
}

/// The IDs of so many creates.
pub fn creates<const COUNT: usize>(socket: &mut Socket<'_>) -> [i64; COUNT] {
    std::array::from_fn(|_| id(&socket.create().unwrap()))
}

/// The values of the next changes, of which there must be so many.
pub fn take(watch: &Watch, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(values(&next(watch).changes));
    }
    taken
}

pub const PERMISSION_DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

pub fn refuse(socket: &mut Socket<'_>, reason: &str) {
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
