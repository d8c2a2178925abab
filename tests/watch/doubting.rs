//! Servers that are behind what a watch has seen: whether they lag, or the cluster went back in time, a linearizable read
//! tells; until then nothing of theirs is delivered.

use crate::common::{FakeGateway, Gate, LONG, Socket, client, wait_until};
use crate::support::*;
use etcdgw::error::{Code, Error};
use etcdgw::watch::{Watch, WatchKind};
use std::time::Duration;

/// Confirms so many watches and has each see revision 20; then the connection ends.
fn have_seen_20(socket: &mut Socket<'_>, count: usize) {
    for _ in 0..count {
        let id = id(&socket.create().unwrap());
        socket.created(id, 9);
        socket.puts(id, &[20]);
    }
    socket.close();
}

/// Confirms a watch at revision 9 and sends it revision 21.
fn be_behind(socket: &mut Socket<'_>) {
    let id = id(&socket.create().unwrap());
    socket.created(id, 9);
    socket.puts(id, &[21]);
}

fn open(gateway: &FakeGateway, key: &'static [u8]) -> Watch {
    client(gateway.url()).watch_open(from(one(key), 5)).unwrap()
}

#[test]
fn one_read_serves_all_watches_that_resume_together_at_a_server_that_is_behind() {
    const COUNT: usize = 50;
    for found in [20, 19] {
        let sockets = |number, socket: &mut Socket<'_>| {
            if number == 0 {
                return have_seen_20(socket, COUNT);
            }
            let ids: Vec<i64> = (0..COUNT).map(|_| id(&socket.create().unwrap())).collect();
            // In one piece, so that they are found together.
            let frame = |id: &i64| {
                let header = r#"{"revision":"9","raft_term":"2"}"#;
                let text = format!(r#"{{"result":{{"header":{header},"watch_id":"{id}","created":true}}}}"#);
                [&[0x81, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
            };
            socket.raw(&ids.iter().flat_map(frame).collect::<Vec<u8>>());
            ids.iter().for_each(|id| socket.puts(*id, &[21]));
            socket.idle();
        };
        let gateway = scripted(sockets, move |_, _, reply| revision(reply, found));
        let client = client(gateway.url());
        let watches: Vec<Watch> =
            (0..COUNT).map(|_| client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap()).collect();
        for watch in &watches {
            assert_eq!(values(&next(watch).changes), ["20"]);
            let then = next(watch);
            if found == 20 {
                assert_eq!(values(&then.changes), ["21"]);
                continue;
            }
            assert_eq!((then.kind, then.resume_revision), (WatchKind::Ended, 21));
            assert!(matches!(then.error, Some(Error::RevisionRegressed { seen: 20, found: 19, .. })), "{then:?}");
        }
        assert_eq!(gateway.count(READ), 1);
    }
}

#[test]
fn a_read_that_fails_is_made_again_after_a_pause_until_it_tells() {
    let heals = Gate::new();
    let healed = heals.clone();
    let gateway = scripted(
        |number, socket| {
            if number == 0 {
                return have_seen_20(socket, 1);
            }
            be_behind(socket);
            socket.idle();
        },
        move |_, _, reply| if healed.is_open() { revision(reply, 20) } else { reply.close() },
    );
    let watch = open(&gateway, b"k");
    assert_eq!(values(&next(&watch).changes), ["20"]);
    wait_until(LONG, || gateway.count(READ) > 0);
    std::thread::sleep(Duration::from_secs(1));
    // Each goes over a connection that was kept and over a new one.
    assert!((2..40).contains(&gateway.count(READ)), "{} reads in a second", gateway.count(READ));
    assert!(watch.next(Some(Duration::ZERO)).unwrap().is_none(), "it is not known yet");
    heals.open();
    assert_eq!(values(&next(&watch).changes), ["21"]);
}

#[test]
fn a_watch_whose_read_is_refused_ends_and_the_others_are_served_by_another_one() {
    let gateway = scripted(
        |number, socket| {
            if number == 0 {
                return have_seen_20(socket, 2);
            }
            (0..2).for_each(|_| be_behind(socket));
            socket.idle();
        },
        |_, request, reply| {
            if request.json()["key"] == "aw==" {
                return revision(reply, 20);
            }
            reply.status("403 Forbidden", r#"{"error":"etcdserver: permission denied","code":7}"#);
        },
    );
    let client = client(gateway.url());
    // The first one reads.
    let [refused, other] = [&b"secret"[..], b"k"].map(|key| client.watch_open(unconfirmed(from(one(key), 5))).unwrap());
    assert_eq!(values(&next(&other).changes), ["20"]);
    assert_eq!(values(&next(&refused).changes), ["20"]);
    assert_eq!(values(&next(&other).changes), ["21"]);
    let ended = next(&refused);
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 21));
    assert_eq!(code(ended.error.as_ref().unwrap()), Some(Code::PermissionDenied));
}

#[test]
fn a_read_that_began_before_the_server_in_use_confirmed_the_watch_tells_nothing_of_it() {
    let (reads, moved) = (Gate::new(), Gate::new());
    let (is_read, has_moved) = (reads.clone(), moved.clone());
    let gateway = scripted(
        move |number, socket| match number {
            0 => have_seen_20(socket, 1),
            1 => {
                be_behind(socket);
                is_read.wait();
                socket.close();
            }
            2 => {
                let id = id(&socket.create().unwrap());
                socket.created(id, 50);
                socket.puts(id, &[60]);
                socket.close();
            }
            _ => {
                let id = id(&socket.create().unwrap());
                socket.created(id, 9);
                socket.puts(id, &[61]);
                has_moved.open();
                socket.idle();
            }
        },
        move |number, _, reply| {
            if number > 0 {
                return revision(reply, 60);
            }
            // True when it was asked for.
            reads.open();
            moved.wait();
            std::thread::sleep(Duration::from_millis(100));
            revision(reply, 20);
        },
    );
    let watch = open(&gateway, b"k");
    let said: Vec<Said> = (0..3).map(|_| next(&watch)).collect();
    assert_eq!(values(&changes_of(&said)), ["20", "60", "61"], "{said:?}");
    assert_eq!(gateway.count(READ), 2);
}
