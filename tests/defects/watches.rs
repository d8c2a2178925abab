//! Defects of watches.

use crate::common::{
    FakeGateway, LONG, Reply, client, for_each_version, get, on_each_version, plain, put, put_revision, timed,
    wait_until, within,
};
use etcdgw::error::{Code, Error};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

const CREATED: &str = "{\"result\":{\"header\":{\"revision\":\"4\"},\"created\":true}}\n";
const EVENT: &str = "{\"result\":{\"header\":{\"revision\":\"5\"},\"events\":[{\"kv\":{\"key\":\"aw==\",\
    \"create_revision\":\"5\",\"mod_revision\":\"5\",\"version\":\"1\",\"value\":\"dg==\"}}]}}\n";

fn watching(keys: Keys<'static>) -> WatchOptions {
    WatchOptions::new(WatchRequest::new(keys))
}

fn of_key(key: &'static [u8]) -> WatchOptions {
    watching(Keys::One(Cow::Borrowed(key)))
}

fn of_prefix(prefix: &'static [u8]) -> WatchOptions {
    watching(Keys::Prefix(Cow::Borrowed(prefix)))
}

fn next(watch: &Watch) -> WatchResponse {
    watch.next(Some(LONG)).unwrap().unwrap()
}

fn key_of(response: &WatchResponse) -> &[u8] {
    response.bytes(response.events[0].kv.key)
}

/// A gateway at revision 4 that answers watches by a script and keeps their streams open.
fn gateway(script: impl Fn(&mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/watch" => {
            script(reply);
            reply.hold();
        }
        _ => reply.json(r#"{"header":{"revision":"4"}}"#),
    })
}

fn message(text: &'static str) -> FakeGateway {
    gateway(move |reply| {
        reply.stream_head();
        reply.chunk(text);
    })
}

/// D3: `watch_prefix_once('/doot/')` fired for `/zzz`, and `watch_prefix_once('foo/')` never for `foo/1`.
#[test]
fn watching_a_prefix_once_is_over_with_a_key_of_that_prefix_and_with_no_other() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let once = |prefix, limit| client.watch_once(WatchOptions { call: within(limit), ..of_prefix(prefix) });
        thread::scope(|scope| {
            let watch = scope.spawn(|| once(b"/doot/", LONG));
            while !watch.is_finished() {
                for key in [&b"/zzz"[..], b"/doot", b"/doot0", b"/doot/a"] {
                    put(&client, key, b"v").unwrap();
                }
            }
            assert_eq!(key_of(&watch.join().unwrap().unwrap()), b"/doot/a");
            let watch = scope.spawn(|| once(b"foo/", LONG));
            while !watch.is_finished() {
                put(&client, b"foo/1", b"v").unwrap();
            }
            assert_eq!(key_of(&watch.join().unwrap().unwrap()), b"foo/1");
        });
        let ended = once(b"/quiet/", Duration::from_millis(300));
        assert!(matches!(ended, Err(Error::Deadline { .. })), "{ended:?}");
    });
}

/// D8: a watch from a revision that was compacted away waited for ever.
#[test]
fn a_watch_from_the_compacted_past_ends_with_the_revision_that_is_left() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        for value in [b"1", b"2", b"3"] {
            put(&client, b"k", value).unwrap();
        }
        let last = put_revision(&client, b"k", b"4");
        client.compact(last, true, &plain()).unwrap();
        let mut options = of_key(b"k");
        options.request.start_revision = 2;
        let told = match client.watch_open(options) {
            Ok(watch) => next(&watch).error.unwrap(),
            Err(error) => error,
        };
        assert!(matches!(told, Error::Compacted { compact_revision, .. } if compact_revision == last), "{told:?}");
    });
}

/// D9: a watch that was refused (`created` with `canceled`) waited for ever.
#[test]
fn a_refused_watch_is_an_error_with_the_servers_reason() {
    let refused = "{\"result\":{\"header\":{\"revision\":\"4\"},\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,\
        \"cancel_reason\":\"rpc error: code = PermissionDenied desc = etcdserver: permission denied\"}}\n";
    let gateway = message(refused);
    let (answer, took) = timed(|| client(gateway.url()).watch_open(of_key(b"k")).err().unwrap());
    assert!(matches!(answer, Error::Server { code: Code::PermissionDenied, .. }), "{answer:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    on_each_version(|etcd| {
        let empty = Keys::Range { key: Cow::Borrowed(&b"b"[..]), end: Cow::Borrowed(&b"a"[..]) };
        let error = client(&etcd.url()).watch_open(watching(empty)).err().unwrap();
        assert!(error.to_string().contains("watcher range is empty"), "{error}");
    });
}

/// D10: an error object was a KeyError in a place where nobody looked, and the watch waited for ever.
#[test]
fn an_error_object_of_either_dialect_is_the_error_of_the_call() {
    for line in [
        r#"{"error":{"grpc_code":3,"http_code":400,"message":"etcdserver: user name is empty","http_status":"Bad Request"}}"#,
        "{\"error\":{\"code\":3,\"message\":\"etcdserver: user name is empty\"}}\n",
    ] {
        let gateway = gateway(move |reply| {
            reply.stream_head();
            reply.chunk(line);
            reply.end();
        });
        let error = client(gateway.url()).watch_open(of_key(b"k")).err().unwrap();
        assert!(matches!(error, Error::Server { code: Code::InvalidArgument, .. }), "{error:?}");
        assert!(error.to_string().contains("user name is empty"), "{error}");
    }
}

/// D11: one message in two chunks, or two messages in one, was taken for broken JSON, and the watch waited for ever.
#[test]
fn chunks_may_begin_and_end_anywhere() {
    let all = format!("{CREATED}{EVENT}");
    for size in [1, 2, 7, 50, CREATED.len() - 1, CREATED.len(), CREATED.len() + 1, all.len()] {
        let all = all.clone();
        let gateway = gateway(move |reply| {
            reply.stream_head();
            all.as_bytes().chunks(size).for_each(|piece| reply.chunk(piece));
        });
        let watch = client(gateway.url()).watch_open(of_key(b"k")).unwrap();
        assert_eq!(key_of(&next(&watch)), b"k", "{size}");
    }
}

/// D12: after a restart of the server a watch waited for ever.
#[test]
fn a_watch_goes_on_after_the_server_restarts() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        let watch = client.watch_open(of_key(b"k")).unwrap();
        let before = put_revision(&client, b"k", b"1");
        assert_eq!(next(&watch).events[0].kv.mod_revision, before);
        etcd.restart();
        let after = put_revision(&client, b"k", b"2");
        assert_eq!(next(&watch).events[0].kv.mod_revision, after);
    });
}

/// D13: a create that the gateway leaves unanswered, as newer ones do with a malformed one, was waited for without end.
#[test]
fn a_create_that_is_not_answered_ends_at_the_time_limit() {
    let gateway = gateway(|_| {});
    let limit = Duration::from_millis(300);
    let options = WatchOptions { call: within(limit), ..of_key(b"k") };
    let (answer, took) = timed(|| client(gateway.url()).watch_open(options).err().unwrap());
    assert!(matches!(answer, Error::Deadline { .. }), "{answer:?}");
    assert!(took < limit + Duration::from_secs(1), "{took:?}");
    on_each_version(|etcd| {
        let malformed = br#"{"create_request":{"key":"aw==","start_revision":"bogus"}}"#;
        let (answer, took) = timed(|| client(&etcd.url()).post("/watch", malformed, &within(limit)));
        assert!(matches!(answer, Err(Error::Deadline { .. } | Error::Server { .. })), "{answer:?}");
        assert!(took < limit + Duration::from_secs(1), "{took:?}");
    });
}

/// D14: a refused port raised another library's exception, and the status of the answer was not looked at.
#[test]
fn a_watch_that_cannot_begin_says_why() {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    assert!(matches!(client(&url).watch_open(of_key(b"k")).err().unwrap(), Error::Connect { .. }));
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/watch" => reply.status("404 Not Found", "404 page not found\n"),
        _ => reply.json(r#"{"header":{"revision":"4"}}"#),
    });
    let error = client(gateway.url()).watch_open(of_key(b"k")).err().unwrap();
    assert!(matches!(error, Error::Protocol { http_status: 404, .. }), "{error:?}");
}

/// D15: `fragment` was taken and dropped.
#[test]
fn fragments_are_asked_for_and_put_together() {
    let part = |number: i32, more| {
        let event = r#"{"kv":{"key":"aw==","mod_revision":"5","value":"#.to_owned()
            + &format!("\"{number}{number}{number}{number}\"}}}}");
        format!("{{\"result\":{{\"header\":{{\"revision\":\"5\"}},{more}\"events\":[{event}]}}}}\n")
    };
    let messages =
        [CREATED.to_owned(), part(1, "\"fragment\":true,"), part(2, "\"fragment\":true,"), part(3, "")].concat();
    let gateway = gateway(move |reply| {
        reply.stream_head();
        reply.chunk(&messages);
    });
    let watch = client(gateway.url()).watch_open(of_key(b"k")).unwrap();
    assert_eq!(next(&watch).events.len(), 3);
    assert_eq!(gateway.last().json()["create_request"]["fragment"], true);
}

/// D16: the key before stayed in base64, and without header and revision no caller could resume.
#[test]
fn what_was_before_is_decoded_and_the_revision_to_resume_at_is_told() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        put(&client, b"D16", b"/w/a").unwrap();
        let mut options = of_key(b"D16");
        options.request.prev_kv = true;
        let watch = client.watch_open(options).unwrap();
        let revision = put_revision(&client, b"D16", b"new");
        let response = next(&watch);
        let event = response.events[0];
        assert_eq!(response.bytes(event.prev_kv.unwrap().value), b"/w/a");
        assert_eq!((event.kv.mod_revision, response.resume_revision), (revision, revision + 1));
        assert!(response.header.revision >= revision);
    });
}

/// D17: stopping a watch closed the connections of everything else that used the same client.
#[test]
fn a_cancelled_watch_takes_nothing_else_with_it() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let [first, second] = [0; 2].map(|_| client.watch_open(of_key(b"D17")).unwrap());
        thread::scope(|scope| {
            let caller = scope.spawn(|| (0..200).for_each(|_| drop(get(&client, b"other").unwrap())));
            first.cancel();
            caller.join().unwrap();
        });
        let revision = put_revision(&client, b"D17", b"v");
        let response = next(&second);
        assert_eq!((response.kind, response.events[0].kv.mod_revision), (WatchKind::Events, revision));
    });
    // Where a watch is one connection, that goes with it, and no other.
    let gateway = message(CREATED);
    let client = client(gateway.url());
    let watch = client.watch_open(of_key(b"k")).unwrap();
    get(&client, b"k").unwrap();
    let open = gateway.open_connections();
    watch.cancel();
    wait_until(LONG, || gateway.open_connections() == open - 1);
    get(&client, b"k").unwrap();
    assert_eq!(gateway.open_connections(), open - 1);
}

/// D20, of watches: prefixes that are empty, end in 0xff or are not ASCII raised exceptions.
#[test]
fn any_prefix_can_be_watched() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        for name in [&b""[..], b"a\xff", b"a\x7f", b"\x80a", "ÿ".as_bytes(), "¿".as_bytes(), b"\xff\xff"] {
            for start in [[b"D20w/", name].concat(), [b"\xff", name].concat()] {
                let watch = client.watch_open(watching(Keys::Prefix(Cow::Owned(start.clone())))).unwrap();
                put(&client, b"D20", b"another").unwrap();
                let key = [&start[..], b"\xff"].concat();
                put(&client, &key, b"v").unwrap();
                assert_eq!(key_of(&next(&watch)), key, "{start:?}");
            }
        }
        let all = client.watch_open(of_prefix(b"")).unwrap();
        put(&client, b"\0", b"v").unwrap();
        assert_eq!(key_of(&next(&all)), b"\0");
    });
}

/// D25: an option of a watch that it did not know was dropped with a warning. Here `range_end` reaches the server.
#[test]
fn a_watch_of_a_range_asks_for_that_range() {
    let gateway = message(CREATED);
    let range = Keys::Range { key: Cow::Borrowed(&b"a"[..]), end: Cow::Borrowed(&b"b"[..]) };
    let _watch = client(gateway.url()).watch_open(watching(range)).unwrap();
    let create = &gateway.last().json()["create_request"];
    assert_eq!((&create["key"], &create["range_end"]), (&"YQ==".into(), &"Yg==".into()));
}
