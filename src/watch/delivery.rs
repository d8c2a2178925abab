//! The thread that makes a client's callbacks, one at a time: a slow one delays the others, and nothing else. While there
//! are none to be made, it has another occupation.

#[cfg(all(test, loom))]
pub(super) mod models;

use crate::deadline::Deadline;
use crate::error::Result;
use crate::net;
use crate::sync::{Mutex, MutexGuard, Waiters, lock};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// What has callbacks to be made.
pub(crate) trait Deliver: Send + Sync {
    /// Does the next thing that is due, on the delivery thread.
    fn deliver(&self) -> Delivered;
}

/// What the delivery thread has done for one of these.
pub(crate) enum Delivered {
    /// There may be more.
    Some,
    All,
    /// The callback has forked and come back in the child, where nothing of this is usable: locks may be held for ever.
    InAChild,
}

/// What the delivery thread does while nothing is due.
pub(super) trait Pastime: Send + Sync {
    /// Does it until `delivery` [has work](Delivery::has_work). False: it can't be done. If that is because somebody else
    /// does it, `delivery` is [invited](Delivery::invite) once it may try again.
    fn pass(&self, delivery: &Arc<Delivery>) -> bool;

    /// Lets the thread look whether it has work, if it waits meanwhile.
    fn interrupt(&self);
}

/// Keeps the delivery thread of a client running. It ends with the last owner of this, which therefore is no callback's
/// own data, but a handle.
pub(crate) struct DeliveryGuard(Arc<Delivery>);

impl DeliveryGuard {
    /// Starts a thread.
    pub(super) fn start() -> Result<DeliveryGuard> {
        Delivery::start().map(DeliveryGuard)
    }

    /// Keeps a thread on that may be about to end. `None`: it has ended, or will.
    pub(super) fn resume(delivery: Arc<Delivery>) -> Option<DeliveryGuard> {
        if delivery.resume() { Some(DeliveryGuard(delivery)) } else { None }
    }

    pub(crate) fn delivery(&self) -> &Arc<Delivery> {
        &self.0
    }
}

impl Drop for DeliveryGuard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The delivery thread of a client, and who waits for it.
///
/// Its lock is never held while a callback runs or the time is passed, nor together with a backlog's.
#[derive(Default)]
pub(crate) struct Delivery {
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    due: VecDeque<Arc<dyn Deliver>>,
    pastime: Option<Weak<dyn Pastime>>,
    /// The pastime, while the thread is at it.
    is_at: Option<Arc<dyn Pastime>>,
    /// The pastime may be tried again.
    is_invited: bool,
    thread: Option<JoinHandle<()>>,
    id: Option<ThreadId>,
    /// Foreign code runs, or may.
    is_busy: bool,
    /// Those that are left. One may be on its way to the end already when the next comes.
    guards: usize,
    /// None is left.
    is_stopping: bool,
    /// No foreign code will run any more.
    has_ended: bool,
}

impl State {
    fn has_work(&self) -> bool {
        !self.due.is_empty() || self.is_stopping
    }
}

/// How long the end of a client waits for a callback, or for what is dropped after the last one. Most take far less; one
/// that waits for the very thread that ends the client must not hang both.
const LONGEST_FAREWELL: Duration = Duration::from_millis(100);

impl Delivery {
    /// Starts the thread, for one guard.
    fn start() -> Result<Arc<Delivery>> {
        let delivery = Arc::new(Delivery::default());
        let on_thread = delivery.clone();
        let thread = net::spawn("etcdgw-deliver", move || on_thread.run())?;
        let mut state = lock(&delivery.state);
        state.guards = 1;
        state.id = Some(thread.thread().id());
        state.thread = Some(thread);
        drop(state);
        Ok(delivery)
    }

    pub(crate) fn is_current_thread(&self) -> bool {
        lock(&self.state).id == Some(std::thread::current().id())
    }

    pub(crate) fn schedule(&self, who: Arc<dyn Deliver>) {
        let mut state = lock(&self.state);
        state.due.push_back(who);
        self.alert(state);
    }

    /// Gives the thread something to do while nothing is due.
    pub(super) fn occupy(&self, pastime: Weak<dyn Pastime>) {
        let mut state = lock(&self.state);
        state.pastime = Some(pastime);
        state.is_invited = true;
        self.alert(state);
    }

    /// Lets the thread try its pastime again.
    pub(super) fn invite(&self) {
        let mut state = lock(&self.state);
        state.is_invited = true;
        self.changed.wake_all(state);
    }

    /// Whether the thread has something better to do than to pass the time.
    pub(super) fn has_work(&self) -> bool {
        lock(&self.state).has_work()
    }

    /// Releases the lock, and lets the thread look what there is to do.
    fn alert(&self, state: MutexGuard<'_, State>) {
        // It looks by itself after everything that it does.
        let is_elsewhere = state.is_at.is_some() && state.id != Some(std::thread::current().id());
        let pastime = if is_elsewhere { state.is_at.clone() } else { None };
        self.changed.wake_all(state);
        if let Some(pastime) = pastime {
            pastime.interrupt();
        }
    }

    pub(crate) fn run(self: &Arc<Delivery>) {
        while let Some(who) = self.next() {
            match who.deliver() {
                // To the end of the line after each: nobody keeps the others waiting for more than one callback.
                Delivered::Some => self.schedule(who),
                Delivered::All => {}
                Delivered::InAChild => return,
            }
        }
        let mut state = lock(&self.state);
        state.has_ended = true;
        self.changed.wake_all(state);
    }

    fn next(self: &Arc<Delivery>) -> Option<Arc<dyn Deliver>> {
        let mut state = lock(&self.state);
        loop {
            let who = state.due.pop_front();
            state.is_busy = who.is_some();
            if who.is_some() {
                return who;
            }
            if state.is_stopping {
                state.has_ended = true;
                return None;
            }
            state = self.pass_the_time(state);
        }
    }

    /// Returns when there may be work.
    fn pass_the_time<'a>(self: &'a Arc<Delivery>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if let Some(pastime) = state.pastime.as_ref().and_then(Weak::upgrade) {
            state.is_invited = false;
            state.is_at = Some(pastime.clone());
            drop(state);
            let is_passed = pastime.pass(self);
            state = lock(&self.state);
            state.is_at = None;
            if is_passed || state.is_invited || state.has_work() {
                return state;
            }
        }
        self.changed.wait(state, Deadline::NEVER)
    }

    /// Goes on for another guard, where the thread was to end and has not. False: it has, or is about to.
    fn resume(&self) -> bool {
        let mut state = lock(&self.state);
        if state.has_ended {
            return false;
        }
        state.guards += 1;
        state.is_stopping = false;
        // Whoever stops it no longer waits for its end.
        self.changed.wake_all(state);
        true
    }

    /// Lets the thread end once nothing is due.
    #[cfg(test)]
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.is_stopping = true;
        self.alert(state);
    }

    /// With the last guard, lets the thread end once nothing is due, and waits for that, unless a callback keeps it.
    fn stop(&self) {
        let mut state = lock(&self.state);
        state.guards = state.guards.saturating_sub(1);
        if state.guards > 0 {
            return;
        }
        let is_own = state.id == Some(std::thread::current().id());
        state.is_stopping = true;
        // Decided together with that: nobody resumes what is about to be joined.
        state.has_ended |= !is_own && !state.is_busy && state.due.is_empty();
        self.alert(state);
        if is_own {
            return;
        }
        let deadline = Deadline::after(LONGEST_FAREWELL);
        let mut state = lock(&self.state);
        while state.is_stopping && !state.has_ended && !deadline.has_passed() {
            state = self.changed.wait(state, deadline);
        }
        let thread = if state.has_ended { state.thread.take() } else { None };
        drop(state);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
