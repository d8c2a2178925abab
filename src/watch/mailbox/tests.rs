#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::error::Outcome;
use crate::net::is_readable;
use crate::rpc::Header;
use crate::stats::Stats;
use crate::watch::response::WatchKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts what it is told.
#[derive(Default)]
struct Told {
    room: AtomicUsize,
    over: AtomicUsize,
}

impl Feeder for Told {
    fn has_room(&self, watch: u64) {
        assert_eq!(watch, 7);
        self.room.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self, watch: u64) {
        assert_eq!(watch, 7);
        self.over.fetch_add(1, Ordering::SeqCst);
    }
}

impl Told {
    fn room(&self) -> usize {
        self.room.load(Ordering::SeqCst)
    }

    fn over(&self) -> usize {
        self.over.load(Ordering::SeqCst)
    }
}

/// A feeder of watches of one client.
struct Fed {
    told: Arc<Told>,
    buffers: Arc<Buffers>,
}

/// What each response takes.
const UNIT: usize = 1 << 10;

impl Fed {
    /// The bounds are in units.
    fn with_bounds(of_each: usize, of_all: usize) -> Fed {
        let buffers = Arc::new(Buffers::new(of_each * UNIT, of_all * UNIT, Arc::new(Stats::default())));
        Fed { told: Arc::default(), buffers }
    }

    fn new() -> Fed {
        Fed::with_bounds(1000, 1000)
    }

    fn origin(&self) -> Origin {
        Origin { feeder: self.told.clone(), watch: 7, buffers: self.buffers.clone() }
    }

    fn pulled(&self) -> Arc<Mailbox> {
        Mailbox::pulled(self.origin())
    }

    fn units_held(&self) -> usize {
        self.buffers.held() / UNIT
    }
}

fn response(revision: i64) -> WatchResponse {
    let arena = Vec::with_capacity(UNIT - size_of::<WatchResponse>());
    WatchResponse::of_events(Header::default(), Vec::new(), arena, revision + 1)
}

fn closed() -> WatchResponse {
    WatchResponse::ended(Error::client_closed(Outcome::NotApplied), 0)
}

/// Takes the next of a watch that is asked; it must be there.
fn take(mailbox: &Mailbox) -> WatchResponse {
    mailbox.next(Deadline::after(Duration::ZERO)).unwrap().unwrap()
}

/// A value that tells when it is dropped.
struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_watch_is_full_at_its_bound_and_its_feeder_hears_of_room_once_at_half_of_it() {
    let fed = Fed::with_bounds(4, 1000);
    let mailbox = fed.pulled();
    let rooms: Vec<Room> = (1..=4).map(|revision| mailbox.push(response(revision))).collect();
    assert_eq!(rooms, [Room::Left, Room::Left, Room::Left, Room::Full]);
    assert_eq!(fed.units_held(), 4);
    take(&mailbox);
    assert_eq!(fed.told.room(), 0, "three quarters are still there");
    take(&mailbox);
    assert_eq!(fed.told.room(), 1);
    take(&mailbox);
    take(&mailbox);
    assert_eq!((fed.told.room(), fed.told.over(), fed.units_held()), (1, 0, 0));
}

#[test]
fn what_comes_although_a_watch_is_full_is_kept_and_room_is_told_once() {
    let fed = Fed::with_bounds(1, 1000);
    let mailbox = fed.pulled();
    assert!((1..=3).all(|revision| mailbox.push(response(revision)) == Room::Full));
    let taken: Vec<i64> = (0..3).map(|_| take(&mailbox).resume_revision).collect();
    assert_eq!((taken, fed.told.room()), (vec![2, 3, 4], 1));
    assert_eq!(mailbox.push(response(4)), Room::Full);
    take(&mailbox);
    assert_eq!(fed.told.room(), 2, "once for each time that it is full");
}

#[test]
fn a_response_beyond_every_bound_is_taken_and_makes_room_when_it_is_gone() {
    let fed = Fed::with_bounds(1, 1);
    let mailbox = fed.pulled();
    let large = WatchResponse::of_events(Header::default(), Vec::new(), Vec::with_capacity(UNIT * 50), 2);
    assert_eq!(mailbox.push(large), Room::Full);
    take(&mailbox);
    assert_eq!((fed.told.room(), fed.buffers.held()), (1, 0));
}

#[test]
fn the_total_stops_those_that_pile_up_and_none_that_is_consumed() {
    let fed = Fed::with_bounds(1000, 4);
    let (stopped, healthy) = (fed.pulled(), fed.pulled());
    let rooms: Vec<Room> = (1..=4).map(|revision| stopped.push(response(revision))).collect();
    assert_eq!(rooms, [Room::Left, Room::Left, Room::Left, Room::Full]);
    for revision in 1..100 {
        assert_eq!(healthy.push(response(revision)), Room::Left);
        take(&healthy);
    }
    assert_eq!(healthy.push(response(100)), Room::Left);
    assert_eq!(healthy.push(response(101)), Room::Full, "it piles up, too");
    assert_eq!(fed.told.room(), 0);
}

#[test]
fn what_is_cancelled_dropped_or_taken_counts_no_more() {
    let fed = Fed::new();
    let (cancelled, dropped) = (fed.pulled(), fed.pulled());
    let called = Mailbox::calling(Box::new(drop), Arc::default(), fed.origin());
    for mailbox in [&cancelled, &dropped, &called] {
        (1..=5).for_each(|revision| assert_eq!(mailbox.push(response(revision)), Room::Left));
    }
    assert_eq!(fed.units_held(), 15);
    cancelled.cancel();
    assert_eq!(fed.units_held(), 10);
    drop(dropped);
    assert_eq!(fed.units_held(), 5);
    called.start();
    while matches!(called.deliver(), Delivered::Some) {}
    assert_eq!(fed.units_held(), 0);
    assert_eq!(take(&cancelled).kind, WatchKind::Ended);
    assert_eq!(fed.buffers.held(), 0);
}

#[test]
fn the_feeder_hears_once_that_a_watch_is_over_and_then_nothing_of_room() {
    let fed = Fed::with_bounds(1, 1000);
    let mailbox = fed.pulled();
    assert_eq!(mailbox.push(response(1)), Room::Full);
    mailbox.cancel();
    mailbox.cancel();
    assert_eq!(mailbox.push(response(2)), Room::Left, "it is not kept");
    assert_eq!(take(&mailbox).resume_revision, 0);
    assert!(mailbox.next(Deadline::NEVER).is_err());
    assert_eq!((fed.told.room(), fed.told.over()), (0, 1));
}

#[test]
fn the_feeder_does_not_hear_of_the_end_that_it_has_made() {
    let fed = Fed::with_bounds(1, 1000);
    let mailbox = fed.pulled();
    assert_eq!(mailbox.push(response(1)), Room::Full);
    mailbox.end(closed());
    mailbox.cancel();
    assert_eq!(take(&mailbox).kind, WatchKind::Events, "what came before the end of a watch is still given");
    assert_eq!(take(&mailbox).kind, WatchKind::Ended);
    assert_eq!((fed.told.room(), fed.told.over()), (0, 0));
}

#[test]
fn a_consumer_that_panics_is_over_for_the_feeder() {
    let fed = Fed::new();
    let mailbox = Mailbox::calling(Box::new(|_| panic!("as a test")), Arc::default(), fed.origin());
    mailbox.start();
    (1..=3).for_each(|revision| assert_eq!(mailbox.push(response(revision)), Room::Left));
    assert!(matches!(mailbox.deliver(), Delivered::Some));
    assert_eq!((fed.told.over(), fed.units_held()), (1, 0));
    assert!(matches!(mailbox.deliver(), Delivered::All));
    assert!(mailbox.join(Deadline::after(Duration::ZERO)));
}

#[test]
fn a_watch_costs_a_descriptor_once_it_is_asked_for_it() {
    let fed = Fed::new();
    let mailbox = fed.pulled();
    assert_eq!(mailbox.push(response(1)), Room::Left);
    let fd = mailbox.fd().unwrap();
    assert!(is_readable(fd), "what was there before counts");
    take(&mailbox);
    assert!(!is_readable(fd));
    assert_eq!(mailbox.fd(), Some(fd));
    mailbox.cancel();
    assert!(is_readable(fd));
    take(&mailbox);
    assert!(is_readable(fd), "for ever after the end");
    let ended = fed.pulled();
    ended.cancel();
    take(&ended);
    assert!(is_readable(ended.fd().unwrap()), "also where it is asked for after the end");
    let called = Mailbox::calling(Box::new(drop), Arc::default(), fed.origin());
    assert_eq!((called.fd(), called.next(Deadline::NEVER).is_err()), (None, true));
}

#[test]
fn events_of_a_queue_carry_the_tag_and_begin_at_the_start() {
    let (fed, queue, drops) = (Fed::new(), EventQueue::new(), Arc::default());
    let tag = Tracked(Arc::clone(&drops));
    let mailbox = Mailbox::queued(&queue, Box::new(tag), fed.origin());
    let now = Some(Duration::ZERO);
    assert_eq!(mailbox.push(response(1)), Room::Left);
    assert!(queue.next(now).is_none(), "not before the start");
    mailbox.start();
    let event = queue.next(now).unwrap();
    assert!(event.tag.get::<Tracked>().is_some() && event.tag.get::<u8>().is_none());
    let Content::Watch(response) = &event.content else { panic!("{event:?}") };
    assert_eq!((event.source, response.resume_revision), (SourceKind::Watch, 2));
    assert!(mailbox.next(Deadline::NEVER).is_err() && mailbox.fd().is_none());
    assert_eq!(drops.load(Ordering::SeqCst), 0);
}

#[test]
fn the_tag_is_dropped_once_with_the_last_event_and_only_then_the_watch_is_over() {
    let (fed, queue, drops) = (Fed::new(), EventQueue::new(), Arc::<AtomicUsize>::default());
    let now = Duration::ZERO;
    let count = || drops.load(Ordering::SeqCst);
    // By cancelling it, by its end, by the end of its queue.
    for way in 0..3 {
        let queue = if way == 2 { EventQueue::new() } else { queue.clone() };
        let mailbox = Mailbox::queued(&queue, Box::new(Tracked(drops.clone())), fed.origin());
        mailbox.start();
        assert_eq!(mailbox.push(response(1)), Room::Left);
        assert_eq!(mailbox.push(response(2)), Room::Left);
        let mut events = vec![queue.next(Some(now)).unwrap()];
        match way {
            0 => mailbox.cancel(),
            1 => {
                mailbox.end(closed());
                events.extend((0..2).map(|_| queue.next(Some(now)).unwrap()));
            }
            _ => drop(queue),
        }
        while let Some(event) = events.pop() {
            assert_eq!(count(), way);
            assert!(!mailbox.join(Deadline::after(now)));
            drop(event);
        }
        assert_eq!(count(), way + 1);
        assert!(mailbox.join(Deadline::after(now)));
        mailbox.cancel();
        drop(mailbox);
        assert_eq!((count(), fed.buffers.held()), (way + 1, 0));
    }
    assert!(queue.next(Some(now)).is_none());
    assert_eq!(fed.told.over(), 2, "not of the end that it has made");
}

#[test]
fn a_full_watch_of_a_queue_has_room_again_as_events_are_taken() {
    let (fed, queue) = (Fed::with_bounds(2, 1000), EventQueue::new());
    let mailbox = Mailbox::queued(&queue, Box::new(()), fed.origin());
    mailbox.start();
    assert_eq!(mailbox.push(response(1)), Room::Left);
    assert_eq!(mailbox.push(response(2)), Room::Full);
    drop(queue.next(None));
    assert_eq!(fed.told.room(), 1);
}

#[test]
fn the_descriptor_of_a_queue_is_readable_while_there_is_something_and_sources_take_turns() {
    let (fed, queue) = (Fed::new(), EventQueue::new());
    let mailboxes: Vec<_> = (0..3_i64).map(|tag| Mailbox::queued(&queue, Box::new(tag), fed.origin())).collect();
    mailboxes.iter().for_each(Mailbox::start);
    let fd = queue.fd().unwrap();
    assert!(!is_readable(fd));
    for (count, mailbox) in [3, 1, 2].into_iter().zip(&mailboxes) {
        (1..=count).for_each(|revision| assert_eq!(mailbox.push(response(revision)), Room::Left));
    }
    let mut turns = Vec::new();
    while is_readable(fd) {
        let event = queue.next(None).unwrap();
        turns.push(*event.tag.get::<i64>().unwrap());
    }
    assert_eq!(turns, [0, 1, 2, 0, 2, 0]);
    assert_eq!(mailboxes[0].push(response(4)), Room::Left);
    assert_eq!(mailboxes[1].push(response(2)), Room::Left);
    assert!(is_readable(fd));
    mailboxes[0].cancel();
    assert!(is_readable(fd), "the other one has something");
    drop(mailboxes);
    assert!(!is_readable(fd), "what was dropped has nothing to give");
    assert!(queue.next(Some(Duration::ZERO)).is_none());
}

#[test]
fn a_queue_makes_its_descriptor_when_it_is_asked_for_it() {
    let (fed, queue) = (Fed::new(), EventQueue::new());
    let mailbox = Mailbox::queued(&queue, Box::new(()), fed.origin());
    mailbox.start();
    assert_eq!(mailbox.push(response(1)), Room::Left);
    let fd = queue.fd().unwrap();
    assert!(is_readable(fd), "what was there before counts");
    drop(queue.next(None));
    assert!(!is_readable(fd));
}

#[test]
fn an_inline_consumer_is_called_at_once_by_its_feeder_and_never_full() {
    let fed = Fed::with_bounds(1, 1);
    let (heard, dropped) = (Arc::<Mutex<Vec<i64>>>::default(), Arc::<AtomicUsize>::default());
    let (hears, tracked) = (heard.clone(), Tracked(dropped.clone()));
    let consumer = move |response: WatchResponse| {
        let _ = &tracked;
        lock(&hears).push(response.resume_revision);
    };
    let mailbox = Mailbox::inline(Box::new(consumer), fed.origin());
    assert!((1..=3).all(|revision| mailbox.push(response(revision)) == Room::Left));
    assert_eq!((lock(&heard).clone(), fed.units_held()), (vec![2, 3, 4], 0));
    mailbox.start();
    mailbox.end(closed());
    assert_eq!((lock(&heard).len(), dropped.load(Ordering::SeqCst)), (4, 1));
    let _ = mailbox.push(response(5));
    mailbox.end(closed());
    mailbox.cancel();
    assert_eq!((lock(&heard).len(), fed.told.room(), fed.told.over()), (4, 0, 0));
    assert!(mailbox.join(Deadline::NEVER) && mailbox.fd().is_none());
}

#[test]
fn an_inline_consumer_may_end_its_watch_and_hears_nothing_after() {
    let fed = Fed::new();
    let (calls, own) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Option<Arc<Mailbox>>>>::default());
    let (counted, ended) = (calls.clone(), own.clone());
    let consumer = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        lock(&ended).take().unwrap().cancel();
    };
    let mailbox = Mailbox::inline(Box::new(consumer), fed.origin());
    *lock(&own) = Some(mailbox.clone());
    assert!((1..=2).all(|revision| mailbox.push(response(revision)) == Room::Left));
    mailbox.end(closed());
    assert_eq!((calls.load(Ordering::SeqCst), fed.told.over()), (1, 1));
}
