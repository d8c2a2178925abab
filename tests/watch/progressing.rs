//! How far watches that share a connection have come: in order with their events, and far enough that what is compacted
//! is nothing that a quiet one still wants.

use crate::common::{
    Etcd, EtcdFace, FakeGateway, Gate, LONG, Socket, client, config, plain, put, put_revision, wait_until,
    with_each_sharing_version,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

const QUIET: usize = 20;

/// Watches of a key that nobody writes.
fn quiet(client: &Client) -> Vec<(Seen, Watch)> {
    let begin = |_| {
        let (seen, consumer) = Seen::new();
        let watch = client.watch(reporting(one(b"quiet")), consumer).unwrap();
        watch.start();
        (seen, watch)
    };
    (0..QUIET).map(begin).collect()
}

/// Compacts all that there is, has the server die, and has the quiet watches told of a put.
#[track_caller]
fn assert_go_on_past_a_compaction(etcd: &mut Etcd, direct: &Client, last: i64, quiet: &[(Seen, Watch)]) {
    direct.compact(last, true, &plain()).unwrap();
    etcd.restart();
    let revision = put_revision(direct, b"quiet", b"value");
    for (seen, _) in quiet {
        let changes = seen.wait_for_changes(1);
        assert_eq!((changes.len(), changes[0].revision), (1, revision));
        assert_exact(&seen.all());
        let kinds: Vec<WatchKind> = seen.all().iter().map(|said| said.kind).collect();
        assert_eq!(kinds, [WatchKind::Disconnected, WatchKind::Resumed, WatchKind::Events]);
    }
}

#[test]
fn progress_that_one_watch_asks_for_carries_all_of_its_connection_past_a_compaction() {
    with_each_sharing_version(|version| {
        let mut etcd = Etcd::start(version);
        let (watching, direct) = (client(&etcd.url()), client(&etcd.url()));
        let quiet = quiet(&watching);
        let asking = watching.watch_open(one(b"quiet")).unwrap();
        let mut last = 0;
        (0..10).for_each(|_| last = put_revision(&direct, b"busy", b""));
        asking.request_progress().unwrap();
        let said = next(&asking);
        assert_eq!((said.kind, said.resume_revision), (WatchKind::Progress, last + 1));
        assert_go_on_past_a_compaction(&mut etcd, &direct, last, &quiet);
    });
}

#[test]
fn a_watch_since_whose_beginning_nothing_has_happened_is_told_so_when_it_asks() {
    with_each_sharing_version(|version| {
        let mut etcd = Etcd::start(version);
        let client = client(&etcd.url());
        let last = put_revision(&client, b"before", b"");
        let from_now_on = client.watch_open(one(b"k")).unwrap();
        let from_the_next_on = client.watch_open(from(one(b"k"), last + 1)).unwrap();
        let assert_told = || {
            for watch in [&from_now_on, &from_the_next_on] {
                watch.request_progress().unwrap();
                let said = next(watch);
                assert_eq!((said.kind, said.resume_revision), (WatchKind::Progress, last + 1));
            }
        };
        let begin = Instant::now();
        (0..5).for_each(|_| assert_told());
        assert!(begin.elapsed() < LONG / 2, "each waits as long as the first");
        etcd.restart();
        assert_told();
    });
}

#[test]
fn a_watch_that_begins_in_the_future_is_told_how_far_it_has_come() {
    with_each_sharing_version(|version| {
        let etcd = Etcd::start(version);
        let client = client(&etcd.url());
        let first = put_revision(&client, b"before", b"") + 1000;
        let far = client.watch_open(from(one(b"k"), first)).unwrap();
        for _ in 0..2 {
            put(&client, b"k", b"").unwrap();
            far.request_progress().unwrap();
            let said = next(&far);
            assert_eq!((said.kind, said.resume_revision), (WatchKind::Progress, first));
        }
    });
}

/// An answer that says nothing but where the store stands.
fn header(revision: i64) -> String {
    format!(r#"{{"header":{{"cluster_id":"7","member_id":"1","revision":"{revision}","raft_term":"2"}}}}"#)
}

#[test]
fn who_has_written_and_asks_once_more_is_told_of_no_less_than_was_written() {
    let (is_asked, is_asked_again) = (Gate::new(), Gate::new());
    let (asked, asked_again) = (is_asked.clone(), is_asked_again.clone());
    let face = EtcdFace::of("3.6.16");
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/v3/watch" => {
            let mut socket = reply.upgrade(request);
            let id = id(&socket.create().unwrap());
            socket.created(id, 9);
            let take_request = |socket: &mut Socket<'_>| {
                assert!(socket.message().unwrap().get("progress_request").is_some());
            };
            take_request(&mut socket);
            asked.open();
            asked_again.wait();
            // The answer to the first one; that the client goes on asking shows that it has read that.
            socket.progress(-1, 9);
            take_request(&mut socket);
            take_request(&mut socket);
            socket.progress(-1, 20);
            serve(&mut socket);
        }
        "/v3/kv/put" => reply.json(header(20)),
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    let watch = client.watch_open(from(one(b"quiet"), 5)).unwrap();
    watch.request_progress().unwrap();
    is_asked.wait();
    assert_eq!(put_revision(&client, b"k", b"value"), 20);
    watch.request_progress().unwrap();
    is_asked_again.open();
    let said = next(&watch);
    assert_eq!((said.kind, said.resume_revision), (WatchKind::Progress, 21));
}

#[test]
fn who_asks_once_more_while_the_revision_is_read_is_not_told_what_was_read_before() {
    let [is_read, is_asked_again, is_read_again] = [(); 3].map(|()| Gate::new());
    let (read, asked_again) = (is_read.clone(), is_asked_again.clone());
    let (face, reads, puts) = (EtcdFace::of("3.6.16"), AtomicI64::new(0), AtomicI64::new(9));
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/v3/watch" => {
            let mut socket = reply.upgrade(request);
            let id = id(&socket.create().unwrap());
            socket.created(id, 9);
            is_read_again.wait();
            socket.puts(id, &[10]);
            socket.progress(-1, 10);
            serve(&mut socket);
        }
        "/v3/kv/put" => reply.json(header(puts.fetch_add(1, Ordering::SeqCst))),
        "/v3/kv/range" => {
            let earlier = reads.fetch_add(1, Ordering::SeqCst);
            match earlier {
                0 => {
                    read.open();
                    asked_again.wait();
                }
                _ => is_read_again.open(),
            }
            reply.json(header(9 + earlier.min(1)));
        }
        _ => face.answer(request, reply),
    });
    let client = client(gateway.url());
    assert_eq!(put_revision(&client, b"k", b"9"), 9);
    let watch = client.watch_open(from(one(b"k"), 10)).unwrap();
    watch.request_progress().unwrap();
    is_read.wait();
    assert_eq!(put_revision(&client, b"k", b"10"), 10);
    watch.request_progress().unwrap();
    is_asked_again.open();
    assert_eq!(values(&next(&watch).changes), ["10"]);
    let said = next(&watch);
    assert_eq!((said.kind, said.resume_revision), (WatchKind::Progress, 11));
}

#[test]
fn nobody_waits_for_the_progress_of_a_watch_that_has_ended() {
    with_each_sharing_version(|version| {
        let etcd = Etcd::start(version);
        let client = client(&etcd.url());
        let watch = client.watch_open(one(b"k")).unwrap();
        watch.request_progress().unwrap();
        watch.cancel();
        assert!(matches!(watch.request_progress(), Err(Error::Closed { .. })));
    });
}

#[test]
fn progress_that_nobody_asks_for_carries_all_watches_of_a_connection_past_a_compaction() {
    with_each_sharing_version(|version| {
        let mut etcd = Etcd::start(version);
        let settings = Config { watch_progress: Duration::from_millis(200), ..config(&etcd.url()) };
        let (watching, direct) = (Client::new(settings).unwrap(), client(&etcd.url()));
        let quiet = quiet(&watching);
        let shown = watching.watch_open(WatchOptions { progress_notify: true, ..one(b"quiet") }).unwrap();
        let mut last = 0;
        (0..10).for_each(|_| last = put_revision(&direct, b"busy", b""));
        // The server's own interval is ten minutes.
        while next(&shown).resume_revision <= last {}
        assert_go_on_past_a_compaction(&mut etcd, &direct, last, &quiet);
    });
}

#[test]
fn without_progress_a_quiet_watch_is_told_of_the_compaction_although_it_missed_nothing() {
    with_each_sharing_version(|version| {
        let mut etcd = Etcd::start(version);
        let (watching, direct) = (client(&etcd.url()), client(&etcd.url()));
        let quiet = watching.watch_open(one(b"quiet")).unwrap();
        let mut last = 0;
        (0..10).for_each(|_| last = put_revision(&direct, b"busy", b""));
        direct.compact(last, true, &plain()).unwrap();
        etcd.restart();
        let ended = next(&quiet);
        assert_eq!((ended.kind, ended.compact_revision), (WatchKind::Ended, last));
    });
}

#[test]
fn what_is_asked_for_among_events_never_overtakes_one() {
    const EVENTS: usize = 300;
    with_each_sharing_version(|version| {
        let etcd = Etcd::start(version);
        let (watching, direct) = (client(&etcd.url()), client(&etcd.url()));
        let first = put_revision(&direct, b"before", b"") + 1;
        let watches: Vec<(Seen, Watch)> = (0..5)
            .map(|_| {
                let (seen, consumer) = Seen::new();
                let watch = watching.watch(prefix(b"ordered/"), consumer).unwrap();
                watch.start();
                (seen, watch)
            })
            .collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (_, watch) in &watches[..3] {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        watch.request_progress().unwrap();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            // A watch that begins among all that must not be told that it has come further than it has.
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let watch = watching.watch_open(from(prefix(b"ordered/"), first)).unwrap();
                    watch.request_progress().unwrap();
                    let said = next(&watch);
                    assert_eq!(said.changes.first().map(|change| change.revision), Some(first), "{said:?}");
                }
            });
            put(&direct, b"ordered/0", b"").unwrap();
            (1..EVENTS).for_each(|number| drop(put(&direct, format!("ordered/{number}").as_bytes(), b"").unwrap()));
            is_over.store(true, Ordering::SeqCst);
        });
        let expected: Vec<i64> = (first..first + EVENTS as i64).collect();
        for (place, (seen, watch)) in watches.iter().enumerate() {
            let revisions: Vec<i64> = seen.wait_for_changes(EVENTS).iter().map(|change| change.revision).collect();
            assert_eq!(revisions, expected);
            // Each response begins where the one before it, whether of events or of progress, had come to.
            assert_exact(&seen.all());
            let progress = seen.all().iter().filter(|said| said.kind == WatchKind::Progress).count();
            assert!(place < 3 || progress == 0, "nobody asked for it");
            watch.request_progress().unwrap();
            wait_until(LONG, || {
                let said = seen.all();
                let last = said.last().unwrap();
                (last.kind, last.resume_revision) == (WatchKind::Progress, first + EVENTS as i64)
            });
        }
    });
}
