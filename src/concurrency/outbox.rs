//! What the owner of a keep-alive, a session or an observer is to be told, on the client's delivery thread or in an event
//! queue.
//!
//! Only the latest news is kept: how long a lease has, or who leads, was of interest until it changed. So a slow
//! callback, or a queue that nobody asks, costs no memory, and nobody waits for it.

mod handle;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use handle::{Addressee, OutboxHandle, Queued};

use crate::event_queue::{Content, Event, Port, Source, SourceKind, TagSlot};
use crate::sync::{Mutex, lock};
use crate::watch::{Called, Deliver, Delivered, Delivery, Slot};
use std::sync::{Arc, Weak};

/// Takes what is told.
pub type Consumer<T> = Box<dyn FnMut(T) + Send>;

/// The news of one source, as events of a queue say them, and the way to its owner.
pub(crate) struct Outbox {
    /// Held for no longer than news take to move. Only an event queue's is taken under it.
    state: Mutex<State>,
    outlet: Outlet,
}

struct State {
    latest: Option<Content>,
    last: Option<Content>,
    /// Nothing more is taken.
    is_over: bool,
    turn: Turn,
    /// Whether the event queue knows of something here.
    is_ready: bool,
}

/// Where it stands with the delivery thread; news for a queue are never due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not before [`Outbox::start`].
    Withheld,
    /// Nothing is to be done.
    Idle,
    /// The delivery thread has it, or will.
    Due,
}

enum Outlet {
    Callback { consumer: Slot<Content>, delivery: Arc<Delivery> },
    Queue { port: Port, kind: SourceKind, tag: TagSlot, queue_end: Box<dyn Fn() + Send + Sync> },
}

impl Outbox {
    fn calling(consumer: Consumer<Content>, delivery: Arc<Delivery>) -> Arc<Outbox> {
        Arc::new(Outbox::new(Outlet::Callback { consumer: Slot::new(consumer), delivery }))
    }

    fn queued(queued: Queued<'_>) -> Arc<Outbox> {
        let Queued { queue, kind, tag, queue_end } = queued;
        Arc::new_cyclic(|outbox: &Weak<Outbox>| {
            let tag = TagSlot::new(tag, outbox.clone());
            Outbox::new(Outlet::Queue { port: queue.register(outbox.clone()), kind, tag, queue_end })
        })
    }

    fn new(outlet: Outlet) -> Outbox {
        let state = State { latest: None, last: None, is_over: false, turn: Turn::Withheld, is_ready: false };
        Outbox { state: Mutex::new(state), outlet }
    }

    /// Lets callbacks and events begin.
    pub(crate) fn start(self: &Arc<Outbox>) {
        let is_due = self.change(State::begin);
        self.schedule(is_due);
    }

    /// Tells news, in the place of those that were not told yet.
    pub(crate) fn push(self: &Arc<Outbox>, news: Content) {
        let mut news = Some(news);
        let is_due = self.change(|state| {
            if !state.is_over {
                std::mem::swap(&mut state.latest, &mut news);
            }
        });
        self.schedule(is_due);
    }

    /// Tells the last news, after which what belongs to the owner is dropped.
    pub(crate) fn end(self: &Arc<Outbox>, news: Content) {
        let mut news = Some(news);
        let is_due = self.change(|state| {
            if !std::mem::replace(&mut state.is_over, true) {
                state.last = news.take();
            }
        });
        self.schedule(is_due);
    }

    /// Tells nothing any more, and drops what belongs to the owner: foreign code may run inside. Before the start the
    /// consumer is gone when this returns.
    pub(crate) fn cancel(self: &Arc<Outbox>) {
        let (is_due, was_withheld) = self.close();
        match &self.outlet {
            Outlet::Callback { consumer, .. } if is_due && was_withheld => consumer.empty(),
            _ => self.schedule(is_due),
        }
    }

    /// The same, but for telling the delivery thread: whether that must be, and whether it has never heard of this.
    fn close(&self) -> (bool, bool) {
        let mut untold = (None, None);
        let mut was_withheld = false;
        let is_due = self.change(|state| {
            state.is_over = true;
            was_withheld = state.turn == Turn::Withheld;
            state.begin();
            untold = (state.latest.take(), state.last.take());
        });
        self.drop_tag();
        (is_due, was_withheld)
    }

    /// Changes the state. True: the delivery thread must be told.
    #[must_use]
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = lock(&self.state);
        change(&mut state);
        self.show(&mut state)
    }

    /// Makes what the event queue knows say what the state says, under the lock, so that they agree; likewise the turn
    /// of a callback. True: the delivery thread must be told.
    fn show(&self, state: &mut State) -> bool {
        match &self.outlet {
            Outlet::Callback { .. } => {
                let is_due = state.turn == Turn::Idle && (state.has_news() || state.is_over);
                if is_due {
                    state.turn = Turn::Due;
                }
                is_due
            }
            Outlet::Queue { port, .. } => {
                let is_ready = state.turn != Turn::Withheld && state.has_news();
                if std::mem::replace(&mut state.is_ready, is_ready) != is_ready {
                    port.set_ready(is_ready);
                }
                false
            }
        }
    }

    fn schedule(self: &Arc<Outbox>, is_due: bool) {
        if let Outlet::Callback { delivery, .. } = &self.outlet {
            if is_due {
                delivery.schedule(self.clone());
            }
        }
    }

    /// The next news for a callback; `None` with true: there will be none.
    fn next(&self) -> (Option<Content>, bool) {
        let mut state = lock(&self.state);
        let next = state.pop();
        let is_over = next.is_none() && state.is_over;
        if next.is_none() {
            // Of one that is over nothing more becomes due.
            state.turn = if is_over { Turn::Due } else { Turn::Idle };
        }
        (next, is_over)
    }

    fn drop_tag(&self) {
        if let Outlet::Queue { tag, .. } = &self.outlet {
            tag.let_go();
        }
    }
}

impl State {
    fn begin(&mut self) {
        if self.turn == Turn::Withheld {
            self.turn = Turn::Idle;
        }
    }

    fn has_news(&self) -> bool {
        self.latest.is_some() || self.last.is_some()
    }

    fn pop(&mut self) -> Option<Content> {
        let latest = self.latest.take();
        latest.or_else(|| self.last.take())
    }
}

impl Deliver for Outbox {
    fn deliver(&self) -> Delivered {
        let Outlet::Callback { consumer, .. } = &self.outlet else { return Delivered::All };
        match self.next() {
            (Some(news), _) => match consumer.call(news) {
                Called::Back | Called::Panicked => Delivered::Some,
                Called::InAChild => Delivered::InAChild,
            },
            (None, is_over) => {
                if is_over {
                    consumer.empty();
                }
                Delivered::All
            }
        }
    }
}

impl Source for Outbox {
    fn take(&self) -> Option<Event> {
        let Outlet::Queue { kind, tag, .. } = &self.outlet else { return None };
        // Before the news are taken: whoever ends the source meanwhile lets go of it.
        let tag = tag.get()?;
        let mut state = lock(&self.state);
        // It has left the line, and joins it again if there is more.
        state.is_ready = false;
        let news = state.pop();
        let _ = self.show(&mut state);
        let is_last = state.is_over && !state.has_news();
        drop(state);
        if is_last {
            self.drop_tag();
        }
        Some(Event { source: *kind, tag, content: news? })
    }

    fn cancel(&self) {
        // Nothing is due: it is none that calls back.
        let _ = self.close();
        if let Outlet::Queue { queue_end, .. } = &self.outlet {
            queue_end();
        }
    }

    /// Nobody waits for it.
    fn released(&self) {}
}
