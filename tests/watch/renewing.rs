//! Tokens of watches that share a connection: a token belongs to the connection, and all of them move to one with another.

use crate::common::{EtcdFace, FakeGateway, LONG, Reply, Request, Socket, config, wait_until};
use crate::shared::upgrades;
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials, WebSocketUse};
use etcdgw::error::{Code, Error, Reason};
use etcdgw::watch::{Watch, WatchKind};
use std::sync::atomic::{AtomicUsize, Ordering};

const INVALID_TOKEN: &str = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
const OUTDATED: &str = "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old";
const LOGIN: &str = "/v3/auth/authenticate";

fn user(name: &str) -> Credentials {
    Credentials::User { name: name.to_owned(), password: "right".into() }
}

fn client(gateway: &FakeGateway, credentials: Credentials) -> Client {
    Client::new(Config { credentials, ..config(gateway.url()) }).unwrap()
}

/// A gateway of etcd 3.6 that issues `token-1`, `token-2`, … WebSockets go to the script with their token, and so do
/// watches of streams.
fn guarded(
    sockets: impl Fn(&str, &mut Socket<'_>) + Send + Sync + 'static,
    streams: impl Fn(&str, &Request, &mut Reply<'_>) + Send + Sync + 'static,
) -> FakeGateway {
    let (face, issued) = (EtcdFace::of("3.6.16"), AtomicUsize::new(0));
    FakeGateway::start(move |request, reply| match (&*request.verb, &*request.path) {
        ("POST", LOGIN) => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            reply.json(format!(r#"{{"header":{{"revision":"4"}},"token":"token-{number}"}}"#));
        }
        ("GET", "/v3/watch") => {
            let token = request.header("sec-websocket-protocol").unwrap().strip_prefix("Bearer, ").unwrap();
            let mut socket = reply.upgrade(request);
            sockets(token, &mut socket);
            socket.close();
            reply.close();
        }
        ("POST", "/v3/watch") => streams(request.header("authorization").unwrap(), request, reply),
        _ => face.answer(request, reply),
    })
}

fn refuse(socket: &mut Socket<'_>, reason: &str) {
    socket.result(-1, 4, &format!(r#""created":true,"canceled":true,"cancel_reason":"{reason}""#));
}

/// Refuses every watch.
fn refuse_all(socket: &mut Socket<'_>, reason: &str) {
    while let Some(message) = socket.message() {
        if message.get("create_request").is_some() {
            refuse(socket, reason);
        }
    }
}

fn refuse_stream(_: &str, _: &Request, reply: &mut Reply<'_>) {
    reply.stream_head();
    reply.chunk(format!(
        "{{\"result\":{{\"header\":{{}},\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,\"cancel_reason\":\"{INVALID_TOKEN}\"}}}}\n"
    ));
    reply.hold();
}

fn no_stream(_: &str, _: &Request, _: &mut Reply<'_>) {
    panic!("no stream was asked for");
}

fn open(client: &Client) -> Watch {
    client.watch_open(unconfirmed(reporting(from(one(b"k"), 5)))).unwrap()
}

#[track_caller]
fn assert_invalid_token(error: &Error) {
    assert_eq!((code(error), error.reason()), (Some(Code::Unauthenticated), Reason::InvalidToken), "{error:?}");
}

#[test]
fn watches_that_are_refused_together_move_together_to_a_new_token_and_lose_nothing() {
    const NEW: usize = 20;
    let gateway = guarded(
        |token, socket| {
            if token != "token-1" {
                return serve(socket);
            }
            let running = id(&socket.create().unwrap());
            socket.created(running, 9);
            socket.puts(running, &[5]);
            (0..NEW).for_each(|_| assert!(socket.create().is_some()));
            // In one piece, so that they are found together, with an event of the one that runs among them.
            let refusal = format!(
                r#"{{"result":{{"header":{{}},"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"{INVALID_TOKEN}"}}}}"#
            );
            let frame =
                [&[0x81, 126][..], &u16::try_from(refusal.len()).unwrap().to_be_bytes(), refusal.as_bytes()].concat();
            socket.raw(&frame.repeat(NEW));
            socket.idle();
        },
        no_stream,
    );
    let client = client(&gateway, user("user"));
    let running = open(&client);
    assert_eq!(values(&next(&running).changes), ["5"]);
    let new: Vec<Watch> = (0..NEW).map(|_| open(&client)).collect();
    for watch in &new {
        assert_eq!(values(&next(watch).changes), ["5"]);
    }
    // It was not disconnected: it was put on another connection.
    assert_eq!(values(&next(&running).changes), ["6"]);
    assert_eq!((upgrades(&gateway), gateway.count(LOGIN)), (2, 2));
}

#[test]
fn where_every_token_is_refused_streams_decide_and_there_is_an_end() {
    for streams_work in [false, true] {
        let gateway = guarded(
            |_, socket| refuse_all(socket, INVALID_TOKEN),
            move |token, request, reply| {
                if !streams_work {
                    return refuse_stream(token, request, reply);
                }
                reply.stream_head();
                reply.chunk([CREATED.to_owned(), puts(&[5])].concat());
                reply.hold();
            },
        );
        let watch = open(&client(&gateway, user("user")));
        let said = next(&watch);
        if streams_work {
            assert_eq!(values(&said.changes), ["5"]);
        } else {
            assert_eq!(said.kind, WatchKind::Ended);
            assert_invalid_token(said.error.as_ref().unwrap());
        }
        assert!((2..10).contains(&gateway.count(LOGIN)), "{}", gateway.count(LOGIN));
        assert!((2..10).contains(&upgrades(&gateway)));
    }
}

#[test]
fn however_many_tokens_are_outdated_before_they_are_used_no_watch_that_runs_ends_or_leaves_its_websocket() {
    let gateway = guarded(
        |token, socket| match token {
            "token-1" => {
                let running = id(&socket.create().unwrap());
                socket.created(running, 9);
                socket.puts(running, &[5]);
                refuse_all(socket, OUTDATED);
            }
            "token-12" => serve(socket),
            _ => refuse_all(socket, OUTDATED),
        },
        no_stream,
    );
    let client = client(&gateway, user("user"));
    let running = open(&client);
    assert_eq!(values(&next(&running).changes), ["5"]);
    let other = open(&client);
    assert_eq!(values(&next(&running).changes), ["6"]);
    assert_eq!(values(&next(&other).changes), ["5"]);
    assert_eq!((upgrades(&gateway), gateway.count(LOGIN)), (12, 12));
}

#[test]
fn who_insists_on_a_websocket_that_refuses_every_token_is_told() {
    let gateway = guarded(|_, socket| refuse_all(socket, INVALID_TOKEN), no_stream);
    let config = Config { websocket: WebSocketUse::Always, credentials: user("user"), ..config(gateway.url()) };
    let client = Client::new(config).unwrap();
    assert_invalid_token(&refusal(client.watch_open(from(one(b"k"), 5))));
    assert!((2..10).contains(&upgrades(&gateway)), "{}", upgrades(&gateway));
}

#[test]
fn a_token_that_can_not_be_replaced_ends_the_watch_that_is_refused_and_not_those_that_run() {
    let gateway = guarded(
        |_, socket| {
            let running = id(&socket.create().unwrap());
            socket.created(running, 9);
            socket.puts(running, &[5]);
            assert!(socket.create().is_some());
            refuse(socket, INVALID_TOKEN);
            socket.puts(running, &[6]);
            serve(socket);
        },
        refuse_stream,
    );
    let client = client(&gateway, Credentials::Token("issued-elsewhere".into()));
    let running = open(&client);
    assert_eq!(values(&next(&running).changes), ["5"]);
    assert_invalid_token(&refusal(client.watch_open(from(one(b"k"), 5))));
    assert_eq!(values(&next(&running).changes), ["6"]);
    assert_eq!(upgrades(&gateway), 1);
}

#[test]
fn a_watch_that_is_begun_after_other_credentials_were_set_does_not_use_the_old_ones() {
    let gateway = guarded(|_, socket| serve(socket), no_stream);
    let client = client(&gateway, user("first"));
    let before = open(&client);
    assert_eq!(values(&next(&before).changes), ["5"]);
    client.set_credentials(user("second")).unwrap();
    let after = open(&client);
    assert_eq!(values(&next(&after).changes), ["5"]);
    // There is one connection: the others move along.
    assert_eq!(values(&next(&before).changes), ["6"]);
    let logins: Vec<_> = gateway.requests().into_iter().filter(|request| request.path == LOGIN).collect();
    let names: Vec<_> = logins.iter().map(|login| login.json()["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((upgrades(&gateway), names), (2, vec!["first".to_owned(), "second".to_owned()]));
}

#[test]
fn a_watch_that_is_begun_after_other_endpoints_were_set_goes_to_one_of_them() {
    let [old, new] = [(), ()].map(|()| EtcdFace::of("3.6.16").start(serve_sockets, |_, _| {}));
    let client = client(&old, Credentials::Nobody);
    let before = open(&client);
    assert_eq!(values(&next(&before).changes), ["5"]);
    client.set_endpoints(new.url()).unwrap();
    let after = open(&client);
    assert_eq!(values(&next(&after).changes), ["5"]);
    assert_eq!(values(&next(&before).changes), ["6"]);
    assert_eq!((upgrades(&old), upgrades(&new)), (1, 1));
    wait_until(LONG, || old.open_connections() <= 1);
}
