//! What the consumer of a mirror has not been told yet.
//!
//! The copy waits for nobody: what changes in it is kept here until the consumer comes for it, and bounded as what a watch
//! keeps is. Where that is too much it is dropped, and what the consumer is told instead is the difference between the
//! copy as it was last told and as it is. So whatever is told, applied to the state before it, gives the next one.

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use super::MirrorConsumer;
use super::change::{ChangeKind, MirrorChange, MirrorEvent};
use super::tree::Tree;
use super::untold::{Dropped, Next, Untold};
use crate::error::Error;
use crate::event_queue::{Content, Event, EventQueue, Port, Source, SourceKind, TagSlot};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::watch::{Buffers, Called, Deliver, Delivered, Delivery, Slot};
use std::any::Any;
use std::sync::{Arc, Weak};

/// The changes of one mirror that are to be told, and the way to its consumer.
///
/// The lock of the state is held for no longer than a change takes to move; only an event queue's is taken under it. That
/// of `told` is taken by who takes a change, before the other, and never by who adds one.
pub(super) struct Outbox {
    state: Mutex<State>,
    /// The copy as the consumer knows it.
    told: Mutex<Tree>,
    outlet: Outlet,
}

struct State {
    untold: Untold,
    /// Somebody works out what to tell; nobody else is to take anything until that is known.
    is_taken: bool,
    /// Whether the event queue knows of something here.
    is_ready: bool,
    turn: Turn,
    /// The last change has been taken.
    is_finished: bool,
    /// Nothing more is to be told.
    is_over: bool,
    /// The consumer is dropped, or about to be.
    is_released: bool,
}

/// Whose turn it is: that of a consumer that is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Not before [`start`](Outbox::start).
    Withheld,
    /// Nothing is to be told.
    Idle,
    /// The delivery thread has it, or will.
    Due,
}

enum Outlet {
    Callback { consumer: Slot<MirrorChange>, delivery: Arc<Delivery> },
    Queue { port: Port, tag: TagSlot },
}

/// What is to be done for the consumer.
#[allow(clippy::large_enum_variant, reason = "it is moved once and stored nowhere")]
enum Work {
    Tell(MirrorChange),
    /// The last call has been made.
    Release,
    Nothing,
}

impl Outbox {
    /// For a consumer that is called on the delivery thread.
    pub(super) fn calling(consumer: MirrorConsumer, delivery: Arc<Delivery>, buffers: Arc<Buffers>) -> Arc<Outbox> {
        let outlet = Outlet::Callback { consumer: Slot::new(consumer), delivery };
        Arc::new(Outbox::new(outlet, buffers))
    }

    /// For an event queue.
    pub(super) fn queued(queue: &EventQueue, tag: Box<dyn Any + Send + Sync>, buffers: Arc<Buffers>) -> Arc<Outbox> {
        Arc::new_cyclic(|outbox: &Weak<Outbox>| {
            let port = queue.register(outbox.clone());
            Outbox::new(Outlet::Queue { port, tag: TagSlot::new(tag, outbox.clone()) }, buffers)
        })
    }

    fn new(outlet: Outlet, buffers: Arc<Buffers>) -> Outbox {
        let state = State {
            untold: Untold::new(buffers),
            is_taken: false,
            is_ready: false,
            turn: Turn::Withheld,
            is_finished: false,
            is_over: false,
            is_released: false,
        };
        Outbox { state: Mutex::new(state), told: Mutex::default(), outlet }
    }

    /// The copy that the consumer is taken to know, before anything is added.
    pub(super) fn begin(&self, tree: &Tree, revision: i64) {
        *lock(&self.told) = tree.clone();
        lock(&self.state).untold.begin(tree.clone(), revision);
    }

    /// Lets changes be told.
    pub(super) fn start(self: &Arc<Outbox>) {
        self.change(|state| {
            if state.turn == Turn::Withheld {
                state.turn = Turn::Idle;
            }
        });
    }

    /// Whether anybody is to hear of what comes.
    pub(super) fn is_open(&self) -> bool {
        !lock(&self.state).is_over
    }

    /// What has happened to the keys, and the copy after it.
    pub(super) fn add(self: &Arc<Outbox>, events: Vec<MirrorEvent>, latest: Tree, revision: i64) {
        self.change(|state| state.untold.add(events, latest, revision));
    }

    /// The copy is another one, and how it came about isn't known.
    pub(super) fn rebuilt(self: &Arc<Outbox>, latest: Tree, revision: i64) {
        self.change(|state| state.untold.rebuilt(latest, revision));
    }

    /// The last that is told.
    pub(super) fn end(self: &Arc<Outbox>, error: Error) {
        self.change(|state| state.untold.end(error));
    }

    /// Tells nothing any more, on behalf of the owner.
    pub(super) fn cancel(self: &Arc<Outbox>) {
        self.change(|state| {
            let left = state.close();
            if state.turn == Turn::Withheld {
                state.turn = Turn::Idle;
            }
            left
        });
        self.drop_tag();
    }

    /// The same before the start, where the consumer is gone when this returns.
    pub(super) fn abandon(&self) {
        let left = lock(&self.state).close();
        drop(left);
        if let Outlet::Callback { consumer, .. } = &self.outlet {
            consumer.empty();
        }
        self.drop_tag();
    }

    /// Changes the state, unless it is over, and sees to it that the consumer hears of that.
    fn change<T>(self: &Arc<Outbox>, change: impl FnOnce(&mut State) -> T) {
        let mut state = lock(&self.state);
        if state.is_over {
            return;
        }
        let left = change(&mut state);
        self.show(&mut state);
        let delivery = match &self.outlet {
            Outlet::Callback { delivery, .. }
                if state.turn == Turn::Idle && (state.is_over || state.untold.has_more()) =>
            {
                state.turn = Turn::Due;
                Some(delivery)
            }
            _ => None,
        };
        drop(state);
        drop(left);
        if let Some(delivery) = delivery {
            delivery.schedule(self.clone());
        }
    }

    /// Makes what the event queue knows say what the state says; under the lock, so that they agree.
    fn show(&self, state: &mut MutexGuard<'_, State>) {
        let Outlet::Queue { port, .. } = &self.outlet else { return };
        let is_ready = state.untold.has_more() && !state.is_taken && state.turn != Turn::Withheld;
        if std::mem::replace(&mut state.is_ready, is_ready) != is_ready {
            port.set_ready(is_ready);
        }
    }

    /// What is to be told next. One caller at a time.
    fn work(&self) -> Work {
        let mut told = lock(&self.told);
        let mut state = lock(&self.state);
        // It has left the queue's line.
        state.is_ready = false;
        if state.is_over || state.is_finished {
            return if std::mem::replace(&mut state.is_released, true) { Work::Nothing } else { Work::Release };
        }
        let Some(next) = state.untold.next() else {
            state.turn = Turn::Idle;
            return Work::Nothing;
        };
        state.is_finished = matches!(next, Next::Ended(_));
        state.is_taken = true;
        drop(state);
        // Without the lock of the state: it may take a while.
        let change = next.tell(&mut told);
        let mut state = lock(&self.state);
        state.is_taken = false;
        self.show(&mut state);
        Work::Tell(change)
    }

    fn drop_tag(&self) {
        if let Outlet::Queue { tag, .. } = &self.outlet {
            tag.let_go();
        }
    }

    fn call(&self, consumer: &Slot<MirrorChange>, change: MirrorChange) -> Delivered {
        // A difference takes a while: the owner may have freed the mirror meanwhile.
        if !self.is_open() {
            return Delivered::Some;
        }
        match consumer.call(change) {
            Called::Back => {}
            // The mirror goes on, untold.
            Called::Panicked => {
                let left = lock(&self.state).close();
                drop(left);
            }
            Called::InAChild => return Delivered::InAChild,
        }
        Delivered::Some
    }
}

impl State {
    /// Nothing is to be told any more. What it answers is to be dropped without the lock.
    fn close(&mut self) -> Dropped {
        self.is_over = true;
        self.untold.clear()
    }
}

impl Deliver for Outbox {
    fn deliver(&self) -> Delivered {
        let Outlet::Callback { consumer, .. } = &self.outlet else { return Delivered::All };
        match self.work() {
            Work::Nothing => Delivered::All,
            Work::Tell(change) => self.call(consumer, change),
            Work::Release => {
                *lock(&self.told) = Tree::default();
                consumer.empty();
                Delivered::All
            }
        }
    }
}

impl Source for Outbox {
    fn take(&self) -> Option<Event> {
        let Outlet::Queue { tag, .. } = &self.outlet else { return None };
        // Before the change is taken: whoever ends the mirror meanwhile lets go of it.
        let tag = tag.get()?;
        let Work::Tell(change) = self.work() else { return None };
        if change.kind == ChangeKind::Ended {
            self.drop_tag();
        }
        Some(Event { source: SourceKind::Mirror, tag, content: Content::Mirror(change) })
    }

    /// The mirror goes on, untold.
    fn cancel(&self) {
        let left = lock(&self.state).close();
        let told = std::mem::take(&mut *lock(&self.told));
        drop((left, told));
        self.drop_tag();
    }

    fn released(&self) {}
}
