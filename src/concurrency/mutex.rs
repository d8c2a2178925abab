//! Mutexes over a cluster, in the format of Go's `concurrency.Mutex`: Go programs and `etcdctl lock` take turns with
//! them.

use super::contender::Contender;
use super::session::Session;
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::rpc::txn::Compare;
use std::sync::Arc;
use std::time::Duration;

/// One owner's view of a mutex. It stands on a session: what it has goes with that, and that alone tells when. It is
/// the owner of the key `name/lease`, so that all of one session and name are one owner.
///
/// Dropping it releases nothing.
pub struct Mutex(Arc<Contender>);

impl Mutex {
    /// The mutex of this name, for this session. Nothing is sent.
    pub fn new(session: &Session, name: &[u8]) -> Mutex {
        Mutex(Contender::new(session, name))
    }

    /// Locks it, waiting in the order of arrival, at most so long, or without a limit as long as it takes. `call`
    /// bounds each request, and its token ends the wait. False: waited in vain.
    ///
    /// A mutex that is locked by this owner stays so, whatever becomes of another call. Else it is not locked after an
    /// error, and the key is deleted, now or as soon as a member answers.
    pub fn lock(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        self.0.enter(b"", wait, call)
    }

    /// Locks it unless somebody else has it.
    pub fn try_lock(&self, call: &CallOptions) -> Result<bool> {
        self.lock(Some(Duration::ZERO), call)
    }

    /// Unlocks it. [`Error::LeaseExpired`]: it had been lost before, with the session, or with its key, which somebody
    /// else has deleted, or this owner by another value. After another error it may still be locked.
    pub fn unlock(&self, call: &CallOptions) -> Result<()> {
        match self.0.leave(call)? {
            None => Err(Error::FailedPrecondition { what: "the mutex is not locked" }),
            Some(false) => Err(Error::LeaseExpired { id: self.0.session.lease }),
            Some(true) => Ok(()),
        }
    }

    /// The owner's key.
    pub fn key(&self) -> &[u8] {
        self.0.key()
    }

    /// The revision that created the key, which no other owner ever has: a fencing token. 0: it is not locked, or its
    /// session is lost.
    pub fn revision(&self) -> i64 {
        self.0.revision()
    }

    /// The condition, for a transaction of the same namespace, that it is still locked by this owner. None: it isn't.
    pub fn is_owner(&self) -> Option<Compare<'static>> {
        self.0.is_first()
    }

    /// The client of its session.
    pub fn client(&self) -> &Client {
        self.0.client()
    }
}
