//! The thread that makes a client's callbacks, one at a time: a slow one delays the others, and nothing else.

use super::queue::{Queue, Work};
use super::response::WatchResponse;
use crate::error::Result;
use crate::net::{self, CancelToken, Generation, lock};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// Takes the responses of a watch.
pub type Consumer = Box<dyn FnMut(WatchResponse) + Send>;

/// One watch, as its handle, its reader and the delivery thread share it.
pub(super) struct Mailbox {
    pub queue: Queue,
    /// Ends whatever the reader waits for.
    pub stop: Arc<CancelToken>,
    callback: Option<Callback>,
}

struct Callback {
    /// Taken out while it runs, and for good after its last call.
    consumer: Mutex<Option<Consumer>>,
    delivery: Arc<Delivery>,
}

impl Mailbox {
    /// Of a watch that calls back.
    pub(super) fn calling(consumer: Consumer, delivery: Arc<Delivery>, queue: Queue, stop: CancelToken) -> Mailbox {
        let callback = Some(Callback { consumer: Mutex::new(Some(consumer)), delivery });
        Mailbox { queue, stop: Arc::new(stop), callback }
    }

    /// Of a watch that is asked.
    pub(super) fn pulled(queue: Queue, stop: CancelToken) -> Mailbox {
        Mailbox { queue, stop: Arc::new(stop), callback: None }
    }

    pub(super) fn is_pulled(&self) -> bool {
        self.callback.is_none()
    }

    /// Whether the calling thread is the one that makes the callbacks.
    pub(super) fn is_on_delivery_thread(&self) -> bool {
        self.callback.as_ref().is_some_and(|callback| callback.delivery.is_current_thread())
    }

    pub(super) fn start(self: &Arc<Mailbox>) {
        let is_due = self.queue.start();
        self.schedule(is_due);
    }

    pub(super) fn push(self: &Arc<Mailbox>, response: WatchResponse) {
        let is_due = self.queue.push(response);
        self.schedule(is_due);
    }

    pub(super) fn end(self: &Arc<Mailbox>, response: WatchResponse) {
        let is_due = self.queue.end(response);
        self.schedule(is_due);
    }

    pub(super) fn cancel(self: &Arc<Mailbox>) {
        // Before the reader hears of it, which would report an end of its own.
        let is_due = self.queue.cancel();
        self.stop.trigger();
        self.schedule(is_due);
    }

    fn schedule(self: &Arc<Mailbox>, is_due: bool) {
        if let Some(callback) = self.callback.as_ref().filter(|_| is_due) {
            callback.delivery.schedule(self.clone());
        }
    }
}

impl Deliver for Mailbox {
    fn deliver(&self) -> Delivered {
        let Some(callback) = &self.callback else { return Delivered::All };
        let process = Generation::current();
        match self.queue.work() {
            Work::Nothing => Delivered::All,
            Work::Deliver(response) => {
                let taken = lock(&callback.consumer).take();
                if let Some(mut consumer) = taken {
                    // A consumer that panics has had its last call; the other watches go on.
                    let called = catch_unwind(AssertUnwindSafe(|| consumer(response)));
                    if !process.is_current() {
                        std::mem::forget(consumer);
                        return Delivered::InAChild;
                    }
                    if called.is_ok() {
                        *lock(&callback.consumer) = Some(consumer);
                    } else {
                        let _ = self.queue.cancel();
                        self.stop.trigger();
                        let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
                    }
                }
                Delivered::Some
            }
            Work::Release => {
                let consumer = lock(&callback.consumer).take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
                self.queue.release();
                Delivered::All
            }
        }
    }
}

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

/// The delivery thread of a client, and who waits for it.
///
/// Its lock is never held while a callback runs, nor together with a queue's.
pub(crate) struct Delivery {
    state: Mutex<State>,
    changed: Condvar,
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
        let delivery = Arc::new(Delivery { state: Mutex::default(), changed: Condvar::new() });
        let on_thread = delivery.clone();
        let thread = net::spawn("etcdgw-deliver", move || on_thread.run())?;
        let mut state = lock(&delivery.state);
        state.id = Some(thread.thread().id());
        state.thread = Some(thread);
        drop(state);
        Ok(delivery)
    }

    fn is_current_thread(&self) -> bool {
        lock(&self.state).id == Some(std::thread::current().id())
    }

    pub(crate) fn schedule(&self, who: Arc<dyn Deliver>) {
        lock(&self.state).due.push_back(who);
        self.changed.notify_all();
    }

    fn run(&self) {
        while let Some(who) = self.next() {
            match who.deliver() {
                // To the end of the line after each: nobody keeps the others waiting for more than one callback.
                Delivered::Some => self.schedule(who),
                Delivered::All => {}
                Delivered::InAChild => return,
            }
        }
        lock(&self.state).has_ended = true;
        self.changed.notify_all();
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
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the thread end once nothing is due, and waits for that, unless a callback keeps it.
    pub(super) fn stop(&self) {
        let mut state = lock(&self.state);
        state.is_stopping = true;
        self.changed.notify_all();
        if state.id == Some(std::thread::current().id()) {
            return;
        }
        if state.is_busy || !state.due.is_empty() {
            let waited = self.changed.wait_timeout_while(state, LONGEST_FAREWELL, |state| !state.has_ended);
            state = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
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
