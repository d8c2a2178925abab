//! What the owner of a keep-alive, a session or an observer is to be told, on the client's delivery thread.
//!
//! Only the latest news is kept: how long a lease has, or who leads, was of interest until it changed. So a slow
//! callback costs no memory, and nobody waits for it.

use crate::client::Client;
use crate::error::Result;
use crate::net::{Generation, lock};
use crate::watch::{Deliver, Delivered, Delivery, DeliveryGuard};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

/// Takes what is told.
pub type Consumer<T> = Box<dyn FnMut(T) + Send>;

/// An outbox as the handle of its source has it: with the delivery thread that it needs, for as long as that lives.
pub(crate) struct OutboxHandle<T> {
    outbox: Arc<Outbox<T>>,
    _guard: Arc<DeliveryGuard>,
}

impl<T: Send + 'static> OutboxHandle<T> {
    /// One whose consumer is called once [`start`](Outbox::start) allows it.
    pub(crate) fn new(consumer: Consumer<T>, client: &Client) -> Result<OutboxHandle<T>> {
        let guard = client.shared.hub.delivery()?;
        Ok(OutboxHandle { outbox: Outbox::new(consumer, guard.delivery().clone()), _guard: guard })
    }
}

impl<T> Deref for OutboxHandle<T> {
    type Target = Arc<Outbox<T>>;

    fn deref(&self) -> &Arc<Outbox<T>> {
        &self.outbox
    }
}

/// The news of one source, and the way to its owner.
pub(crate) struct Outbox<T> {
    /// Held for no longer than news take to move, and no other lock is taken meanwhile.
    state: Mutex<State<T>>,
    /// Taken out while it runs, and for good after its last call.
    consumer: Mutex<Option<Consumer<T>>>,
    delivery: Arc<Delivery>,
}

struct State<T> {
    latest: Option<T>,
    last: Option<T>,
    /// Nothing more is taken.
    is_over: bool,
    turn: Turn,
}

/// Where it stands with the delivery thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not before [`Outbox::start`].
    Withheld,
    /// Nothing is to be done.
    Idle,
    /// The delivery thread has it, or will.
    Due,
}

impl<T: Send + 'static> Outbox<T> {
    fn new(consumer: Consumer<T>, delivery: Arc<Delivery>) -> Arc<Outbox<T>> {
        let state = State { latest: None, last: None, is_over: false, turn: Turn::Withheld };
        Arc::new(Outbox { state: Mutex::new(state), consumer: Mutex::new(Some(consumer)), delivery })
    }

    /// Lets callbacks begin.
    pub(crate) fn start(self: &Arc<Outbox<T>>) {
        self.change(|state| {
            if state.turn == Turn::Withheld {
                state.turn = Turn::Idle;
            }
        });
    }

    /// Tells news, in the place of those that were not told yet.
    pub(crate) fn push(self: &Arc<Outbox<T>>, news: T) {
        self.change(|state| {
            if !state.is_over {
                state.latest = Some(news);
            }
        });
    }

    /// Tells the last news, after which the consumer is dropped.
    pub(crate) fn end(self: &Arc<Outbox<T>>, news: T) {
        self.change(|state| {
            if !std::mem::replace(&mut state.is_over, true) {
                state.last = Some(news);
            }
        });
    }

    /// Tells nothing any more, and drops the consumer.
    pub(crate) fn cancel(self: &Arc<Outbox<T>>) {
        let untold = self.change(|state| {
            state.is_over = true;
            if state.turn == Turn::Withheld {
                state.turn = Turn::Idle;
            }
            (state.latest.take(), state.last.take())
        });
        drop(untold);
    }

    fn change<R>(self: &Arc<Outbox<T>>, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        let is_due = state.turn == Turn::Idle && state.has_work();
        if is_due {
            state.turn = Turn::Due;
        }
        drop(state);
        if is_due {
            self.delivery.schedule(self.clone());
        }
        result
    }

    /// The next news; `None` with true: there will be none.
    fn next(&self) -> (Option<T>, bool) {
        let mut state = lock(&self.state);
        let next = state.latest.take();
        let next = next.or_else(|| state.last.take());
        let is_over = next.is_none() && state.is_over;
        if next.is_none() {
            // Of one that is over nothing more becomes due.
            state.turn = if is_over { Turn::Due } else { Turn::Idle };
        }
        (next, is_over)
    }
}

impl<T> State<T> {
    fn has_work(&self) -> bool {
        self.latest.is_some() || self.last.is_some() || self.is_over
    }
}

impl<T: Send + 'static> Deliver for Outbox<T> {
    fn deliver(&self) -> Delivered {
        let process = Generation::current();
        let news = match self.next() {
            (Some(news), _) => news,
            (None, false) => return Delivered::All,
            (None, true) => {
                let consumer = lock(&self.consumer).take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
                return Delivered::All;
            }
        };
        let taken = lock(&self.consumer).take();
        if let Some(mut consumer) = taken {
            // A consumer that panics has had its last call.
            let called = catch_unwind(AssertUnwindSafe(|| consumer(news)));
            if !process.is_current() {
                std::mem::forget(consumer);
                return Delivered::InAChild;
            }
            if called.is_ok() {
                *lock(&self.consumer) = Some(consumer);
            } else {
                let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
            }
        }
        Delivered::Some
    }
}
