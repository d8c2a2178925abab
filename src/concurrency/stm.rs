//! Optimistic transactions, as in Go's `concurrency.NewSTM`: a function reads and writes as if it were alone. What it
//! wrote is committed where nobody else has written meanwhile what it read; else it is run anew.

use super::bounds;
use crate::backoff;
use crate::client::{CallOptions, Client};
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::gateway::json::Span;
use crate::limits;
use crate::net;
use crate::rpc::kv::{DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RangeResponse};
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResponse, TxnResult};
use crate::rpc::{Header, Keys, Response};

/// What others may do meanwhile; the names are Go's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All is read at one revision, and neither what was read nor what is written may have changed since.
    #[default]
    SerializableSnapshot,
    /// All is read at one revision, and what was read may not have changed since.
    Serializable,
    /// What was read may not have changed since; each key is read on its own.
    RepeatableReads,
    /// Each key is read on its own, and may have changed since.
    ReadCommitted,
}

/// How a transaction is made.
#[derive(Clone, Debug, Default)]
pub struct StmOptions {
    /// What others may do meanwhile.
    pub isolation: Isolation,
    /// At most so often; 0: as long as `call` allows.
    pub max_attempts: u32,
    /// Bounds the whole, with every attempt.
    pub call: CallOptions,
}

/// One transaction, as the function sees it.
pub struct Stm {
    client: Client,
    options: StmOptions,
    deadline: Deadline,
    attempts: u32,
    /// The revision of the first read of this attempt; 0: nothing is read yet.
    revision: i64,
    reads: Vec<Read>,
    writes: Vec<Write>,
    /// Why a read of this attempt failed.
    failure: Option<Error>,
}

struct Read {
    key: Vec<u8>,
    /// False: only the attempt before has asked for it.
    is_used: bool,
    /// Without its spans, and the value.
    found: Option<(KeyValue, Vec<u8>)>,
}

struct Write {
    key: Vec<u8>,
    /// None: it is deleted.
    put: Option<PutRequest<'static>>,
}

impl Client {
    /// Runs a function until what it read and wrote is committed as one. What the function gives up by an error is not
    /// committed.
    ///
    /// A commit without an answer may have been done ([`Error::may_have_applied`]), and is not made again.
    pub fn stm(
        &self,
        options: StmOptions,
        apply: &mut dyn FnMut(&mut Stm) -> Result<()>,
    ) -> Result<Response<TxnResponse>> {
        let mut stm = Stm::new(self, options);
        loop {
            stm.begin()?;
            let applied = apply(&mut stm);
            if let Some(done) = stm.end(applied)? {
                return Ok(done);
            }
        }
    }
}

impl Stm {
    pub(crate) fn new(client: &Client, options: StmOptions) -> Stm {
        let deadline = client.deadline(options.call.timeout);
        let (reads, writes) = (Vec::new(), Vec::new());
        Stm { client: client.clone(), options, deadline, attempts: 0, revision: 0, reads, writes, failure: None }
    }

    /// Reads a key, as this transaction has left it. A key that doesn't exist is none of the answer's.
    pub fn get(&mut self, key: &[u8]) -> Result<Response<RangeResponse>> {
        if let Some(write) = self.writes.iter().find(|write| write.key == key) {
            let kv = |put: &PutRequest<'_>| KeyValue { lease: put.lease, ..KeyValue::default() };
            return Ok(self.answer(key, write.put.as_ref().map(|put| (kv(put), &*put.value))));
        }
        if !self.reads.iter().any(|read| read.key == key) {
            if let Err(error) = self.read(vec![key.to_vec()]) {
                self.failure = Some(error.clone());
                return Err(error);
            }
        }
        if let Some(read) = self.reads.iter_mut().find(|read| read.key == key) {
            read.is_used = true;
        }
        let found = self.reads.iter().find(|read| read.key == key).and_then(|read| read.found.as_ref());
        Ok(self.answer(key, found.map(|(kv, value)| (*kv, &**value))))
    }

    /// Writes a key when this transaction is committed.
    pub fn put(&mut self, put: PutRequest<'_>) {
        self.write(put.key.to_vec(), Some(put.into_owned()));
    }

    /// Deletes a key when this transaction is committed.
    pub fn delete(&mut self, key: &[u8]) {
        self.write(key.to_vec(), None);
    }

    fn write(&mut self, key: Vec<u8>, put: Option<PutRequest<'static>>) {
        self.writes.retain(|write| write.key != key);
        self.writes.push(Write { key, put });
    }

    fn used(&self) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(|read| read.is_used)
    }

    fn answer(&self, key: &[u8], found: Option<(KeyValue, &[u8])>) -> Response<RangeResponse> {
        let mut arena = Vec::new();
        let kvs: Vec<KeyValue> = found
            .map(|(kv, value)| {
                let (key, value) = (Span::append(key, &mut arena), Span::append(value, &mut arena));
                KeyValue { key, value, ..kv }
            })
            .into_iter()
            .collect();
        let header = Header { revision: self.revision, ..Header::default() };
        let count = kvs.len() as i64;
        Response::new(arena, RangeResponse { header, kvs, more: false, count })
    }

    /// Begins an attempt: at once the first time, else with what the one before has read, all in one request.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let (attempts, max_attempts) = (self.attempts, self.options.max_attempts);
        if attempts > 0 && attempts == max_attempts {
            return Err(Error::Conflict { attempts });
        }
        // Nobody knows who else tries: chance keeps them apart.
        if attempts > 1 {
            let longest = backoff::doubled(limits::RETRY_PAUSE_FIRST, limits::RETRY_PAUSE_LONGEST, attempts);
            let pause = longest.mul_f64(net::jitter());
            self.client.shared.channel.pause(pause, &self.client.control(&self.call()))?;
        }
        self.attempts = attempts.saturating_add(1);
        self.revision = 0;
        self.writes.clear();
        let keys: Vec<Vec<u8>> = self.reads.drain(..).filter(|read| read.is_used).map(|read| read.key).collect();
        if keys.is_empty() { Ok(()) } else { self.read(keys) }
    }

    /// Ends an attempt that the function has made. None: it is to be made anew.
    pub(crate) fn end(&mut self, applied: Result<()>) -> Result<Option<Response<TxnResponse>>> {
        match (applied, self.failure.take()) {
            // Too slow: the revision of the first read is gone.
            (_, Some(error)) if error.reason() == Reason::Compacted => Ok(None),
            (_, Some(error)) | (Err(error), None) => Err(error),
            (Ok(()), None) => self.commit(),
        }
    }

    fn commit(&mut self) -> Result<Option<Response<TxnResponse>>> {
        let condition =
            |key, op, revision| Compare { keys: Keys::one(key), op, target: CompareTarget::ModRevision(revision) };
        let mut compare = Vec::new();
        if self.options.isolation != Isolation::ReadCommitted {
            compare.extend(self.used().map(|read| {
                let seen = read.found.as_ref().map_or(0, |(kv, _)| kv.mod_revision);
                condition(&read.key, CompareOp::Equal, seen)
            }));
        }
        if self.options.isolation == Isolation::SerializableSnapshot && self.revision != 0 {
            let written = self.writes.iter().filter(|write| !self.used().any(|read| read.key == write.key));
            compare
                .extend(written.map(|write| condition(&write.key, CompareOp::Less, self.revision.saturating_add(1))));
        }
        let mut success: Vec<TxnOp<'_>> = self.writes.iter().map(Write::operation).collect();
        // Without an operation any member would answer from what it has.
        if let (true, Some(read)) = (success.is_empty(), self.used().next()) {
            success.push(TxnOp::Range(RangeRequest { count_only: true, ..RangeRequest::new(Keys::one(&read.key)) }));
        }
        let done = self.client.txn(&TxnRequest { compare, success, failure: Vec::new() }, &self.call())?;
        Ok(Some(done).filter(|done| done.succeeded))
    }

    /// Reads keys in one request.
    fn read(&mut self, keys: Vec<Vec<u8>>) -> Result<()> {
        let is_snapshot = matches!(self.options.isolation, Isolation::SerializableSnapshot | Isolation::Serializable);
        let revision = if is_snapshot { self.revision } else { 0 };
        let range = |key| TxnOp::Range(RangeRequest { revision, ..RangeRequest::new(Keys::one(key)) });
        let request = TxnRequest { success: keys.iter().map(|key| range(key)).collect(), ..TxnRequest::default() };
        let response = self.client.txn(&request, &self.call())?;
        for (key, result) in keys.into_iter().zip(&response.results) {
            let TxnResult::Range(range) = result else { continue };
            let found = range.kvs.first().map(|kv| (*kv, response.bytes(kv.value).to_vec()));
            self.reads.push(Read { key, is_used: false, found });
        }
        if self.revision == 0 {
            self.revision = response.header.revision;
        }
        Ok(())
    }

    fn call(&self) -> CallOptions {
        bounds::until(&self.options.call, self.deadline)
    }
}

impl Write {
    fn operation(&self) -> TxnOp<'_> {
        match &self.put {
            Some(put) => TxnOp::Put(put.clone()),
            None => TxnOp::DeleteRange(DeleteRangeRequest::new(Keys::one(&self.key))),
        }
    }
}
