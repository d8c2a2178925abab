//! What a contender asks of the store.

use super::{Contender, Joined};
use crate::client::CallOptions;
use crate::concurrency::bounds::{Bounds, passes};
use crate::concurrency::leftovers::{deletion, has_deleted};
use crate::error::Result;
use crate::rpc::kv::{PutRequest, RangeRequest, RangeResponse, SortOrder, SortTarget};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use crate::rpc::{Keys, Response};
use std::borrow::Cow;

impl Contender {
    /// The condition that it is still first. None: it is not, as far as it knows.
    pub(in crate::concurrency) fn is_first(&self) -> Option<Compare<'static>> {
        Some(self.revision()).filter(|revision| *revision != 0).map(|revision| self.has_create_revision(revision))
    }

    /// Who is first in the line now, whoever that is.
    pub(in crate::concurrency) fn first_of_all(&self, call: &CallOptions) -> Result<Response<RangeResponse>> {
        self.client().range(&self.first_request(), call)
    }

    /// Puts another value into its key. False: it is not first any more.
    pub(in crate::concurrency) fn put(&self, value: &[u8], call: &CallOptions) -> Result<bool> {
        let revision = self.revision();
        if revision == 0 {
            return Ok(false);
        }
        let is_first = self.replace_value(revision, value, call)?;
        if !is_first {
            self.lose_place(revision);
        }
        Ok(is_first)
    }

    /// Creates the key, or finds it. Made once more it finds what it has created, so that a lost answer costs nothing.
    /// Answers whether it is first.
    pub(super) fn join(&self, value: &[u8], bounds: &Bounds<'_>, joined: &mut Joined) -> Result<bool> {
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
            if response.bytes(own.value) != value
                && !self.replace_value(own.create_revision, value, &bounds.request())?
            {
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
    pub(super) fn replace_value(&self, revision: i64, value: &[u8], call: &CallOptions) -> Result<bool> {
        let request = TxnRequest {
            compare: vec![self.has_create_revision(revision)],
            success: vec![self.put_op(value)],
            failure: Vec::new(),
        };
        Ok(self.client().txn_repeatable(&request, call)?.succeeded)
    }

    /// The last key that was created before this revision, and the store's revision then.
    pub(super) fn last_before(&self, revision: i64, bounds: &Bounds<'_>) -> Result<Option<(Vec<u8>, i64)>> {
        let request = RangeRequest {
            limit: 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            max_create_revision: revision.saturating_sub(1),
            keys_only: true,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(&self.prefix)))
        };
        let response = self.client().range(&request, &bounds.request())?;
        let last = response.kvs.first();
        Ok(last.map(|kv| (response.bytes(kv.key).to_vec(), response.header.revision)))
    }

    pub(super) fn is_mine(&self, revision: i64, bounds: &Bounds<'_>) -> Result<bool> {
        Ok(self.find(&bounds.request())? == Some(revision))
    }

    /// The revision that created its key; None: there is no such key.
    pub(super) fn find(&self, call: &CallOptions) -> Result<Option<i64>> {
        let request = RangeRequest { keys_only: true, ..RangeRequest::new(Keys::one(&self.key)) };
        let response = self.client().range(&request, call)?;
        Ok(response.kvs.first().map(|kv| kv.create_revision))
    }

    /// Deletes its key, if it was created at this revision. False: there is no such key.
    pub(in crate::concurrency) fn delete_key(&self, revision: Option<i64>, call: &CallOptions) -> Result<bool> {
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
