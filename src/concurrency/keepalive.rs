//! Keep-alives: leases that are renewed as long as somebody wants them, and whose loss is told in time.
//!
//! One thread renews all leases of a client. It never waits for a callback, and a member that hangs keeps it for no
//! longer than a third of what the lease that is lost soonest has left.

mod chores;
mod keeper;
mod kept;
mod schedule;

pub(crate) use chores::{Again, Chore};
pub(crate) use keeper::Keeper;

use super::outbox::{Addressee, Consumer, Outbox, OutboxHandle, Queued};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::event_queue::{Content, EventQueue, SourceKind};
use crate::net::BootTime;
use kept::Kept;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// What a keep-alive tells.
#[derive(Debug)]
pub struct KeepAliveEvent {
    /// The lease's ID.
    pub lease: i64,
    /// Seconds that it has from the renewal on; 0: it is lost.
    pub ttl: i64,
    /// Why it is lost; this is the last event then.
    pub lost: Option<Error>,
}

/// A consumer of what is told of a lease.
pub(super) fn calling(mut consumer: Consumer<KeepAliveEvent>) -> Addressee<'static> {
    Addressee::Consumer(Box::new(move |content| {
        if let Content::KeepAlive(event) = content {
            consumer(event);
        }
    }))
}

/// A queue for what is told of a lease. Without the queue the lease is kept as before.
pub(super) fn queued<'a>(queue: &'a EventQueue, kind: SourceKind, tag: Box<dyn Any + Send + Sync>) -> Addressee<'a> {
    Addressee::Queue(Queued { queue, kind, tag, queue_end: Box::new(|| {}) })
}

/// Hears of a lease on the thread that renews it, and must not keep that.
pub(crate) trait Listener: Send + Sync {
    /// It was renewed, and has so many seconds.
    fn renewed(&self, lease: i64, ttl: i64);
    /// It is lost. Once, and last.
    fn lost(&self, lease: i64, error: Error);
}

impl Listener for Arc<Outbox> {
    fn renewed(&self, lease: i64, ttl: i64) {
        self.push(Content::KeepAlive(KeepAliveEvent { lease, ttl, lost: None }));
    }

    fn lost(&self, lease: i64, error: Error) {
        self.end(Content::KeepAlive(KeepAliveEvent { lease, ttl: 0, lost: Some(error) }));
    }
}

/// Nobody listens.
impl Listener for () {
    fn renewed(&self, _: i64, _: i64) {}
    fn lost(&self, _: i64, _: Error) {}
}

/// Keeps a lease alive until it is dropped. The lease stays then, for as long as it has.
pub struct KeepAlive {
    keeping: Keeping,
    outbox: Option<OutboxHandle>,
}

impl Client {
    /// Renews a lease, and from then on whenever a third of the time granted has passed. `consumer` is told of each
    /// renewal and of the loss, on the client's delivery thread, once [`KeepAlive::start`] allows it.
    ///
    /// A lease that is gone is [`Error::LeaseExpired`].
    pub fn keep_alive(
        &self,
        lease: i64,
        consumer: Option<Consumer<KeepAliveEvent>>,
        call: &CallOptions,
    ) -> Result<KeepAlive> {
        self.begin_keep_alive(lease, consumer.map(calling), call)
    }

    /// The same, and lets `queue` have the events, each with the tag, once [`KeepAlive::start`] allows it. Of renewals
    /// that were not taken only the latest is kept. The tag is dropped with the last event, or before this returns an
    /// error. The lease is kept also when the queue is gone.
    pub fn keep_alive_into(
        &self,
        lease: i64,
        queue: &EventQueue,
        tag: Box<dyn Any + Send + Sync>,
        call: &CallOptions,
    ) -> Result<KeepAlive> {
        self.begin_keep_alive(lease, Some(queued(queue, SourceKind::KeepAlive, tag)), call)
    }

    fn begin_keep_alive(&self, lease: i64, addressee: Option<Addressee<'_>>, call: &CallOptions) -> Result<KeepAlive> {
        let sent = BootTime::now();
        let ttl = self.lease_refresh(lease, call)?;
        let outbox = addressee.map(|addressee| OutboxHandle::new(addressee, self)).transpose()?;
        let listener: Box<dyn Listener> = match outbox.as_deref() {
            Some(outbox) => Box::new(outbox.clone()),
            None => Box::new(()),
        };
        let keeping = Keeping::begin(self, lease, sent, ttl, listener)?;
        Ok(KeepAlive { keeping, outbox })
    }
}

impl KeepAlive {
    /// Lets callbacks and events begin.
    pub fn start(&self) -> KeepAliveStart {
        KeepAliveStart(self.outbox.as_deref().cloned())
    }

    /// The lease's ID.
    pub fn lease(&self) -> i64 {
        self.keeping.lease()
    }

    /// Whether the lease is lost: gone at the server, or not renewed for so long that it may be.
    pub fn is_lost(&self) -> bool {
        self.keeping.is_lost()
    }

    /// How long the lease certainly lives on; zero once it is lost.
    pub fn remaining(&self) -> Duration {
        self.keeping.remaining()
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.keeping.end();
        if let Some(outbox) = &self.outbox {
            outbox.cancel();
        }
    }
}

/// Lets the callbacks or events of a keep-alive begin, which may be the end of it.
#[must_use]
pub struct KeepAliveStart(Option<Arc<Outbox>>);

impl KeepAliveStart {
    /// From here on they come.
    pub fn allow(self) {
        if let Some(outbox) = &self.0 {
            outbox.start();
        }
    }
}

/// One lease that is kept, without a word on who hears of it.
pub(crate) struct Keeping {
    kept: Arc<Kept>,
    number: u64,
    /// Dropped last: its keeper's thread must have ended, if this is the last.
    client: Client,
}

impl Keeping {
    /// Keeps a lease whose last renewal, or grant, was sent at this moment and gave it so many seconds.
    pub(crate) fn begin(
        client: &Client,
        lease: i64,
        sent: BootTime,
        ttl: i64,
        listener: Box<dyn Listener>,
    ) -> Result<Keeping> {
        let kept = Arc::new(Kept::new(lease, sent, ttl, listener));
        let number = client.shared.keeper.add(&client.shared.channel, &kept)?;
        Ok(Keeping { kept, number, client: client.clone() })
    }

    pub(crate) fn lease(&self) -> i64 {
        self.kept.lease
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.kept.is_lost()
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.kept.remaining()
    }

    /// Has this done on the keeper's thread, whenever it is called, as long as the lease is kept.
    pub(crate) fn add_chore(&self, chore: Chore) {
        self.client.shared.keeper.add_chore(self.number, chore);
    }

    /// Calls the chore.
    pub(crate) fn call_chore(&self) {
        self.client.shared.keeper.call_chore(self.number);
    }

    /// Takes it for lost, and tells nobody: its owner has given it up.
    pub(crate) fn give_up(&self) {
        self.end();
        self.kept.give_up();
    }

    /// Keeps it no longer; nobody hears of it any more once this returns, but for what is being told.
    pub(crate) fn end(&self) {
        self.client.shared.keeper.remove(self.number);
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.end();
    }
}
