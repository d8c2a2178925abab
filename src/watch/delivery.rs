//! The thread that makes a client's callbacks, one at a time: a slow one delays the others, and nothing else.

use crate::deadline::Deadline;
use crate::error::Result;
use crate::net;
use crate::sync::{Mutex, Waiters, lock};
use std::collections::VecDeque;
use std::sync::Arc;
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

/// Keeps the delivery thread of a client running. It ends with the last owner of this, which therefore is no callback's
/// own data, but a handle.
pub(crate) struct DeliveryGuard(Arc<Delivery>);

impl DeliveryGuard {
    pub(super) fn new(delivery: Arc<Delivery>) -> DeliveryGuard {
        DeliveryGuard(delivery)
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
/// Its lock is never held while a callback runs, nor together with a backlog's.
#[derive(Default)]
pub(crate) struct Delivery {
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    due: VecDeque<Arc<dyn Deliver>>,
    thread: Option<JoinHandle<()>>,
    id: Option<ThreadId>,
    /// Foreign code runs, or may.
    is_busy: bool,
    /// No client and no watch is left.
    is_stopping: bool,
    /// No foreign code will run any more.
    has_ended: bool,
}

/// How long the end of a client waits for a callback, or for what is dropped after the last one. Most take far less; one
/// that waits for the very thread that ends the client must not hang both.
const LONGEST_FAREWELL: Duration = Duration::from_millis(100);

impl Delivery {
    /// Starts the thread.
    pub(super) fn start() -> Result<Arc<Delivery>> {
        let delivery = Arc::new(Delivery::default());
        let on_thread = delivery.clone();
        let thread = net::spawn("etcdgw-deliver", move || on_thread.run())?;
        let mut state = lock(&delivery.state);
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
        self.changed.wake_all(state);
    }

    pub(crate) fn run(&self) {
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

    fn next(&self) -> Option<Arc<dyn Deliver>> {
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
            state = self.changed.wait(state, Deadline::NEVER);
        }
    }

    /// Goes on for other watches, where the thread was to end and has not. False: it has, or is about to.
    pub(super) fn resume(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.has_ended {
            state.is_stopping = false;
        }
        !state.has_ended
    }

    /// Lets the thread end once nothing is due.
    pub(crate) fn finish(&self) {
        let mut state = lock(&self.state);
        state.is_stopping = true;
        self.changed.wake_all(state);
    }

    /// Lets the thread end once nothing is due, and waits for that, unless a callback keeps it.
    pub(super) fn stop(&self) {
        self.finish();
        let mut state = lock(&self.state);
        if state.id == Some(std::thread::current().id()) {
            return;
        }
        if state.is_busy || !state.due.is_empty() {
            let deadline = Deadline::after(LONGEST_FAREWELL);
            while !state.has_ended && !deadline.has_passed() {
                state = self.changed.wait(state, deadline);
            }
        } else {
            state.has_ended = true;
        }
        let thread = state.thread.take().filter(|_| state.has_ended);
        drop(state);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
