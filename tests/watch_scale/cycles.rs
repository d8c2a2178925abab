//! Thousands of watches that are begun and cancelled.

use crate::alone;
use crate::common::{Etcd, LONG, client, for_each_version, put_revision, wait_until};
use etcdgw::client::Client;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::WatchOptions;
use std::borrow::Cow;

const THREADS: usize = 8;
const CYCLES_EACH: usize = 1000;

const WATCHERS: &str = "etcd_debugging_mvcc_watcher_total";

fn options(number: usize) -> WatchOptions {
    let keys = Keys::Prefix(Cow::Owned(format!("cycle/{}", number % 10).into_bytes()));
    let request = WatchRequest { keys, start_revision: 0, no_put: false, no_delete: false, prev_kv: false };
    // Every other one is cancelled while the server may not have answered.
    WatchOptions { wait_created: number % 2 == 0, ..WatchOptions::new(request) }
}

fn cycle(client: &Client, thread: usize) {
    for number in 0..CYCLES_EACH {
        let options = options(number + thread);
        let watch = match number % 3 {
            0 => client.watch_open(options).unwrap(),
            _ => client.watch(options, Box::new(|_| {})).unwrap(),
        };
        watch.start();
        watch.cancel();
        if number % 5 == 0 {
            watch.join(Some(LONG)).unwrap();
        }
    }
}

/// Threads of the library, and descriptors of the process.
fn footprint() -> (usize, usize) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    let threads = names.filter(|name| name.starts_with("etcdgw-")).count();
    (threads, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

fn come_and_go(etcd: &Etcd) {
    let client = client(&etcd.url());
    put_revision(&client, b"cycle/0", b"");
    let kept = client.watch_open(options(0)).unwrap();
    wait_until(LONG, || etcd.metric(WATCHERS) == 1.0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || cycle(client, thread));
        }
    });
    wait_until(LONG, || etcd.metric(WATCHERS) == 1.0);
    // The one that stayed has missed nothing.
    let revision = put_revision(&client, b"cycle/0", b"after");
    let told = kept.next(Some(LONG)).unwrap().expect("it tells of the put");
    assert_eq!(told.events[0].kv.mod_revision, revision);
    drop((kept, client));
    wait_until(LONG, || etcd.metric(WATCHERS) == 0.0);
}

#[test]
fn thousands_of_watches_that_come_and_go_leave_nothing_on_either_side() {
    let _alone = alone();
    let before = footprint();
    for_each_version(|etcd| come_and_go(&etcd));
    wait_until(LONG, || footprint() == before);
}
