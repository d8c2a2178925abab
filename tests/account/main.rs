//! Whether everything that a client says about its writes and every watch's account are true while the cluster and the
//! way to it fail: threads write values that nobody else writes, and in the end the server's own history is compared
//! with what they were told.
//!
//! `ETCDGW_SOAK_SECONDS` makes the storms longer; `make soak` does. `ETCDGW_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod clock;
mod figures;
mod history;
mod ledger;
mod storm;
mod watchers;
mod writers;

use clock::Clock;
use common::{Cluster, LONG, Proxy, Random, client, put_revision, versions, wait_until};
use history::History;
use ledger::Ledger;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use storm::Stop;
use watchers::Watchers;

/// One storm at a time: each has a cluster of its own.
static ALONE: Mutex<()> = Mutex::new(());

const WRITERS: usize = 8;

/// How long a storm is; short unless it was asked for.
fn duration(short_s: u64) -> Duration {
    let given = std::env::var("ETCDGW_SOAK_SECONDS").ok().filter(|text| !text.is_empty());
    let seconds = given.map(|text| text.parse().expect("ETCDGW_SOAK_SECONDS must be a number"));
    Duration::from_secs(seconds.unwrap_or(short_s))
}

#[test]
fn every_acknowledged_write_is_there_once_and_no_denied_one_is_whatever_fails_meanwhile() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut random = Random::of_this_run();
    let version = random.pick(&versions()).clone();
    let time = duration(20);
    println!("{WRITERS} threads on three members of etcd {version}, for {time:?}");
    let mut cluster = Cluster::start(&version, 3);
    let proxies: Vec<Proxy> = cluster.members.iter().map(|member| Proxy::start(&member.url())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let direct = client(&cluster.endpoints());
    let first = put_revision(&direct, history::MARK, b"begin") + 1;

    let clients = [urls.join(","), urls.iter().rev().cloned().collect::<Vec<_>>().join(",")].map(|urls| client(&urls));
    let watchers = Watchers::start(&clients, first);
    let (clock, stop) = (Clock::default(), Stop::default());
    let ledger: Ledger = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (random, clock, stop) = (random.fork(), &clock, &stop);
                let client = &clients[number % clients.len()];
                scope.spawn(move || writers::write_until(stop, number, client, random, clock))
            })
            .collect();
        let (for_ways, for_members) = (random.fork(), random.fork());
        scope.spawn(|| storm::over_the_ways(&stop, &proxies, for_ways));
        scope.spawn(|| storm::over_the_members(&stop, &mut cluster.members, &proxies, &clients[0], for_members));
        scope.spawn(|| clock.watch_the_machine(&stop));
        thread::sleep(time);
        stop.stop();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    // The watches come to the end of the account, over ways that are whole again.
    let mark = put_revision(&direct, history::MARK, b"the watches end here");
    let until_mark = History::read(&direct, first, mark);
    watchers.check(&until_mark, mark);
    // Nothing is under way any more once clients and proxies are gone; what was may still have come through until then.
    drop((clients, proxies));
    let end = put_revision(&direct, history::MARK, b"the writes end here");
    let history = History::read(&direct, first, end);
    assert_eq!(history.up_to(mark), until_mark.changes(), "history does not change");
    history.check_against_keys(&direct);
    println!("{}; {clock}", ledger.compare(&history));
    assert!(ledger.acknowledged() > 0);
    clock.check();
    wait_until(LONG, || cluster.members.iter().all(|member| common::get(&client(&member.url()), b"x").is_ok()));
}
