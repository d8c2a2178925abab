#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::concurrency::mirror::Entry;
use crate::error::Outcome;
use crate::rpc::kv::KeyValue;
use crate::rpc::watch::EventType;
use crate::stats::Stats;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn buffers(bytes: usize) -> Arc<Buffers> {
    Arc::new(Buffers::new(bytes, usize::MAX, Arc::new(Stats::default())))
}

/// A copy that goes on, and the outbox that hears of it.
struct Copy {
    outbox: Arc<Outbox>,
    tree: Tree,
    revision: i64,
}

impl Copy {
    fn new(outbox: Arc<Outbox>) -> Copy {
        outbox.begin(&Tree::default(), 1);
        outbox.start();
        Copy { outbox, tree: Tree::default(), revision: 1 }
    }

    /// Changes one key; `None` deletes it.
    fn write(&mut self, key: &str, value: Option<&str>) -> MirrorEvent {
        self.revision += 1;
        let (event_type, kv, prev_kv) = match value {
            Some(value) => {
                let kv = KeyValue { mod_revision: self.revision, ..KeyValue::default() };
                let kv = Entry::new(&kv, key.as_bytes(), value.as_bytes());
                (EventType::Put, kv.clone(), self.tree.insert(kv))
            }
            None => {
                let gone = Entry::deleted(key.as_bytes(), self.revision);
                (EventType::Delete, gone, self.tree.remove(key.as_bytes()))
            }
        };
        MirrorEvent { event_type, kv, prev_kv }
    }

    fn put(&mut self, key: &str, value: &str) {
        let event = self.write(key, Some(value));
        self.outbox.add(vec![event], self.tree.clone(), self.revision);
    }

    fn state(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.tree.iter().map(|entry| (entry.key().to_vec(), entry.value().to_vec())).collect()
    }
}

/// Applies what is told to what was told before, to which it must fit.
#[derive(Default)]
struct Hearer(BTreeMap<Vec<u8>, Vec<u8>>);

impl Hearer {
    fn hear(&mut self, change: &MirrorChange) {
        for event in &change.events {
            let before = match event.event_type {
                EventType::Put => self.0.insert(event.kv.key().to_vec(), event.kv.value().to_vec()),
                EventType::Delete => self.0.remove(event.kv.key()),
            };
            assert_eq!(event.prev_kv.as_ref().map(|kv| kv.value().to_vec()), before);
        }
    }
}

fn next(queue: &EventQueue) -> Option<MirrorChange> {
    queue.next(Some(Duration::ZERO)).map(|event| match event.content {
        Content::Mirror(change) => change,
        other => panic!("{other:?}"),
    })
}

fn kinds(queue: &EventQueue) -> Vec<ChangeKind> {
    std::iter::from_fn(|| next(queue)).map(|change| change.kind).collect()
}

fn closed() -> Error {
    Error::client_closed(Outcome::NotApplied)
}

/// Counts how often it is dropped.
struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_is_told_always_fits_to_what_was_told_before_however_much_is_lost() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for bytes in [1, 2_000, 20_000, usize::MAX] {
        let (queue, held) = (EventQueue::new(), buffers(bytes));
        let mut copy = Copy::new(Outbox::queued(&queue, Box::new(()), held.clone()));
        let (mut hearer, mut rebuilt) = (Hearer::default(), 0);
        for _ in 0..3_000 {
            for _ in 0..random(4) {
                let count = 1 + random(3);
                let events = (0..count).map(|_| {
                    let key = format!("{}", random(300));
                    let value = format!("{}", random(1_000_000));
                    copy.write(&key, (random(3) > 0).then_some(&value))
                });
                // A key that isn't there is never deleted.
                let events: Vec<_> = events.collect::<Vec<_>>().into_iter().filter(is_real).collect();
                copy.outbox.add(events, copy.tree.clone(), copy.revision);
            }
            if random(200) == 0 {
                copy.write("made anew", Some("x"));
                copy.outbox.rebuilt(copy.tree.clone(), copy.revision);
            }
            // Keeps up for a while, and falls behind for a while.
            for _ in 0..random(5) {
                let Some(change) = next(&queue) else { break };
                hearer.hear(&change);
                rebuilt += usize::from(change.kind == ChangeKind::Rebuilt);
            }
        }
        copy.outbox.end(closed());
        while let Some(change) = next(&queue) {
            hearer.hear(&change);
            assert!(change.kind != ChangeKind::Ended || change.revision == copy.revision);
        }
        assert_eq!(hearer.0, copy.state());
        assert!(rebuilt > 0);
        assert_eq!(held.held(), 0);
    }
}

fn is_real(event: &MirrorEvent) -> bool {
    event.event_type == EventType::Put || event.prev_kv.is_some()
}

#[test]
fn what_is_too_much_becomes_one_difference_and_the_end_comes_after_it() {
    let (queue, held) = (EventQueue::new(), buffers(1_000));
    let mut copy = Copy::new(Outbox::queued(&queue, Box::new(()), held.clone()));
    copy.put("told", "1");
    assert_eq!(next(&queue).unwrap().kind, ChangeKind::Events);
    for number in 0..1_000 {
        copy.put("often", &number.to_string());
        assert!(held.held() < 2_000);
    }
    copy.outbox.end(closed());
    let change = next(&queue).unwrap();
    assert_eq!((change.kind, change.revision, change.events.len()), (ChangeKind::Rebuilt, copy.revision, 1));
    assert_eq!(change.events[0].kv.value(), b"999");
    let change = next(&queue).unwrap();
    assert_eq!((change.kind, change.error.is_some()), (ChangeKind::Ended, true));
    assert!(next(&queue).is_none());
}

#[test]
fn what_was_kept_before_a_copy_that_was_made_anew_is_told_first() {
    let queue = EventQueue::new();
    let mut copy = Copy::new(Outbox::queued(&queue, Box::new(()), buffers(usize::MAX)));
    copy.put("a", "1");
    copy.write("b", Some("1"));
    copy.outbox.rebuilt(copy.tree.clone(), copy.revision);
    copy.put("c", "1");
    let mut hearer = Hearer::default();
    let told: Vec<_> = std::iter::from_fn(|| next(&queue)).inspect(|change| hearer.hear(change)).collect();
    let told: Vec<_> = told.iter().map(|change| (change.kind, change.events.len())).collect();
    assert_eq!(told, [(ChangeKind::Events, 1), (ChangeKind::Rebuilt, 2)]);
    assert_eq!(hearer.0, copy.state());
}

#[test]
fn nothing_is_told_before_the_start_and_nothing_after_the_cancellation() {
    let (queue, held, dropped) = (EventQueue::new(), buffers(usize::MAX), Arc::<AtomicUsize>::default());
    let outbox = Outbox::queued(&queue, Box::new(Tracked(dropped.clone())), held.clone());
    let tree = Tree::default();
    outbox.begin(&tree, 1);
    outbox.add(Vec::new(), tree.clone(), 2);
    assert!(kinds(&queue).is_empty());
    outbox.start();
    let event = queue.next(Some(Duration::ZERO)).unwrap();
    outbox.add(Vec::new(), tree.clone(), 3);
    outbox.cancel();
    outbox.add(Vec::new(), tree, 4);
    outbox.end(closed());
    assert!(kinds(&queue).is_empty());
    assert_eq!((held.held(), dropped.load(Ordering::SeqCst)), (0, 0), "the event has the tag");
    drop(event);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn a_queue_that_is_freed_lets_go_of_what_is_untold() {
    let (queue, held, dropped) = (EventQueue::new(), buffers(usize::MAX), Arc::<AtomicUsize>::default());
    let mut copy = Copy::new(Outbox::queued(&queue, Box::new(Tracked(dropped.clone())), held.clone()));
    copy.put("a", "1");
    drop(queue);
    assert!(!copy.outbox.is_open());
    assert_eq!((held.held(), dropped.load(Ordering::SeqCst)), (0, 1));
    copy.put("b", "1");
    assert_eq!(held.held(), 0);
}

#[test]
fn a_consumer_that_panics_has_had_its_last_call_and_is_dropped() {
    let (held, dropped, calls) = (buffers(usize::MAX), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (tracked, counted) = (Tracked(dropped.clone()), calls.clone());
    let consumer = Box::new(move |_| {
        let _ = &tracked;
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("on purpose");
    });
    let delivery = Arc::<Delivery>::default();
    let mut copy = Copy::new(Outbox::calling(consumer, delivery.clone(), held.clone()));
    copy.put("a", "1");
    copy.put("b", "1");
    delivery.finish();
    delivery.run();
    assert_eq!((calls.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst), held.held()), (1, 1, 0));
    assert!(!copy.outbox.is_open());
}

#[test]
fn an_outbox_that_is_abandoned_drops_its_consumer_at_once() {
    let (dropped, delivery) = (Arc::<AtomicUsize>::default(), Arc::<Delivery>::default());
    let tracked = Tracked(dropped.clone());
    let consumer = Box::new(move |_| {
        let _ = &tracked;
    });
    let outbox = Outbox::calling(consumer, delivery, buffers(usize::MAX));
    outbox.add(Vec::new(), Tree::default(), 2);
    outbox.abandon();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
