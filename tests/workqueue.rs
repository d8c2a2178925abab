//! Work queues: each item is taken once, whatever happens to answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::concurrency::workqueue::WorkQueue;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NOT: Option<Duration> = Some(Duration::ZERO);

fn queue_of(session: &Session) -> WorkQueue {
    WorkQueue::new(session, b"q")
}

fn take(queue: &WorkQueue, wait: Option<Duration>) -> Option<String> {
    let item = queue.dequeue(wait, &plain()).unwrap()?;
    Some(String::from_utf8(item.bytes(item.kvs[0].value).to_vec()).unwrap())
}

#[test]
fn items_come_out_in_the_order_in_which_they_went_in_and_are_waited_for() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let (queue, other) = (queue_of(&session), WorkQueue::new(&session, b"q2"));
        assert_eq!(take(&queue, NOT), None);
        for item in ["b", "a", ""] {
            queue.enqueue(item.as_bytes(), &plain()).unwrap();
        }
        other.enqueue(b"another queue's", &plain()).unwrap();
        for name in keys(&client, &prefix(b"q/")) {
            let time: i64 = name.strip_prefix("q/").unwrap().parse().unwrap();
            assert!(time > 1_600_000_000_000_000_000, "nanoseconds, as Go has them: {name}");
        }
        assert_eq!([(); 4].map(|()| take(&queue, NOT)), [Some("b".into()), Some("a".into()), Some("".into()), None]);
        let (nothing, took) = timed(|| take(&queue, Some(Duration::from_millis(300))));
        assert!(nothing.is_none() && took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| take(&queue, Some(LONG)));
            etcd.wait_for_watchers(1);
            queue.enqueue(b"late", &plain()).unwrap();
            assert_eq!(waits.join().unwrap().unwrap(), "late");
        });
        let token = Arc::new(CancelToken::new().unwrap());
        std::thread::scope(|scope| {
            let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
            let queue = &queue;
            let waits = scope.spawn(move || queue.dequeue(None, &call));
            etcd.wait_for_watchers(1);
            token.trigger();
            assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled { .. })));
        });
        assert_eq!(take(&other, NOT).unwrap(), "another queue's");
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn of_many_who_put_in_and_take_out_each_item_reaches_one() {
    const ITEMS: usize = 25;
    for_each_version(|etcd| {
        let url = etcd.url();
        let client = common::client(&url);
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (url, taken) = (&url, &taken);
                scope.spawn(move || {
                    let client = common::client(url);
                    let session = session(&client);
                    let queue = queue_of(&session);
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            for item in 0..ITEMS {
                                queue.enqueue(format!("{number}-{item}").as_bytes(), &plain()).unwrap();
                            }
                        });
                        for _ in 0..ITEMS {
                            let item = take(&queue, Some(LONG)).unwrap();
                            taken.lock().unwrap().push(item);
                        }
                    });
                });
            }
        });
        let mut taken = taken.into_inner().unwrap();
        taken.sort();
        let mut expected: Vec<String> =
            (0..4).flat_map(|number| (0..ITEMS).map(move |item| format!("{number}-{item}"))).collect();
        expected.sort();
        assert_eq!(taken, expected);
        nothing_is_left(&client);
    });
}

#[test]
fn an_answer_that_is_lost_neither_loses_nor_doubles_an_item() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&both));
        let session = session(&behind);
        let queue = queue_of(&session);
        let cut = |direction, limit| {
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(direction, limit, End::Close));
        };
        for direction in [Direction::Answer, Direction::Request] {
            for limit in (0..1600).step_by(160) {
                let item = format!("{direction:?} {limit}");
                cut(direction, limit);
                queue.enqueue(item.as_bytes(), &plain()).unwrap();
                assert_eq!(keys(&client, &prefix(b"q/")).len(), 1, "{item} is in once");
                cut(direction, limit);
                assert_eq!(take(&queue, Some(LONG)).unwrap(), item);
                proxy.heal();
                assert!(keys(&client, &prefix(b"q/")).is_empty(), "{item} is out");
            }
        }
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn what_became_of_an_item_whose_answer_does_not_come_is_said_truthfully_and_found_out_by_the_next_call() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&proxy.url()));
        // Kept alive past the proxy.
        let keeping = session(&client);
        let adopted =
            behind.session(&SessionOptions { lease: keeping.lease(), ..SessionOptions::default() }, None).unwrap();
        let queue = queue_of(&adopted);
        let short = within(Duration::from_millis(500));
        // Before the first change, so that the next answers are those of changes.
        queue.enqueue(b"0", &plain()).unwrap();
        assert_eq!(take(&queue, NOT).unwrap(), "0");
        proxy.inject(Fault::After(Direction::Answer, 0, End::Stall));
        let error = queue.enqueue(b"1", &short).unwrap_err();
        assert!(error.may_have_applied() && !error.is_retryable(), "{error:?}");
        proxy.heal();
        proxy.cut(End::Close);
        assert_eq!(keys(&client, &prefix(b"q/")).len(), 1, "this time it is in");
        let mut doubted = 0;
        // The first answer is that to the look for an item.
        for limit in (0..1200).step_by(100) {
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, limit, End::Stall));
            let ended = queue.dequeue(NOT, &short);
            proxy.heal();
            proxy.cut(End::Close);
            let item = match ended {
                Ok(item) => item,
                Err(error) => {
                    doubted += i32::from(error.may_have_applied());
                    assert!(error.is_retryable(), "{error:?}");
                    // A call that reaches nobody forgets nothing, and says so.
                    proxy.inject(Fault::Refuse);
                    let unreached = queue.dequeue(NOT, &short).unwrap_err();
                    assert_eq!(unreached.may_have_applied(), error.may_have_applied(), "{unreached:?} after {error:?}");
                    proxy.heal();
                    queue.dequeue(NOT, &plain()).unwrap()
                }
            };
            let item = item.expect("it is not lost");
            assert_eq!(item.bytes(item.kvs[0].value), b"1");
            assert!(queue.dequeue(NOT, &plain()).unwrap().is_none(), "it is not there twice");
            queue.enqueue(b"1", &plain()).unwrap();
        }
        assert!(doubted > 0, "no claim was cut off");
        assert_eq!(take(&queue, NOT).unwrap(), "1");
        drop((adopted, keeping));
        nothing_is_left(&client);
    });
}

#[test]
fn with_its_session_a_queue_ends_and_its_items_stay() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let mine = session(&client);
        let queue = queue_of(&mine);
        queue.enqueue(b"stays", &plain()).unwrap();
        std::thread::scope(|scope| {
            let waiting = WorkQueue::new(&mine, b"empty");
            let waits = scope.spawn(move || waiting.dequeue(None, &plain()));
            etcd.wait_for_watchers(1);
            client.lease_revoke(mine.lease(), &plain()).unwrap();
            // The session has yet to hear of it.
            assert!(matches!(queue.dequeue(NOT, &plain()), Err(Error::LeaseExpired { .. })));
            assert!(matches!(queue.enqueue(b"not in", &plain()), Err(Error::LeaseExpired { .. })));
            mine.close(&plain()).unwrap();
            assert!(matches!(waits.join().unwrap(), Err(Error::LeaseExpired { .. })));
        });
        assert!(matches!(queue.enqueue(b"not in", &plain()), Err(Error::LeaseExpired { .. })));
        let next = session(&client);
        let queue = queue_of(&next);
        assert_eq!((take(&queue, NOT).as_deref(), take(&queue, NOT)), (Some("stays"), None));
        drop((mine, next));
        nothing_is_left(&client);
    });
}

#[test]
fn a_queue_goes_on_over_a_server_that_was_away() {
    for_each_version(|mut etcd| {
        let url = etcd.url();
        let client = common::client(&url);
        let session = session(&client);
        let queue = queue_of(&session);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| take(&queue, Some(LONG)));
            etcd.wait_for_watchers(1);
            etcd.restart();
            queue.enqueue(b"late", &within(LONG)).unwrap();
            assert_eq!(waits.join().unwrap().unwrap(), "late");
        });
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_prefix_goes_on_the_name_and_comes_off_the_items_key() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let bare = common::client(&etcd.url());
    let client = Client::new(Config { key_prefix: b"app/".to_vec(), ..config(&etcd.url()) }).unwrap();
    let session = session(&client);
    let queue = WorkQueue::new(&session, b"q\0");
    queue.enqueue(b"item", &plain()).unwrap();
    let names = keys(&bare, &prefix(b""));
    assert!(names.len() == 2 && names[0].starts_with("app/__q\0/") && names[1].starts_with("app/q\0/"), "{names:?}");
    let item = queue.dequeue(NOT, &plain()).unwrap().unwrap();
    assert!(item.bytes(item.kvs[0].key).starts_with(b"q\0/"));
    drop(session);
    nothing_is_left(&bare);
}
