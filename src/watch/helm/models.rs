//! Every interleaving of the delivery thread and the watches' own thread, who drive in turn.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::watch::delivery::models::Counted;
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that takes two turns, of which it counts those that it should not have had as well.
struct TwoTurns {
    turns: Arc<AtomicUsize>,
    ends: Arc<AtomicUsize>,
}

impl Drive for TwoTurns {
    fn turn(&mut self) -> bool {
        thread::yield_now();
        self.turns.fetch_add(1, Ordering::SeqCst) == 0
    }

    fn suits_delivery(&self) -> bool {
        true
    }

    fn finish(self: Box<Self>) {
        self.ends.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_two_threads_drive_in_turn_is_driven_to_its_end_once_and_what_is_due_is_delivered() {
    let mut model = loom::model::Builder::new();
    // All interleavings take minutes, and find no more.
    model.preemption_bound = Some(3);
    model.check(|| {
        let (turns, ends) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let board = Arc::new(Switchboard::new().unwrap());
        let driven = TwoTurns { turns: turns.clone(), ends: ends.clone() };
        let helm = Arc::new(Helm::new(board, Box::new(driven)));
        let (delivery, counted) = (Arc::<Delivery>::default(), Arc::<Counted>::default());
        let pastime: Weak<Helm> = Arc::downgrade(&helm);
        delivery.occupy(pastime);
        let delivering = delivery.clone();
        let deliverer = thread::spawn(move || delivering.run());
        let standing_in = helm.clone();
        let driver = thread::spawn(move || {
            while standing_in.stand_in() {
                // As if the timer had come.
                thread::yield_now();
            }
        });
        delivery.schedule(counted.clone());
        driver.join().unwrap();
        delivery.finish();
        deliverer.join().unwrap();
        assert_eq!((turns.load(Ordering::SeqCst), ends.load(Ordering::SeqCst)), (2, 1));
        assert_eq!(counted.0.load(Ordering::SeqCst), 1);
    });
}
