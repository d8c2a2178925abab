//! Every interleaving of a source that has news, a queue that is asked for them, and an owner who ends the source.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::concurrency::keepalive::KeepAliveEvent;
use crate::event_queue::EventQueue;
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// How often the tag was dropped, and the source ended by the queue. Counters of the system's, which are no subject of
/// the models.
#[derive(Clone, Default)]
struct Counts {
    drops: Arc<AtomicUsize>,
    ends: Arc<AtomicUsize>,
}

impl Counts {
    fn drops(&self) -> usize {
        self.drops.load(Ordering::SeqCst)
    }

    fn ends(&self) -> usize {
        self.ends.load(Ordering::SeqCst)
    }
}

fn started(queue: &EventQueue, counts: &Counts) -> Arc<Outbox> {
    let (tag, ends) = (Box::new(Tracked(counts.drops.clone())), counts.ends.clone());
    let queue_end = Box::new(move || {
        ends.fetch_add(1, Ordering::SeqCst);
    });
    let outbox = Outbox::queued(Queued { queue, kind: SourceKind::KeepAlive, tag, queue_end });
    outbox.start();
    outbox
}

fn news(ttl: i64) -> Content {
    Content::KeepAlive(KeepAliveEvent { lease: 1, ttl, lost: None })
}

/// What an event of [`news`] says.
fn ttl(event: &Event) -> i64 {
    match &event.content {
        Content::KeepAlive(told) => told.ttl,
        _ => unreachable!(),
    }
}

#[test]
fn a_source_that_is_cancelled_while_it_tells_and_is_taken_from_lets_go_of_everything_once() {
    loom::model(|| {
        let (counts, queue) = (Counts::default(), EventQueue::new());
        let outbox = started(&queue, &counts);
        let telling = outbox.clone();
        let teller = thread::spawn(move || telling.push(news(1)));
        let taking = queue.clone();
        let taker = thread::spawn(move || drop(taking.next(Some(Duration::ZERO))));
        outbox.cancel();
        teller.join().unwrap();
        taker.join().unwrap();
        assert_eq!((counts.drops(), counts.ends()), (1, 0));
        assert!(queue.next(Some(Duration::ZERO)).is_none(), "nothing is left behind");
    });
}

#[test]
fn a_queue_that_is_freed_while_its_source_tells_the_last_ends_it_once() {
    loom::model(|| {
        let (counts, queue) = (Counts::default(), EventQueue::new());
        let outbox = started(&queue, &counts);
        let telling = outbox.clone();
        let teller = thread::spawn(move || telling.end(news(0)));
        let freer = thread::spawn(move || drop(queue));
        teller.join().unwrap();
        freer.join().unwrap();
        assert_eq!((counts.drops(), counts.ends()), (1, 1));
        outbox.cancel();
        drop(outbox);
        assert_eq!((counts.drops(), counts.ends()), (1, 1));
    });
}

#[test]
fn the_last_news_come_to_a_thread_that_waits_and_after_them_none() {
    loom::model(|| {
        let (counts, queue) = (Counts::default(), EventQueue::new());
        let outbox = started(&queue, &counts);
        let taking = queue.clone();
        let taker = thread::spawn(move || {
            while ttl(&taking.next(None).unwrap()) != 0 {}
            taking.next(Some(Duration::ZERO)).is_none()
        });
        outbox.push(news(1));
        outbox.end(news(0));
        assert!(taker.join().unwrap());
        assert_eq!(counts.drops(), 1);
    });
}
