//! Clusters of three that lose members: what a caller sees, and by when.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    Cluster, Etcd, LONG, client, config, get_with, one, plain, prefix, put, put_request, put_with, timed, versions,
    wait_until, within,
};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Error, Reason};
use etcdgw::log::{Level, LogSink};
use etcdgw::rpc::kv::RangeRequest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// A proposal that was on its way to a leader that died is given up by its member after 7 s (etcd's ReqTimeout); by then
/// another leader has been elected for long, even on a machine that is busy.
const ELECTION: Duration = Duration::from_secs(12);

/// What the contract gives a call beyond its limit, and a machine that has other things to do.
const LEEWAY: Duration = Duration::from_millis(100 + 400);

fn newest() -> String {
    versions().pop().unwrap()
}

/// Writes one new key after another while something is done to the cluster, and then holds the cluster to what the
/// calls said: every acknowledged write is there, none is there twice, and what was definitely not done is absent.
struct Ledger {
    done: Vec<String>,
    open: Vec<String>,
    refused: Vec<String>,
    longest: Duration,
}

impl Ledger {
    fn while_doing(client: &Client, limit: Duration, act: impl FnOnce(&AtomicUsize)) -> Ledger {
        let (is_over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut ledger =
                    Ledger { done: Vec::new(), open: Vec::new(), refused: Vec::new(), longest: Duration::ZERO };
                let mut number = 0;
                loop {
                    number += 1;
                    let key = format!("ledger/{number:06}");
                    let (answer, took) = timed(|| put_with(client, key.as_bytes(), b"value", &within(limit)));
                    ledger.longest = ledger.longest.max(took);
                    match answer {
                        Ok(_) => {
                            ledger.done.push(key);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) if error.may_have_applied() => ledger.open.push(key),
                        Err(_) => ledger.refused.push(key),
                    }
                    if is_over.load(Ordering::SeqCst) {
                        return ledger;
                    }
                }
            });
            // Also where the test fails: the scope waits for the writer.
            let ending = Ending(&is_over);
            goes_on(&count, LONG);
            act(&count);
            goes_on(&count, LONG);
            drop(ending);
            writer.join().unwrap()
        })
    }

    #[track_caller]
    fn is_true_of(&self, client: &Client, limit: Duration) {
        let response = client.range(&prefix(b"ledger/"), &within(LONG)).unwrap();
        let there: BTreeMap<String, i64> = response
            .kvs
            .iter()
            .map(|kv| (String::from_utf8(response.bytes(kv.key).to_vec()).unwrap(), kv.version))
            .collect();
        let lost: Vec<_> = self.done.iter().filter(|key| !there.contains_key(*key)).collect();
        assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
        let twice: Vec<_> = there.iter().filter(|(_, version)| **version != 1).collect();
        assert!(twice.is_empty(), "written twice: {twice:?}");
        let untrue: Vec<_> = self.refused.iter().filter(|key| there.contains_key(*key)).collect();
        assert!(untrue.is_empty(), "definitely not done and there: {untrue:?}");
        assert!(self.longest < limit + LEEWAY, "a call lasted {:?}", self.longest);
    }
}

/// Sets its flag when it goes.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits for ten more writes.
#[track_caller]
fn goes_on(count: &AtomicUsize, limit: Duration) {
    let wanted = count.load(Ordering::SeqCst) + 10;
    wait_until(limit, || count.load(Ordering::SeqCst) >= wanted);
}

#[test]
fn a_member_in_use_that_is_killed_costs_one_open_write_at_most() {
    let mut cluster = Cluster::start(&newest(), 3);
    let place = cluster.follower();
    let client = client(&cluster.endpoints_from(place));
    let ledger = Ledger::while_doing(&client, LIMIT, |count| {
        cluster.members[place].kill();
        goes_on(count, Duration::from_secs(2));
    });
    ledger.is_true_of(&client, LIMIT);
    assert!(ledger.open.len() <= 1 && ledger.refused.is_empty(), "{:?}, {:?}", ledger.open, ledger.refused);
    assert!(ledger.longest < Duration::from_secs(2), "{:?}", ledger.longest);
}

#[test]
fn a_member_in_use_that_ends_in_an_orderly_way_costs_one_open_write_at_most() {
    let cluster = Cluster::start(&newest(), 3);
    let place = cluster.follower();
    let client = client(&cluster.endpoints_from(place));
    let ledger = Ledger::while_doing(&client, LIMIT, |count| {
        cluster.members[place].terminate();
        goes_on(count, Duration::from_secs(10));
    });
    ledger.is_true_of(&client, LIMIT);
    assert!(ledger.open.len() <= 1 && ledger.refused.is_empty(), "{:?}, {:?}", ledger.open, ledger.refused);
}

#[test]
fn a_member_in_use_that_is_frozen_holds_reads_for_a_moment_and_one_write_to_its_limit() {
    let cluster = Cluster::start(&newest(), 3);
    let place = cluster.follower();
    let reader = client(&cluster.endpoints_from(place));
    let writer = client(&cluster.endpoints_from(place));
    put(&reader, b"key", b"value").unwrap();
    put(&writer, b"key", b"value").unwrap();
    cluster.members[place].stop();
    let (answer, took) = timed(|| get_with(&reader, b"key", &within(LIMIT)));
    answer.unwrap();
    assert!(took < Duration::from_secs(4), "a read: {took:?}");
    let limit = Duration::from_secs(1);
    let (answer, took) = timed(|| put_with(&writer, b"key", b"value", &within(limit)));
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }) && error.may_have_applied(), "{error:?}");
    assert!(took < limit + LEEWAY, "{took:?}");
    for client in [&reader, &writer] {
        let (answer, took) = timed(|| put_with(client, b"key", b"value", &within(LIMIT)));
        answer.unwrap();
        assert!(took < Duration::from_secs(1), "the next write: {took:?}");
    }
    cluster.members[place].cont();
}

#[test]
fn writes_go_on_when_a_new_leader_is_elected() {
    for version in versions() {
        let mut cluster = Cluster::start(&version, 3);
        let leader = cluster.leader();
        // In use is a member that stays.
        let client = client(&cluster.endpoints_from((leader + 1) % 3));
        let ledger = Ledger::while_doing(&client, LIMIT, |count| {
            cluster.members[leader].kill();
            goes_on(count, ELECTION);
        });
        ledger.is_true_of(&client, LIMIT);
        assert!(ledger.open.len() <= 2 && ledger.refused.is_empty(), "{version}: {:?}", ledger.open);
    }
}

#[test]
fn writes_go_on_when_the_leader_is_the_member_in_use() {
    let mut cluster = Cluster::start(&newest(), 3);
    let leader = cluster.leader();
    let client = client(&cluster.endpoints_from(leader));
    let ledger = Ledger::while_doing(&client, LIMIT, |count| {
        cluster.members[leader].kill();
        goes_on(count, ELECTION);
    });
    ledger.is_true_of(&client, LIMIT);
    assert!(ledger.open.len() <= 2 && ledger.refused.is_empty(), "{:?}, {:?}", ledger.open, ledger.refused);
}

#[test]
fn without_a_quorum_writes_are_refused_in_time_and_calls_that_wait_succeed_when_it_is_back() {
    let mut cluster = Cluster::start(&newest(), 3);
    let client = client(&cluster.endpoints());
    put(&client, b"key", b"value").unwrap();
    cluster.members[1].kill();
    cluster.members[2].kill();
    // The member that is left notices within two election timeouts.
    let limit = Duration::from_millis(1500);
    let mut refusal = None;
    wait_until(LONG, || {
        let (answer, took) = timed(|| put_with(&client, b"lost", b"value", &within(limit)));
        assert!(took < limit + LEEWAY, "{took:?}");
        refusal = answer.err().filter(|error| error.reason() == Reason::NoLeader);
        refusal.is_some()
    });
    let error = refusal.unwrap();
    assert!(!error.may_have_applied() && error.is_retryable(), "{error:?}");
    let serializable = RangeRequest { serializable: true, ..one(b"key") };
    let (answer, took) = timed(|| client.range(&serializable, &within(LIMIT)));
    assert_eq!(answer.unwrap().kvs.len(), 1);
    assert!(took < Duration::from_secs(1), "a member alone answers what it has: {took:?}");
    thread::scope(|scope| {
        let write = scope.spawn(|| put_with(&client, b"waits", b"value", &within(LONG)).map(drop));
        let read = scope.spawn(|| get_with(&client, b"key", &within(LONG)).map(drop));
        thread::sleep(Duration::from_millis(500));
        assert!(!write.is_finished() && !read.is_finished());
        cluster.members[1].relaunch();
        write.join().unwrap().unwrap();
        read.join().unwrap().unwrap();
    });
}

#[test]
fn a_rolling_restart_to_another_version_loses_nothing_and_does_nothing_twice() {
    let mut cluster = Cluster::start("3.5.35", 3);
    let client = client(&cluster.endpoints());
    let ledger = Ledger::while_doing(&client, LIMIT, |count| {
        for member in &mut cluster.members {
            member.upgrade("3.6.16");
            goes_on(count, ELECTION);
        }
    });
    ledger.is_true_of(&client, LIMIT);
    assert!(ledger.refused.is_empty(), "{:?}", ledger.refused);
    assert!(ledger.open.len() <= 3, "one for each restart at most: {:?}", ledger.open);
    assert!(cluster.members.iter().all(|member| member.version() == "3.6.16"));
}

#[test]
fn a_learner_is_passed_over_and_not_found_by_synchronisation() {
    let mut cluster = Cluster::start(&newest(), 1);
    cluster.add_learner();
    let (voter, learner) = (cluster.members[0].url(), cluster.members[1].url());
    let first_at_the_learner = client(&cluster.endpoints_from(1));
    let (answer, took) = timed(|| put_with(&first_at_the_learner, b"key", b"value", &within(LIMIT)));
    answer.unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(get_with(&first_at_the_learner, b"key", &plain()).unwrap().kvs.len(), 1);
    assert_eq!(*first_at_the_learner.base_url(), voter);
    let (answer, took) = timed(|| put_with(&client(&learner), b"key", b"value", &within(LIMIT)));
    let error = answer.unwrap_err();
    assert_eq!((error.reason(), error.may_have_applied()), (Reason::Learner, false));
    assert!(took < Duration::from_secs(1), "waiting makes it no voter: {took:?}");
    let synced = client(&voter);
    synced.sync_endpoints(&plain()).unwrap();
    cluster.members[0].kill();
    let error = put_with(&synced, b"key", b"value", &within(LIMIT)).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "only the voter is known: {error:?}");
}

#[test]
fn members_that_auto_sync_found_take_over_when_the_configured_one_is_gone() {
    let mut cluster = Cluster::start(&newest(), 3);
    let place = cluster.follower();
    let (others_seen, lines) = (Arc::new(AtomicUsize::new(0)), config(&cluster.members[place].url()));
    let own = cluster.members[place].url();
    let settings = Config { log: Some(Arc::new(Seen { own, others: others_seen.clone() })), ..lines };
    let client = Client::new(Config { auto_sync: Some(Duration::from_millis(100)), ..settings }).unwrap();
    put(&client, b"key", b"value").unwrap();
    // In the second synchronisation the first one has been adopted.
    wait_until(LONG, || others_seen.load(Ordering::SeqCst) >= 4);
    cluster.members[place].kill();
    wait_until(LONG, || put_with(&client, b"key", b"value", &within(LIMIT)).is_ok());
    assert_ne!(*client.base_url(), cluster.members[place].url());
}

/// Counts how often other members than one were found to answer.
struct Seen {
    own: String,
    others: Arc<AtomicUsize>,
}

impl LogSink for Seen {
    fn wants(&self, level: Level) -> bool {
        level <= Level::Debug
    }

    fn log(&self, _: Level, line: &str) {
        if line.contains("is etcd") && !line.contains(&self.own) {
            self.others.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn another_cluster_at_one_of_the_endpoints_is_told_and_never_taken_for_the_first() {
    let (mut ours, theirs) = (Etcd::start(&newest()), start_other());
    let client = client(&format!("{},{}", ours.url(), theirs.url()));
    put(&client, b"key", b"ours").unwrap();
    ours.kill();
    let error = get_with(&client, b"key", &within(Duration::from_secs(2))).unwrap_err();
    assert!(matches!(error, Error::ClusterMismatch { .. }), "{error:?}");
    let error = client.put(&put_request(b"key", b"stray"), &within(Duration::from_secs(2))).unwrap_err();
    assert!(!error.may_have_applied(), "{error:?}");
    assert_eq!(get_with(&common::client(&theirs.url()), b"key", &plain()).unwrap().kvs.len(), 0);
    ours.restart();
    assert_eq!(get_with(&client, b"key", &within(LONG)).unwrap().kvs.len(), 1);
}

/// A server of another cluster: the ID of a single member's comes from its peer URL and this token.
fn start_other() -> Etcd {
    Etcd::start_with_flags(&newest(), &["--initial-cluster-token=another"])
}
