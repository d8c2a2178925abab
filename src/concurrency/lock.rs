//! etcd3gw's lock, for programs that share locks with Python's: the key `/locks/NAME` has the owner's UUID as its
//! value, and hangs on a lease that the owner refreshes.

use super::bounds::{Bounds, Woken};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::limits;
use crate::net::{self, lock};
use crate::rpc::Keys;
use crate::rpc::kv::{DeleteRangeRequest, KeyValue, PutRequest, RangeRequest};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResult};
use crate::rpc::watch::EventType;
use std::borrow::Cow;
use std::sync::Mutex;
use std::time::Duration;

/// etcd3gw's.
const PREFIX: &[u8] = b"/locks/";

/// etcd3gw's default.
pub const DEFAULT_TTL_S: i64 = 30;

/// What a lock is made from.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// Seconds that it is held without being refreshed.
    pub ttl: i64,
    /// Who the owner is; none: a random UUID.
    pub uuid: Option<String>,
}

impl Default for LockOptions {
    fn default() -> LockOptions {
        LockOptions { ttl: DEFAULT_TTL_S, uuid: None }
    }
}

/// One owner's view of a lock. Nothing refreshes it but its owner, and dropping it releases nothing: what is held then
/// runs out.
pub struct Lock {
    client: Client,
    key: Vec<u8>,
    uuid: String,
    ttl: i64,
    held: Mutex<Option<Held>>,
}

/// What is held, as far as this process knows.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    lease: i64,
    /// That created the key.
    revision: i64,
}

impl Lock {
    /// The lock of this name. Nothing is sent.
    pub fn new(client: &Client, name: &[u8], options: LockOptions) -> Result<Lock> {
        if options.ttl <= 0 {
            return Err(Error::invalid(format!("ttl is {}, but must be positive", options.ttl)));
        }
        let uuid = match options.uuid {
            Some(uuid) if uuid.is_empty() => return Err(Error::invalid("uuid is empty")),
            Some(uuid) => uuid,
            None => random_uuid()?,
        };
        let key = [PREFIX, name].concat();
        Ok(Lock { client: client.clone(), key, uuid, ttl: options.ttl, held: Mutex::new(None) })
    }

    /// Takes the lock, waiting until it is free, at most so long, or without a limit as long as it takes. `call` bounds
    /// each request, and its token ends the wait. False: somebody has it, which may be this owner, whose hold stays as
    /// it is.
    pub fn acquire(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        let bounds = Bounds::new(&self.client, wait, call);
        loop {
            let request = bounds.request();
            let answer = self.look(&request).and_then(|seen| match seen {
                (Some(kv), at) => Ok(Attempt::Taken { revision: kv.create_revision, at }),
                (None, _) => self.take(&request),
            });
            let (revision, at) = match answer {
                Ok(Attempt::Acquired) => return Ok(true),
                Ok(Attempt::Taken { revision, at }) => (revision, at),
                Err(error) if bounds.is_in_vain(&error) && !error.may_have_applied() => return Ok(false),
                Err(error) => {
                    bounds.outlast(error)?;
                    continue;
                }
            };
            let is_own = lock(&self.held).is_some_and(|held| held.revision == revision);
            if is_own || bounds.wait_for(Keys::one(&self.key), EventType::Delete, at)? == Woken::InVain {
                return Ok(false);
            }
        }
    }

    /// Gives the lock back, and its lease. False: this owner doesn't have it.
    pub fn release(&self, call: &CallOptions) -> Result<bool> {
        let until = self.client.deadline(call.timeout);
        let held = *lock(&self.held);
        let deleted = self.delete(held, &Bounds::new(&self.client, until.remaining(), call))?;
        let mut now_held = lock(&self.held);
        if *now_held == held {
            *now_held = None;
        }
        drop(now_held);
        // Taken here, or by another handle of this owner.
        let lease = held.map(|held| held.lease).or(deleted.lease).filter(|lease| *lease != 0);
        if let Some(lease) = lease {
            let left = until.remaining().map_or(limits::FAREWELL_TIMEOUT, |left| left.min(limits::FAREWELL_TIMEOUT));
            self.client
                .give_lease_back(lease, &CallOptions { cancel: call.cancel.clone(), ..CallOptions::within(left) });
        }
        Ok(deleted.was_there)
    }

    /// Starts the time of the hold anew. Answers its seconds.
    pub fn refresh(&self, call: &CallOptions) -> Result<i64> {
        let held = *lock(&self.held);
        let held = held.ok_or(Error::FailedPrecondition { what: "the lock is not held" })?;
        self.client.lease_refresh(held.lease, call)
    }

    /// Asks the server whether this owner has the lock.
    pub fn is_acquired(&self, call: &CallOptions) -> Result<bool> {
        let request = RangeRequest::new(Keys::one(&self.key));
        let response = self.client.range(&request, call)?;
        let is_own = |kv: &KeyValue| response.bytes(kv.value) == self.uuid.as_bytes();
        Ok(response.kvs.first().is_some_and(is_own))
    }

    /// Who the owner is.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The lock's key.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The revision that created the key, which no other owner ever has: a fencing token. 0: it was not acquired here.
    pub fn revision(&self) -> i64 {
        lock(&self.held).map_or(0, |held| held.revision)
    }

    /// The condition, for a transaction of the same namespace, that the lock is still held. None: it isn't.
    pub fn is_held(&self) -> Option<Compare<'static>> {
        let revision = self.revision();
        (revision != 0).then(|| self.condition(CompareTarget::CreateRevision(revision)))
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The key, if there is one, and the store's revision.
    fn look(&self, call: &CallOptions) -> Result<(Option<KeyValue>, i64)> {
        let request = RangeRequest { keys_only: true, ..RangeRequest::new(Keys::one(&self.key)) };
        let response = self.client.range(&request, call)?;
        Ok((response.kvs.first().copied(), response.header.revision))
    }

    /// Takes a lock that is free, with a lease that goes again where that fails.
    fn take(&self, call: &CallOptions) -> Result<Attempt> {
        let lease = self.client.grant_or_nothing(self.ttl, call)?.id;
        let attempt = self.create(lease, call);
        match &attempt {
            Ok(Attempt::Acquired) => {}
            // With the lease goes a key that may have been created.
            Ok(Attempt::Taken { .. }) | Err(_) => {
                self.client.give_lease_back(lease, &CallOptions::within(limits::TIDYING_TIMEOUT))
            }
        }
        attempt
    }

    /// Made once more it finds what it has created, so that a lost answer costs nothing.
    fn create(&self, lease: i64, call: &CallOptions) -> Result<Attempt> {
        let (key, value) = (Cow::Borrowed(&*self.key), Cow::Borrowed(self.uuid.as_bytes()));
        let request = TxnRequest {
            compare: vec![self.condition(CompareTarget::CreateRevision(0))],
            success: vec![TxnOp::Put(PutRequest { key, value, lease, ..PutRequest::default() })],
            failure: vec![TxnOp::Range(RangeRequest::new(Keys::one(&self.key)))],
        };
        let response = self.client.txn_repeatable(&request, call)?;
        let at = response.header.revision;
        let found = match response.results.first() {
            Some(TxnResult::Range(range)) => range.kvs.first().copied(),
            _ => None,
        };
        let revision = match found {
            None if response.succeeded => at,
            Some(kv) if kv.lease == lease => kv.create_revision,
            Some(kv) => return Ok(Attempt::Taken { revision: kv.create_revision, at }),
            None => return Ok(Attempt::Taken { revision: 0, at }),
        };
        *lock(&self.held) = Some(Held { lease, revision });
        Ok(Attempt::Acquired)
    }

    /// Deletes the key of this owner. What became of a request without an answer is looked up.
    fn delete(&self, held: Option<Held>, bounds: &Bounds<'_>) -> Result<Deleted> {
        let delete = DeleteRangeRequest { prev_kv: true, ..DeleteRangeRequest::new(Keys::one(&self.key)) };
        let own = held.map(|held| self.condition(CompareTarget::CreateRevision(held.revision)));
        let value = self.condition(CompareTarget::Value(Cow::Borrowed(self.uuid.as_bytes())));
        let request = TxnRequest {
            compare: [Some(value), own].into_iter().flatten().collect(),
            success: vec![TxnOp::DeleteRange(delete)],
            failure: Vec::new(),
        };
        let mut doubt: Option<Error> = None;
        loop {
            let error = match self.client.txn(&request, &bounds.request()) {
                Ok(response) => {
                    let lease = match response.results.first() {
                        Some(TxnResult::DeleteRange(deleted)) => deleted.prev_kvs.first().map(|kv| kv.lease),
                        _ => None,
                    };
                    return Ok(Deleted { was_there: response.succeeded || doubt.is_some(), lease });
                }
                Err(error) => error,
            };
            let error = match doubt.take() {
                None => error,
                Some(doubt) => error.in_doubt_since(doubt),
            };
            let is_wish = matches!(error, Error::Cancelled { .. } | Error::Closed { .. });
            if !error.may_have_applied() || is_wish || bounds.has_ended() {
                return Err(error);
            }
            let lost = doubt.insert(error);
            match bounds.persist(|| self.is_acquired(&bounds.request())) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Ok(Deleted { was_there: true, lease: None }),
                Ok(None) => return Err(lost.clone()),
                Err(error) => return Err(error.in_doubt_since(lost.clone())),
            }
            bounds.pause().map_err(|stopped| stopped.in_doubt_since(lost.clone()))?;
        }
    }

    fn condition<'a>(&self, target: CompareTarget<'a>) -> Compare<'a> {
        Compare { keys: Keys::One(Cow::Owned(self.key.clone())), op: CompareOp::Equal, target }
    }
}

/// What became of an attempt to take the lock.
enum Attempt {
    Acquired,
    /// By the owner whose key was created at this revision, as was seen at that one.
    Taken {
        revision: i64,
        at: i64,
    },
}

/// What a release has found.
struct Deleted {
    was_there: bool,
    /// That the key hung on, as far as that was told.
    lease: Option<i64>,
}

/// A random one, in Python's form. etcd3gw's are of version 1, which tells the machine and the time.
fn random_uuid() -> Result<String> {
    let (high, low) = (net::random_bits()?, net::random_bits()?);
    let (high, low) = (high & !0xf000 | 0x4000, low & !(3 << 62) | 1 << 63);
    let (a, b, c) = (high >> 32, high >> 16 & 0xffff, high & 0xffff);
    let (d, e) = (low >> 48, low & 0xffff_ffff_ffff);
    Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_4_and_new_each_time() {
        let uuid = random_uuid().unwrap();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()));
        assert_eq!(uuid.chars().nth(14), Some('4'), "{uuid}");
        assert!(uuid.chars().nth(19).is_some_and(|c| "89ab".contains(c)), "{uuid}");
        assert_ne!(uuid, random_uuid().unwrap());
    }
}
