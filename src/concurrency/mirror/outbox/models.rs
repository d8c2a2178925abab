//! Every interleaving of a copy that changes, a consumer and an owner who frees the mirror.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::Outcome;
use crate::stats::Stats;
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One change is all that it may keep.
fn buffers() -> Arc<Buffers> {
    Arc::new(Buffers::new(1, usize::MAX, Arc::new(Stats::default())))
}

struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn change(outbox: &Arc<Outbox>, revision: i64) {
    outbox.add(Vec::new(), Tree::default(), revision);
}

#[test]
fn an_outbox_of_a_queue_that_is_cancelled_while_it_is_taken_from_lets_go_of_everything_once() {
    loom::model(|| {
        let (dropped, queue) = (Arc::<AtomicUsize>::default(), EventQueue::new());
        let outbox = Outbox::queued(&queue, Box::new(Tracked(dropped.clone())), buffers());
        outbox.start();
        let changed = outbox.clone();
        let copy = thread::spawn(move || change(&changed, 1));
        let taking = queue.clone();
        let taker = thread::spawn(move || drop(taking.next(Some(Duration::ZERO))));
        outbox.cancel();
        copy.join().unwrap();
        taker.join().unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        assert!(queue.next(Some(Duration::ZERO)).is_none(), "nothing is left behind");
    });
}

#[test]
fn whoever_waits_for_a_queue_hears_of_a_change_and_of_the_end_behind_it() {
    loom::model(|| {
        let queue = EventQueue::new();
        let outbox = Outbox::queued(&queue, Box::new(()), buffers());
        outbox.start();
        let taking = queue.clone();
        let taker = thread::spawn(move || {
            let mut changes = 0;
            loop {
                match taking.next(None).unwrap().content {
                    Content::Mirror(change) if change.kind == ChangeKind::Ended => return changes,
                    _ => changes += 1,
                }
            }
        });
        change(&outbox, 1);
        outbox.end(Error::client_closed(Outcome::NotApplied));
        assert_eq!(taker.join().unwrap(), 1);
    });
}

#[test]
fn a_callback_that_is_made_while_the_copy_changes_misses_nothing_and_is_dropped_once() {
    loom::model(|| {
        let (dropped, heard) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let delivery = Arc::<Delivery>::default();
        let (tracked, hears) = (Tracked(dropped.clone()), heard.clone());
        let consumer = move |change: MirrorChange| {
            let _ = &tracked;
            hears.store(change.revision as usize, Ordering::SeqCst);
        };
        let outbox = Outbox::calling(Box::new(consumer), delivery.clone(), buffers());
        let delivering = delivery.clone();
        let thread = thread::spawn(move || delivering.run());
        outbox.start();
        change(&outbox, 1);
        change(&outbox, 2);
        outbox.end(Error::client_closed(Outcome::NotApplied));
        delivery.finish();
        thread.join().unwrap();
        assert_eq!((heard.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (2, 1));
    });
}
