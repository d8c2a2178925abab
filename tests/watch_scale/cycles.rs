//! Thousands of watches that are begun and cancelled.

use crate::alone;
use crate::common::{End, Etcd, LONG, Proxy, client, for_each_version, free_port, put_revision, wait_until};
use etcdgw::client::Client;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchOptions};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

const THREADS: usize = 8;
const CYCLES_EACH: usize = 1000;

fn options(number: usize) -> WatchOptions {
    let keys = Keys::Prefix(Cow::Owned(format!("cycle/{}", number % 10).into_bytes()));
    let request = WatchRequest::new(keys);
    // Every other one is cancelled while the server may not have answered.
    WatchOptions { wait_created: number % 2 == 0, ..WatchOptions::new(request) }
}

fn all_of(key: &'static [u8]) -> WatchOptions {
    let keys = Keys::One(Cow::Borrowed(key));
    WatchOptions::new(WatchRequest::new(keys))
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
    etcd.wait_for_watchers(1);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || cycle(client, thread));
        }
    });
    etcd.wait_for_watchers(1);
    // The one that stayed has missed nothing.
    let revision = put_revision(&client, b"cycle/0", b"after");
    let told = kept.next(Some(LONG)).unwrap().expect("it tells of the put");
    assert_eq!(told.events[0].kv.mod_revision, revision);
    drop((kept, client));
    etcd.wait_for_watchers(0);
}

/// Whether what it does with the server of each version leaves the process as it was.
fn leaves_nothing(run: impl Fn(&Etcd) + Sync) {
    let _alone = alone();
    // The first port of a program brings along what the program keeps its ports with.
    free_port();
    let before = footprint();
    for_each_version(|etcd| run(&etcd));
    wait_until(LONG, || footprint() == before);
}

#[test]
fn thousands_of_watches_that_come_and_go_leave_nothing_on_either_side() {
    leaves_nothing(come_and_go);
}

/// Watches that somebody else's callback ends: it cancels every other one and drops them all.
fn end_by_a_callback(client: &Client, rounds: usize) {
    let victims = Arc::new(Mutex::new(Vec::<Watch>::new()));
    let (taken, calls) = (victims.clone(), Arc::new(AtomicUsize::new(0)));
    let called = calls.clone();
    let end_all = move |_| {
        let victims = std::mem::take(&mut *taken.lock().unwrap());
        victims.iter().step_by(2).for_each(Watch::cancel);
        drop(victims);
        called.fetch_add(1, Ordering::SeqCst);
    };
    let killer = client.watch(all_of(b"kill"), Box::new(end_all)).unwrap();
    killer.start();
    for round in 1..=rounds {
        let begin = |number| {
            let watch = client.watch(options(number), Box::new(|_| {})).unwrap();
            watch.start();
            watch
        };
        let begun: Vec<Watch> = (0..20).map(begin).collect();
        victims.lock().unwrap().extend(begun);
        put_revision(client, b"kill", b"");
        wait_until(LONG, || calls.load(Ordering::SeqCst) == round && victims.lock().unwrap().is_empty());
    }
}

/// Watches that two threads end at once, in every way that two may.
fn end_by_two(client: &Client, rounds: usize) {
    for round in 0..rounds {
        let watch = match round % 2 {
            0 => client.watch_open(options(round / 2)).unwrap(),
            _ => client.watch(options(round / 2), Box::new(|_| {})).unwrap(),
        };
        watch.start();
        let (start, other) = (Barrier::new(2), watch.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                watch.cancel();
            });
            scope.spawn(|| {
                start.wait();
                if round % 3 == 0 { drop(other) } else { other.cancel() }
            });
        });
    }
}

fn end_in_every_way(etcd: &Etcd) {
    const ROUNDS: usize = 100;
    let way = Proxy::start(&etcd.url());
    let (client, direct) = (client(&way.url()), client(&etcd.url()));
    put_revision(&direct, b"cycle/0", b"");
    let kept = client.watch_open(options(0)).unwrap();
    etcd.wait_for_watchers(1);
    std::thread::scope(|scope| {
        scope.spawn(|| end_by_a_callback(&client, ROUNDS));
        scope.spawn(|| end_by_two(&client, 10 * ROUNDS));
        scope.spawn(|| end_by_two(&client, 10 * ROUNDS));
    });
    etcd.wait_for_watchers(1);
    // The same while there is no connection, and while it comes back.
    for round in 0..20 {
        let begun: Vec<Watch> = (0..20).map(|number| client.watch_open(options(2 * number)).unwrap()).collect();
        way.cut(End::Reset);
        begun.iter().skip(round % 2).step_by(2).for_each(Watch::cancel);
    }
    etcd.wait_for_watchers(1);
    let revision = put_revision(&direct, b"cycle/0", b"after");
    let told = kept.next(Some(LONG)).unwrap().expect("it tells of the put");
    assert_eq!(told.events[0].kv.mod_revision, revision);
    drop((kept, client));
    etcd.wait_for_watchers(0);
}

#[test]
fn watches_that_end_in_callbacks_of_others_by_two_threads_or_without_a_connection_leave_nothing_on_either_side() {
    leaves_nothing(end_in_every_way);
}
