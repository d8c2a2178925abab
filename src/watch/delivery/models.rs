//! Every interleaving of the delivery thread, at its pastime or not, and of those who have something for it.
#![allow(clippy::unwrap_used)]

use super::*;
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lasts until it is interrupted.
#[derive(Default)]
struct Rest {
    is_interrupted: Mutex<bool>,
    changed: Waiters,
}

impl Pastime for Rest {
    fn pass(&self, delivery: &Arc<Delivery>) -> bool {
        let mut is_interrupted = lock(&self.is_interrupted);
        while !*is_interrupted {
            is_interrupted = self.changed.wait(is_interrupted, Deadline::NEVER);
        }
        *is_interrupted = false;
        drop(is_interrupted);
        delivery.has_work()
    }

    fn interrupt(&self) {
        let mut is_interrupted = lock(&self.is_interrupted);
        *is_interrupted = true;
        self.changed.wake_all(is_interrupted);
    }
}

/// Somebody else is at it, whenever it is tried first.
#[derive(Default)]
struct Occupied {
    tries: Mutex<usize>,
    changed: Waiters,
}

impl Pastime for Occupied {
    fn pass(&self, _: &Arc<Delivery>) -> bool {
        let mut tries = lock(&self.tries);
        *tries += 1;
        let is_free = *tries > 1;
        self.changed.wake_all(tries);
        is_free
    }

    fn interrupt(&self) {}
}

/// Due once.
#[derive(Default)]
pub(in crate::watch) struct Counted(pub AtomicUsize);

impl Deliver for Counted {
    fn deliver(&self) -> Delivered {
        self.0.fetch_add(1, Ordering::SeqCst);
        Delivered::All
    }
}

#[test]
fn what_is_due_while_the_thread_passes_its_time_is_delivered() {
    loom::model(|| {
        let (delivery, rest, counted) = (Arc::<Delivery>::default(), Arc::<Rest>::default(), Arc::<Counted>::default());
        let pastime: Weak<Rest> = Arc::downgrade(&rest);
        let delivering = delivery.clone();
        let thread = thread::spawn(move || delivering.run());
        delivery.occupy(pastime);
        delivery.schedule(counted.clone());
        delivery.finish();
        thread.join().unwrap();
        assert_eq!(counted.0.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_thread_that_is_resumed_while_its_last_guard_goes_lives_on_until_the_next_has_gone() {
    loom::model(|| {
        let (delivery, counted) = (Arc::<Delivery>::default(), Arc::<Counted>::default());
        assert!(delivery.resume());
        let delivering = delivery.clone();
        let runs = thread::spawn(move || delivering.run());
        let (resuming, counting) = (delivery.clone(), counted.clone());
        let resumes = thread::spawn(move || {
            let is_resumed = resuming.resume();
            if is_resumed {
                resuming.schedule(counting);
                assert!(!lock(&resuming.state).has_ended);
            }
            is_resumed
        });
        delivery.stop();
        let is_resumed = resumes.join().unwrap();
        if is_resumed {
            delivery.stop();
        }
        runs.join().unwrap();
        assert_eq!(counted.0.load(Ordering::SeqCst), usize::from(is_resumed));
    });
}

#[test]
fn a_thread_that_was_refused_its_pastime_tries_it_again_when_it_is_invited() {
    loom::model(|| {
        let (delivery, occupied) = (Arc::<Delivery>::default(), Arc::<Occupied>::default());
        let pastime: Weak<Occupied> = Arc::downgrade(&occupied);
        delivery.occupy(pastime);
        let delivering = delivery.clone();
        let thread = thread::spawn(move || {
            let state = lock(&delivering.state);
            let state = delivering.pass_the_time(state);
            drop(delivering.pass_the_time(state));
        });
        let mut tries = lock(&occupied.tries);
        while *tries == 0 {
            tries = occupied.changed.wait(tries, Deadline::NEVER);
        }
        drop(tries);
        delivery.invite();
        thread.join().unwrap();
        assert_eq!(*lock(&occupied.tries), 2);
    });
}
