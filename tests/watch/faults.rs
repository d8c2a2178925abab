//! What gateways, proxies and networks do to a stream, and that nothing is lost or doubled by it.

use crate::common::{FakeGateway, LONG, client, config, timed, wait_until, within};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::watch::{WatchKind, WatchOptions};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn the_start_is_fixed_before_the_stream_whatever_the_confirmation_says() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        // The store was at 4 when it was asked; 5 to 9 came in between and are owed.
        reply.chunk(CREATED);
        reply.chunk(puts(&[5]));
        reply.chunk(puts(&[9]));
        reply.hold();
    });
    let watch = client(gateway.url()).watch_open(prefix(b"k")).unwrap();
    assert_eq!(values(&next(&watch).changes)[0], "5");
    assert_eq!(start_revisions(&gateway), [5]);
    let range = gateway.requests()[0].json();
    assert_eq!(range["key"], "aw==");
    assert_eq!(range.get("range_end"), None, "one key is enough, and needs no more permission");
}

#[test]
fn a_given_start_costs_no_further_call() {
    let gateway = watch_gateway(|_, request, reply| {
        let create = &request.json()["create_request"];
        assert_eq!(create["progress_notify"], true);
        assert_eq!(create["fragment"], true);
        assert_eq!(request.header("grpc-metadata-hasleader"), Some("true"));
        reply.stream_head();
        reply.chunk(CREATED);
        reply.hold();
    });
    let client = client(gateway.url());
    let _watch = client.watch_open(from(one(b"k"), 7)).unwrap();
    assert_eq!((start_revisions(&gateway), gateway.count("/v3/kv/range")), (vec![7], 0));
}

#[test]
fn a_negative_start_is_refused_before_anything_is_sent() {
    let gateway = FakeGateway::answering("{}");
    let error = refusal(client(gateway.url()).watch_open(from(one(b"k"), -1)));
    assert!(matches!(&error, Error::InvalidArgument { what, .. } if what.contains("start_revision")), "{error:?}");
    assert_eq!(gateway.connections(), 0);
}

#[test]
fn messages_that_arrive_together_may_be_larger_than_one_may_be_and_come_before_what_is_malformed_behind_them() {
    const LIMIT: usize = 1000;
    let gateway = watch_gateway(|_, _, reply| {
        let messages = (5..55).map(|revision| puts(&[revision]));
        let chunk = |message: String| format!("{:x}\r\n{message}\r\n", message.len());
        let chunks: String = std::iter::once(CREATED.to_owned()).chain(messages).map(chunk).collect();
        assert!(chunks.len() > 2 * LIMIT);
        reply.stream_head();
        reply.raw(chunks + "no size\r\n");
        reply.hold();
    });
    let config = Config { max_response_bytes: LIMIT, ..config(gateway.url()) };
    let watch = Client::new(config).unwrap().watch_open(from(prefix(b"k"), 5)).unwrap();
    let mut revisions = Vec::new();
    while revisions.len() < 50 {
        revisions.extend(next(&watch).changes.iter().map(|change| change.revision));
    }
    assert!(revisions.iter().copied().eq(5..55), "{revisions:?}");
    assert_eq!(start_revisions(&gateway)[0], 5);
}

#[test]
fn messages_are_split_at_line_ends_wherever_the_chunks_are() {
    let lines = [CREATED.to_owned(), puts(&[5, 5]), puts(&[6]), puts(&[7])].concat();
    let cuts: [fn(&str) -> Vec<String>; 3] = [
        |lines| lines.chars().map(|c| c.to_string()).collect(),
        |lines| vec![lines.to_owned()],
        // The line end in a chunk of its own, as Go's server cuts large messages.
        |lines| lines.split_inclusive('\n').flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect(),
    ];
    for cut in cuts {
        let chunks = cut(&lines);
        let gateway = watch_gateway(move |_, _, reply| {
            reply.stream_head();
            chunks.iter().for_each(|chunk| reply.chunk(chunk));
            reply.hold();
        });
        let (seen, consumer) = Seen::new();
        let watch = client(gateway.url()).watch(prefix(b"k"), consumer).unwrap();
        watch.start();
        assert_eq!(values(&seen.wait_for_changes(4)), ["5", "5", "6", "7"]);
        assert_exact(&seen.all());
    }
}

#[test]
fn bytes_that_trickle_in_make_whole_messages() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        let message = puts(&[5, 5, 6]);
        let framed = format!("{:x}\r\n{message}\r\n", message.len());
        reply.bit_by_bit(framed, Duration::from_micros(200));
        reply.hold();
    });
    let watch = client(gateway.url()).watch_open(prefix(b"k")).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5", "5", "6"]);
}

/// Serves two revisions, then this; and after that a second stream.
fn interrupted_by(interruption: &'static str) -> FakeGateway {
    watch_gateway(move |number, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        if number == 0 {
            reply.chunk(puts(&[5, 6]));
            reply.chunk(interruption);
            reply.end();
        } else {
            // A server that sends what it was not asked for any more is not believed.
            reply.chunk(puts(&[6, 7]));
            reply.chunk(puts(&[8]));
            reply.hold();
        }
    })
}

#[test]
fn an_interrupted_watch_goes_on_after_what_it_has() {
    for (interruption, expected) in [
        (
            r#"{"error":{"grpc_code":1,"http_code":408,"message":"grpc: the client connection is closing","http_status":"Request Timeout"}}"#,
            Some(Code::Cancelled),
        ),
        (
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#,
            Some(Code::Unavailable),
        ),
        ("{\"error\":{\"code\":14,\"message\":\"error reading from server: EOF\"}}\n", Some(Code::Unavailable)),
        ("{\"error\":{\"code\":8,\"message\":\"etcdserver: too many requests\"}}\n", Some(Code::ResourceExhausted)),
        ("{\"result\":{\"header\":{\"revision\":\"9\"},\"canceled\":true}}\n", Some(Code::Cancelled)),
        ("<html>\n", None),
        ("\n\n", None),
    ] {
        let gateway = interrupted_by(interruption);
        let (seen, consumer) = Seen::new();
        let watch = client(gateway.url()).watch(reporting(prefix(b"k")), consumer).unwrap();
        watch.start();
        assert_eq!(values(&seen.wait_for_changes(4)), ["5", "6", "7", "8"], "{interruption}");
        assert_exact(&seen.all());
        assert_eq!(start_revisions(&gateway), [5, 7]);
        let said = seen.all();
        let kinds: Vec<WatchKind> =
            said.iter().map(|said| said.kind).filter(|kind| *kind != WatchKind::Events).collect();
        assert_eq!(kinds, [WatchKind::Disconnected, WatchKind::Resumed], "{interruption}");
        let lost = said.iter().find(|said| said.kind == WatchKind::Disconnected).unwrap();
        assert_eq!(lost.resume_revision, 7);
        assert_eq!(code(lost.error.as_ref().unwrap()), expected, "{interruption}");
    }
}

#[test]
fn a_message_whose_last_fragment_never_came_is_asked_for_from_where_it_was_whole() {
    let gateway = watch_gateway(|number, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        if number == 0 {
            reply.chunk([puts(&[5]), fragment(&[6, 6])].concat());
            reply.chunk(fragment(&[6, 7]));
            reply.close();
        } else {
            reply.chunk(fragment(&[7, 7]));
            reply.chunk(puts(&[7, 8]));
            reply.hold();
        }
    });
    let (seen, consumer) = Seen::new();
    let watch = client(gateway.url()).watch(prefix(b"k"), consumer).unwrap();
    watch.start();
    assert_eq!(values(&seen.wait_for_changes(8)), ["5", "6", "6", "6", "7", "7", "7", "8"]);
    assert_exact(&seen.all());
    assert_eq!(start_revisions(&gateway), [5, 7]);
}

#[test]
fn whatever_a_member_says_while_it_restarts_the_watch_comes_back() {
    let gateway = watch_gateway(|number, _, reply| match number {
        0 => {
            reply.stream_head();
            reply.chunk(CREATED);
            reply.reset();
        }
        1 => reply.status("502 Bad Gateway", "<html>no backend</html>"),
        2 => reply.status("503 Service Unavailable", r#"{"error":{"code":14,"message":"etcdserver: no leader"}}"#),
        3 => reply.status("404 Not Found", r#"{"code":5,"message":"Not Found"}"#),
        4 => reply.raw("garbage\r\n\r\n"),
        5 => reply.close(),
        6 => {
            reply.stream_head();
            reply.end();
        }
        7 => reply.status("200 OK", "<html>"),
        8 => reply.status("500 Internal Server Error", r#"{"code":2,"message":"context deadline exceeded"}"#),
        9 => reply.status("502 Bad Gateway", vec![b'x'; 2 << 20]),
        // Who is in between has cut the request.
        10 => reply.status("400 Bad Request", r#"{"code":3,"message":"unexpected EOF"}"#),
        _ => {
            reply.stream_head();
            reply.chunk([CREATED.to_owned(), puts(&[5])].concat());
            reply.hold();
        }
    });
    let (seen, consumer) = Seen::new();
    let watch = client(gateway.url()).watch(reporting(prefix(b"k")), consumer).unwrap();
    watch.start();
    seen.wait_for_changes(1);
    let kinds: Vec<WatchKind> = seen.all().iter().map(|said| said.kind).collect();
    assert_eq!(kinds, [WatchKind::Disconnected, WatchKind::Resumed, WatchKind::Events]);
}

#[test]
fn a_server_that_can_not_be_had_is_not_asked_without_pause() {
    let overloaded = r#"{"code":8,"message":"etcdserver: too many requests"}"#;
    for path in ["/v3/kv/range", "/v3/watch"] {
        let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
            asked if asked == path => reply.status("429 Too Many Requests", overloaded),
            _ => reply.json(r#"{"header":{"revision":"4"}}"#),
        });
        let client = client(gateway.url());
        let _watch = client.watch_open(unconfirmed(one(b"k"))).unwrap();
        let ((), elapsed) = timed(|| wait_until(LONG, || gateway.count(path) >= 8));
        // 10, 20, 40, 80, 100 … ms, each at least by half.
        assert!(elapsed >= Duration::from_millis(200), "{path} was asked 8 times in {elapsed:?}");
    }
}

#[test]
fn streams_that_were_refused_long_ago_do_not_shorten_the_pause_before_the_next() {
    let gateway = watch_gateway(|_, _, reply| reply.status("502 Bad Gateway", "<html>no backend</html>"));
    // As long as a stream may take to be confirmed.
    let config = Config { watch_liveness: Duration::from_millis(300), ..config(gateway.url()) };
    let _watch = Client::new(config).unwrap().watch_open(unconfirmed(one(b"k"))).unwrap();
    wait_until(LONG, || gateway.count("/v3/watch") >= 10);
    let ((), elapsed) = timed(|| wait_until(LONG, || gateway.count("/v3/watch") >= 50));
    // 40 pauses of 50 to 100 ms.
    assert!(elapsed >= Duration::from_millis(1600), "40 streams were asked for in {elapsed:?}");
}

#[test]
fn watches_with_streams_of_their_own_ask_together_no_more_often_than_one_until_one_is_confirmed() {
    const WATCHES: usize = 80;
    let is_back = Arc::new(AtomicBool::new(false));
    let serves = is_back.clone();
    let gateway = watch_gateway(move |_, _, reply| {
        if serves.load(Ordering::SeqCst) {
            reply.stream_head();
            reply.chunk(CREATED);
            reply.hold();
        } else {
            reply.status("502 Bad Gateway", "<html>no backend</html>");
        }
    });
    let client = client(gateway.url());
    let open = || client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap();
    let _watches: Vec<_> = (0..WATCHES).map(|_| open()).collect();
    wait_until(LONG, || gateway.count("/v3/watch") >= WATCHES * 4);
    let ((), elapsed) = timed(|| wait_until(LONG, || gateway.count("/v3/watch") >= WATCHES * 4 + 10));
    assert!(elapsed >= Duration::from_millis(250), "10 streams were asked for in {elapsed:?}");

    is_back.store(true, Ordering::SeqCst);
    let ((), elapsed) = timed(|| wait_until(LONG, || gateway.open_connections() >= WATCHES));
    // By themselves they would rest for 4 to 8 s now.
    assert!(elapsed < Duration::from_secs(3), "the streams were opened after {elapsed:?}");
}

#[test]
fn a_watch_that_is_refused_is_not_asked_for_more_often_because_others_are_confirmed() {
    const REFUSED: usize = 20;
    let refused = Arc::<AtomicUsize>::default();
    let counts = refused.clone();
    let gateway = watch_gateway(move |_, request, reply| {
        if request.json()["create_request"]["start_revision"] == "5" {
            counts.fetch_add(1, Ordering::SeqCst);
            return reply.status("502 Bad Gateway", "<html>no backend</html>");
        }
        reply.stream_head();
        reply.chunk(CREATED);
        reply.hold();
    });
    let client = client(gateway.url());
    let open = || client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap();
    let _refused: Vec<_> = (0..REFUSED).map(|_| open()).collect();
    wait_until(LONG, || refused.load(Ordering::SeqCst) >= REFUSED * 5);
    let before = refused.load(Ordering::SeqCst);
    let ((), elapsed) = timed(|| (0..300).for_each(|_| drop(client.watch_open(from(one(b"k"), 6)).unwrap())));
    let asked = refused.load(Ordering::SeqCst) - before;
    // Each rests for 50 ms at least.
    let most = REFUSED * (1 + elapsed.as_millis() as usize / 50);
    assert!(asked <= most, "{asked} in {elapsed:?}");
}

#[test]
fn a_watch_with_a_stream_of_its_own_does_not_rest_for_others_that_have_gone() {
    const WATCHES: usize = 100;
    /// Where the watches start that were refused, and the one that is served from now on.
    #[derive(Default)]
    struct Starts {
        refused: Vec<usize>,
        served: Option<usize>,
        is_there: bool,
    }
    let starts = Arc::<Mutex<Starts>>::default();
    let noted = starts.clone();
    let gateway = watch_gateway(move |_, request, reply| {
        let start = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
        let mut starts = noted.lock().unwrap();
        if starts.served == Some(start) {
            starts.is_there = true;
            drop(starts);
            reply.hold();
        } else {
            starts.refused.push(start);
            drop(starts);
            reply.status("502 Bad Gateway", "<html>no backend</html>");
        }
    });
    let client = client(gateway.url());
    let open = |start| client.watch_open(unconfirmed(from(one(b"k"), start as i64))).unwrap();
    let mut watches: Vec<_> = (1..=WATCHES).map(open).collect();
    wait_until(LONG, || starts.lock().unwrap().refused.len() >= WATCHES * 3);
    let mut noted = starts.lock().unwrap();
    let last = *noted.refused.last().unwrap();
    noted.served = Some(last);
    drop(noted);
    let _left = watches.swap_remove(last - 1);
    drop(watches);
    // It has just begun a rest of 2 to 4 s for all of them.
    let ((), elapsed) = timed(|| wait_until(LONG, || starts.lock().unwrap().is_there));
    assert!(elapsed < Duration::from_millis(1500), "its stream was asked for after {elapsed:?}");
}

#[test]
fn a_refusal_after_the_confirmation_ends_the_watch_with_its_reason() {
    let gateway = watch_gateway(|number, _, reply| {
        reply.stream_head();
        if number == 0 {
            reply.chunk(CREATED);
            reply.end();
        } else {
            reply.chunk("{\"result\":{\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,\"cancel_reason\":\"rpc error: code = PermissionDenied desc = etcdserver: permission denied\"}}\n");
            reply.hold();
        }
    });
    let watch = client(gateway.url()).watch_open(prefix(b"k")).unwrap();
    let ended = next(&watch);
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 5));
    assert_eq!(code(ended.error.as_ref().unwrap()), Some(Code::PermissionDenied));
    assert!(matches!(watch.next(None), Err(Error::Closed { .. })));
    // The server leaves the stream open after a cancellation.
    wait_until(LONG, || gateway.open_connections() <= IDLE_CONNECTIONS);
}

#[test]
fn a_refused_create_is_the_error_of_the_call() {
    let refuse = |_: usize, _: &_, reply: &mut crate::common::Reply<'_>| {
        reply.stream_head();
        reply.chunk("{\"result\":{\"header\":{\"revision\":\"4\"},\"watch_id\":\"-1\",\"created\":true,\"canceled\":true,\"cancel_reason\":\"mvcc: watcher range is empty\"}}\n");
        reply.hold();
    };
    let gateway = watch_gateway(refuse);
    let client = client(gateway.url());
    let (seen, consumer) = Seen::new();
    let error = refusal(client.watch(one(b"k"), consumer));
    assert_eq!(code(&error), Some(Code::InvalidArgument), "{error}");
    assert!(error.to_string().contains("mvcc: watcher range is empty"), "{error}");
    assert!(seen.is_over(), "the consumer is dropped with the error");

    let watch = client.watch_open(unconfirmed(one(b"k"))).unwrap();
    let ended = next(&watch);
    assert_eq!((ended.kind, code(ended.error.as_ref().unwrap())), (WatchKind::Ended, Some(Code::InvalidArgument)));
}

#[test]
fn compaction_ends_a_watch_though_the_stream_stays_open() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(
            [
                CREATED,
                "{\"result\":{\"header\":{\"raft_term\":\"2\"},\"canceled\":true,\"compact_revision\":\"21\"}}\n",
            ]
            .concat(),
        );
        reply.hold();
    });
    let watch = client(gateway.url()).watch_open(from(one(b"k"), 5)).unwrap();
    let ended = next(&watch);
    assert_eq!((ended.kind, ended.compact_revision, ended.resume_revision), (WatchKind::Ended, 21, 5));
    let error = ended.error.unwrap();
    assert!(matches!(error, Error::Compacted { wanted: 5, compact_revision: 21, .. }), "{error:?}");
    assert_eq!(error.reason(), Reason::Compacted);
    wait_until(LONG, || gateway.open_connections() <= IDLE_CONNECTIONS);
}

#[test]
fn a_server_that_says_nothing_as_fast_as_it_is_read_keeps_no_other_watch_waiting() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let gateway = watch_gateway(move |number, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED_AT_4);
        let empty_lines = "\n".repeat(1 << 20);
        while number == 0 && reply.is_open() && !over.load(Ordering::SeqCst) {
            reply.chunk(&empty_lines);
        }
        reply.hold();
    });
    let client = client(gateway.url());
    let _flooded = client.watch_open(from(one(b"k"), 5)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let other = client.watch_open(from(one(b"k"), 5));
    is_over.store(true, Ordering::SeqCst);
    other.unwrap();
}

#[test]
fn a_create_that_is_never_answered_ends_at_the_time_limit() {
    let gateway = watch_gateway(|_, _, reply| reply.hold());
    let client = client(gateway.url());
    let limit = Duration::from_millis(300);
    let (result, elapsed) = timed(|| client.watch_open(confirmed_within(one(b"k"), limit)));
    let error = refusal(result);
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert!(elapsed >= limit && elapsed < limit + Duration::from_secs(1), "{elapsed:?}");
    wait_until(LONG, || gateway.open_connections() <= IDLE_CONNECTIONS);
}

#[test]
fn a_member_that_has_lost_its_leader_is_left_for_another() {
    let no_leader = r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#;
    let cut_off = watch_gateway(move |_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(no_leader);
        reply.end();
    });
    let healthy = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(puts(&[5]));
        reply.hold();
    });
    let client = client(&[cut_off.url(), healthy.url()].join(","));
    let watch = client.watch_open(one(b"k")).unwrap();
    assert_eq!(values(&next(&watch).changes), ["5"]);
    assert_eq!((start_revisions(&cut_off), start_revisions(&healthy)), (vec![5], vec![5]));
}

#[test]
fn require_leader_is_asked_for_unless_it_is_not_wanted() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.hold();
    });
    let options = WatchOptions { require_leader: false, ..one(b"k") };
    let _watch = client(gateway.url()).watch_open(options).unwrap();
    assert_eq!(gateway.last().header("grpc-metadata-hasleader"), None);
}

#[test]
fn once_is_over_at_the_time_limit_however_the_stream_behaves() {
    for ends in [false, true] {
        let gateway = watch_gateway(move |_, _, reply| {
            reply.stream_head();
            reply.chunk(CREATED);
            if ends { reply.end() } else { reply.hold() }
        });
        let limit = Duration::from_millis(300);
        let options = WatchOptions { call: within(limit), ..one(b"k") };
        let (result, elapsed) = timed(|| client(gateway.url()).watch_once(options));
        let error = refusal(result);
        assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
        assert!(elapsed >= limit && elapsed < limit + Duration::from_secs(1), "{elapsed:?}");
    }
}

#[test]
fn once_survives_the_loss_of_its_stream() {
    let gateway = interrupted_before_events();
    let response = client(gateway.url()).watch_once(one(b"k")).unwrap();
    let said = Said::from(&response);
    assert_eq!((values(&said.changes), said.resume_revision), (vec!["5".to_owned()], 6));
    assert_eq!(start_revisions(&gateway), [5, 5]);
}

fn interrupted_before_events() -> FakeGateway {
    watch_gateway(|number, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        if number == 0 {
            reply.close();
        } else {
            reply.chunk(puts(&[5]));
            reply.hold();
        }
    })
}

#[test]
fn what_is_no_watch_at_all_is_the_error_of_the_call() {
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = refusal(client(&format!("http://{refusing}")).watch_open(one(b"k")));
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");

    for (status, body) in [
        ("404 Not Found", "404 page not found\n"),
        ("200 OK", "<html>a proxy</html>"),
        ("502 Bad Gateway", "<html>no backend</html>"),
    ] {
        let gateway = watch_gateway(move |_, _, reply| reply.status(status, body));
        let error = refusal(client(gateway.url()).watch_open(one(b"k")));
        assert!(matches!(&error, Error::Protocol { .. }), "{status}: {error:?}");
        assert!(error.to_string().contains(body.trim_end()), "{error}");
    }
    let gateway = FakeGateway::answering("{}");
    let error = refusal(client(gateway.url()).watch_open(one(b"k")));
    assert!(error.to_string().contains("no revision"), "{error}");
}

/// A gateway of a cluster that is at revision 20, says the first stream, and then at `found`, says a linearizable read;
/// the member of the second stream is at 9.
fn behind_after_20(found: i64) -> FakeGateway {
    let watches = AtomicUsize::new(0);
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/kv/range" if watches.load(Ordering::SeqCst) == 0 => reply.json(r#"{"header":{"revision":"4"}}"#),
        "/v3/kv/range" => reply.json(format!(r#"{{"header":{{"revision":"{found}"}}}}"#)),
        "/v3/watch" => {
            reply.stream_head();
            if watches.fetch_add(1, Ordering::SeqCst) == 0 {
                reply.chunk([CREATED.to_owned(), puts(&[20])].concat());
                reply.close();
            } else {
                reply.chunk([CREATED.to_owned(), puts(&[21])].concat());
                reply.hold();
            }
        }
        other => whereabouts(other, reply),
    })
}

#[test]
fn a_watch_goes_on_at_a_member_that_lags() {
    let gateway = behind_after_20(20);
    let (seen, consumer) = Seen::new();
    let watch = client(gateway.url()).watch(prefix(b"k"), consumer).unwrap();
    watch.start();
    assert_eq!(values(&seen.wait_for_changes(2)), ["20", "21"]);
    assert_eq!(start_revisions(&gateway), [5, 21]);
}

#[test]
fn a_watch_ends_when_the_cluster_went_back_in_time() {
    let gateway = behind_after_20(19);
    let watch = client(gateway.url()).watch_open(prefix(b"k")).unwrap();
    let next = || watch.next(Some(LONG)).unwrap().unwrap();
    assert_eq!(next().resume_revision, 21);
    let ended = next();
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 21));
    assert!(matches!(ended.error, Some(Error::RevisionRegressed { seen: 20, found: 19, .. })), "{:?}", ended.error);
}
