//! A place in the line for something that one at a time can have: mutexes and elections are made of it, in the format
//! of Go's `concurrency` package.
//!
//! Each contender has a key below the name, called after its lease and attached to it, so that the line loses those
//! who are gone. The key that was created first has it. Whoever waits, waits for the deletion of the key before its
//! own: no herd.

use super::bounds::{Bounds, Woken, passes};
use super::leftovers::{deletion, has_deleted};
use super::session::{Session, SessionState};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::limits;
use crate::net::lock;
use crate::rpc::kv::{PutRequest, RangeRequest, SortOrder, SortTarget};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use crate::rpc::watch::EventType;
use crate::rpc::{Keys, Response};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One contender.
pub(super) struct Contender {
    pub session: Arc<SessionState>,
    /// Of the keys of those whom it waits for.
    prefix: Vec<u8>,
    key: Vec<u8>,
    place: Mutex<Place>,
    /// A request without an answer may have deleted the key by which it is first.
    may_have_left: AtomicBool,
    /// The revision of the key, while it is in the line, as it is told to the other handles of its session.
    claimed: Mutex<Option<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Not in the line.
    Outside,
    /// A call is on its way in or out.
    Moving,
    /// First in the line, since its key was created at this revision.
    First(i64),
}

/// What a call that enters has done to the line.
#[derive(Default)]
struct Joined {
    /// That created its key.
    revision: Option<i64>,
    /// A request without an answer may have created it.
    may_have: bool,
}

/// Waits until the contender, whose key was created at this revision, may enter. False: waited in vain.
pub(super) type MayEnter<'a> = &'a dyn Fn(&Bounds<'_>, i64) -> Result<bool>;

impl Contender {
    pub(super) fn new(session: &Session, name: &[u8]) -> Arc<Contender> {
        let prefix = [name, b"/"].concat();
        let key = [&*prefix, hexadecimal(session.lease()).as_bytes()].concat();
        Contender::with_key(session, prefix, key)
    }

    /// One with this key, which waits for those before it whose keys have this prefix.
    pub(super) fn with_key(session: &Session, prefix: Vec<u8>, key: Vec<u8>) -> Arc<Contender> {
        let session = session.state().clone();
        let place = Mutex::new(Place::Outside);
        Arc::new(Contender {
            session,
            prefix,
            key,
            place,
            may_have_left: AtomicBool::new(false),
            claimed: Mutex::new(None),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.session.client
    }

    /// Its key, without the client's prefix.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The revision that created its key, while it is first; 0: it isn't, or its session is lost.
    pub(super) fn revision(&self) -> i64 {
        if self.session.is_lost() { 0 } else { self.entered_at() }
    }

    /// The same, also with a session that is lost: who has not left yet is to be told.
    pub(super) fn entered_at(&self) -> i64 {
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
    pub(super) fn enter(&self, value: &[u8], wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        self.enter_when(value, wait, call, None)
    }

    /// The same, but that it waits for something else than to be first.
    pub(super) fn enter_when(
        &self,
        value: &[u8],
        wait: Option<Duration>,
        call: &CallOptions,
        may_enter: Option<MayEnter<'_>>,
    ) -> Result<bool> {
        let bounds = Bounds::of_session(&self.session, wait, call)?;
        let entered = self.enter_within(&bounds, value, may_enter);
        entered.map_err(|error| self.session.explain(error))
    }

    fn enter_within(&self, bounds: &Bounds<'_>, value: &[u8], may_enter: Option<MayEnter<'_>>) -> Result<bool> {
        loop {
            let revision = match self.begin_to_enter(bounds) {
                Err(error) => return bounds.or_in_vain(Err(error)),
                Ok(None) => break,
                Ok(Some(revision)) => revision,
            };
            let is_mine = self.is_mine(revision, bounds);
            if !matches!(is_mine, Ok(false)) {
                self.move_to(Place::First(revision));
                return bounds.or_in_vain(is_mine);
            }
            self.move_to(Place::Outside);
        }
        let mut joined = Joined::default();
        let at_once = self.join(value, bounds, &mut joined);
        self.claim(joined.revision);
        let entered = match (at_once, joined.revision, may_enter) {
            (Ok(_), Some(revision), Some(may_enter)) => may_enter(bounds, revision),
            (Ok(false), Some(revision), None) => bounds.or_in_vain(self.wait_to_be_first(bounds, revision)),
            // Others may go by its key already.
            (Err(error), None, Some(may_enter)) if joined.may_have && error.is_retryable() => {
                joined.revision = self.find(&bounds.tidying()).ok().flatten();
                let unknown = || Err(error.at_the_end_of_time());
                joined.revision.map_or_else(unknown, |revision| may_enter(bounds, revision))
            }
            (at_once, ..) => bounds.or_in_vain(at_once),
        };
        match (&entered, joined.revision) {
            (Ok(true), Some(revision)) => {
                self.may_have_left.store(false, Ordering::SeqCst);
                self.move_to(Place::First(revision));
            }
            (_, None) if !joined.may_have => self.move_to(Place::Outside),
            (_, revision) => self.leave_behind_nothing(revision, &bounds.tidying()),
        }
        entered
    }

    /// Leaves the line. `None`: it was not first. Some(false): it had lost its place before.
    pub(super) fn leave(&self, call: &CallOptions) -> Result<Option<bool>> {
        let Some(revision) = self.begin_to_leave()? else { return Ok(None) };
        let (answer, may_have_left) = self.client().txn_repeated(&deletion(self.key.clone(), Some(revision)), call);
        let may_have_left = self.may_have_left.fetch_or(may_have_left, Ordering::SeqCst) || may_have_left;
        match answer {
            Ok(response) => {
                self.move_to(Place::Outside);
                // Where the key is gone before anything can have deleted it here, it was lost.
                let may_be_own = may_have_left && !self.session.is_lost();
                Ok(Some(has_deleted(&response) || may_be_own))
            }
            Err(error) => {
                self.may_have_left.fetch_or(error.may_have_applied(), Ordering::SeqCst);
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

    /// The same as [`enter`](Contender::enter), but that who is first already goes on with this value, and has left the
    /// line where that failed.
    pub(super) fn stay_or_enter(&self, value: &[u8], wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        let bounds = Bounds::of_session(&self.session, wait, call)?;
        let entered = match self.stay(&bounds, value) {
            Ok(Some(false)) => self.enter_within(&bounds, value, None),
            stays => stays.map(|is_first| is_first.is_some()),
        };
        entered.map_err(|error| self.session.explain(error))
    }

    /// Puts another value into its key while it is first. False: it is not first any more. None: waited in vain. After that
    /// and after an error it has left the line.
    fn stay(&self, bounds: &Bounds<'_>, value: &[u8]) -> Result<Option<bool>> {
        let Some(revision) = self.begin_to_leave()? else { return Ok(Some(false)) };
        let put = bounds.persist(|| self.replace_value(revision, value, bounds));
        match put {
            Ok(Some(true)) => self.move_to(Place::First(revision)),
            Ok(Some(false)) => self.move_to(Place::Outside),
            Ok(None) | Err(_) => self.leave_behind_nothing(Some(revision), &bounds.tidying()),
        }
        put
    }

    /// Takes the place of the one that moves; with the revision, where it is first already.
    fn begin_to_enter(&self, bounds: &Bounds<'_>) -> Result<Option<i64>> {
        let control = self.client().control(&bounds.whole());
        loop {
            let mut place = lock(&self.place);
            match *place {
                Place::Outside if self.session.leftovers.make_way_for(&self.key) => {
                    *place = Place::Moving;
                    return Ok(None);
                }
                Place::Outside => {}
                Place::First(revision) => {
                    *place = Place::Moving;
                    return Ok(Some(revision));
                }
                Place::Moving => return Err(Error::FailedPrecondition { what: BUSY }),
            }
            drop(place);
            let channel = &self.client().shared.channel;
            channel.pause(limits::RETRY_PAUSE_FIRST, &control)?;
        }
    }

    /// None: it was not first.
    pub(super) fn begin_to_leave(&self) -> Result<Option<i64>> {
        let mut place = lock(&self.place);
        match *place {
            Place::First(revision) => {
                *place = Place::Moving;
                Ok(Some(revision))
            }
            Place::Outside => Ok(None),
            Place::Moving => Err(Error::FailedPrecondition { what: BUSY }),
        }
    }

    pub(super) fn move_to(&self, place: Place) {
        if place == Place::Outside {
            self.disclaim();
        }
        *lock(&self.place) = place;
    }

    /// Says to the other handles of its session that the key with this revision is this one's, too; `None`: that it has
    /// found none.
    fn claim(&self, revision: Option<i64>) {
        self.disclaim();
        *lock(&self.claimed) = revision;
        self.session.leftovers.join(&self.key, revision);
    }

    fn disclaim(&self) {
        let claimed = lock(&self.claimed).take();
        if let Some(revision) = claimed {
            self.session.leftovers.disclaim(&self.key, revision);
        }
    }

    /// Creates the key, or finds it. Made once more it finds what it has created, so that a lost answer costs nothing.
    /// Answers whether it is first.
    fn join(&self, value: &[u8], bounds: &Bounds<'_>, joined: &mut Joined) -> Result<bool> {
        let own = TxnOp::Range(RangeRequest::new(Keys::one(&self.key)));
        let first = || TxnOp::Range(self.first_request());
        let request = TxnRequest {
            compare: vec![self.has_create_revision(0)],
            success: vec![self.put_op(value), first()],
            failure: vec![own, first()],
        };
        let response = self.ask_to_join(&request, bounds, &mut joined.may_have)?;
        let found = |index| match response.results.get(index) {
            Some(TxnResult::Range(range)) => range.kvs.first().copied(),
            _ => None,
        };
        let revision = if response.succeeded {
            response.header.revision
        } else {
            let own = found(0).ok_or_else(|| self.session.is_over())?;
            joined.revision = Some(own.create_revision);
            // Of an earlier attempt, or process.
            if response.bytes(own.value) != value && !self.replace_value(own.create_revision, value, bounds)? {
                return Err(self.session.is_over());
            }
            own.create_revision
        };
        joined.revision = Some(revision);
        Ok(found(1).is_some_and(|first| first.create_revision == revision))
    }

    /// Asks until there is an answer, once the server may have done it: the key may be in the line by then.
    fn ask_to_join(
        &self,
        request: &TxnRequest<'_>,
        bounds: &Bounds<'_>,
        may_have_joined: &mut bool,
    ) -> Result<Response<TxnResponse>> {
        loop {
            let error = match self.client().txn_repeatable(request, &bounds.request()) {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            *may_have_joined |= error.may_have_applied();
            if !*may_have_joined || !passes(self.client(), &error) || bounds.has_ended() {
                return Err(error);
            }
            bounds.pause()?;
        }
    }

    /// Where its key was created at this revision; false: it is not there any more.
    fn replace_value(&self, revision: i64, value: &[u8], bounds: &Bounds<'_>) -> Result<bool> {
        let request = TxnRequest {
            compare: vec![self.has_create_revision(revision)],
            success: vec![self.put_op(value)],
            failure: Vec::new(),
        };
        Ok(self.client().txn_repeatable(&request, &bounds.request())?.succeeded)
    }

    /// Waits until all who joined before are gone. False: waited in vain.
    fn wait_to_be_first(&self, bounds: &Bounds<'_>, revision: i64) -> Result<bool> {
        loop {
            let Some(last) = bounds.persist(|| self.last_before(revision, bounds))? else { return Ok(false) };
            let Some((key, seen_at)) = last else { break };
            // Whether it is gone for good is looked at next.
            let key = Keys::One(Cow::Owned(key));
            if bounds.wait_for(key, EventType::Delete, seen_at + 1)? == Woken::InVain {
                return Ok(false);
            }
        }
        // Its own key may be gone by now, with its lease.
        match bounds.persist(|| self.is_mine(revision, bounds))? {
            Some(false) => Err(self.session.is_over()),
            is_first => Ok(is_first.is_some()),
        }
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

    fn is_mine(&self, revision: i64, bounds: &Bounds<'_>) -> Result<bool> {
        Ok(self.find(&bounds.request())? == Some(revision))
    }

    /// The revision that created its key; None: there is no such key.
    fn find(&self, call: &CallOptions) -> Result<Option<i64>> {
        let request = RangeRequest { keys_only: true, ..RangeRequest::new(Keys::one(&self.key)) };
        let response = self.client().range(&request, call)?;
        Ok(response.kvs.first().map(|kv| kv.create_revision))
    }

    /// Deletes its key after a call that failed; later, on the thread that renews the lease, where that doesn't succeed
    /// at once. A key that is left would keep everybody behind it waiting. So would one that a request creates which
    /// reaches the server after all: it is looked for as long as that may be.
    fn leave_behind_nothing(&self, joined: Option<i64>, call: &CallOptions) {
        self.disclaim();
        // With the session goes its key.
        if !self.session.is_lost() {
            self.session.part_with(&self.key, joined, || self.delete_key(joined, call));
        }
        self.move_to(Place::Outside);
    }

    /// Deletes its key, if it was created at this revision. False: there is no such key.
    pub(super) fn delete_key(&self, revision: Option<i64>, call: &CallOptions) -> Result<bool> {
        let response = self.client().txn_repeatable(&deletion(self.key.clone(), revision), call)?;
        Ok(has_deleted(&response))
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
}

const BUSY: &str = "another call on this handle is on its way in or out";

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
