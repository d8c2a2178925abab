//! Who drives the watches: a thread of their own, or the delivery thread while it has nothing to deliver, where all of them
//! have callbacks. Then an event comes to its callback on the thread that has read it, which need not be woken for that.
//!
//! A callback that takes its time would keep such watches from being read, so that another thread takes over after a while.
//! For the events themselves that is early enough, since they have to wait for that callback anyway; only what a watch with
//! another consumer gets would come late.

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use super::delivery::{Delivery, Pastime};
use super::switchboard::Switchboard;
use crate::limits;
use crate::sync::{Mutex, lock};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What is driven, by one thread at a time.
pub(super) trait Drive: Send {
    /// Waits for something to do, and does it. False: there will be nothing more.
    fn turn(&mut self) -> bool;

    /// Whether the delivery thread may drive it, for what is known after the last turn.
    fn suits_delivery(&self) -> bool;

    /// Ends it, after its last turn.
    fn finish(self: Box<Self>);
}

/// See the module. Its lock is never held during a turn, nor together with another.
pub(super) struct Helm {
    board: Arc<Switchboard>,
    state: Mutex<State>,
}

struct State {
    /// There while nobody drives it.
    driven: Option<Box<dyn Drive>>,
    /// How often it was laid down.
    laid_down: u64,
    /// What that was when the timer was set, while it runs.
    timed: Option<u64>,
    /// Who would rather drive than the watches' own thread, which does.
    applicant: Option<Weak<Delivery>>,
    is_over: bool,
}

impl Helm {
    pub(super) fn new(board: Arc<Switchboard>, driven: Box<dyn Drive>) -> Helm {
        let state = State { driven: Some(driven), laid_down: 0, timed: Some(0), applicant: None, is_over: false };
        Helm { board, state: Mutex::new(state) }
    }

    /// Drives while nobody else does, until it is over: what the watches' own thread does.
    pub(super) fn run(&self) {
        while self.stand_in() {
            self.board.wait_for_relief();
        }
    }

    /// Drives, where it was left alone for a while, until somebody else would. False: it is over.
    fn stand_in(&self) -> bool {
        let Some(mut driven) = self.take_over() else { return !lock(&self.state).is_over };
        loop {
            if !driven.turn() {
                self.end(driven);
                return false;
            }
            if let Some(delivery) = self.applicant_for(&*driven) {
                self.lay_down(driven);
                delivery.invite();
                return true;
            }
        }
    }

    fn applicant_for(&self, driven: &dyn Drive) -> Option<Arc<Delivery>> {
        if !driven.suits_delivery() {
            return None;
        }
        lock(&self.state).applicant.take()?.upgrade()
    }

    /// What is to be driven, unless somebody drives it, or has until a moment ago.
    fn take_over(&self) -> Option<Box<dyn Drive>> {
        let is_urgent = self.board.was_urgent();
        let mut state = lock(&self.state);
        let is_abandoned = state.timed.take() == Some(state.laid_down);
        if !is_abandoned && !is_urgent {
            self.watch_over(&mut state);
            return None;
        }
        let driven = state.driven.take();
        if driven.is_some() {
            self.board.attend();
        }
        driven
    }

    /// What is to be driven, for the delivery thread, or else a note that it applies for it.
    fn take(&self, delivery: &Arc<Delivery>) -> Option<Box<dyn Drive>> {
        let mut state = lock(&self.state);
        let taken = state.driven.take_if(|driven| driven.suits_delivery());
        match taken {
            Some(_) => self.board.attend(),
            None => state.applicant = Some(Arc::downgrade(delivery)),
        }
        taken
    }

    fn lay_down(&self, driven: Box<dyn Drive>) {
        let mut state = lock(&self.state);
        state.driven = Some(driven);
        state.laid_down += 1;
        self.board.leave();
        self.watch_over(&mut state);
    }

    /// Has it taken over if it is left alone for long.
    fn watch_over(&self, state: &mut State) {
        if state.driven.is_some() && state.timed.is_none() {
            state.timed = Some(state.laid_down);
            self.board.relieve_after(limits::DELIVERY_PATIENCE);
        }
    }

    fn end(&self, driven: Box<dyn Drive>) {
        driven.finish();
        lock(&self.state).is_over = true;
        self.board.relieve_after(Duration::ZERO);
    }
}

impl Pastime for Helm {
    fn pass(&self, delivery: &Arc<Delivery>) -> bool {
        let Some(mut driven) = self.take(delivery) else { return false };
        loop {
            if !driven.turn() {
                self.end(driven);
                return true;
            }
            let is_suitable = driven.suits_delivery();
            if !is_suitable || delivery.has_work() {
                self.lay_down(driven);
                if !is_suitable {
                    self.board.hasten();
                }
                return true;
            }
        }
    }

    fn interrupt(&self) {
        self.board.wake();
    }
}
