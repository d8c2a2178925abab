//! What a watch that nobody reads means for the others of its client, and what it is told when it is read after all.

use crate::alone;
use crate::common::{
    Etcd, LONG, client, config, for_each_version, put_revision, resident_bytes, sharing_versions, wait_until, within,
};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};

const VALUE: usize = 500_000;

/// More than the library and the sockets on the way hold.
const COUNT: usize = 80;

fn options(prefix: &'static [u8]) -> WatchOptions {
    let keys = Keys::Prefix(Cow::Borrowed(prefix));
    WatchOptions::new(WatchRequest::new(keys))
}

/// Writes far more than the watch of `large/` may hold, and answers the revisions.
fn pile_up(writing: &Client, mut after_each: impl FnMut(usize)) -> Vec<i64> {
    let put = |number: usize| {
        let revision = put_revision(writing, b"large/", &vec![number as u8; VALUE]);
        after_each(number);
        revision
    };
    (0..COUNT).map(put).collect()
}

/// How a watch ended.
struct End {
    error: Option<Error>,
    resume_revision: i64,
    compact_revision: i64,
}

/// Everything that the watch tells until it has come to the last of these revisions, or has ended.
#[track_caller]
fn read(watch: &Watch, revisions: &[i64]) -> (Vec<i64>, Option<End>) {
    let mut told = Vec::new();
    while told.last() != revisions.last() {
        let response = watch.next(Some(LONG)).unwrap().expect("more is to come");
        if response.kind == WatchKind::Ended {
            let (resume_revision, compact_revision) = (response.resume_revision, response.compact_revision);
            return (told, Some(End { error: response.error.clone(), resume_revision, compact_revision }));
        }
        told.extend(response.events.iter().map(|event| event.kv.mod_revision));
    }
    (told, None)
}

fn others_go_on(etcd: &Etcd) {
    let (watching, writing) = (client(&etcd.url()), client(&etcd.url()));
    let unread = watching.watch_open(options(b"large/")).unwrap();
    let (sender, receiver) = mpsc::channel();
    let send = move |response: etcdgw::watch::WatchResponse| {
        response.events.iter().for_each(|event| sender.send(event.kv.mod_revision).unwrap());
    };
    let calling = watching.watch(options(b"small/"), Box::new(send)).unwrap();
    calling.start();
    let overlapping = watching.watch_open(options(b"")).unwrap();
    let mut small = Vec::new();
    let revisions = pile_up(&writing, |_| {
        let revision = put_revision(&writing, b"small/", b"");
        assert_eq!(receiver.recv_timeout(LONG), Ok(revision));
        small.push(revision);
        // Who reads everything is not held up either.
        while overlapping.next(Some(LONG)).unwrap().unwrap().resume_revision <= revision {}
    });
    assert_eq!(read(&unread, &revisions).0, revisions);
}

#[test]
fn a_watch_that_nobody_reads_holds_up_no_other_and_then_tells_everything() {
    let _alone = alone();
    for_each_version(|etcd| others_go_on(&etcd));
}

#[test]
fn what_is_compacted_while_nobody_reads_is_reported_and_not_skipped() {
    let _alone = alone();
    for_each_version(|etcd| {
        let (watching, writing) = (client(&etcd.url()), client(&etcd.url()));
        let unread = watching.watch_open(options(b"large/")).unwrap();
        let revisions = pile_up(&writing, |_| {});
        let compacted = revisions[COUNT - 2];
        writing.compact(compacted, true, &within(LONG)).unwrap();
        let (told, end) = read(&unread, &revisions);
        assert_eq!(told, revisions[..told.len()], "what was told has no gap");
        if let Some(End { error, resume_revision, compact_revision }) = end {
            assert!(matches!(error, Some(Error::Compacted { .. })), "{error:?}");
            assert_eq!(compact_revision, compacted);
            // Nothing between the last event told and where it would go on was owed.
            assert!(told.last().is_none_or(|last| *last < resume_revision) && resume_revision <= compacted);
            assert!(resume_revision <= revisions[told.len()], "{resume_revision} passes over {revisions:?}");
        }
    });
}

/// What the consumer that stops may cost, and room for what this process itself does meanwhile.
const BUFFER: usize = 1 << 20;
const ROOM: usize = 12 << 20;

const WATCHES: usize = 200;

fn stop_one_of_many(version: &str) {
    let etcd = Etcd::start(version);
    let settings = Config { watch_buffer_bytes: BUFFER, ..config(&etcd.url()) };
    let (watching, writing) = (Client::new(settings).unwrap(), client(&etcd.url()));
    let stopped = watching.watch_open(options(b"large/")).unwrap();
    let seen = Arc::new(AtomicI64::new(0));
    let others: Vec<Watch> = (1..WATCHES)
        .map(|_| {
            let seen = seen.clone();
            let count = move |response: WatchResponse| {
                assert_eq!(response.kind, WatchKind::Events, "{:?}", response.error);
                seen.fetch_add(response.events.len() as i64, Ordering::SeqCst);
            };
            let watch = watching.watch(options(b"small/"), Box::new(count)).unwrap();
            watch.start();
            watch
        })
        .collect();
    assert_eq!((etcd.watchers(), etcd.watch_streams()), (WATCHES, 1));
    let told = |rounds: usize| (rounds * others.len()) as i64;
    let mut peak = 0;
    let mut before = 0;
    let revisions = pile_up(&writing, |number| {
        put_revision(&writing, b"small/", b"");
        wait_until(LONG, || seen.load(Ordering::SeqCst) == told(number + 1));
        if number == COUNT / 8 {
            // By now it has been given all that it may hold, and the server was told to send no more.
            etcd.wait_for_watchers(WATCHES - 1);
            before = resident_bytes(std::process::id());
        }
        peak = peak.max(resident_bytes(std::process::id()));
    });
    assert!(peak - before < ROOM, "etcd {version}: {} bytes more", peak - before);
    assert_eq!((etcd.watchers(), etcd.watch_streams()), (WATCHES - 1, 1));
    assert_eq!(read(&stopped, &revisions).0, revisions);
    etcd.wait_for_watchers(WATCHES);
    let last = [put_revision(&writing, b"large/", b"")];
    assert_eq!(read(&stopped, &last).0, last);
    put_revision(&writing, b"small/", b"");
    wait_until(LONG, || seen.load(Ordering::SeqCst) == told(COUNT + 1));
}

/// What a server has found for a watch before it could tell that this is created comes as one message: here it is all
/// that was written, with the JSON around it.
fn pause_amid_a_long_history(version: &str) {
    let etcd = Etcd::start(version);
    let writing = client(&etcd.url());
    let revisions = pile_up(&writing, |_| {});
    let settings = Config { watch_buffer_bytes: BUFFER, ..config(&etcd.url()) };
    let watching = Client::new(settings).unwrap();
    let other = watching.watch_open(options(b"small/")).unwrap();
    let before = resident_bytes(std::process::id());
    let from_the_first = WatchRequest { start_revision: revisions[0], ..options(b"large/").request };
    let paused = watching.watch_open(WatchOptions::new(from_the_first)).unwrap();
    // By now it has all that it may hold; the server goes on sending what it had begun to.
    etcd.wait_for_watchers(1);
    let (mut told, mut peak) = (Vec::new(), before);
    while told.len() < COUNT {
        let response = paused.next(Some(LONG)).unwrap().expect("more is to come");
        told.extend(response.events.iter().map(|event| event.kv.mod_revision));
        peak = peak.max(resident_bytes(std::process::id()));
    }
    assert_eq!(told, revisions);
    assert!(peak - before < ROOM, "etcd {version}: {} bytes more", peak - before);
    let last = [put_revision(&writing, b"small/", b"")];
    assert_eq!(read(&other, &last).0, last);
}

#[test]
fn a_consumer_that_pauses_amid_a_long_history_costs_no_more_than_it_may() {
    let _alone = alone();
    sharing_versions().iter().for_each(|version| pause_amid_a_long_history(version));
}

#[test]
fn one_of_two_hundred_watches_that_stops_is_cancelled_at_the_server_and_comes_back_exactly() {
    let _alone = alone();
    sharing_versions().iter().for_each(|version| stop_one_of_many(version));
}
