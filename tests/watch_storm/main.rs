//! Watches that come and go on overlapping ranges while connections are cut, servers killed and revisions compacted:
//! what each was told is compared with the whole history, which something else reads.
//!
//! `ETCDGW_SOAK_SECONDS` makes the storms longer. `ETCDGW_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "tests/account uses all of it")]
#[path = "../account/storm.rs"]
mod storm;

mod reader;
mod told;
mod watches;
mod writers;

use common::{Cluster, LONG, Proxy, Random, client, put_revision, versions, wait_until};
use reader::Reader;
use std::sync::Mutex;
use std::time::Duration;
use storm::Stop;
use watches::{Done, Live};

/// One storm at a time: each has servers of its own.
static ALONE: Mutex<()> = Mutex::new(());

/// Threads that begin and cancel watches, and how many watches each may have at a time.
const KEEPERS: usize = 4;
const WATCHES_EACH: usize = 25;

fn duration() -> Duration {
    let given = std::env::var("ETCDGW_SOAK_SECONDS").ok().filter(|text| !text.is_empty());
    Duration::from_secs(given.map_or(12, |text| text.parse().expect("ETCDGW_SOAK_SECONDS must be a number")))
}

fn run(members: usize) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut random = Random::of_this_run();
    let version = random.pick(&versions()).clone();
    println!("watches of {members} members of etcd {version}, for {:?}", duration());
    let mut cluster = Cluster::start(&version, members);
    let proxies: Vec<Proxy> = cluster.members.iter().map(|member| Proxy::start(&member.url())).collect();
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let direct = client(&cluster.endpoints());
    let first = put_revision(&direct, b"storm", b"begins") + 1;
    let addresses = cluster.members.iter().map(common::Etcd::address).collect();
    let reader = Reader::start(addresses, first);
    let clients = [urls.join(","), urls.iter().rev().cloned().collect::<Vec<_>>().join(",")].map(|urls| client(&urls));

    let stop = Stop::default();
    let (mut done, mut live): (Vec<Done>, Vec<Live>) = std::thread::scope(|scope| {
        let keepers: Vec<_> = (0..KEEPERS)
            .map(|number| {
                let (random, client) = (random.fork(), &clients[number % clients.len()]);
                let (stop, direct, reader) = (&stop, &direct, &reader);
                scope.spawn(move || watches::keep(stop, client, direct, reader, random, WATCHES_EACH))
            })
            .collect();
        for _ in 0..2 {
            let (random, direct, stop) = (random.fork(), &direct, &stop);
            scope.spawn(move || writers::write(stop, direct, random));
        }
        let (for_ways, for_members, for_compactions) = (random.fork(), random.fork(), random.fork());
        scope.spawn(|| writers::compact(&stop, &direct, &reader, first, for_compactions));
        scope.spawn(|| storm::over_the_ways(&stop, &proxies, for_ways));
        scope.spawn(|| storm::over_the_members(&stop, &mut cluster.members, &proxies, &clients[0], for_members));
        std::thread::sleep(duration());
        stop.stop();
        let kept = keepers.into_iter().map(|keeper| keeper.join().unwrap());
        kept.fold(Default::default(), |(mut done, mut live): (Vec<_>, Vec<_>), (more_done, more_live)| {
            done.extend(more_done);
            live.extend(more_live);
            (done, live)
        })
    });

    // Each range has something more to tell, whatever it leaves out.
    let end = writers::write_every_key(&direct);
    let history = reader.read_up_to(end);
    let count = live.len();
    live.iter_mut().for_each(|watch| watch.wait_for_the_end_of(&history));
    done.extend(live.into_iter().map(Live::finish));
    let (mut events, mut compacted) = (0, 0);
    for watch in &done {
        events += watch.check(&history);
        compacted += usize::from(watch.was_compacted());
    }
    println!(
        "{} watches ({count} to the end, {compacted} compacted) told {events} events of {}, exactly",
        done.len(),
        history.len()
    );
    assert!(count > 0 && done.len() > count && compacted < done.len() / 2, "the storm proves something");
    drop((clients, proxies));
    wait_until(LONG, || cluster.members.iter().all(|member| common::get(&client(&member.url()), b"x").is_ok()));
}

#[test]
fn watches_of_a_server_that_dies_and_compacts_tell_what_happened_and_nothing_else() {
    run(1);
}

#[test]
fn watches_of_a_cluster_whose_members_lag_and_die_tell_what_happened_and_nothing_else() {
    run(3);
}
