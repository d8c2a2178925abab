//! Every interleaving of a feeder, a consumer and an owner who ends the watch.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::Outcome;
use crate::rpc::Header;
use crate::stats::Stats;
use crate::watch::response::WatchKind;
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a feeder was told. Counters of the system's, which are no subject of the models.
#[derive(Default)]
struct Told {
    room: AtomicUsize,
    over: AtomicUsize,
}

impl Feeder for Told {
    fn has_room(&self, _watch: u64) {
        self.room.fetch_add(1, Ordering::SeqCst);
    }

    fn is_over(&self, _watch: u64) {
        self.over.fetch_add(1, Ordering::SeqCst);
    }
}

struct Tracked(Arc<AtomicUsize>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Each response fills a watch.
fn origin(told: &Arc<Told>) -> Origin {
    let buffers = Arc::new(Buffers::new(1, usize::MAX, Arc::new(Stats::default())));
    Origin { feeder: told.clone(), watch: 0, buffers }
}

fn response(revision: i64) -> WatchResponse {
    WatchResponse::new(WatchKind::Progress, Header::default(), revision)
}

#[test]
fn a_watch_of_a_queue_that_is_cancelled_while_it_is_fed_and_taken_from_lets_go_of_everything_once() {
    loom::model(|| {
        let (told, dropped, queue) = (Arc::<Told>::default(), Arc::<AtomicUsize>::default(), EventQueue::new());
        let mailbox = Mailbox::queued(&queue, Box::new(Tracked(dropped.clone())), origin(&told));
        mailbox.start();
        let fed = mailbox.clone();
        let feeder = thread::spawn(move || {
            let _ = fed.push(response(1));
        });
        let taking = queue.clone();
        let taker = thread::spawn(move || taking.next(Some(Duration::ZERO)).is_some());
        mailbox.cancel();
        feeder.join().unwrap();
        let was_taken = taker.join().unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        assert!(mailbox.join(Deadline::NEVER), "it does not hang");
        assert!(queue.next(Some(Duration::ZERO)).is_none(), "nothing is left behind");
        assert_eq!(told.over.load(Ordering::SeqCst), 1);
        assert_eq!(told.room.load(Ordering::SeqCst), usize::from(was_taken));
    });
}

#[test]
fn a_queue_that_is_freed_while_its_watch_is_fed_and_cancelled_ends_it_once() {
    loom::model(|| {
        let (told, dropped, queue) = (Arc::<Told>::default(), Arc::<AtomicUsize>::default(), EventQueue::new());
        let mailbox = Mailbox::queued(&queue, Box::new(Tracked(dropped.clone())), origin(&told));
        mailbox.start();
        let fed = mailbox.clone();
        let feeder = thread::spawn(move || {
            let _ = fed.push(response(1));
        });
        let freer = thread::spawn(move || drop(queue));
        mailbox.cancel();
        drop(mailbox);
        feeder.join().unwrap();
        freer.join().unwrap();
        assert_eq!((dropped.load(Ordering::SeqCst), told.over.load(Ordering::SeqCst)), (1, 1));
    });
}

#[test]
fn a_thread_that_waits_for_an_event_is_woken() {
    loom::model(|| {
        let (told, queue) = (Arc::<Told>::default(), EventQueue::new());
        let mailbox = Mailbox::queued(&queue, Box::new(()), origin(&told));
        mailbox.start();
        let taking = queue.clone();
        let taker = thread::spawn(move || drop(taking.next(None).unwrap()));
        let _ = mailbox.push(response(1));
        taker.join().unwrap();
        assert_eq!(told.room.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_callback_watch_that_is_cancelled_while_it_is_fed_drops_its_consumer_once() {
    loom::model(|| {
        let (told, dropped) = (Arc::<Told>::default(), Arc::<AtomicUsize>::default());
        let delivery = Arc::<Delivery>::default();
        let tracked = Tracked(dropped.clone());
        let consumer = move |_| {
            let _ = &tracked;
        };
        let mailbox = Mailbox::calling(Box::new(consumer), delivery.clone(), origin(&told));
        let delivering = delivery.clone();
        let thread = thread::spawn(move || delivering.run());
        mailbox.start();
        let fed = mailbox.clone();
        let feeder = thread::spawn(move || {
            let _ = fed.push(response(1));
        });
        mailbox.cancel();
        assert!(mailbox.join(Deadline::NEVER));
        assert_eq!((dropped.load(Ordering::SeqCst), told.over.load(Ordering::SeqCst)), (1, 1));
        feeder.join().unwrap();
        delivery.finish();
        thread.join().unwrap();
    });
}

#[test]
fn an_inline_watch_that_is_cancelled_while_it_ends_is_over_once() {
    loom::model(|| {
        let (told, dropped) = (Arc::<Told>::default(), Arc::<AtomicUsize>::default());
        let tracked = Tracked(dropped.clone());
        let ends = Arc::<AtomicUsize>::default();
        let counted = ends.clone();
        let consumer = move |response: WatchResponse| {
            let _ = &tracked;
            counted.fetch_add(usize::from(response.kind == WatchKind::Ended), Ordering::SeqCst);
        };
        let mailbox = Mailbox::inline(Box::new(consumer), origin(&told));
        let fed = mailbox.clone();
        let feeder = thread::spawn(move || {
            assert_eq!(fed.push(response(1)), Room::Left);
            fed.end(WatchResponse::ended(Error::client_closed(Outcome::NotApplied), 2));
        });
        mailbox.cancel();
        feeder.join().unwrap();
        assert_eq!(
            told.over.load(Ordering::SeqCst) + ends.load(Ordering::SeqCst),
            1,
            "of its owner's or its feeder's will"
        );
        assert_eq!(told.room.load(Ordering::SeqCst), 0);
        drop(mailbox);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}
