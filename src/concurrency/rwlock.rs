//! Read-write locks over a cluster, in the format of Go's `recipes.RWMutex`: many readers at the same time, or one
//! writer. Who comes waits for all who came before and can't be with it, so that neither side starves.

use super::contender::Contender;
use super::session::Session;
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// One owner's view of a read-write lock. It stands on a session, as a mutex does, but each value is an owner of its
/// own. It is locked for reading or for writing, not for both.
///
/// Dropping it releases nothing.
pub struct RwLock {
    reader: Arc<Contender>,
    writer: Arc<Contender>,
}

const LOCKED_OTHERWISE: Error =
    Error::FailedPrecondition { what: "the lock is locked in the other way: unlock it first" };

impl RwLock {
    /// The lock of this name, for this session. Nothing is sent.
    pub fn new(session: &Session, name: &[u8]) -> Result<RwLock> {
        let owner = Client::new_lease_id()?;
        let below = |part: &[u8]| [name, part].concat();
        let key = |part: &str| [name, part.as_bytes(), format!("{owner:x}").as_bytes()].concat();
        Ok(RwLock {
            reader: Contender::with_key(session, below(b"/write"), key("/read/")),
            writer: Contender::with_key(session, below(b"/"), key("/write/")),
        })
    }

    /// Locks it for reading, waiting for the writers that came before, at most so long, or without a limit as long as
    /// it takes. Else as [`Mutex::lock`](super::mutex::Mutex::lock).
    pub fn read(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        if self.writer.revision() != 0 { Err(LOCKED_OTHERWISE) } else { self.reader.enter(b"", wait, call) }
    }

    /// Locks it for writing, waiting for all that came before. Else as [`read`](RwLock::read).
    pub fn write(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        if self.reader.revision() != 0 { Err(LOCKED_OTHERWISE) } else { self.writer.enter(b"", wait, call) }
    }

    /// Unlocks it, however it is locked. Else as [`Mutex::unlock`](super::mutex::Mutex::unlock).
    pub fn unlock(&self, call: &CallOptions) -> Result<()> {
        let entered = if self.reader.entered_at() != 0 { &self.reader } else { &self.writer };
        match entered.leave(call)? {
            None => Err(Error::FailedPrecondition { what: "the lock is not locked" }),
            Some(false) => Err(Error::LeaseExpired { id: self.reader.session.lease }),
            Some(true) => Ok(()),
        }
    }

    /// The key by which it is locked: the writer's where it isn't.
    pub fn key(&self) -> &[u8] {
        self.locked().key()
    }

    /// The revision that created that key, which no other owner ever has: a fencing token. 0: it is not locked.
    pub fn revision(&self) -> i64 {
        self.locked().revision()
    }

    fn locked(&self) -> &Arc<Contender> {
        if self.reader.revision() != 0 { &self.reader } else { &self.writer }
    }
}
