//! Whom an outbox is for, and what it needs for that.

use super::{Consumer, Outbox};
use crate::client::Client;
use crate::error::Result;
use crate::event_queue::{Content, EventQueue, SourceKind};
use crate::watch::DeliveryGuard;
use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

/// Whom the news of a source are for.
pub(crate) enum Addressee<'a> {
    Consumer(Consumer<Content>),
    Queue(Queued<'a>),
}

/// A queue that news are for.
pub(crate) struct Queued<'a> {
    pub queue: &'a EventQueue,
    /// What they come from.
    pub kind: SourceKind,
    pub tag: Box<dyn Any + Send + Sync>,
    /// Ends the source where the queue is gone. Called without a lock.
    pub queue_end: Box<dyn Fn() + Send + Sync>,
}

/// An outbox as the handle of its source has it: with the delivery thread where it needs that, for as long as that lives.
pub(crate) struct OutboxHandle {
    outbox: Arc<Outbox>,
    _guard: Option<Arc<DeliveryGuard>>,
}

impl OutboxHandle {
    /// One that tells nothing before [`start`](Outbox::start) allows it.
    pub(crate) fn new(addressee: Addressee<'_>, client: &Client) -> Result<OutboxHandle> {
        match addressee {
            Addressee::Consumer(consumer) => {
                let guard = client.shared.hub.delivery()?;
                let outbox = Outbox::calling(consumer, guard.delivery().clone());
                Ok(OutboxHandle { outbox, _guard: Some(guard) })
            }
            Addressee::Queue(queued) => Ok(OutboxHandle { outbox: Outbox::queued(queued), _guard: None }),
        }
    }
}

impl Deref for OutboxHandle {
    type Target = Arc<Outbox>;

    fn deref(&self) -> &Arc<Outbox> {
        &self.outbox
    }
}
