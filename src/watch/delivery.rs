//! The thread that makes a client's callbacks, one at a time: a slow one delays the others, and nothing else.

use super::mailbox::{Delivered, Mailbox};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::net;
use crate::sync::{Mutex, Waiters, lock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// The delivery thread of a client, and the watches that wait for it.
///
/// Its lock is never held while a callback runs, nor together with a backlog's.
#[derive(Default)]
pub(super) struct Delivery {
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    due: VecDeque<Arc<Mailbox>>,
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

    pub(super) fn is_current_thread(&self) -> bool {
        lock(&self.state).id == Some(std::thread::current().id())
    }

    pub(super) fn schedule(&self, mailbox: Arc<Mailbox>) {
        let mut state = lock(&self.state);
        state.due.push_back(mailbox);
        self.changed.wake_all(state);
    }

    pub(super) fn run(&self) {
        while let Some(mailbox) = self.next() {
            match mailbox.deliver() {
                // To the end of the line after each: no watch keeps the others waiting for more than one callback.
                Delivered::Some => self.schedule(mailbox),
                Delivered::All => {}
                Delivered::InAChild => return,
            }
        }
        let mut state = lock(&self.state);
        state.has_ended = true;
        self.changed.wake_all(state);
    }

    fn next(&self) -> Option<Arc<Mailbox>> {
        let mut state = lock(&self.state);
        loop {
            let mailbox = state.due.pop_front();
            state.is_busy = mailbox.is_some();
            if mailbox.is_some() {
                return mailbox;
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
    pub(super) fn finish(&self) {
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
