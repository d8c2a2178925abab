#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::concurrency::keepalive::KeepAliveEvent;
use crate::error::Error;
use crate::event_queue::EventQueue;
use crate::net::is_readable;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A value that tells when it is dropped.
struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A queue, and how often the tag of an outbox was dropped and its source ended by the queue.
struct Queueing {
    queue: EventQueue,
    drops: Arc<AtomicUsize>,
    ends: Arc<AtomicUsize>,
}

impl Queueing {
    fn new() -> Queueing {
        Queueing { queue: EventQueue::new(), drops: Arc::default(), ends: Arc::default() }
    }

    fn outbox(&self, kind: SourceKind) -> Arc<Outbox> {
        let (tag, ends) = (Box::new(Tracked(self.drops.clone())), self.ends.clone());
        let queue_end = Box::new(move || {
            ends.fetch_add(1, Ordering::SeqCst);
        });
        Outbox::queued(Queued { queue: &self.queue, kind, tag, queue_end })
    }

    fn take(&self) -> Option<Event> {
        self.queue.next(Some(Duration::ZERO))
    }

    fn drops(&self) -> usize {
        self.drops.load(Ordering::SeqCst)
    }

    fn ends(&self) -> usize {
        self.ends.load(Ordering::SeqCst)
    }
}

fn renewal(ttl: i64) -> Content {
    Content::KeepAlive(KeepAliveEvent { lease: 7, ttl, lost: None })
}

fn loss() -> Content {
    Content::KeepAlive(KeepAliveEvent { lease: 7, ttl: 0, lost: Some(Error::LeaseExpired { id: 7 }) })
}

/// The seconds of a renewal; `None`: it is the loss.
fn ttl(content: &Content) -> Option<i64> {
    let Content::KeepAlive(told) = content else { panic!("{content:?}") };
    told.lost.is_none().then_some(told.ttl)
}

#[test]
fn of_news_that_nobody_has_taken_only_the_latest_waits_and_the_last_behind_it() {
    let queueing = Queueing::new();
    let outbox = queueing.outbox(SourceKind::KeepAlive);
    outbox.start();
    (1..=3).for_each(|ttl| outbox.push(renewal(ttl)));
    let event = queueing.take().unwrap();
    assert_eq!((event.source, ttl(&event.content)), (SourceKind::KeepAlive, Some(3)));
    assert!(event.tag.get::<Tracked>().is_some() && queueing.take().is_none());
    outbox.push(renewal(4));
    outbox.end(loss());
    outbox.push(renewal(5));
    outbox.end(loss());
    let events: Vec<Event> = std::iter::from_fn(|| queueing.take()).collect();
    assert_eq!(events.iter().map(|event| ttl(&event.content)).collect::<Vec<_>>(), [Some(4), None]);
}

#[test]
fn events_begin_at_the_start_and_the_descriptor_says_when_there_are_some() {
    let queueing = Queueing::new();
    let outbox = queueing.outbox(SourceKind::Session);
    let fd = queueing.queue.fd().unwrap();
    outbox.push(renewal(1));
    assert!(!is_readable(fd) && queueing.take().is_none(), "not before the start");
    outbox.start();
    assert!(is_readable(fd));
    outbox.push(renewal(2));
    assert_eq!(ttl(&queueing.take().unwrap().content), Some(2));
    assert!(!is_readable(fd));
    outbox.push(renewal(3));
    outbox.end(loss());
    assert_eq!(queueing.take().unwrap().source, SourceKind::Session);
    assert!(is_readable(fd), "the last is left");
    outbox.cancel();
    assert!(!is_readable(fd) && queueing.take().is_none());
}

#[test]
fn the_tag_is_dropped_once_with_the_last_event_whichever_way_its_source_ends() {
    let mut queueing = Queueing::new();
    for way in ["the last news", "its owner", "the queue", "its owner, before the start"] {
        let outbox = queueing.outbox(SourceKind::Election);
        let mut events = Vec::new();
        if way != "its owner, before the start" {
            outbox.start();
            outbox.push(renewal(1));
            events.push(queueing.take().unwrap());
            outbox.push(renewal(2));
        }
        match way {
            "the last news" => {
                outbox.end(loss());
                events.extend([queueing.take().unwrap(), queueing.take().unwrap()]);
            }
            "the queue" => queueing.queue = EventQueue::new(),
            _ => outbox.cancel(),
        }
        while let Some(event) = events.pop() {
            assert_eq!(queueing.drops(), 0, "{way}");
            drop(event);
        }
        assert_eq!((queueing.drops(), queueing.ends()), (1, usize::from(way == "the queue")), "{way}");
        outbox.push(renewal(3));
        outbox.end(loss());
        outbox.cancel();
        assert!(queueing.take().is_none(), "{way}");
        drop(outbox);
        assert_eq!(queueing.drops(), 1, "{way}");
        queueing = Queueing::new();
    }
}

#[test]
fn the_tag_lives_while_the_last_news_are_not_taken_and_goes_with_the_outbox() {
    let queueing = Queueing::new();
    let outbox = queueing.outbox(SourceKind::KeepAlive);
    outbox.start();
    outbox.end(loss());
    assert_eq!(queueing.drops(), 0);
    drop(outbox);
    assert_eq!((queueing.drops(), queueing.ends()), (1, 0));
    assert!(queueing.take().is_none());
}

#[test]
fn sources_of_different_kinds_take_turns() {
    let queueing = Queueing::new();
    let kinds = [SourceKind::KeepAlive, SourceKind::Session, SourceKind::Election];
    let outboxes = kinds.map(|kind| queueing.outbox(kind));
    for outbox in &outboxes {
        outbox.start();
        outbox.push(renewal(1));
        outbox.end(loss());
    }
    let events: Vec<Event> = std::iter::from_fn(|| queueing.take()).collect();
    assert_eq!(events.iter().map(|event| event.source).collect::<Vec<_>>(), [kinds, kinds].concat());
    assert_eq!(events.iter().filter_map(|event| ttl(&event.content)).count(), 3);
    drop(events);
    assert_eq!(queueing.drops(), 3);
}

#[test]
fn a_consumer_is_told_the_latest_and_the_last_and_dropped_once() {
    let (drops, told) = (Arc::<AtomicUsize>::default(), Arc::new(Mutex::new(Vec::new())));
    let (tracked, tell) = (Tracked(drops.clone()), told.clone());
    let consumer = move |told| {
        let _ = &tracked;
        lock(&tell).push(ttl(&told));
    };
    let outbox = Outbox::calling(Box::new(consumer), Arc::default());
    outbox.push(renewal(1));
    outbox.push(renewal(2));
    outbox.end(loss());
    outbox.start();
    while matches!(outbox.deliver(), Delivered::Some) {
        assert_eq!(drops.load(Ordering::SeqCst), 0);
    }
    assert_eq!((lock(&told).clone(), drops.load(Ordering::SeqCst)), (vec![Some(2), None], 1));
    assert!(Source::take(&*outbox).is_none(), "it has no queue");
}
