//! A place in the line for something that one at a time can have: mutexes and elections are made of it, in the format
//! of Go's `concurrency` package.
//!
//! Each contender has a key below the name, called after its lease and attached to it, so that the line loses those
//! who are gone. The key that was created first has it. Whoever waits, waits for the deletion of the key before its
//! own: no herd.

use super::session::{Session, SessionState};
use crate::client::{CallOptions, Client, TimeLimit};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::limits;
use crate::net::{CancelToken, Control, lock, no_descriptor};
use crate::rpc::kv::{DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, SortOrder, SortTarget};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use crate::rpc::watch::WatchRequest;
use crate::rpc::{Keys, Response};
use crate::watch::WatchOptions;
use std::borrow::Cow;
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One contender.
pub(super) struct Contender {
    pub session: Arc<SessionState>,
    /// Of the keys of those whom it waits for.
    prefix: Vec<u8>,
    key: Vec<u8>,
    place: Mutex<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not in the line.
    Outside,
    /// A call is on its way in or out.
    Moving,
    /// First in the line, since its key was created at this revision.
    First(i64),
    /// A failed call may have left a key behind, which is being deleted.
    Leaving,
}

impl Contender {
    pub(super) fn new(session: &Session, name: &[u8]) -> Arc<Contender> {
        let prefix = [name, b"/"].concat();
        let key = [&*prefix, hexadecimal(session.lease()).as_bytes()].concat();
        Contender::with_key(session, prefix, key)
    }

    /// One with this key, which waits for those before it whose keys have this prefix.
    pub(super) fn with_key(session: &Session, prefix: Vec<u8>, key: Vec<u8>) -> Arc<Contender> {
        let session = session.state().clone();
        Arc::new(Contender { session, prefix, key, place: Mutex::new(Place::Outside) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.session.client
    }

    /// Its key, without the client's prefix.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The revision that created its key, while it is first; 0: it isn't.
    pub(super) fn revision(&self) -> i64 {
        match *lock(&self.place) {
            Place::First(revision) => revision,
            _ => 0,
        }
    }

    /// The condition that it is still first. None: it is not, as far as it knows.
    pub(super) fn is_first(&self) -> Option<Compare<'static>> {
        Some(self.revision()).filter(|revision| *revision != 0).map(|revision| self.has_create_revision(revision))
    }

    /// Who is first in the line now, whoever that is.
    pub(super) fn first_of_all(&self, call: &CallOptions) -> Result<Response<crate::rpc::kv::RangeResponse>> {
        self.client().range(&self.first_request(), call)
    }

    /// The keys of all contenders.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Joins the line and waits to be first, at most so long. False: waited in vain, and left the line. Where the key
    /// is there already, from an earlier process with the same lease, it keeps its place.
    pub(super) fn enter(
        self: &Arc<Contender>,
        value: &[u8],
        wait: Option<Duration>,
        call: &CallOptions,
    ) -> Result<bool> {
        let bounds = Bounds::new(&self.session, wait, call)?;
        if let Some(revision) = self.begin_to_enter(&bounds)? {
            match self.is_mine(revision, &bounds) {
                Ok(true) => {
                    self.move_to(Place::First(revision));
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error) => {
                    self.move_to(Place::First(revision));
                    return Err(self.explain(error));
                }
            }
        }
        let mut joined = None;
        let entered = match self.join(value, &bounds, &mut joined) {
            Ok(false) => self.wait_to_be_first(&bounds, joined),
            at_once => at_once,
        };
        match (entered, joined) {
            (Ok(true), Some(revision)) => {
                self.move_to(Place::First(revision));
                Ok(true)
            }
            (Err(error), None) if !bounds.may_have_joined.get() => {
                self.move_to(Place::Outside);
                Err(self.explain(error))
            }
            (entered, joined) => {
                self.leave_behind_nothing(joined);
                entered.map_err(|error| self.explain(error))
            }
        }
    }

    /// Leaves the line. `None`: it was not first. Some(false): it had lost its place before.
    pub(super) fn leave(self: &Arc<Contender>, call: &CallOptions) -> Result<Option<bool>> {
        let Some(revision) = self.begin_to_leave()? else { return Ok(None) };
        match self.delete_key(Some(revision), call) {
            Ok(deleted) => {
                self.move_to(Place::Outside);
                Ok(Some(deleted || !self.session.is_lost()))
            }
            Err(error) => {
                self.move_to(Place::First(revision));
                Err(error)
            }
        }
    }

    /// Puts another value into its key. False: it is not first any more.
    pub(super) fn put(&self, value: &[u8], call: &CallOptions) -> Result<bool> {
        let Some(is_first) = self.is_first() else { return Ok(false) };
        let request = TxnRequest { compare: vec![is_first], success: vec![self.put_op(value)], failure: Vec::new() };
        Ok(self.client().txn_repeatable(&request, call)?.succeeded)
    }

    /// Takes the place of the one that moves; with the revision, where it is first already.
    fn begin_to_enter(&self, bounds: &Bounds<'_>) -> Result<Option<i64>> {
        let control = self.client().control(&bounds.request());
        loop {
            let mut place = lock(&self.place);
            match *place {
                Place::Outside => {
                    *place = Place::Moving;
                    return Ok(None);
                }
                Place::First(revision) => {
                    *place = Place::Moving;
                    return Ok(Some(revision));
                }
                Place::Moving => return Err(Error::FailedPrecondition { what: BUSY }),
                // Not before the key is deleted, which would be the new one else.
                Place::Leaving => {}
            }
            drop(place);
            let channel = &self.client().shared.channel;
            channel.pause(limits::RETRY_PAUSE_FIRST, &control).map_err(|error| self.explain(error))?;
        }
    }

    fn begin_to_leave(&self) -> Result<Option<i64>> {
        let mut place = lock(&self.place);
        match *place {
            Place::First(revision) => {
                *place = Place::Moving;
                Ok(Some(revision))
            }
            Place::Outside => Ok(None),
            Place::Moving | Place::Leaving => Err(Error::FailedPrecondition { what: BUSY }),
        }
    }

    fn move_to(&self, place: Place) {
        *lock(&self.place) = place;
    }

    /// Creates the key, or finds it. Made once more it finds what it has created, so that a lost answer costs nothing.
    /// Answers whether it is first.
    fn join(&self, value: &[u8], bounds: &Bounds<'_>, joined: &mut Option<i64>) -> Result<bool> {
        let own = TxnOp::Range(RangeRequest::new(Keys::One(Cow::Borrowed(&self.key))));
        let first = || TxnOp::Range(self.first_request());
        let request = TxnRequest {
            compare: vec![self.has_create_revision(0)],
            success: vec![self.put_op(value), first()],
            failure: vec![own, first()],
        };
        let response = self.ask_to_join(&request, bounds)?;
        let found = |index| match response.results.get(index) {
            Some(TxnResult::Range(range)) => range.kvs.first().copied(),
            _ => None,
        };
        let revision = if response.succeeded {
            response.header.revision
        } else {
            let own = found(0).ok_or_else(|| self.is_over())?;
            *joined = Some(own.create_revision);
            // Of an earlier attempt, or process.
            if response.bytes(own.value) != value && !self.replace_value(own, value, bounds)? {
                return Err(self.is_over());
            }
            own.create_revision
        };
        *joined = Some(revision);
        Ok(found(1).is_some_and(|first| first.create_revision == revision))
    }

    /// Asks until there is an answer, once the server may have done it: the key may be in the line by then.
    fn ask_to_join(&self, request: &TxnRequest<'_>, bounds: &Bounds<'_>) -> Result<Response<TxnResponse>> {
        loop {
            let error = match self.client().txn_repeatable(request, &bounds.request()) {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            bounds.may_have_joined.set(bounds.may_have_joined.get() || error.may_have_applied());
            if !bounds.may_have_joined.get() || !error.is_retryable() || bounds.has_ended() {
                return Err(error);
            }
            bounds.pause()?;
        }
    }

    fn replace_value(&self, found: KeyValue, value: &[u8], bounds: &Bounds<'_>) -> Result<bool> {
        let request = TxnRequest {
            compare: vec![self.has_create_revision(found.create_revision)],
            success: vec![self.put_op(value)],
            failure: Vec::new(),
        };
        Ok(self.client().txn_repeatable(&request, &bounds.request())?.succeeded)
    }

    /// Waits until all who joined before are gone. False: waited in vain.
    fn wait_to_be_first(&self, bounds: &Bounds<'_>, joined: Option<i64>) -> Result<bool> {
        let Some(revision) = joined else { return Err(self.is_over()) };
        let mut has_waited = false;
        loop {
            match bounds.persist(|| self.last_before(revision, bounds)) {
                Ok(Some((key, seen_at))) => {
                    if bounds.has_ended() || !self.wait_for_deletion(&key, seen_at, bounds)? {
                        return Ok(false);
                    }
                    has_waited = true;
                }
                Ok(None) => break,
                // Somebody was before it when it was last told.
                Err(Error::Deadline { .. }) if has_waited && bounds.has_ended() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // Its own key may be gone by now, with its lease.
        if bounds.persist(|| self.is_mine(revision, bounds))? { Ok(true) } else { Err(self.is_over()) }
    }

    /// The last key that was created before this revision, and the store's revision then.
    fn last_before(&self, revision: i64, bounds: &Bounds<'_>) -> Result<Option<(Vec<u8>, i64)>> {
        let request = RangeRequest {
            limit: 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            max_create_revision: revision - 1,
            keys_only: true,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(&self.prefix)))
        };
        let response = self.client().range(&request, &bounds.request())?;
        let last = response.kvs.first();
        Ok(last.map(|kv| (response.bytes(kv.key).to_vec(), response.header.revision)))
    }

    /// False: waited in vain.
    fn wait_for_deletion(&self, key: &[u8], seen_at: i64, bounds: &Bounds<'_>) -> Result<bool> {
        let request = WatchRequest {
            keys: Keys::One(Cow::Owned(key.to_vec())),
            start_revision: seen_at + 1,
            no_put: true,
            no_delete: false,
            prev_kv: false,
        };
        match self.client().watch_once(WatchOptions { call: bounds.wait(), ..WatchOptions::new(request) }) {
            // Whether it is gone for good is looked at next.
            Ok(_) | Err(Error::Compacted { .. }) => Ok(true),
            Err(Error::Deadline { .. }) if bounds.has_ended() => Ok(false),
            Err(error) if error.is_retryable() => bounds.pause().map(|()| true),
            Err(error) => Err(error),
        }
    }

    fn is_mine(&self, revision: i64, bounds: &Bounds<'_>) -> Result<bool> {
        let request = RangeRequest { keys_only: true, ..RangeRequest::new(Keys::One(Cow::Borrowed(&self.key))) };
        let response = self.client().range(&request, &bounds.request())?;
        Ok(response.kvs.first().is_some_and(|kv| kv.create_revision == revision))
    }

    /// Deletes its key after a call that failed; later, on the thread that renews the lease, where that doesn't succeed
    /// at once. A key that is left would keep everybody behind it waiting.
    fn leave_behind_nothing(self: &Arc<Contender>, joined: Option<i64>) {
        let call = CallOptions { timeout: TimeLimit::After(limits::TIDYING_TIMEOUT), cancel: None };
        // With the session goes its key.
        if self.session.is_lost() || self.delete_key(joined, &call).is_ok() {
            return self.move_to(Place::Outside);
        }
        self.move_to(Place::Leaving);
        let tidying = Tidying(self.clone());
        self.session.keeping().add_chore(Box::new(move |control: &Control| {
            let left = control.deadline.remaining().map_or(TimeLimit::Default, TimeLimit::After);
            let call = CallOptions { timeout: left, cancel: control.cancel.clone() };
            tidying.0.delete_key(joined, &call).is_ok()
        }));
    }

    /// Deletes its key, if it was created at this revision. False: there is no such key.
    fn delete_key(&self, revision: Option<i64>, call: &CallOptions) -> Result<bool> {
        let delete = DeleteRangeRequest { keys: Keys::One(Cow::Borrowed(&self.key)), prev_kv: false, all: false };
        let request = TxnRequest {
            compare: revision.map(|revision| self.has_create_revision(revision)).into_iter().collect(),
            success: vec![TxnOp::DeleteRange(delete)],
            failure: Vec::new(),
        };
        Ok(self.client().txn_repeatable(&request, call)?.succeeded)
    }

    fn put_op<'a>(&'a self, value: &'a [u8]) -> TxnOp<'a> {
        let (key, value) = (Cow::Borrowed(&*self.key), Cow::Borrowed(value));
        TxnOp::Put(PutRequest { key, value, lease: self.session.lease, ..PutRequest::default() })
    }

    fn has_create_revision(&self, revision: i64) -> Compare<'static> {
        Compare {
            keys: Keys::One(Cow::Owned(self.key.clone())),
            op: CompareOp::Equal,
            target: CompareTarget::CreateRevision(revision),
        }
    }

    fn first_request(&self) -> RangeRequest<'_> {
        RangeRequest {
            limit: 1,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(&self.prefix)))
        }
    }

    fn is_over(&self) -> Error {
        Error::LeaseExpired { id: self.session.lease }
    }

    /// The end of the session ends what waits on it as a caller's token does, and is told apart here.
    fn explain(&self, error: Error) -> Error {
        let ended_by_session = matches!(error, Error::Cancelled { .. }) && self.session.over.is_triggered();
        if ended_by_session { self.is_over() } else { error }
    }
}

const BUSY: &str = "another call on this handle is on its way in or out";

/// A key that is to be deleted. It is outside once that is done, and also where nobody needs it any more.
struct Tidying(Arc<Contender>);

impl Drop for Tidying {
    fn drop(&mut self) {
        self.0.move_to(Place::Outside);
    }
}

/// The limits of a call that waits.
struct Bounds<'a> {
    client: &'a Client,
    /// When the wait is over; `None`: there is to be none.
    wait: Option<Deadline>,
    call: CallOptions,
    /// A request without an answer may have created the key.
    may_have_joined: Cell<bool>,
}

impl Bounds<'_> {
    fn new<'a>(session: &'a SessionState, wait: Option<Duration>, call: &CallOptions) -> Result<Bounds<'a>> {
        let cancel = match &call.cancel {
            None => session.over.clone(),
            Some(own) => {
                let both = CancelToken::with(vec![session.over.clone(), own.clone()]);
                Arc::new(both.map_err(no_descriptor)?)
            }
        };
        let wait = match wait {
            Some(Duration::ZERO) => None,
            Some(limit) => Some(Deadline::after(limit)),
            None => Some(Deadline::NEVER),
        };
        let call = CallOptions { timeout: call.timeout, cancel: Some(cancel) };
        Ok(Bounds { client: &session.client, wait, call, may_have_joined: Cell::new(false) })
    }

    fn has_ended(&self) -> bool {
        self.wait.is_none_or(Deadline::has_passed)
    }

    /// For one request: within its own limit, and within the wait's where there is one.
    fn request(&self) -> CallOptions {
        let own = self.client.deadline(self.call.timeout);
        let left = self.wait.and_then(Deadline::remaining).map_or(own, |left| own.at_most(left)).remaining();
        CallOptions { timeout: left.map_or(TimeLimit::Never, TimeLimit::After), cancel: self.call.cancel.clone() }
    }

    /// For what lasts as long as the wait.
    fn wait(&self) -> CallOptions {
        let left = self.wait.and_then(Deadline::remaining);
        CallOptions { timeout: left.map_or(TimeLimit::Never, TimeLimit::After), cancel: self.call.cancel.clone() }
    }

    /// Asks until there is an answer, as long as the wait lasts: a cluster that is away for a while is no reason to
    /// leave the line.
    fn persist<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            match ask() {
                Err(error) if error.is_retryable() && !self.has_ended() => self.pause()?,
                answered => return answered,
            }
        }
    }

    fn pause(&self) -> Result<()> {
        let control = self.client.control(&self.wait());
        match self.client.shared.channel.pause(limits::RETRY_PAUSE_LONGEST, &control) {
            Err(Error::Deadline { .. }) => Ok(()),
            paused => paused,
        }
    }
}

/// As Go's `%x`: a negative number has a sign.
fn hexadecimal(lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_after_leases_as_go_prints_them() {
        assert_eq!(hexadecimal(0x694d_71ca_10e3), "694d71ca10e3");
        assert_eq!(hexadecimal(-16), "-10");
        assert_eq!(hexadecimal(i64::MIN), "-8000000000000000");
    }
}
