//! Exactly once and in order, over members that are killed, stopped, restarted and left.

use crate::common::{
    Certificates, Cluster, End, Etcd, EtcdOptions, Fault, LONG, Proxy, administrator, client, config, delete_request,
    for_each_version, on_each_version, plain, put, put_revision, timed, versions, wait_until, within,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::PutRequest;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use etcdgw::rpc::watch::EventType;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writes without a pause, single keys and transactions, until it is told to stop; what fails is passed over.
struct Writer {
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn start(client: Client) -> Writer {
        let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (over, count) = (is_over.clone(), written.clone());
        let thread = std::thread::spawn(move || {
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                number += 1;
                if write(&client, number) {
                    count.fetch_add(1, Ordering::SeqCst);
                } else {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Writer { is_over, written, thread: Some(thread) }
    }

    /// Waits until so many more writes have succeeded.
    #[track_caller]
    fn wait_for_more(&self, count: usize) {
        let target = self.written.load(Ordering::SeqCst) + count;
        wait_until(LONG, || self.written.load(Ordering::SeqCst) >= target);
    }

    fn stop(mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One write; every third is a transaction of twenty keys.
fn write(client: &Client, number: usize) -> bool {
    let value = number.to_string();
    let put = |key: &'static [u8]| PutRequest {
        key: Cow::Borrowed(key),
        value: Cow::Borrowed(value.as_bytes()),
        ..PutRequest::default()
    };
    let options = within(Duration::from_secs(2));
    if number % 3 != 0 {
        return client.put(&put(b"resume/one"), &options).is_ok();
    }
    let keys: Vec<String> = (0..20).map(|i| format!("resume/txn/{i}")).collect();
    let operation = |key: &String| TxnOp::Put(PutRequest { key: Cow::Owned(key.clone().into_bytes()), ..put(b"") });
    let request = TxnRequest { success: keys.iter().map(operation).collect(), ..TxnRequest::default() };
    client.txn(&request, &options).is_ok()
}

/// The history that the server itself tells, from a revision up to a last put, against what the watch has seen.
#[track_caller]
fn assert_saw_history(client: &Client, seen: &Seen, first: i64) {
    let last = put_revision(client, b"resume/last", b"last");
    let is_complete = |said: &[Said]| said.iter().any(|said| said.changes.iter().any(|change| change.revision == last));
    let said = seen.wait(is_complete);
    assert_exact(&said);
    let watch = client.watch_open(from(prefix(b"resume/"), first)).unwrap();
    let mut history = Vec::new();
    while history.last().is_none_or(|change: &Change| change.revision < last) {
        history.extend(next(&watch).changes);
    }
    let seen = changes_of(&said);
    assert_eq!(seen.len(), history.len());
    assert!(seen == history, "the watch has seen something else than what happened");
}

#[test]
fn a_watch_resumes_after_the_server_was_killed_and_restarted() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        let (seen, consumer) = Seen::new();
        let first = put_revision(&client, b"before", b"") + 1;
        let watch = client.watch(reporting(prefix(b"resume/")), consumer).unwrap();
        watch.start();
        let writer = Writer::start(client.clone());
        for kills in 0..3 {
            writer.wait_for_more(20);
            // On a busy machine twenty puts may be faster than a watch that comes back.
            let is_back = |said: &[Said]| said.iter().filter(|said| said.kind == WatchKind::Resumed).count() >= kills;
            wait_until(LONG, || is_back(&seen.all()));
            etcd.kill();
            etcd.restart();
        }
        writer.wait_for_more(20);
        writer.stop();
        assert_saw_history(&client, &seen, first);
        let said = seen.all();
        let count = |kind| said.iter().filter(|said| said.kind == kind).count();
        assert!(count(WatchKind::Disconnected) >= 3);
        assert_eq!(count(WatchKind::Disconnected), count(WatchKind::Resumed));
        assert!(said.iter().filter(|said| said.kind == WatchKind::Disconnected).all(|said| said.error.is_some()));
    });
}

#[test]
fn a_watch_ends_when_its_cluster_was_restored_from_a_backup() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        for _ in 0..10 {
            put(&client, b"resume/1", b"1").unwrap();
        }
        let watch = client.watch_open(prefix(b"resume/")).unwrap();
        let revision = put_revision(&client, b"resume/2", b"2");
        assert_eq!(values(&next(&watch).changes), ["2"]);
        etcd.lose_data();
        etcd.restart();
        let ended = next(&watch);
        assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, revision + 1));
        let expected =
            |error: &Error| matches!(error, Error::RevisionRegressed { seen, found: 1, .. } if *seen == revision);
        assert!(ended.error.as_ref().is_some_and(expected), "{ended:?}");
    });
}

#[test]
fn a_catch_up_of_many_megabytes_comes_in_whole_revisions_as_they_arrive() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let first = put_revision(&client, b"large/before", b"") + 1;
        let value = vec![b'v'; 100_000];
        let put = |key: usize| {
            let (key, value) = (Cow::Owned(format!("large/{key}").into_bytes()), Cow::Borrowed(&value[..]));
            TxnOp::Put(PutRequest { key, value, ..PutRequest::default() })
        };
        for _ in 0..20 {
            let request = TxnRequest { success: (0..9).map(put).collect(), ..TxnRequest::default() };
            client.txn(&request, &plain()).unwrap();
        }
        let watch = client.watch_open(from(prefix(b"large/"), first)).unwrap();
        let mut responses = 0;
        let mut revisions = Vec::new();
        while revisions.len() < 20 * 9 {
            let said = next(&watch);
            responses += 1;
            revisions.extend(said.changes.iter().map(|change| change.revision));
            assert_eq!((revisions.len() % 9, said.changes.len() % 9), (0, 0), "all keys of each revision");
            assert_eq!(said.resume_revision, first + revisions.len() as i64 / 9);
        }
        assert!(revisions.is_sorted());
        // etcd's fragments take 2 MB at most.
        assert!(responses >= 9, "{responses}");
    });
}

#[test]
fn a_watch_resumes_after_an_orderly_restart() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        let watch = client.watch_open(reporting(prefix(b"resume/"))).unwrap();
        put(&client, b"resume/1", b"1").unwrap();
        assert_eq!(values(&next(&watch).changes), ["1"]);
        etcd.terminate();
        let lost = next(&watch);
        assert_eq!(lost.kind, WatchKind::Disconnected, "{lost:?}");
        etcd.restart();
        assert_eq!(next(&watch).kind, WatchKind::Resumed);
        put(&client, b"resume/2", b"2").unwrap();
        assert_eq!(values(&next(&watch).changes), ["2"]);
    });
}

#[test]
fn every_response_tells_where_another_watch_goes_on() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let first = put_revision(&client, b"resume/0", b"0");
        for i in 1..50_u32 {
            put(&client, b"resume/key", i.to_string().as_bytes()).unwrap();
        }
        let mut start = first;
        let mut changes = Vec::new();
        while changes.len() < 50 {
            // Only the first response of each watch is used.
            let said = next(&client.watch_open(from(prefix(b"resume/"), start)).unwrap());
            changes.extend(said.changes.into_iter().take(50));
            start = said.resume_revision;
        }
        let expected: Vec<String> = (0..50).map(|i: u32| i.to_string()).collect();
        assert_eq!(values(&changes), expected);
    });
}

/// A server that tells its progress every second.
fn with_progress(version: &str) -> Etcd {
    let old = version.starts_with("3.4.") || version.starts_with("3.5.");
    let flag =
        if old { "--experimental-watch-progress-notify-interval=1s" } else { "--watch-progress-notify-interval=1s" };
    Etcd::start_with_flags(version, &[flag])
}

#[test]
fn progress_carries_a_quiet_watch_past_a_compaction() {
    let run = |version: &String| {
        let mut etcd = with_progress(version);
        let client = client(&etcd.url());
        let (seen, consumer) = Seen::new();
        let options = WatchOptions { progress_notify: true, ..reporting(one(b"quiet")) };
        let watch = client.watch(options, consumer).unwrap();
        watch.start();
        let mut last = 0;
        for _ in 0..10 {
            last = put_revision(&client, b"busy", b"");
        }
        seen.wait(|said| said.iter().any(|said| said.kind == WatchKind::Progress && said.resume_revision == last + 1));
        administrator(&etcd.url()).compact(last, true, &plain()).unwrap();
        etcd.kill();
        etcd.restart();
        seen.wait_for(WatchKind::Resumed);
        put(&client, b"quiet", b"value").unwrap();
        assert_eq!(values(&seen.wait_for_changes(1)), ["value"]);
        assert_exact(&seen.all());
        assert!(seen.all().iter().all(|said| said.kind != WatchKind::Ended));
    };
    let versions = versions();
    std::thread::scope(|scope| {
        let threads: Vec<_> = versions.iter().map(|version| (version, scope.spawn(|| run(version)))).collect();
        for (version, thread) in threads {
            assert!(thread.join().is_ok(), "on etcd {version}");
        }
    });
}

#[test]
fn what_was_deleted_at_the_very_revision_of_a_compaction_is_told_or_ends_the_watch() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        put(&direct, b"compacted/a", b"1").unwrap();
        let watch = client(&proxy.url()).watch_open(prefix(b"compacted/")).unwrap();
        put(&direct, b"compacted/b", b"1").unwrap();
        assert_eq!(values(&next(&watch).changes), ["1"]);
        proxy.inject(Fault::Refuse);
        wait_until(LONG, || {
            proxy.cut(End::Reset);
            proxy.open_connections() == 0
        });
        let request = delete_request(Keys::One(Cow::Borrowed(b"compacted/a")));
        let deleted = direct.delete_range(&request, &plain()).unwrap().header.revision;
        administrator(&etcd.url()).compact(deleted, true, &plain()).unwrap();
        proxy.heal();
        let told = next(&watch);
        match told.kind {
            WatchKind::Events => {
                let [change] = &told.changes[..] else { panic!("{told:?}") };
                assert_eq!((change.event_type, &*change.key), (EventType::Delete, &b"compacted/a"[..]));
            }
            WatchKind::Ended => {
                assert_eq!((told.resume_revision, told.compact_revision), (deleted, deleted));
                assert_eq!(told.error.as_ref().unwrap().reason(), Reason::Compacted);
            }
            _ => panic!("{told:?}"),
        }
        assert_eq!(told.kind == WatchKind::Ended, etcd.version() == "3.4.23");
    });
}

#[test]
fn a_watch_goes_on_at_another_member() {
    for version in versions() {
        let mut cluster = Cluster::start(&version, 3);
        let client = client(&cluster.endpoints());
        let (seen, consumer) = Seen::new();
        let first = put_revision(&client, b"before", b"") + 1;
        let watch = client.watch(prefix(b"resume/"), consumer).unwrap();
        watch.start();
        let writer = Writer::start(client.clone());
        writer.wait_for_more(20);
        let used = cluster.members.iter().position(|member| *member.url() == *client.base_url()).unwrap();
        cluster.members[used].kill();
        writer.wait_for_more(20);
        writer.stop();
        assert_saw_history(&client, &seen, first);
    }
}

#[test]
fn a_member_without_a_leader_is_left_and_the_watch_comes_back_with_the_cluster() {
    let version = versions().pop().unwrap();
    let mut cluster = Cluster::start(&version, 3);
    // Only one member is known, so that there is nowhere else to go.
    let client = client(&cluster.members[0].url());
    let watch = client.watch_open(reporting(one(b"resume/leader"))).unwrap();
    cluster.members[1].kill();
    cluster.members[2].kill();
    let lost = next(&watch);
    assert_eq!(lost.kind, WatchKind::Disconnected, "{lost:?}");
    assert_eq!(lost.error.unwrap().reason(), etcdgw::error::Reason::NoLeader);
    cluster.members[1].restart();
    assert_eq!(next(&watch).kind, WatchKind::Resumed);
    put(&client, b"resume/leader", b"value").unwrap();
    assert_eq!(values(&next(&watch).changes), ["value"]);
}

#[test]
fn a_watch_over_tls_resumes_and_ends_at_once_like_any_other() {
    let certificates = Certificates::new();
    let server = certificates.issue("server", &["127.0.0.1"]);
    let options = EtcdOptions { flags: certificates.flags(&server, true), tls: true, host: None };
    let mut etcd = Etcd::start_with(&versions().pop().unwrap(), options);
    let own = certificates.issue("client", &["client"]);
    let tls = TlsConfig {
        ca_cert: Some(Pem::File(certificates.ca())),
        cert: Some(Pem::File(own.cert)),
        key: Some(Pem::File(own.key)),
        ..TlsConfig::default()
    };
    let client = Client::new(Config { tls, ..config(&etcd.url()) }).unwrap();
    let watch = client.watch_open(prefix(b"resume/")).unwrap();
    let value = "v".repeat(100_000);
    put(&client, b"resume/1", value.as_bytes()).unwrap();
    assert_eq!(values(&next(&watch).changes), [value]);
    etcd.kill();
    etcd.restart();
    put(&client, b"resume/2", b"2").unwrap();
    assert_eq!(values(&next(&watch).changes), ["2"]);
    let ((), elapsed) = timed(|| watch.cancel());
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    let ((), elapsed) = timed(|| drop(watch));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}
