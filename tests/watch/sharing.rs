//! Watches that share a connection to a real server which is cut, compacted or restored: each is told what is its own.

use crate::common::{
    Direction, End, Etcd, Fault, LONG, Proxy, Random, client, delete_request, plain, put, put_request, put_revision,
    wait_until, with_each_sharing_version,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use etcdgw::rpc::watch::EventType;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::borrow::Cow;

const READS: &str =
    r#"grpc_server_started_total{grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"}"#;

/// One watch, and which events are its own.
struct Told {
    name: &'static str,
    seen: Seen,
    is_own: fn(&Change) -> bool,
    _watch: Watch,
}

fn begin(client: &Client, name: &'static str, options: WatchOptions, is_own: fn(&Change) -> bool) -> Told {
    let (seen, consumer) = Seen::new();
    let watch = client.watch(options, consumer).unwrap();
    watch.start();
    Told { name, seen, is_own, _watch: watch }
}

fn range(start: &'static [u8], end: &'static [u8]) -> WatchOptions {
    WatchOptions::new(request(Keys::Range { key: Cow::Borrowed(start), end: Cow::Borrowed(end) }, 0))
}

/// Ranges that lie in each other and across, one key twice, and others that leave something out.
fn overlapping(client: &Client) -> Vec<Told> {
    fn is_put(change: &Change) -> bool {
        change.event_type == EventType::Put
    }
    let puts = WatchOptions {
        request: etcdgw::rpc::watch::WatchRequest { no_delete: true, ..prefix(b"c/").request },
        ..prefix(b"c/")
    };
    let deletions = WatchOptions {
        request: etcdgw::rpc::watch::WatchRequest { no_put: true, ..one(b"c/3").request },
        ..one(b"c/3")
    };
    vec![
        begin(client, "all", prefix(b"c/"), |_| true),
        begin(client, "all again", prefix(b"c/"), |_| true),
        begin(client, "one", one(b"c/3"), |change| change.key == b"c/3"),
        begin(client, "one again", one(b"c/3"), |change| change.key == b"c/3"),
        begin(client, "from 2 to 5", range(b"c/2", b"c/5"), |change| (&b"c/2"[..]..b"c/5").contains(&&*change.key)),
        begin(client, "from 4 to 8", range(b"c/4", b"c/8"), |change| (&b"c/4"[..]..b"c/8").contains(&&*change.key)),
        begin(client, "puts", puts, is_put),
        begin(client, "deletions of one", deletions, |change| change.key == b"c/3" && !is_put(change)),
    ]
}

fn key(number: usize) -> String {
    format!("c/{number}")
}

/// A put, a deletion, or a transaction of several keys.
fn write(client: &Client, random: &mut Random, number: usize) {
    let (one, value) = (key(random.below(9)), number.to_string());
    match random.below(6) {
        0 => drop(client.delete_range(&delete_request(Keys::One(Cow::Borrowed(one.as_bytes()))), &plain()).unwrap()),
        1 => {
            let keys: Vec<String> = (0..9).step_by(1 + random.below(3)).map(key).collect();
            let success = keys.iter().map(|key| TxnOp::Put(put_request(key.as_bytes(), value.as_bytes()))).collect();
            client.txn(&TxnRequest { success, ..TxnRequest::default() }, &plain()).unwrap();
        }
        _ => drop(put(client, one.as_bytes(), value.as_bytes()).unwrap()),
    }
}

/// What happened from a revision on up to another, as a watch tells it whose connection nobody harms.
fn history(client: &Client, first: i64, last: i64) -> Vec<Change> {
    let watch = client.watch_open(from(prefix(b"c/"), first)).unwrap();
    let mut history: Vec<Change> = Vec::new();
    while history.last().is_none_or(|change| change.revision < last) {
        history.extend(next(&watch).changes);
    }
    history
}

#[test]
fn watches_of_ranges_that_overlap_and_of_the_same_key_are_exact_through_random_cuts() {
    with_each_sharing_version(|version| {
        let etcd = Etcd::start(version);
        let (mut random, way, direct) = (Random::of_this_run(), Proxy::start(&etcd.url()), client(&etcd.url()));
        let first = put_revision(&direct, b"before", b"") + 1;
        let watching = client(&way.url());
        let all = overlapping(&watching);
        let are_shared = || (etcd.watch_streams(), etcd.watchers()) == (1, all.len());
        for round in 0..30 {
            // What has never carried anything would not be trusted in the end.
            wait_until(LONG, are_shared);
            (0..5).for_each(|number| write(&direct, &mut random, 10 * round + number));
            let end = *random.pick(&[End::Close, End::Reset, End::HalfClose]);
            if random.percent(50) {
                way.cut(end);
            } else {
                // In the midst of what is being told.
                way.inject_once(Fault::After(Direction::Answer, random.below(600), end));
            }
            (0..5).for_each(|number| write(&direct, &mut random, 10 * round + 5 + number));
        }
        way.heal();
        // Something more for each of them.
        (0..9).for_each(|number| drop(put(&direct, key(number).as_bytes(), b"last").unwrap()));
        let deletion = delete_request(Keys::One(Cow::Borrowed(&b"c/3"[..])));
        let last = direct.delete_range(&deletion, &plain()).unwrap().header.revision;
        let history = history(&direct, first, last);
        // All are on one connection again, and none is left on another.
        wait_until(LONG, are_shared);
        for told in &all {
            let owed: Vec<Change> = history.iter().filter(|change| (told.is_own)(change)).cloned().collect();
            let seen = told.seen.wait_for_changes(owed.len());
            assert!(seen == owed, "{}: {} told in place of {}", told.name, seen.len(), owed.len());
            assert_exact(&told.seen.all());
        }
        let resumes = watching.stats().resumes;
        assert!(resumes > 100, "{resumes} resumes prove little");
    });
}

#[test]
fn a_compaction_between_the_loss_of_a_connection_and_the_next_ends_the_watches_that_missed_it_and_no_others() {
    const EACH: usize = 20;
    with_each_sharing_version(|version| {
        let etcd = Etcd::start(version);
        let (way, direct) = (Proxy::start(&etcd.url()), client(&etcd.url()));
        let watching = client(&way.url());
        let begin = |key: &'static [u8]| {
            let watches = (0..EACH).map(|_| watching.watch_open(reporting(one(key))).unwrap());
            watches.collect::<Vec<Watch>>()
        };
        let (quiet, busy) = (begin(b"quiet"), begin(b"busy"));
        assert_eq!((etcd.watch_streams(), etcd.watchers()), (1, 2 * EACH));
        let quiet_since = put_revision(&direct, b"quiet", b"value");
        let mut last = 0;
        (0..10).for_each(|_| last = put_revision(&direct, b"busy", b"before"));
        let changes = |watch: &Watch, count: usize| {
            let mut changes = Vec::new();
            while changes.len() < count {
                changes.extend(next(watch).changes);
            }
            changes
        };
        assert!(quiet.iter().all(|watch| changes(watch, 1)[0].revision == quiet_since));
        assert!(busy.iter().all(|watch| changes(watch, 10)[9].revision == last));
        way.inject(Fault::Refuse);
        way.cut(End::Reset);
        let missed = [b"1", b"2"].map(|value| put_revision(&direct, b"busy", value));
        // Exactly what a busy one goes on from is still there.
        direct.compact(last + 1, true, &plain()).unwrap();
        way.heal();
        for watch in &busy {
            assert_eq!([(); 2].map(|()| next(watch).kind), [WatchKind::Disconnected, WatchKind::Resumed]);
            let told: Vec<i64> = changes(watch, 2).iter().map(|change| change.revision).collect();
            assert_eq!(told, missed);
        }
        for watch in &quiet {
            assert_eq!(next(watch).kind, WatchKind::Disconnected);
            let mut ended = next(watch);
            // The server confirms it before it finds that out.
            if ended.kind == WatchKind::Resumed {
                ended = next(watch);
            }
            let told = (ended.kind, ended.compact_revision, ended.resume_revision);
            assert_eq!(told, (WatchKind::Ended, last + 1, quiet_since + 1));
            assert!(matches!(ended.error, Some(Error::Compacted { .. })), "{ended:?}");
        }
        etcd.wait_for_watchers(EACH);
        let revision = put_revision(&direct, b"busy", b"after");
        assert!(busy.iter().all(|watch| changes(watch, 1)[0].revision == revision));
    });
}

#[test]
fn all_watches_of_a_connection_end_when_their_cluster_was_restored_and_a_few_reads_tell() {
    const COUNT: usize = 50;
    for keeps_some in [true, false] {
        with_each_sharing_version(|version| {
            let mut etcd = Etcd::start(version);
            let direct = client(&etcd.url());
            let mut restored = 1;
            (0..5).for_each(|_| restored = put_revision(&direct, b"watched/1", b"kept"));
            let backup = etcd.back_up();
            let watching = client(&etcd.url());
            let watches: Vec<Watch> = (0..COUNT).map(|_| watching.watch_open(prefix(b"watched/")).unwrap()).collect();
            assert_eq!((etcd.watch_streams(), etcd.watchers()), (1, COUNT));
            let last = put_revision(&direct, b"watched/2", b"lost");
            for watch in &watches {
                assert_eq!(values(&next(watch).changes), ["lost"]);
            }
            if keeps_some {
                etcd.go_back_to(&backup);
            } else {
                etcd.lose_data();
                restored = 1;
            }
            etcd.restart();
            for watch in &watches {
                let ended = next(watch);
                assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, last + 1));
                let is_told = |error: &Error| match error {
                    Error::RevisionRegressed { seen, found, .. } => (*seen, *found) == (last, restored),
                    _ => false,
                };
                assert!(ended.error.as_ref().is_some_and(is_told), "{ended:?}");
            }
            // The server answers the creates over some time, and a read that has begun serves none that come after it.
            let reads = etcd.metric(READS);
            assert!((1.0..COUNT as f64 / 5.0).contains(&reads), "{reads} reads");
            etcd.wait_for_watchers(0);
            // What is begun anew is of the history that there is now.
            let again = watching.watch_open(from(prefix(b"watched/"), restored)).unwrap();
            let revision = put_revision(&direct, b"watched/3", b"new");
            assert_eq!(revision, restored + 1);
            let mut told = Vec::new();
            while told.last() != Some(&"new".to_owned()) {
                told.extend(values(&next(&again).changes));
            }
            assert_eq!(told, if keeps_some { vec!["kept", "new"] } else { vec!["new"] });
        });
    }
}
