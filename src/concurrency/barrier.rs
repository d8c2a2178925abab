//! Barriers over a cluster, in the format of Go's `recipes.Barrier`: while a key exists, those who come wait.

use super::bounds::{self, Bounds, Woken};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Outcome, Result};
use crate::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse};
use crate::rpc::txn::{Compare, CompareTarget, TxnOp, TxnRequest};
use crate::rpc::watch::EventType;
use crate::rpc::{Keys, Response};
use std::time::Duration;

/// A barrier. It has no owner: whoever knows its name may hold, release and wait.
pub struct Barrier {
    client: Client,
    key: Vec<u8>,
}

impl Barrier {
    /// The barrier of this name, which is its key. Nothing is sent.
    pub fn new(client: &Client, name: &[u8]) -> Barrier {
        Barrier { client: client.clone(), key: name.to_vec() }
    }

    /// Holds those who will wait. False: it is held already.
    ///
    /// The value tells this hold from others, so that what became of a request without an answer can be looked up.
    pub fn hold(&self, call: &CallOptions) -> Result<bool> {
        let deadline = self.client.deadline(call.timeout);
        let value = format!("{:x}", Client::new_lease_id()?);
        let put = PutRequest { key: (&*self.key).into(), value: value.as_bytes().into(), ..PutRequest::default() };
        let error = match self.client.create(put, &bounds::until(call, deadline)) {
            Ok((created, _)) => return Ok(created),
            Err(error) => error,
        };
        if error.outcome() == Outcome::Unknown {
            let found = self.look(&bounds::until(call, deadline));
            let is_own = |found: &Response<RangeResponse>| {
                found.kvs.first().is_some_and(|kv| found.bytes(kv.value) == value.as_bytes())
            };
            if found.is_ok_and(|found| is_own(&found)) {
                return Ok(true);
            }
        }
        Err(error)
    }

    /// Lets go on all who wait, whoever held them. One that is not held stays so.
    pub fn release(&self, call: &CallOptions) -> Result<()> {
        let deadline = self.client.deadline(call.timeout);
        let found = self.look(&bounds::until(call, deadline))?;
        let Some(kv) = found.kvs.first() else { return Ok(()) };
        // Of this hold alone: made once more, it releases no later one.
        let is_same = CompareTarget::CreateRevision(kv.create_revision);
        let delete = DeleteRangeRequest::new(self.keys());
        let request = TxnRequest {
            compare: vec![Compare::equal(&self.key, is_same)],
            success: vec![TxnOp::DeleteRange(delete)],
            failure: Vec::new(),
        };
        self.client.txn_repeatable(&request, &bounds::until(call, deadline)).map(drop)
    }

    /// Waits until nobody holds the barrier, at most so long, or without a limit as long as it takes. `call` bounds each
    /// request, and its token ends the wait. False: waited in vain.
    pub fn wait(&self, wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        let bounds = Bounds::new(&self.client, wait, call);
        loop {
            let Some(found) = bounds.persist(|| self.look(&bounds.request()))? else { return Ok(false) };
            if found.kvs.is_empty() {
                return Ok(true);
            }
            // Who was there when it was released goes on, although it may be held again by now.
            match bounds.wait_for(self.keys(), EventType::Delete, found.header.revision)? {
                Woken::Event => return Ok(true),
                Woken::InVain => return Ok(false),
                Woken::Perhaps => {}
            }
        }
    }

    fn look(&self, call: &CallOptions) -> Result<Response<RangeResponse>, Error> {
        self.client.range(&RangeRequest::new(self.keys()), call)
    }

    fn keys(&self) -> Keys<'_> {
        Keys::one(&self.key)
    }
}
