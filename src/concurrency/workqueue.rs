//! Work queues over a cluster, in the format of Go's `recipes.Queue`: many put items in, many take them out, and each
//! item is taken once.
//!
//! An item is a key below the name, called after the time. Every change of the queue writes a receipt in the same
//! transaction: a key of this handle alone, which hangs on its session. What became of a request without an answer is
//! read there, and a request that is made again does nothing once the receipt tells that it was done.

use super::bounds::{self, Bounds, Woken};
use super::session::{Session, SessionState};
use crate::client::{CallOptions, Client};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Reason, Result};
use crate::limits;
use crate::net::lock;
use crate::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, SortOrder, SortTarget};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use crate::rpc::watch::EventType;
use crate::rpc::{Keys, Response};
use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A work queue, for any number of threads. It stands on a session.
pub struct WorkQueue {
    session: Arc<SessionState>,
    /// Of the items.
    prefix: Vec<u8>,
    /// Of the receipts. It can't be that of an item.
    receipts: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    unused: Vec<Receipt>,
    /// Whether they were taken is not known yet.
    in_doubt: Vec<Claim>,
}

/// A key in which one change at a time is noted.
struct Receipt {
    key: Vec<u8>,
    /// Of the change.
    number: i64,
    /// What became of a request without an answer, which may write to it as long as it holds this number, and not later.
    doubt: Option<Error>,
}

/// An attempt to take an item.
struct Claim {
    receipt: Receipt,
    item: Item,
}

/// The key and value of an item that was taken out.
pub type Item = Response<RangeResponse>;

enum Tried {
    Taken(Item),
    /// Another one has it.
    TooLate,
    /// The store's revision when nothing was there.
    Empty {
        at: i64,
    },
}

impl WorkQueue {
    /// The queue of this name, for this session. Nothing is sent.
    pub fn new(session: &Session, name: &[u8]) -> WorkQueue {
        let (prefix, receipts) = ([name, b"/"].concat(), [b"__", name, b"/"].concat());
        WorkQueue { session: session.state().clone(), prefix, receipts, state: Mutex::default() }
    }

    /// Puts an item in. After an error that says so ([`Error::may_have_applied`]) it may be in.
    pub fn enqueue(&self, value: &[u8], call: &CallOptions) -> Result<()> {
        let call = Bounds::of_session(&self.session, None, call)?.request();
        let deadline = self.session.client.deadline(call.timeout);
        self.put_in(value, &call, deadline).map_err(|error| self.explain(error))
    }

    fn put_in(&self, value: &[u8], call: &CallOptions, deadline: Deadline) -> Result<()> {
        let mut receipt = self.receipt(&bounds::until(call, deadline))?;
        loop {
            let key = self.new_key();
            let put = PutRequest { key: (&*key).into(), value: value.into(), ..PutRequest::default() };
            let done = self.change(equal(&key, CREATED, 0), TxnOp::Put(put), &mut receipt, call, deadline);
            // Else somebody has put something in at the same moment.
            if !matches!(done, Ok(false)) {
                self.give_back(receipt);
                return done.map(drop);
            }
        }
    }

    /// Takes the oldest item out, waiting for one at most so long, or without a limit as long as it takes. `call` bounds
    /// each request, and its token ends the wait. None: waited in vain.
    ///
    /// After an error that says so ([`Error::may_have_applied`]) an item may have been taken out: the next call finds
    /// out, and gives it.
    pub fn dequeue(&self, wait: Option<Duration>, call: &CallOptions) -> Result<Option<Item>> {
        let bounds = Bounds::of_session(&self.session, wait, call)?;
        loop {
            match self.try_to_take(&bounds) {
                Ok(Tried::Taken(item)) => return Ok(Some(item)),
                Ok(Tried::TooLate) => {}
                Ok(Tried::Empty { at }) => match bounds.wait_for(self.items(), EventType::Put, at) {
                    Ok(Woken::InVain) => return Ok(None),
                    Ok(_) => {}
                    Err(error) => return Err(self.explain(error)),
                },
                Err(error) if bounds.is_in_vain(&error) && !error.may_have_applied() => return Ok(None),
                Err(error) => bounds.outlast(error).map_err(|error| self.explain(error))?,
            }
        }
    }

    fn try_to_take(&self, bounds: &Bounds<'_>) -> Result<Tried> {
        let in_doubt = lock(&self.state).in_doubt.pop();
        if let Some(claim) = in_doubt {
            return self.claim(claim, bounds);
        }
        let first = RangeRequest {
            limit: 1,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Mod,
            ..RangeRequest::new(self.items())
        };
        let item = self.session.client.range(&first, &bounds.request())?;
        if item.kvs.is_empty() {
            return Ok(Tried::Empty { at: item.header.revision });
        }
        let receipt = self.receipt(&bounds.request())?;
        self.claim(Claim { receipt, item }, bounds)
    }

    fn claim(&self, mut claim: Claim, bounds: &Bounds<'_>) -> Result<Tried> {
        let Some(kv) = claim.item.kvs.first().copied() else { return Ok(Tried::TooLate) };
        let key = claim.item.bytes(kv.key);
        let keys = Keys::one(key);
        let delete = TxnOp::DeleteRange(DeleteRangeRequest::new(keys));
        let call = bounds.request();
        let deadline = self.session.client.deadline(call.timeout);
        let is_there = equal(key, CHANGED, kv.mod_revision);
        match self.change(is_there, delete, &mut claim.receipt, &call, deadline) {
            // Also where an earlier call doesn't know.
            Err(error) if claim.receipt.doubt.is_some() => {
                lock(&self.state).in_doubt.push(claim);
                Err(error.with_outcome(Outcome::Repeatable))
            }
            taken => {
                self.give_back(claim.receipt);
                Ok(if taken? { Tried::Taken(claim.item) } else { Tried::TooLate })
            }
        }
    }

    /// Makes a change of the queue where the condition holds, once, however often it takes to hear of it. False: it
    /// doesn't hold.
    fn change(
        &self,
        condition: Compare<'_>,
        operation: TxnOp<'_>,
        receipt: &mut Receipt,
        call: &CallOptions,
        deadline: Deadline,
    ) -> Result<bool> {
        let number = receipt.number.to_string();
        let note = PutRequest {
            key: (&*receipt.key).into(),
            value: number.as_bytes().into(),
            lease: self.session.lease,
            ..PutRequest::default()
        };
        // Of a key that is gone, with its lease, no condition on its value holds.
        let not_done = CompareTarget::Value(number.as_bytes().into());
        let not_done = Compare { keys: Keys::one(&receipt.key), op: CompareOp::NotEqual, target: not_done };
        let request = TxnRequest {
            compare: vec![condition, not_done],
            success: vec![operation, TxnOp::Put(note)],
            failure: vec![TxnOp::Range(RangeRequest::new(Keys::one(&receipt.key)))],
        };
        loop {
            match self.session.client.txn(&request, &bounds::until(call, deadline)) {
                Ok(response) if response.succeeded => break,
                Ok(response) => match noted(&response) {
                    Some(noted) if noted == number.as_bytes() => break,
                    Some(_) => return Ok(false),
                    None => return Err(receipt.doubt.clone().unwrap_or_else(|| self.session.is_over())),
                },
                Err(error) => self.pause_in_doubt(error, &mut receipt.doubt, call, deadline)?,
            }
        }
        receipt.number += 1;
        Ok(true)
    }

    /// Pauses before a change that may have been done is asked for again. An error: it is certainly not done, or nobody is
    /// to ask again.
    fn pause_in_doubt(
        &self,
        error: Error,
        in_doubt: &mut Option<Error>,
        call: &CallOptions,
        deadline: Deadline,
    ) -> Result<()> {
        let is_wish = matches!(error, Error::Cancelled { .. } | Error::Closed { .. });
        // That lasts until somebody makes room.
        let lacks_space = error.reason() == Reason::NoSpace;
        // Once in doubt, always in doubt.
        let error = match in_doubt.take() {
            None => error,
            Some(doubt) => error.in_doubt_since(doubt),
        };
        if !error.may_have_applied() {
            return Err(error);
        }
        let doubt = in_doubt.insert(error).clone();
        if is_wish || lacks_space || deadline.has_passed() {
            return Err(doubt);
        }
        let control = self.session.client.control(&bounds::until(call, deadline));
        match self.session.client.shared.channel.pause(limits::RETRY_PAUSE_FIRST, &control) {
            Ok(()) | Err(Error::Deadline { .. }) => Ok(()),
            Err(stopped) => Err(stopped.in_doubt_since(doubt)),
        }
    }

    /// A receipt for a change, which no other change uses meanwhile.
    fn receipt(&self, call: &CallOptions) -> Result<Receipt> {
        if let Some(receipt) = lock(&self.state).unused.pop() {
            return Ok(receipt);
        }
        let key = [&*self.receipts, format!("{:x}", Client::new_lease_id()?).as_bytes()].concat();
        let put = PutRequest { key: (&*key).into(), lease: self.session.lease, ..PutRequest::default() };
        let request = TxnRequest { success: vec![TxnOp::Put(put)], ..TxnRequest::default() };
        match self.session.client.txn_repeatable(&request, call) {
            Ok(_) => Ok(Receipt { key, number: 1, doubt: None }),
            // Nobody's item depends on it.
            Err(error) => Err(error.with_outcome(Outcome::NotApplied)),
        }
    }

    fn give_back(&self, receipt: Receipt) {
        if receipt.doubt.is_none() {
            lock(&self.state).unused.push(receipt);
        }
    }

    /// As Go names it: two that come at the same time are told apart by whether there is such a key.
    fn new_key(&self) -> Vec<u8> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        [&*self.prefix, nanoseconds.to_string().as_bytes()].concat()
    }

    fn items(&self) -> Keys<'_> {
        Keys::Prefix(Cow::Borrowed(&self.prefix))
    }

    fn explain(&self, error: Error) -> Error {
        // The loss of the session has no place for the doubt.
        if error.may_have_applied() { error } else { self.session.explain(error) }
    }
}

const CREATED: fn(i64) -> CompareTarget<'static> = CompareTarget::CreateRevision;
const CHANGED: fn(i64) -> CompareTarget<'static> = CompareTarget::ModRevision;

fn equal(key: &[u8], target: fn(i64) -> CompareTarget<'static>, revision: i64) -> Compare<'_> {
    Compare::equal(key, target(revision))
}

/// The number that stands under the receipt's key, which a change that wasn't done answers. `None`: there is no such key.
fn noted(response: &Response<TxnResponse>) -> Option<&[u8]> {
    match response.results.first() {
        Some(TxnResult::Range(range)) => range.kvs.first().map(|kv| response.bytes(kv.value)),
        _ => None,
    }
}
