//! What ten thousand kept leases cost. It has a program of its own, whose CPU time is theirs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::keepalive::KeepAlive;
use std::time::{Duration, Instant};

const LEASES: usize = 10_000;
const TTL_S: i64 = 60;

/// Leases that are renewed one by one, to see what that costs on this machine just now.
const ONE_BY_ONE: usize = 2_000;

/// Of all threads of this process, in clock ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    Duration::from_millis((fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10)
}

#[test]
fn ten_thousand_leases_are_all_renewed_for_less_than_renewing_each_by_itself_costs() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let in_parts = |run: &(dyn Fn(usize) + Sync)| {
        std::thread::scope(|scope| {
            (0..16).for_each(|part| drop(scope.spawn(move || run(part))));
        });
    };
    let leases: Vec<i64> = (0..LEASES).map(|_| Client::new_lease_id().unwrap()).collect();
    let parts: Vec<&[i64]> = leases.chunks(LEASES / 16).collect();
    in_parts(&|part| parts[part].iter().for_each(|id| drop(client.lease_grant_new(TTL_S, *id, &plain()).unwrap())));
    let before = cpu_time();
    for lease in leases.iter().take(ONE_BY_ONE) {
        assert!(client.lease_refresh(*lease, &plain()).unwrap() > 0);
    }
    let one_by_one = (cpu_time() - before) * u32::try_from(LEASES / ONE_BY_ONE).unwrap();
    let kept: Vec<KeepAlive> = leases.iter().map(|lease| client.keep_alive(*lease, None, &plain()).unwrap()).collect();

    // One renewal of each falls into a third of their time.
    let third = Duration::from_secs(u64::try_from(TTL_S).unwrap() / 3);
    let (cpu, requests, since) = (cpu_time(), client.stats().requests, Instant::now());
    wait_until(2 * third, || since.elapsed() > third);
    let (cpu, requests, took) = (cpu_time() - cpu, client.stats().requests - requests, since.elapsed());
    let part = cpu.as_secs_f64() / took.as_secs_f64();
    println!("{} leases of {TTL_S} s: {:.1} % of a core, {requests} requests in {took:?}", kept.len(), part * 100.0);
    println!("{cpu:?}, one by one {one_by_one:?}");
    assert!(cpu < one_by_one, "{cpu:?}, and {one_by_one:?} one by one");
    assert!((LEASES as u64 / 20..LEASES as u64 / 12).contains(&requests), "{requests} requests");
    // Nobody has been waiting for a renewal for longer than a third, and a little for a machine that is busy.
    let least = kept.iter().map(KeepAlive::remaining).min().unwrap();
    assert!(least > 2 * third - Duration::from_secs(5), "{least:?}");
    assert_eq!(kept.iter().filter(|kept| kept.is_lost()).count(), 0);
    drop(kept);
    in_parts(&|part| parts[part].iter().for_each(|id| client.lease_revoke(*id, &plain()).unwrap()));
    assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
}
