//! What is left of watches, and of what else delivers to a queue, when the last handle is gone: no thread, no descriptor.
//! A program of its own, because it counts what the whole process has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Etcd, FakeGateway, Gate, LONG, Tagged, client, plain, timed, versions, wait_until};
use etcdgw::concurrency::election::Election;
use etcdgw::concurrency::session::SessionOptions;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchOptions};
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One test at a time: each counts the process's threads.
static ALONE: Mutex<()> = Mutex::new(());

const CREATED: &str = "{\"result\":{\"header\":{\"revision\":\"4\"},\"created\":true}}\n";
const EVENT: &str =
    "{\"result\":{\"header\":{\"revision\":\"5\"},\"events\":[{\"kv\":{\"key\":\"aw==\",\"mod_revision\":\"5\"}}]}}\n";

fn gateway() -> FakeGateway {
    FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/watch" => {
            reply.stream_head();
            reply.chunk(CREATED);
            reply.chunk(EVENT);
            reply.hold();
        }
        _ => reply.json(r#"{"header":{"revision":"4"}}"#),
    })
}

fn options() -> WatchOptions {
    let keys = Keys::One(Cow::Borrowed(&b"k"[..]));
    let request = WatchRequest::new(keys);
    WatchOptions::new(request)
}

/// The library's threads in this process, by name.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("etcdgw-")).collect()
}

/// The descriptors that only the library makes.
fn event_descriptors() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().contains("eventfd")).count()
}

#[test]
fn no_thread_exists_before_the_first_watch_and_none_after_the_last_handle() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gateway = gateway();
    for _ in 0..20 {
        let client = client(gateway.url());
        assert!(threads().is_empty());
        let called = Gate::new();
        let calls = called.clone();
        let calling = client.watch(options(), Box::new(move |_| calls.open())).unwrap();
        calling.start();
        let pulled: Vec<Watch> = (0..5).map(|_| client.watch_open(options()).unwrap()).collect();
        called.wait();
        // Each gives itself its name.
        wait_until(LONG, || {
            threads() == ["etcdgw-watch", "etcdgw-deliver"] || threads() == ["etcdgw-deliver", "etcdgw-watch"]
        });
        drop(client);
        drop(calling);
        drop(pulled);
        // The kernel lists a thread for a moment after it was joined.
        wait_until(Duration::from_secs(1), || threads().is_empty());
        assert_eq!(event_descriptors(), 0);
    }
}

#[test]
fn a_callback_that_drops_everything_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gateway = gateway();
    let client = client(gateway.url());
    let everything = Arc::new(Mutex::new(None));
    let (inner, called) = (everything.clone(), Gate::new());
    let calls = called.clone();
    let watch = client
        .watch(
            options(),
            Box::new(move |_| {
                let everything: Option<(etcdgw::client::Client, Watch)> = inner.lock().unwrap().take();
                drop(everything.unwrap());
                calls.open();
            }),
        )
        .unwrap();
    let starter = watch.clone();
    *everything.lock().unwrap() = Some((client, watch));
    starter.start();
    drop(starter);
    called.wait();
    wait_until(LONG, || threads().is_empty() && event_descriptors() == 0 && Arc::strong_count(&everything) == 1);
    wait_until(LONG, || gateway.open_connections() == 0);
}

#[test]
fn a_callback_that_waits_for_whoever_ends_the_client_hangs_nobody() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gateway = gateway();
    let client = client(gateway.url());
    let (entered, gate) = (Gate::new(), Gate::new());
    let (inside, held) = (entered.clone(), gate.clone());
    let wait = Box::new(move |_| {
        inside.open();
        held.wait();
    });
    let watch = client.watch(options(), wait).unwrap();
    watch.start();
    entered.wait();
    let ((), elapsed) = timed(|| drop((client, watch)));
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    gate.open();
    wait_until(LONG, || threads().is_empty() && event_descriptors() == 0);
}

#[test]
fn a_refused_watch_leaves_no_reader() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gateway = FakeGateway::answering("{}");
    let client = client(gateway.url());
    for _ in 0..20 {
        assert!(client.watch_open(options()).is_err());
        assert!(client.watch_once(options()).is_err());
    }
    wait_until(Duration::from_secs(1), || threads().is_empty());
}

#[test]
fn a_queue_takes_no_thread_for_callbacks_and_nothing_is_left_of_what_delivers_there() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let etcd = Etcd::start(&versions().pop().unwrap());
    for queue_goes_first in [false, true] {
        let (client, tagged) = (client(&etcd.url()), Tagged::new());
        tagged.queue.fd().unwrap();
        let session = client.session_into(&SessionOptions::default(), &tagged.queue, tagged.tag(0)).unwrap();
        let kept = client.keep_alive_into(session.lease(), &tagged.queue, tagged.tag(1), &plain()).unwrap();
        let election = Election::new(&session, b"office");
        let observer = election.observe().unwrap().delivering_to(&tagged.queue, tagged.tag(2)).unwrap();
        session.start().allow();
        kept.start().allow();
        observer.start().allow();
        assert!(election.campaign(b"me", None, &plain()).unwrap());
        drop(tagged.event());
        // Each gives itself its name, of which the kernel keeps 15 characters.
        wait_until(LONG, || {
            let mut names = threads();
            names.sort_unstable();
            names == ["etcdgw-keepaliv", "etcdgw-observe", "etcdgw-watch"]
        });
        let Tagged { queue, dropped } = tagged;
        let sources = (session, kept, election, observer, client);
        if queue_goes_first {
            drop(queue);
            drop(sources);
        } else {
            drop(sources);
            drop(queue);
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
        wait_until(LONG, || threads().is_empty() && event_descriptors() == 0);
    }
}
