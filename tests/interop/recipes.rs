//! Barriers, double barriers and work queues, shared with Go's, and workers that are killed.

use crate::common::*;
use crate::peers::*;
use etcdgw::client::Client;
use etcdgw::concurrency::barrier::Barrier;
use etcdgw::concurrency::double_barrier::DoubleBarrier;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::concurrency::stm::{Stm, StmOptions};
use etcdgw::concurrency::workqueue::WorkQueue;
use std::collections::BTreeSet;
use std::time::Duration;

const NOT: Option<Duration> = Some(Duration::ZERO);

fn session(client: &Client) -> Session {
    client.session(&SessionOptions { ttl: 2, ..SessionOptions::default() }, None).unwrap()
}

fn take(queue: &WorkQueue, wait: Option<Duration>) -> Option<String> {
    let item = queue.dequeue(wait, &plain()).unwrap()?;
    Some(String::from_utf8(item.bytes(item.kvs[0].value).to_vec()).unwrap())
}

#[test]
fn a_barrier_of_go_holds_ours_and_ours_holds_go() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let barrier = Barrier::new(&client, b"b");
        let mut holding = Peer::start(go(&etcd, "release", &["b"]));
        holding.says("held");
        assert!(!barrier.hold(&plain()).unwrap() && !barrier.wait(NOT, &plain()).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| barrier.wait(Some(LONG), &plain()).unwrap());
            etcd.wait_for_watchers(1);
            holding.finish_input();
            assert!(waits.join().unwrap());
        });
        holding.finish();
        assert!(barrier.hold(&plain()).unwrap());
        let waiting = Peer::start(go(&etcd, "wait", &["b"]));
        etcd.wait_for_watchers(1);
        barrier.release(&plain()).unwrap();
        waiting.says("passed");
        waiting.finish();
        assert!(keys(&client, &prefix(b"")).is_empty());
    });
}

#[test]
fn a_double_barrier_brings_go_and_ours_together() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let mut peer = Peer::start(go(&etcd, "rounds", &["d", "6"]));
        let sessions = [(); 2].map(|()| session(&client));
        let ours = sessions.each_ref().map(|session| DoubleBarrier::new(session, b"d", 3).unwrap());
        let arrived = |count: usize| wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == count);
        for round in 0..6 {
            std::thread::scope(|scope| {
                // Go comes first, in between or last.
                let enters =
                    ours.each_ref().map(|barrier| scope.spawn(|| barrier.enter(Some(LONG), &plain()).unwrap()));
                assert!(enters.into_iter().all(|enters| enters.join().unwrap()));
            });
            peer.says("entered");
            std::thread::scope(|scope| {
                let leaves =
                    ours.each_ref().map(|barrier| scope.spawn(|| barrier.leave(Some(LONG), &plain()).unwrap()));
                assert!(leaves.into_iter().all(|leaves| leaves.join().unwrap()));
            });
            peer.says("left");
            arrived(0);
            if round % 2 == 0 {
                // Who has waited in vain doesn't count.
                std::thread::scope(|scope| {
                    let enters = scope.spawn(|| ours[0].enter(Some(Duration::from_millis(300)), &plain()).unwrap());
                    arrived(1);
                    assert!(!enters.join().unwrap());
                });
            }
            peer.tell("");
        }
        peer.finish();
        drop(sessions);
        assert!(keys(&client, &prefix(b"")).is_empty());
        no_lease_is_left(&client);
    });
}

#[test]
fn items_go_from_go_to_ours_and_back_and_reach_one_each() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        let queue = WorkQueue::new(&session, b"q");
        Peer::start(go(&etcd, "enqueue", &["q", "3"])).finish();
        assert_eq!([(); 4].map(|()| take(&queue, NOT)).map(Option::unwrap_or_default), ["go-0", "go-1", "go-2", ""]);
        let taking = Peer::start(go(&etcd, "dequeue", &["q", "3"]));
        for item in ["a", "b", "c"] {
            queue.enqueue(item.as_bytes(), &plain()).unwrap();
        }
        assert_eq!([(); 3].map(|()| taking.line()), ["a", "b", "c"]);
        taking.finish();
        // All at the same time.
        let putting = Peer::start(go(&etcd, "enqueue", &["q", "40"]));
        let taking = Peer::start(go(&etcd, "dequeue", &["q", "40"]));
        let taken = std::thread::scope(|scope| {
            scope
                .spawn(|| (0..40).for_each(|item| queue.enqueue(format!("ours-{item}").as_bytes(), &plain()).unwrap()));
            (0..40).map(|_| take(&queue, Some(LONG)).unwrap()).collect::<Vec<_>>()
        });
        let all: BTreeSet<String> = taken.into_iter().chain((0..40).map(|_| taking.line())).collect();
        assert_eq!(all.len(), 80, "each once: {all:?}");
        putting.finish();
        taking.finish();
        drop(session);
        assert!(keys(&client, &prefix(b"")).is_empty());
        no_lease_is_left(&client);
    });
}

#[test]
fn optimistic_transactions_of_go_and_ours_lose_no_count_of_each_other() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let peers = [(); 2].map(|()| Peer::start(go(&etcd, "count", &["stm", "50"])));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let options = StmOptions { call: within(LONG), ..StmOptions::default() };
                        let count = &mut |stm: &mut Stm| {
                            let found = stm.get(b"stm-counter")?;
                            let text = found.kvs.first().map_or("0".into(), |kv| found.bytes(kv.value).to_vec());
                            let next = String::from_utf8(text).unwrap().parse::<i64>().unwrap() + 1;
                            stm.put(put_request(b"stm-counter", next.to_string().as_bytes()));
                            Ok(())
                        };
                        client.stm(options, count).unwrap();
                    }
                });
            }
        });
        peers.into_iter().for_each(Peer::finish);
        assert_eq!(number(&client, "stm-counter"), 200);
    });
}

/// What a worker does until it is killed: takes items out and says so.
pub fn work(client: &Client) {
    let session = session(client);
    let queue = WorkQueue::new(&session, b"q");
    println!("\nbegins");
    while let Some(item) = take(&queue, None) {
        println!("\nitem {item}");
    }
}

#[test]
fn of_workers_that_are_killed_each_takes_one_item_with_it_at_most() {
    const ITEMS: usize = 200;
    const WORKERS: usize = 3;
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let mine = session(&client);
        let queue = WorkQueue::new(&mine, b"q");
        let workers: Vec<Peer> = (0..WORKERS).map(|_| Peer::start(ourselves(&etcd, "worker"))).collect();
        workers.iter().for_each(|worker| worker.says("begins"));
        let mut done = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..ITEMS).for_each(|item| queue.enqueue(item.to_string().as_bytes(), &plain()).unwrap()));
            for worker in workers {
                let item = |line: String| line.strip_prefix("item ").map(str::to_owned);
                done.extend((0..20).filter_map(|_| item(worker.line())));
                done.extend(worker.kill_and_read().into_iter().filter_map(item));
            }
        });
        while let Some(item) = take(&queue, NOT) {
            done.push(item);
        }
        let all: BTreeSet<&String> = done.iter().collect();
        assert_eq!(all.len(), done.len(), "an item was done twice: {done:?}");
        assert!(all.len() >= ITEMS - WORKERS, "{} items were lost by {WORKERS} workers", ITEMS - all.len());
        drop(mine);
        no_lease_is_left(&client);
        assert!(keys(&client, &prefix(b"")).is_empty(), "what they have noted is gone with them");
    });
}
