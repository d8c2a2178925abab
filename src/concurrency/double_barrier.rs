//! Double barriers over a cluster, in the format of Go's `recipes.DoubleBarrier`: so many begin together, and end
//! together.
//!
//! Everybody has a key below `NAME/waiters/` that hangs on a session. The one that completes the number writes
//! `NAME/ready`, and the last one to leave deletes it. Those who leave wait for the first who came; that one waits for
//! all others.

use super::bounds::{Bounds, Woken};
use super::contender::{Contender, Place};
use super::session::Session;
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::limits;
use crate::rpc::Keys;
use crate::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResult};
use crate::rpc::watch::EventType;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// One participant's view of a double barrier. It stands on a session, and each value is a participant of its own.
///
/// Dropping it doesn't leave.
pub struct DoubleBarrier {
    waiter: Arc<Contender>,
    ready: Vec<u8>,
    count: usize,
    /// The revision that opened the barrier for the participant that is inside.
    round: AtomicI64,
}

const FULL: Error = Error::FailedPrecondition { what: "the barrier is full: as many as it is for are inside" };

/// Who is there.
struct Seen {
    /// The revision that last opened the barrier; 0: it is closed.
    opened: i64,
    /// The keys and the revisions that created them, in this order.
    waiters: Vec<(Vec<u8>, i64)>,
    at: i64,
}

impl Seen {
    fn position(&self, revision: i64) -> Option<usize> {
        self.waiters.iter().position(|(_, created)| *created == revision)
    }
}

impl DoubleBarrier {
    /// The barrier of this name for so many participants, for this session. Nothing is sent.
    pub fn new(session: &Session, name: &[u8], count: i64) -> Result<DoubleBarrier> {
        let count = usize::try_from(count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| Error::invalid("count must be positive"))?;
        let waiters = [name, b"/waiters/"].concat();
        let key = [&*waiters, format!("{:x}", Client::new_lease_id()?).as_bytes()].concat();
        let waiter = Contender::with_key(session, waiters, key);
        Ok(DoubleBarrier { waiter, ready: [name, b"/ready"].concat(), count, round: AtomicI64::new(0) })
    }

    /// Enters, waiting until as many are there as the barrier is for, at most so long, or without a limit as long as it
    /// takes. `call` bounds each request, and its token ends the wait. False: waited in vain.
    ///
    /// Who is inside stays so, whatever becomes of another call. Else it isn't inside after an error, and its key is
    /// deleted, now or as soon as a member answers. [`Error::Deadline`]: nobody said in time whether the others have
    /// begun, counting on this one.
    pub fn enter(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        self.waiter.enter_when(b"", wait, call, Some(&|bounds, revision| self.wait_for_others(bounds, revision)))
    }

    /// Leaves, waiting until all others have left or are gone, at most so long. False: waited in vain; it has not left
    /// yet, and may go on leaving.
    pub fn leave(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        let bounds = Bounds::of_session(&self.waiter.session, wait, call)?;
        let revision = self.waiter.begin_to_leave()?;
        let revision = revision.ok_or(Error::FailedPrecondition { what: "the barrier was not entered" })?;
        let left = self.wait_until_all_leave(&bounds, revision);
        self.waiter.move_to(if matches!(left, Ok(true)) { Place::Outside } else { Place::First(revision) });
        left.map_err(|error| self.waiter.session.explain(error))
    }

    fn wait_for_others(&self, bounds: &Bounds<'_>, revision: i64) -> Result<bool> {
        let opened = match self.wait_until_open(bounds, revision) {
            Ok(Some(opened)) => opened,
            Err(error @ (Error::Cancelled { .. } | Error::Closed { .. })) => return Err(error),
            ended => {
                // The others may have begun just now, counting on this one.
                let withdrawn = self.while_closed(revision, Vec::new(), delete(self.waiter.key()), &bounds.tidying());
                match (withdrawn, bounds.or_in_vain(ended.map(|_| false))) {
                    (Ok((false, opened)), _) if opened > revision => opened,
                    (Err(unknown), Ok(_)) => return Err(unknown.at_the_end_of_time()),
                    (Err(_), Err(error)) => return Err(error.at_the_end_of_time()),
                    (_, ended) => return ended,
                }
            }
        };
        self.round.store(opened, Ordering::SeqCst);
        Ok(true)
    }

    /// Answers the revision that opened the barrier. None: waited in vain.
    fn wait_until_open(&self, bounds: &Bounds<'_>, revision: i64) -> Result<Option<i64>> {
        loop {
            let asked = Instant::now();
            let Some(seen) = bounds.persist(|| self.look(bounds))? else { return Ok(None) };
            // Withdrawing takes as long, and must have its answer soon after the end of the wait.
            let spared = (2 * asked.elapsed()).saturating_sub(limits::TIDYING_TIMEOUT).min(limits::TIDYING_LONGEST);
            if seen.opened > revision {
                return Ok(Some(seen.opened));
            }
            let own = seen.position(revision).ok_or_else(|| self.waiter.session.is_over())?;
            // Those of a round before this one leave still.
            let is_in_use = seen.waiters.first().is_some_and(|(_, created)| *created < seen.opened);
            if own >= self.count || is_in_use {
                return Err(FULL);
            }
            if own + 1 == self.count {
                match bounds.persist(|| self.open(&seen, revision, bounds))? {
                    Some((true, opened)) => return Ok(Some(opened)),
                    Some((false, _)) => continue,
                    None => return Ok(None),
                }
            }
            let ready = Keys::one(&self.ready);
            if bounds.wait_sparing(spared, ready, EventType::Put, seen.at)? == Woken::InVain {
                return Ok(None);
            }
        }
    }

    /// Opens the barrier for those who are there, if none of them has gone.
    fn open(&self, seen: &Seen, revision: i64, bounds: &Bounds<'_>) -> Result<(bool, i64)> {
        let counted = seen.waiters.iter().take(self.count).rev().take(limits::BARRIER_CONDITIONS);
        let conditions = counted.map(|(key, created)| Compare::equal(key, CompareTarget::CreateRevision(*created)));
        let put = PutRequest { key: Cow::Borrowed(&self.ready), ..PutRequest::default() };
        self.while_closed(revision, conditions.collect(), TxnOp::Put(put), &bounds.request())
    }

    /// Does something unless the barrier has been opened since this revision. Answers whether it did, and the revision
    /// that opened the barrier, be it by this.
    fn while_closed<'a>(
        &'a self,
        revision: i64,
        mut compare: Vec<Compare<'a>>,
        operation: TxnOp<'a>,
        call: &CallOptions,
    ) -> Result<(bool, i64)> {
        let is_closed = CompareTarget::ModRevision(revision.saturating_add(1));
        compare.push(Compare { op: CompareOp::Less, ..Compare::equal(&self.ready, is_closed) });
        let request = TxnRequest {
            compare,
            success: vec![operation],
            failure: vec![TxnOp::Range(RangeRequest::new(Keys::one(&self.ready)))],
        };
        let response = self.waiter.client().txn_repeatable(&request, call)?;
        let opened = match response.results.first() {
            Some(TxnResult::Range(range)) => range.kvs.first().map_or(0, |kv| kv.mod_revision),
            _ => response.header.revision,
        };
        Ok((response.succeeded, opened))
    }

    fn wait_until_all_leave(&self, bounds: &Bounds<'_>, revision: i64) -> Result<bool> {
        let round = self.round.load(Ordering::SeqCst);
        loop {
            let Some(mut seen) = bounds.persist(|| self.look(bounds))? else { return Ok(false) };
            // Some may have left and entered again by now.
            seen.waiters.retain(|(_, created)| *created < round);
            let own = seen.position(revision);
            let awaited = match (own, &*seen.waiters) {
                (Some(_), [_]) | (_, []) => {
                    let is_last = own.is_some() || seen.opened == round;
                    return Ok(!is_last || bounds.persist(|| self.close(round, bounds))?.is_some());
                }
                (Some(0), [.., (highest, _)]) => highest,
                (_, [(lowest, _), ..]) => {
                    let delete = || self.waiter.delete_key(Some(revision), &bounds.request());
                    if own.is_some() && bounds.persist(delete)?.is_none() {
                        return Ok(false);
                    }
                    lowest
                }
            };
            let awaited = Keys::one(awaited);
            if bounds.wait_for(awaited, EventType::Delete, seen.at)? == Woken::InVain {
                return Ok(false);
            }
        }
    }

    /// As the last one of this round: what a later one has opened stays open.
    fn close(&self, round: i64, bounds: &Bounds<'_>) -> Result<()> {
        let request = TxnRequest {
            compare: vec![Compare::equal(&self.ready, CompareTarget::ModRevision(round))],
            success: vec![delete(self.waiter.key()), delete(&self.ready)],
            failure: vec![delete(self.waiter.key())],
        };
        self.waiter.client().txn_repeatable(&request, &bounds.request()).map(drop)
    }

    fn look(&self, bounds: &Bounds<'_>) -> Result<Seen> {
        let waiters = RangeRequest {
            keys_only: true,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(self.waiter.prefix())))
        };
        let ready = RangeRequest::new(Keys::one(&self.ready));
        let success = vec![TxnOp::Range(ready), TxnOp::Range(waiters)];
        let response = self.waiter.client().txn(&TxnRequest { success, ..TxnRequest::default() }, &bounds.request())?;
        let mut seen = Seen { opened: 0, waiters: Vec::new(), at: response.header.revision };
        if let [TxnResult::Range(ready), TxnResult::Range(waiters)] = &*response.results {
            seen.opened = ready.kvs.first().map_or(0, |kv| kv.mod_revision);
            seen.waiters = waiters.kvs.iter().map(|kv| (response.bytes(kv.key).to_vec(), kv.create_revision)).collect();
        }
        Ok(seen)
    }
}

fn delete(key: &[u8]) -> TxnOp<'_> {
    TxnOp::DeleteRange(DeleteRangeRequest::new(Keys::one(key)))
}
