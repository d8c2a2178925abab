//! Mirrors that deliver to an event queue.

use crate::common::{LONG, client, config, on_each_version, put, put_revision, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::{ChangeKind, Mirror, MirrorChange};
use etcdgw::config::Config;
use etcdgw::event_queue::{Content, Event, EventQueue, SourceKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the owner of a mirror gives along with it. Counts how many were dropped.
struct Tag {
    name: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Tag {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

fn change(event: Event) -> MirrorChange {
    assert_eq!(event.source, SourceKind::Mirror);
    match event.content {
        Content::Mirror(change) => change,
        other => panic!("{other:?}"),
    }
}

/// A change that comes in time.
#[track_caller]
pub fn next(queue: &EventQueue) -> MirrorChange {
    change(queue.next(Some(LONG)).unwrap())
}

fn nothing_comes(queue: &EventQueue) -> bool {
    queue.next(Some(Duration::ZERO)).is_none()
}

#[track_caller]
fn mirror_into(client: &Client, prefix: &[u8], queue: &EventQueue, dropped: &Arc<AtomicUsize>, name: usize) -> Mirror {
    let tag = Tag { name, dropped: dropped.clone() };
    let mirror = client.mirror_into(options(prefix), queue, Box::new(tag)).unwrap();
    mirror.start();
    mirror
}

#[allow(unsafe_code)]
fn is_readable(queue: &EventQueue, within: Duration) -> bool {
    let mut polled = libc::pollfd { fd: queue.fd().unwrap(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the one element is live.
    unsafe { libc::poll(&raw mut polled, 1, i32::try_from(within.as_millis()).unwrap()) == 1 }
}

#[track_caller]
fn wait_for(mirror: &Mirror, revision: i64) {
    assert!(mirror.wait_for_revision(revision, Some(LONG)).unwrap());
}

#[test]
fn many_mirrors_of_two_clients_are_told_in_one_loop_over_one_descriptor() {
    const MIRRORS: usize = 40;
    on_each_version(|etcd| {
        let clients = [client(&etcd.url()), client(&etcd.url())];
        let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
        let prefixes: Vec<_> = (0..MIRRORS).map(|name| format!("q/{name:02}/").into_bytes()).collect();
        prefixes.iter().for_each(|prefix| drop(put(&clients[0], &[prefix, &b"0"[..]].concat(), b"1").unwrap()));
        let open = |name: usize| mirror_into(&clients[name % 2], &prefixes[name], &queue, &dropped, name);
        let mirrors: Vec<_> = (0..MIRRORS).map(open).collect();
        let hearers: Vec<_> = mirrors.iter().map(|mirror| (Hearer::default(), shown(mirror))).collect();
        hearers.iter().for_each(|(hearer, state)| hearer.knows(state.clone()));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..400 {
                    let key = [&prefixes[number * 7 % MIRRORS], format!("{}", number % 5).as_bytes()].concat();
                    put(&clients[0], &key, number.to_string().as_bytes()).unwrap();
                }
            });
            let mut heard = 0;
            while heard < 400 {
                assert!(is_readable(&queue, LONG));
                let Some(event) = queue.next(Some(Duration::ZERO)) else { continue };
                let name = event.tag.get::<Tag>().unwrap().name;
                let change = change(event);
                heard += change.events.len();
                hearers[name].0.hear(change);
            }
        });
        assert!(nothing_comes(&queue));
        for (prefix, (hearer, _)) in prefixes.iter().zip(&hearers) {
            hearer.with(|heard| assert_eq!(heard.state, stored(&clients[0], prefix)));
        }
        drop(mirrors);
        assert_eq!(dropped.load(Ordering::SeqCst), MIRRORS);
    });
}

#[test]
fn a_mirror_outlives_its_queue_as_a_copy_of_which_nobody_is_told() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
        let mirror = mirror_into(&client, b"a/", &queue, &dropped, 0);
        wait_for(&mirror, put_revision(&client, b"a/a", b"1"));
        drop(queue);
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "what was untold is dropped");
        wait_for(&mirror, put_revision(&client, b"a/a", b"2"));
        assert_eq!(shown(&mirror), stored(&client, b"a/"));
        drop(mirror);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_mirror_that_is_freed_takes_along_what_was_not_taken_and_leaves_what_was() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
        let mirror = mirror_into(&client, b"f/", &queue, &dropped, 7);
        put(&client, b"f/a", b"1").unwrap();
        wait_for(&mirror, put_revision(&client, b"f/a", b"2"));
        let taken = queue.next(Some(LONG)).unwrap();
        drop(mirror);
        assert!(nothing_comes(&queue));
        assert_eq!((dropped.load(Ordering::SeqCst), taken.tag.get::<Tag>().unwrap().name), (0, 7));
        drop(taken);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        // The queue is as good as before.
        let mirror = mirror_into(&client, b"f/", &queue, &dropped, 8);
        wait_for(&mirror, put_revision(&client, b"f/b", b"1"));
        assert_eq!(next(&queue).events[0].kv.key(), b"f/b");
        drop(mirror);
        drop(queue);
        assert_eq!(dropped.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn what_is_not_taken_in_time_becomes_one_difference() {
    on_each_version(|etcd| {
        let client = Client::new(Config { watch_buffer_bytes: 10_000, ..config(&etcd.url()) }).unwrap();
        let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
        let mirror = mirror_into(&client, b"o/", &queue, &dropped, 0);
        let hearer = Hearer::default();
        for round in 0..3 {
            for number in 0..150 {
                put(&client, format!("o/{}", number % 5).as_bytes(), format!("{round:0>300}").as_bytes()).unwrap();
            }
            settle(&client, &mirror, b"o/mark");
            wait_until(LONG, || {
                if let Some(event) = queue.next(Some(Duration::ZERO)) {
                    hearer.hear(change(event));
                }
                hearer.with(|heard| heard.state == stored(&client, b"o/"))
            });
        }
        assert_eq!(hearer.kinds()[0], ChangeKind::Rebuilt);
        assert_eq!(hearer.kinds().iter().filter(|kind| **kind == ChangeKind::Rebuilt).count(), 3);
    });
}

#[test]
fn the_end_is_the_last_event_and_lets_go_of_the_tag() {
    on_each_version(|etcd| {
        let (direct, closed) = (client(&etcd.url()), client(&etcd.url()));
        let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
        let mirror = mirror_into(&closed, b"e/", &queue, &dropped, 0);
        wait_for(&mirror, put_revision(&direct, b"e/a", b"1"));
        closed.close();
        assert_eq!(next(&queue).kind, ChangeKind::Events);
        let event = queue.next(Some(LONG)).unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        assert_eq!(change(event).kind, ChangeKind::Ended);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        drop(mirror);
        assert!(nothing_comes(&queue));
    });
}

#[test]
fn a_tag_is_dropped_before_a_mirror_that_could_not_be_opened_is_reported() {
    let (queue, dropped) = (EventQueue::new(), Arc::<AtomicUsize>::default());
    let nowhere = crate::common::client_without_retries("http://127.0.0.1:1");
    let tag = Tag { name: 0, dropped: dropped.clone() };
    assert!(nowhere.mirror_into(options(b""), &queue, Box::new(tag)).is_err());
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
