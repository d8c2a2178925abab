//! One watch, as its handle, its feeder and its consumer share it.

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;

use super::backlog::{Backlog, Cancelled, Face, Popped, Room, Work};
use super::buffers::Buffers;
use super::delivery::{Deliver, Delivered, Delivery};
use super::response::WatchResponse;
use super::slot::{Called, Slot};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::event_queue::{Content, Event, EventQueue, Source, SourceKind, TagSlot};
use crate::sync::{Mutex, lock};
use std::any::Any;
use std::os::fd::RawFd;
use std::sync::{Arc, Weak};

/// Takes the responses of a watch.
pub type Consumer = Box<dyn FnMut(WatchResponse) + Send>;

/// What brings the responses of watches, each known by a number. It is told without a lock held, on whichever thread
/// it happens.
pub(super) trait Feeder: Send + Sync {
    /// A watch that was full has room again. Once for each time it became full; the push that filled it may not have
    /// returned yet.
    fn has_room(&self, watch: u64);

    /// Nothing more is to come for a watch, by no wish of the feeder's. Once at most.
    fn is_over(&self, watch: u64);
}

/// Where the responses of a mailbox come from, and what they may take together with those of the client's others.
pub(super) struct Origin {
    pub feeder: Arc<dyn Feeder>,
    /// The feeder's number for it.
    pub watch: u64,
    pub buffers: Arc<Buffers>,
}

/// What was not consumed yet of a watch, and the way to its consumer.
pub(super) struct Mailbox {
    backlog: Backlog,
    feeder: Arc<dyn Feeder>,
    watch: u64,
    outlet: Outlet,
}

enum Outlet {
    Pull,
    Callback(Callback),
    /// A consumer of the library's own, called by the feeder. Taken out while it runs, and for good after its last call.
    Inline(Mutex<Option<Consumer>>),
    /// An event queue, which its backlog knows. What its owner gave along, as long as there may be events.
    Queue(TagSlot),
}

struct Callback {
    consumer: Slot<WatchResponse>,
    delivery: Arc<Delivery>,
}

impl Mailbox {
    /// Of a watch that calls back.
    pub(super) fn calling(consumer: Consumer, delivery: Arc<Delivery>, origin: Origin) -> Arc<Mailbox> {
        let callback = Callback { consumer: Slot::new(consumer), delivery };
        Arc::new(Mailbox::new(Face::Callback, Outlet::Callback(callback), origin))
    }

    /// Of a watch whose consumer the feeder calls itself, before a push or the end returns: one that is quick and waits for
    /// nothing. Nothing is kept for it, so that it is never full, and nothing is withheld before the start. It is dropped
    /// after its last call or with the mailbox, on whichever thread that is.
    pub(super) fn inline(consumer: Consumer, origin: Origin) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(Face::Inline, Outlet::Inline(Mutex::new(Some(consumer))), origin))
    }

    /// Of a watch that is asked.
    pub(super) fn pulled(origin: Origin) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(Face::Pull, Outlet::Pull, origin))
    }

    /// Of a watch that delivers to an event queue.
    pub(super) fn queued(queue: &EventQueue, tag: Box<dyn Any + Send + Sync>, origin: Origin) -> Arc<Mailbox> {
        Arc::new_cyclic(|mailbox: &Weak<Mailbox>| {
            let face = Face::Queue(queue.register(mailbox.clone()));
            Mailbox::new(face, Outlet::Queue(TagSlot::new(tag, mailbox.clone())), origin)
        })
    }

    fn new(face: Face, outlet: Outlet, origin: Origin) -> Mailbox {
        let Origin { feeder, watch, buffers } = origin;
        Mailbox { backlog: Backlog::new(face, buffers), feeder, watch, outlet }
    }

    /// Whether its responses go to callbacks on the delivery thread.
    pub(super) fn is_called(&self) -> bool {
        matches!(self.outlet, Outlet::Callback(_))
    }

    /// Whether the calling thread is the one that makes the callbacks.
    pub(super) fn is_on_delivery_thread(&self) -> bool {
        matches!(&self.outlet, Outlet::Callback(callback) if callback.delivery.is_current_thread())
    }

    /// Whether something may still come to it.
    pub(super) fn is_open(&self) -> bool {
        self.backlog.is_open()
    }

    /// Tells the revision that the watch starts at, once it is known and before anything is pushed.
    pub(super) fn begin_at(&self, revision: i64) {
        self.backlog.begin_at(revision);
    }

    /// Lets callbacks and events begin.
    pub(super) fn start(self: &Arc<Mailbox>) {
        let is_due = self.backlog.start();
        self.schedule(is_due);
    }

    /// Adds a response, which is kept in any case; after `Full` no other is to come before the feeder hears of room.
    pub(super) fn push(self: &Arc<Mailbox>, response: WatchResponse) -> Room {
        if let Outlet::Inline(consumer) = &self.outlet {
            self.pass(consumer, response, false);
            return Room::Left;
        }
        let (room, is_due) = self.backlog.push(response);
        self.schedule(is_due);
        room
    }

    /// Adds the last response.
    pub(super) fn end(self: &Arc<Mailbox>, response: WatchResponse) {
        if let Outlet::Inline(consumer) = &self.outlet {
            return self.pass(consumer, response, true);
        }
        let is_due = self.backlog.end(response);
        self.schedule(is_due);
    }

    /// Gives a response to a consumer of the library's own, unless the watch is over. Called by the feeder alone.
    fn pass(&self, consumer: &Mutex<Option<Consumer>>, response: WatchResponse, is_last: bool) {
        if !self.backlog.pass(&response, is_last) {
            return;
        }
        // Called without a lock: it may end the watch.
        let taken = lock(consumer).take();
        if let Some(mut called) = taken {
            called(response);
            if !is_last {
                *lock(consumer) = Some(called);
            }
        }
    }

    /// Ends the watch on behalf of its owner. Before the start its consumer is gone when this returns.
    pub(super) fn cancel(self: &Arc<Mailbox>) {
        let Cancelled { is_due, was_withheld, .. } = self.close();
        match &self.outlet {
            Outlet::Callback(callback) if is_due && was_withheld => self.release(callback),
            _ => self.schedule(is_due),
        }
    }

    /// The same, but for telling the delivery thread.
    fn close(&self) -> Cancelled {
        // Before the feeder hears of it, which may report an end of its own.
        let cancelled = self.backlog.cancel();
        if cancelled.was_open {
            self.feeder.is_over(self.watch);
        }
        self.drop_tag();
        cancelled
    }

    fn release(&self, callback: &Callback) {
        callback.consumer.empty();
        self.backlog.release();
    }

    /// The next response of a watch that is asked. `None`: waited in vain.
    pub(super) fn next(&self, deadline: Deadline) -> Result<Option<WatchResponse>> {
        if !matches!(self.outlet, Outlet::Pull) {
            return Err(Error::FailedPrecondition { what: "a watch with a callback or a queue can't be asked" });
        }
        Ok(self.backlog.next(deadline)?.map(|popped| self.open(popped)))
    }

    /// The descriptor of a watch that is asked.
    pub(super) fn fd(&self) -> Option<RawFd> {
        self.backlog.fd()
    }

    /// Waits until its consumer is gone, where it has one. False: waited in vain.
    pub(super) fn join(&self, deadline: Deadline) -> bool {
        matches!(self.outlet, Outlet::Pull | Outlet::Inline(_)) || self.backlog.wait_for_release(deadline)
    }

    fn schedule(self: &Arc<Mailbox>, is_due: bool) {
        if let Outlet::Callback(callback) = &self.outlet {
            if is_due {
                callback.delivery.schedule(self.clone());
            }
        }
    }

    /// What is consumed, once the feeder knows as much as it must.
    fn open(&self, popped: Popped) -> WatchResponse {
        if popped.makes_room {
            self.feeder.has_room(self.watch);
        }
        popped.response
    }

    fn call(&self, callback: &Callback, response: WatchResponse) -> Delivered {
        match callback.consumer.call(response) {
            Called::Back => {}
            // The other watches go on. It is due as it is.
            Called::Panicked => drop(self.close()),
            Called::InAChild => return Delivered::InAChild,
        }
        Delivered::Some
    }

    /// No event of this watch is to come; what is in the hands of the owner keeps the tag as long as it lives.
    fn drop_tag(&self) {
        if let Outlet::Queue(tag) = &self.outlet {
            tag.let_go();
        }
    }
}

impl Deliver for Mailbox {
    fn deliver(&self) -> Delivered {
        let Outlet::Callback(callback) = &self.outlet else { return Delivered::All };
        match self.backlog.work() {
            Work::Nothing => Delivered::All,
            Work::Deliver(popped) => self.call(callback, self.open(popped)),
            Work::Release => {
                self.release(callback);
                Delivered::All
            }
        }
    }
}

impl Source for Mailbox {
    fn take(&self) -> Option<Event> {
        let Outlet::Queue(tag) = &self.outlet else { return None };
        // Before the response is taken: whoever ends the watch meanwhile lets go of it.
        let tag = tag.get()?;
        let popped = self.backlog.take()?;
        if popped.is_last {
            self.drop_tag();
        }
        let content = Content::Watch(self.open(popped));
        Some(Event { source: SourceKind::Watch, tag, content })
    }

    fn cancel(&self) {
        // Never that of a callback watch, and nothing is due of others.
        let _ = self.close();
    }

    fn released(&self) {
        self.backlog.release();
    }
}
