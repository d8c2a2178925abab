//! A mirror: a local copy of every key with a prefix, always consistent, for programs that read far more than they write.
//!
//! ```text
//! Mirror        the handle; waiting proves that the copy has come to a revision
//! rebuild       makes the copy: a scan at one revision, followed by a watch from the next one
//!   ▼
//! keeper        applies what the watch tells, on the thread that reads it
//!   │ ▼
//!   │ outbox    the changes for whoever wants to know (change), until they are taken (untold)
//!   ▼
//! shared        the account of it, and what is published
//!   ▼
//! snapshot      one state of the keys, which stays as it is; tree, sorted and entry are what it is made of
//! ```
//!
//! Whole revisions are applied at once, so that no snapshot shows a part of a transaction. Readers take the snapshot that
//! is published and wait for nobody; a change copies the few nodes of the tree that lead to it, and shares all else with
//! the states before. No consumer keeps the copy from going on, of whatever it is: who is slow hears of it later.

mod change;
mod entry;
mod keeper;
mod outbox;
mod rebuild;
mod shared;
mod snapshot;
mod sorted;
mod tree;
mod untold;
mod waiting;

pub use change::{ChangeKind, MirrorChange, MirrorEvent};
pub use entry::Entry;
pub use snapshot::{Range, Snapshot};

use crate::client::{CallOptions, Client, TimeLimit};
use crate::concurrency::bounds::lacks_history;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::event_queue::EventQueue;
use crate::net::{CancelToken, Control, no_descriptor};
use crate::watch::DeliveryGuard;
use keeper::Keeper;
use outbox::Outbox;
use rebuild::Limit;
use shared::Shared;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use waiting::Waiting;

/// Takes the changes of a mirror, on the client's delivery thread, once lookups show them. Where it is so slow that what
/// waits for it comes to as much as a watch may keep, [`ChangeKind::Rebuilt`] takes its place.
pub type MirrorConsumer = Box<dyn FnMut(MirrorChange) + Send>;

/// What to mirror.
#[derive(Clone, Debug, Default)]
pub struct MirrorOptions {
    /// Every key that starts so; empty: every key.
    pub prefix: Vec<u8>,
    /// Bounds the making of the first copy.
    pub call: CallOptions,
}

/// A mirror; it ends with the last of its clones. It keeps what it needs of its client.
///
/// It goes on over lost connections and restarted servers as a watch does. Where the history that it needs is compacted
/// away it makes its copy anew in the background; lookups show the old one until then. It ends when it may no longer read
/// the keys, and when its client is closed: lookups then go on from the copy as it was, which grows old.
#[derive(Clone)]
pub struct Mirror(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    outbox: Option<Arc<Outbox>>,
    _guard: Option<Arc<DeliveryGuard>>,
    /// Dropped last.
    client: Client,
}

impl Client {
    /// Opens a mirror; returns when the first copy is complete and its watch confirmed. From then on the copy follows what
    /// happens, which is told once [`Mirror::start`] allows it. The consumer is dropped after its last call, or before this
    /// returns an error.
    pub fn mirror(&self, options: MirrorOptions, consumer: Option<MirrorConsumer>) -> Result<Mirror> {
        let guard = consumer.is_some().then(|| self.shared.hub.delivery()).transpose()?;
        let outbox = consumer
            .zip(guard.as_ref())
            .map(|(consumer, guard)| Outbox::calling(consumer, guard.delivery().clone(), self.shared.hub.buffers()));
        self.begin_mirror(options, outbox, guard)
    }

    /// The same, where `queue` is to have the changes, each with the tag. That is dropped with the last event, or before
    /// this returns an error. The mirror outlives the queue: as a copy of which nothing is told any more.
    pub fn mirror_into(
        &self,
        options: MirrorOptions,
        queue: &EventQueue,
        tag: Box<dyn Any + Send + Sync>,
    ) -> Result<Mirror> {
        let outbox = Outbox::queued(queue, tag, self.shared.hub.buffers());
        self.begin_mirror(options, Some(outbox), None)
    }

    fn begin_mirror(
        &self,
        options: MirrorOptions,
        outbox: Option<Arc<Outbox>>,
        guard: Option<Arc<DeliveryGuard>>,
    ) -> Result<Mirror> {
        match self.first_copy(options, outbox.clone()) {
            Ok(shared) => Ok(Mirror(Arc::new(Handle { shared, outbox, _guard: guard, client: self.clone() }))),
            Err(error) => {
                outbox.inspect(|outbox| outbox.abandon());
                Err(error)
            }
        }
    }

    fn first_copy(&self, options: MirrorOptions, outbox: Option<Arc<Outbox>>) -> Result<Arc<Shared>> {
        let control = self.control(&options.call);
        let stop = CancelToken::new().map_err(no_descriptor)?;
        let shared = Arc::new(Shared::new(options.prefix, stop));
        let keeper = Keeper::new(shared.clone(), self, outbox);
        let mut losses = 0;
        loop {
            match self.try_first_copy(&keeper, &control) {
                // Compacted away while it was made, or before the watch went on from it.
                Err(error) if lacks_history(&error) => {
                    self.shared.channel.pause(rebuild::pause(losses), &control)?;
                    losses += 1;
                }
                done => return done.map(|()| shared),
            }
        }
    }

    fn try_first_copy(&self, keeper: &Arc<Keeper>, control: &Control) -> Result<()> {
        let (tree, header) = rebuild::copy(self, &keeper.shared.prefix, &Limit::Whole(control.clone()))?;
        let mut watched = keeper.watch_options(header.revision.saturating_add(1));
        let timeout = control.deadline.remaining().map_or(TimeLimit::Never, TimeLimit::After);
        watched.call = CallOptions { timeout, cancel: control.cancel.clone() };
        // The watch goes on from it at once.
        keeper.begin(tree, header);
        let watch = self.watch_inline(watched, keeper.as_consumer())?;
        keeper.shared.follow_first(&watch);
        Ok(())
    }
}

impl Mirror {
    /// Lets the changes of the copy be told.
    pub fn start(&self) {
        if let Some(outbox) = &self.0.outbox {
            outbox.start();
        }
    }

    /// The keys as they are now. Takes no network and waits for nobody; what is looked up in one snapshot is of one
    /// revision.
    pub fn snapshot(&self) -> Snapshot {
        self.0.shared.snapshot()
    }

    /// What the keys of this mirror start with.
    pub fn prefix(&self) -> &[u8] {
        &self.0.shared.prefix
    }

    /// The revision that the copy shows. It grows also by what happens to other keys, as far as that is known.
    pub fn revision(&self) -> i64 {
        self.0.shared.revision()
    }

    /// Waits until the copy shows a revision, at most so long, or without a limit as long as it takes; 0: the store's
    /// revision at this moment. False: waited in vain. The cluster is asked where no event says it.
    ///
    /// When the mirror has ended it is the error that it ended with, unless the copy shows the revision already.
    pub fn wait_for_revision(&self, revision: i64, limit: Option<Duration>) -> Result<bool> {
        let deadline = limit.map_or(Deadline::NEVER, Deadline::after);
        Waiting { shared: &self.0.shared, client: &self.0.client, deadline }.wait(revision)
    }

    /// How long ago the copy was last known to be the latest there was: by its being made, an event, progress, or a wait
    /// for a revision that asked the cluster.
    pub fn age(&self) -> Duration {
        self.0.shared.age()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(outbox) = &self.outbox {
            outbox.cancel();
        }
        self.shared.free();
    }
}
