//! What ten thousand kept leases cost. Run by hand: `cargo test --release --test keepalive_cost -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use std::time::{Duration, Instant};

const LEASES: usize = 10_000;
const TTL_S: i64 = 60;

/// Of all threads of this process, in clock ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
}

#[test]
#[ignore = "a measurement of a minute and a half"]
fn ten_thousand_leases_take_a_small_part_of_one_core() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let grant = |_| client.lease_grant_new(TTL_S, Client::new_lease_id().unwrap(), &plain()).unwrap().id;
    let leases: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| (0..LEASES / 16).map(grant).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let kept: Vec<_> = leases.iter().map(|lease| client.keep_alive(*lease, None, &plain()).unwrap()).collect();
    let (cpu, requests, since) = (cpu_time(), client.stats().requests, Instant::now());
    wait_until(Duration::from_secs(90), || since.elapsed() > Duration::from_secs(60));
    let (cpu, requests, took) = (cpu_time() - cpu, client.stats().requests - requests, since.elapsed());
    let lost = kept.iter().filter(|kept| kept.is_lost()).count();
    let part = cpu.as_secs_f64() / took.as_secs_f64();
    println!("{} leases of {TTL_S} s: {:.1} % of a core, {requests} requests in {took:?}", kept.len(), part * 100.0);
    assert_eq!(lost, 0);
    assert!(part < 0.05, "{part}");
}
