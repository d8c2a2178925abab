//! A place in the line for something that one at a time can have: mutexes and elections are made of it, in the format
//! of Go's `concurrency` package.
//!
//! Each contender has a key below the name, called after its lease and attached to it, so that the line loses those
//! who are gone. The key that was created first has it. Whoever waits, waits for the deletion of the key before its
//! own: no herd.

mod requests;

use super::bounds::{Bounds, Woken};
use super::leftovers::{deletion, has_deleted};
use super::session::{Session, SessionState};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::limits;
use crate::net::lock;
use crate::rpc::Keys;
use crate::rpc::watch::EventType;
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
        let put = bounds.persist(|| self.replace_value(revision, value, &bounds.request()));
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

    /// The server has told that the key of this revision is gone.
    fn lose_place(&self, revision: i64) {
        let mut place = lock(&self.place);
        // Another call may have entered anew meanwhile, or be about to.
        if *place == Place::First(revision) {
            *place = Place::Moving;
            drop(place);
            self.move_to(Place::Outside);
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

    /// Waits until all who joined before are gone. False: waited in vain.
    fn wait_to_be_first(&self, bounds: &Bounds<'_>, revision: i64) -> Result<bool> {
        loop {
            let Some(last) = bounds.persist(|| self.last_before(revision, bounds))? else { return Ok(false) };
            let Some((key, seen_at)) = last else { break };
            // Whether it is gone for good is looked at next.
            let key = Keys::One(Cow::Owned(key));
            if bounds.wait_for(key, EventType::Delete, seen_at)? == Woken::InVain {
                return Ok(false);
            }
        }
        // Its own key may be gone by now, with its lease.
        match bounds.persist(|| self.is_mine(revision, bounds))? {
            Some(false) => Err(self.session.is_over()),
            is_first => Ok(is_first.is_some()),
        }
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
