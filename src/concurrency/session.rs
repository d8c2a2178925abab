//! Sessions: a lease that is kept alive, on which mutexes and elections stand, as in Go's `concurrency.Session`.

use super::keepalive::{KeepAliveEvent, Keeping, Listener, calling, queued};
use super::leftovers::Leftovers;
use super::outbox::{Addressee, Consumer, Outbox, OutboxHandle};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Reason, Result};
use crate::event_queue::{EventQueue, SourceKind};
use crate::limits;
use crate::log::Level;
use crate::net::{BootTime, CancelToken, lock, no_descriptor};
use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a session is made from.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Seconds that its lease lives on without it.
    pub ttl: i64,
    /// A lease to adopt, with the time it was granted; 0: a new one.
    pub lease: i64,
    /// Bounds the start.
    pub call: CallOptions,
}

/// clientv3's `defaultSessionTTL`.
pub const DEFAULT_TTL_S: i64 = 60;

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions { ttl: DEFAULT_TTL_S, lease: 0, call: CallOptions::default() }
    }
}

/// A session. It ends with its value, at the server too; what stands on it keeps nothing of that alive.
pub struct Session(Arc<SessionState>);

/// A session as what stands on it sees it.
pub(super) struct SessionState {
    pub client: Client,
    pub lease: i64,
    /// Triggered once the session is lost or closed: it ends what waits on it.
    pub over: Arc<CancelToken>,
    keeping: Keeping,
    pub(super) leftovers: Arc<Leftovers>,
    outbox: Option<OutboxHandle>,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Kept,
    Orphaned,
    Closed,
}

/// Hears of the lease's loss.
struct OfSession {
    over: Arc<CancelToken>,
    outbox: Option<Arc<Outbox>>,
}

impl Listener for OfSession {
    fn renewed(&self, _: i64, _: i64) {}

    fn lost(&self, lease: i64, error: Error) {
        self.over.trigger();
        if let Some(outbox) = &self.outbox {
            outbox.lost(lease, error);
        }
    }
}

impl Client {
    /// Begins a session. `consumer` is told when its lease is lost, once, on the client's delivery thread, as soon as
    /// [`Session::start`] allows it.
    pub fn session(&self, options: &SessionOptions, consumer: Option<Consumer<KeepAliveEvent>>) -> Result<Session> {
        self.begin_session(options, consumer.map(calling))
    }

    /// Begins a session, and lets `queue` have the loss of its lease as an event with the tag, as soon as
    /// [`Session::start`] allows it. The tag is dropped with that event, or with the session, or before this returns an
    /// error. The session goes on also when the queue is gone.
    pub fn session_into(
        &self,
        options: &SessionOptions,
        queue: &EventQueue,
        tag: Box<dyn Any + Send + Sync>,
    ) -> Result<Session> {
        self.begin_session(options, Some(queued(queue, SourceKind::Session, tag)))
    }

    fn begin_session(&self, options: &SessionOptions, addressee: Option<Addressee<'_>>) -> Result<Session> {
        if options.lease == 0 && options.ttl <= 0 {
            return Err(Error::invalid(format!("ttl is {}, but must be positive", options.ttl)));
        }
        let over = Arc::new(CancelToken::new().map_err(no_descriptor)?);
        let outbox = addressee.map(|addressee| OutboxHandle::new(addressee, self)).transpose()?;
        // Before it is sent: the server counts from later on.
        let sent = BootTime::now();
        let (lease, ttl) = self.lease_of_session(options)?;
        let listener = Box::new(OfSession { over: over.clone(), outbox: outbox.as_deref().cloned() });
        let keeping = Keeping::begin(self, lease, sent, ttl, listener).inspect_err(|_| {
            if options.lease == 0 {
                self.give_lease_back(lease, &CallOptions::within(limits::TIDYING_TIMEOUT));
            }
        })?;
        let leftovers = Arc::<Leftovers>::default();
        keeping.add_chore(leftovers.chore(self));
        let (client, phase) = (self.clone(), Mutex::new(Phase::Kept));
        Ok(Session(Arc::new(SessionState { client, lease, over, keeping, leftovers, outbox, phase })))
    }

    /// A new lease, or the one to adopt, and its seconds.
    fn lease_of_session(&self, options: &SessionOptions) -> Result<(i64, i64)> {
        if options.lease != 0 {
            return Ok((options.lease, self.lease_refresh(options.lease, &options.call)?));
        }
        let lease = self.grant_or_nothing(options.ttl, &options.call)?;
        Ok((lease.id, lease.ttl))
    }

    /// Grants a lease, and leaves none behind where that fails, as far as that can be helped.
    pub(super) fn grant_or_nothing(
        &self,
        ttl: i64,
        call: &CallOptions,
    ) -> Result<crate::rpc::lease::LeaseGrantResponse> {
        let id = Client::new_lease_id()?;
        match self.lease_grant_new(ttl, id, call) {
            Ok(granted) => Ok(granted.into_parts().1),
            Err(error) => {
                if error.may_have_applied() {
                    self.give_lease_back(id, &CallOptions::within(limits::TIDYING_TIMEOUT));
                }
                Err(error)
            }
        }
    }

    /// Revokes a lease that nobody needs; what can't be revoked runs out.
    pub(super) fn give_lease_back(&self, lease: i64, call: &CallOptions) {
        match self.lease_revoke(lease, call) {
            Err(error) if error.reason() != Reason::LeaseNotFound => {
                let why = error.full_message();
                self.shared
                    .channel
                    .logger()
                    .log(Level::Info, format_args!("lease {lease:x} is left to run out: {why}"));
            }
            _ => {}
        }
    }
}

impl Session {
    /// Lets the callback or the event come, which may be the end of the session: from here on its value may be gone.
    pub fn start(&self) -> SessionStart {
        SessionStart(self.0.outbox.as_deref().cloned())
    }

    /// The lease's ID.
    pub fn lease(&self) -> i64 {
        self.0.lease
    }

    /// Whether the lease is lost or given up: what stood on it is no longer this session's.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// How long the lease certainly lives on, even if it is never renewed again; zero once it is lost.
    pub fn remaining(&self) -> Duration {
        self.0.keeping.remaining()
    }

    /// Keeps the lease no longer, and leaves it, with all that stands on it, to another session or to its end. Nothing
    /// is told of it any more.
    pub fn orphan(&self) {
        let state = self.0.clone();
        let mut phase = lock(&state.phase);
        if *phase == Phase::Kept {
            *phase = Phase::Orphaned;
        }
        drop(phase);
        state.stop();
    }

    /// Ends the session: revokes its lease, and with it goes what stood on it. A session whose lease is gone already
    /// ends as well. An error leaves a lease that nobody keeps; a later call tries again.
    pub fn close(&self, call: &CallOptions) -> Result<()> {
        // What belongs to the owner is dropped inside, and with it maybe this.
        let state = self.0.clone();
        if *lock(&state.phase) == Phase::Closed {
            return Ok(());
        }
        state.end_here();
        match state.client.lease_revoke(state.lease, call) {
            Err(error) if error.reason() != Reason::LeaseNotFound => return Err(error),
            _ => {}
        }
        *lock(&state.phase) = Phase::Closed;
        Ok(())
    }

    pub(super) fn state(&self) -> &Arc<SessionState> {
        &self.0
    }
}

impl Drop for Session {
    /// As Go's `Close`: best effort.
    fn drop(&mut self) {
        let is_kept = *lock(&self.0.phase) == Phase::Kept;
        self.0.end_here();
        if is_kept {
            self.0.client.give_lease_back(self.0.lease, &CallOptions::within(limits::FAREWELL_TIMEOUT));
        }
    }
}

impl SessionState {
    pub(super) fn is_lost(&self) -> bool {
        self.keeping.is_lost()
    }

    pub(super) fn is_over(&self) -> Error {
        Error::LeaseExpired { id: self.lease }
    }

    /// The end of the session ends what waits on it as a caller's token does, and is told apart here. So is what a server
    /// says that has no such lease any more, before the next renewal finds that.
    pub(super) fn explain(&self, error: Error) -> Error {
        let ended_by_session = matches!(error, Error::Cancelled { .. }) && self.over.is_triggered();
        if ended_by_session || error.reason() == Reason::LeaseNotFound { self.is_over() } else { error }
    }

    /// Deletes a key that a call which failed would leave behind: see [`Leftovers::part_with`]. Later on the thread that
    /// renews the lease, as long as that is kept.
    pub(super) fn part_with(&self, key: &[u8], revision: Option<i64>, delete: impl FnOnce() -> Result<bool>) {
        if self.leftovers.part_with(key, revision, delete) {
            self.keeping.call_chore();
        }
    }

    fn stop(&self) {
        self.keeping.end();
        if let Some(outbox) = &self.outbox {
            outbox.cancel();
        }
    }

    fn end_here(&self) {
        let is_orphaned = *lock(&self.phase) == Phase::Orphaned;
        self.stop();
        if !is_orphaned {
            self.keeping.give_up();
            self.over.trigger();
        }
    }
}

/// Lets the callback or the event of a session come.
#[must_use]
pub struct SessionStart(Option<Arc<Outbox>>);

impl SessionStart {
    /// From here on it comes.
    pub fn allow(self) {
        if let Some(outbox) = &self.0 {
            outbox.start();
        }
    }
}
