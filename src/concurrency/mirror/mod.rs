//! A mirror: a local copy of every key with a prefix, always consistent, for programs that read far more than they write.
//!
//! ```text
//! Mirror        the handle; waiting proves that the copy has come to a revision
//! rebuild       makes the copy: a scan at one revision, followed by a watch from the next one
//!   ▼
//! keeper        applies what the watch tells, and tells whoever wants to know (change)
//!   ▼
//! shared        the account of it, and what is published
//!   ▼
//! snapshot      one state of the keys, which stays as it is; tree, sorted and entry are what it is made of
//! ```
//!
//! Whole revisions are applied at once, so that no snapshot shows a part of a transaction. Readers take the snapshot that
//! is published and wait for nobody; a change copies the few nodes of the tree that lead to it, and shares all else with
//! the states before.

mod change;
mod entry;
mod keeper;
mod rebuild;
mod shared;
mod snapshot;
mod sorted;
mod tree;
mod waiting;

pub use change::{ChangeKind, MirrorChange, MirrorEvent};
pub use entry::Entry;
pub use snapshot::{Range, Snapshot};

use crate::client::{CallOptions, Client, TimeLimit};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::net::CancelToken;
use keeper::Keeper;
use rebuild::Limit;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use waiting::Waiting;

/// Takes the changes of a mirror, on the client's delivery thread, once lookups show them.
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
    /// Dropped last: with it may go the delivery thread.
    client: Client,
}

impl Client {
    /// Opens a mirror; returns when the first copy is complete and its watch confirmed. It follows what happens after
    /// [`Mirror::start`]. The consumer is dropped after its last call, or before this returns an error.
    pub fn mirror(&self, options: MirrorOptions, consumer: Option<MirrorConsumer>) -> Result<Mirror> {
        let control = self.control(&options.call);
        let stop = CancelToken::new()
            .map_err(|source| Error::System { what: "an event descriptor", source: Arc::new(source) })?;
        let shared = Arc::new(Shared::new(options.prefix, stop));
        let keeper = Keeper::new(shared.clone(), self, consumer);
        let within = Limit::Whole(control.clone());
        loop {
            let (tree, header) = rebuild::copy(self, &shared.prefix, &within)?;
            let mut watched = keeper.watch_options(header.revision.saturating_add(1));
            let timeout = control.deadline.remaining().map_or(TimeLimit::Never, TimeLimit::After);
            watched.call = CallOptions { timeout, cancel: options.call.cancel.clone() };
            match self.watch(watched, keeper.as_consumer()) {
                Err(Error::Compacted { .. }) => {}
                Err(error) => return Err(error),
                Ok(watch) => {
                    shared.replace(tree, header);
                    shared.follow(&watch);
                    return Ok(Mirror(Arc::new(Handle { shared, client: self.clone() })));
                }
            }
        }
    }
}

impl Mirror {
    /// Lets the copy follow the cluster, and its changes be told.
    pub fn start(&self) {
        if let Some(watch) = self.0.shared.watch() {
            watch.start();
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
    /// When the mirror has ended it is the error that it ended with, and inside its own callback
    /// [`Error::FailedPrecondition`], unless the copy shows the revision already.
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
        self.shared.free();
    }
}
