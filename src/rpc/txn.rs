//! Transactions: conditions, and what to do where they hold or don't.

use super::kv::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, strip_delete,
    strip_put, strip_range,
};
use super::{Header, Keys, Namespace, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};
use std::borrow::Cow;

const TXN: Method = Method::new("kv/txn", Kind::Write, Size::Values).with_leader();
const REPEATABLE_TXN: Method = Method::new("kv/txn", Kind::Idempotent, Size::Values).with_leader();
const SERIALIZABLE_TXN: Method = Method::new("kv/txn", Kind::Read, Size::Values);
const READING_TXN: Method = SERIALIZABLE_TXN.with_leader();

/// How a key's field must stand to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompareOp {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// The field that a condition looks at, and what it is compared with.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the fields of a key")]
pub enum CompareTarget<'a> {
    Version(i64),
    CreateRevision(i64),
    ModRevision(i64),
    Value(Cow<'a, [u8]>),
    Lease(i64),
}

/// A condition on one key, or on every key of a range.
#[derive(Clone, Debug)]
pub struct Compare<'a> {
    /// Which keys.
    pub keys: Keys<'a>,
    /// How their field must stand to the given one.
    pub op: CompareOp,
    /// The field and what it is compared with.
    pub target: CompareTarget<'a>,
}

impl<'a> Compare<'a> {
    /// That a field of one key is this.
    pub fn equal(key: &'a [u8], target: CompareTarget<'a>) -> Compare<'a> {
        Compare { keys: Keys::one(key), op: CompareOp::Equal, target }
    }

    fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        out.enum_field(
            "result",
            match self.op {
                CompareOp::Equal => "EQUAL",
                CompareOp::Greater => "GREATER",
                CompareOp::Less => "LESS",
                CompareOp::NotEqual => "NOT_EQUAL",
            },
        );
        let mut number = |target, field, number| {
            out.enum_field("target", target);
            out.int64_field(field, number);
        };
        match &self.target {
            CompareTarget::Version(version) => number("VERSION", "version", *version),
            CompareTarget::CreateRevision(revision) => number("CREATE", "create_revision", *revision),
            CompareTarget::ModRevision(revision) => number("MOD", "mod_revision", *revision),
            CompareTarget::Lease(id) => number("LEASE", "lease", *id),
            CompareTarget::Value(value) => {
                out.enum_field("target", "VALUE");
                out.bytes_field("value", value);
            }
        }
        self.keys.write(namespace, out);
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is the request of its name")]
pub enum TxnOp<'a> {
    Put(PutRequest<'a>),
    Range(RangeRequest<'a>),
    DeleteRange(DeleteRangeRequest<'a>),
    Txn(TxnRequest<'a>),
}

impl TxnOp<'_> {
    fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        match self {
            TxnOp::Put(request) => out.object_field("request_put", |out| request.write(namespace, out)),
            TxnOp::Range(request) => out.object_field("request_range", |out| request.write(namespace, out)),
            TxnOp::DeleteRange(request) => {
                out.object_field("request_delete_range", |out| request.write(namespace, out));
            }
            TxnOp::Txn(request) => out.object_field("request_txn", |out| request.write(namespace, out)),
        }
    }

    fn check(&self, client: &Client) -> Result<()> {
        match self {
            TxnOp::Put(request) => client.check_key(request.key.is_empty()),
            TxnOp::Range(request) => client.check_key(request.keys.is_empty_key()),
            TxnOp::DeleteRange(request) => {
                request.check()?;
                client.check_key(request.keys.is_empty_key())
            }
            TxnOp::Txn(request) => request.check(client),
        }
    }

    fn is_read(&self) -> bool {
        match self {
            TxnOp::Range(_) => true,
            TxnOp::Txn(request) => request.is_read(),
            TxnOp::Put(_) | TxnOp::DeleteRange(_) => false,
        }
    }
}

/// A transaction: where every condition holds `success` is done, else `failure`, all at one revision.
#[derive(Clone, Debug, Default)]
pub struct TxnRequest<'a> {
    /// The conditions; none: they hold.
    pub compare: Vec<Compare<'a>>,
    /// What to do where they hold.
    pub success: Vec<TxnOp<'a>>,
    /// What to do where one doesn't.
    pub failure: Vec<TxnOp<'a>>,
}

impl TxnRequest<'_> {
    fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        out.array_field("compare", &self.compare, |out, compare| {
            out.object(|out| compare.write(namespace, out));
        });
        for (name, operations) in [("success", &self.success), ("failure", &self.failure)] {
            out.array_field(name, operations, |out, operation| {
                out.object(|out| operation.write(namespace, out));
            });
        }
    }

    fn check(&self, client: &Client) -> Result<()> {
        self.compare.iter().try_for_each(|compare| client.check_key(compare.keys.is_empty_key()))?;
        self.success.iter().chain(&self.failure).try_for_each(|operation| operation.check(client))
    }

    fn is_read(&self) -> bool {
        self.success.iter().chain(&self.failure).all(TxnOp::is_read)
    }

    /// Whether any member may answer it from what it has.
    fn is_serializable(&self) -> bool {
        let is_serializable = |op: &TxnOp<'_>| matches!(op, TxnOp::Range(range) if range.serializable);
        self.success.iter().chain(&self.failure).all(is_serializable)
    }
}

/// What one operation of a transaction answered.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is the response of its name")]
pub enum TxnResult {
    Put(PutResponse),
    Range(RangeResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
}

impl TxnResult {
    /// One element of `responses`: an object with one member, named after the operation.
    fn decode(reader: &mut Reader<'_>) -> Result<Option<TxnResult>, JsonError> {
        let mut result = None;
        let names = &["response_range", "response_put", "response_delete_range", "response_txn"];
        reader.object(names, |reader, field| {
            result = Some(match field {
                0 => TxnResult::Range(RangeResponse::decode(reader)?),
                1 => TxnResult::Put(PutResponse::decode(reader)?),
                2 => TxnResult::DeleteRange(DeleteRangeResponse::decode(reader)?),
                _ => TxnResult::Txn(TxnResponse::decode(reader)?),
            });
            Ok(())
        })?;
        Ok(result)
    }
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default)]
pub struct TxnResponse {
    /// The answer's header; those of the results carry a revision at most.
    pub header: Header,
    /// Whether every condition held.
    pub succeeded: bool,
    /// What the operations done answered, in their order.
    pub results: Vec<TxnResult>,
}

impl Decode for TxnResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<TxnResponse, JsonError> {
        let mut response = TxnResponse::default();
        reader.object(&["header", "succeeded", "responses"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.succeeded = reader.boolean()?,
                _ => response.results = reader.list(result)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

fn result(reader: &mut Reader<'_>) -> Result<TxnResult, JsonError> {
    TxnResult::decode(reader)?.ok_or_else(|| reader.expected("an operation's answer"))
}

headed!(TxnResponse);

struct InNamespace<'a>(&'a TxnRequest<'a>, &'a Namespace);

impl Encode for InNamespace<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        self.0.write(self.1, out);
    }
}

impl Client {
    /// Runs a transaction.
    pub fn txn(&self, request: &TxnRequest<'_>, options: &CallOptions) -> Result<Response<TxnResponse>> {
        let method = match (request.is_serializable(), request.is_read()) {
            (true, _) => SERIALIZABLE_TXN,
            (false, true) => READING_TXN,
            (false, false) => TXN,
        };
        self.txn_by(method, request, options).0
    }

    /// Runs a transaction that leaves the same behind whether it is done once or twice: without an answer it is made
    /// again, elsewhere too, and that answer counts.
    pub(crate) fn txn_repeatable(
        &self,
        request: &TxnRequest<'_>,
        options: &CallOptions,
    ) -> Result<Response<TxnResponse>> {
        self.txn_repeated(request, options).0
    }

    /// The same, and whether an earlier attempt of this call may have been executed before the one that was answered.
    pub(crate) fn txn_repeated(
        &self,
        request: &TxnRequest<'_>,
        options: &CallOptions,
    ) -> (Result<Response<TxnResponse>>, bool) {
        self.txn_by(REPEATABLE_TXN, request, options)
    }

    fn txn_by(
        &self,
        method: Method<'_>,
        request: &TxnRequest<'_>,
        options: &CallOptions,
    ) -> (Result<Response<TxnResponse>>, bool) {
        if let Err(error) = request.check(self) {
            return (Err(error), false);
        }
        let request = InNamespace(request, self.namespace());
        let channel = &self.shared.channel;
        let (mut answer, doubt) = channel.call_once::<TxnResponse>(method, &request, &self.control(options));
        if let Ok(response) = &mut answer {
            strip(self.namespace(), response.message_mut());
        }
        (answer, doubt.is_some())
    }
}

fn strip(namespace: &Namespace, response: &mut TxnResponse) {
    for result in &mut response.results {
        match result {
            TxnResult::Put(response) => strip_put(namespace, response),
            TxnResult::Range(response) => strip_range(namespace, response),
            TxnResult::DeleteRange(response) => strip_delete(namespace, response),
            TxnResult::Txn(response) => strip(namespace, response),
        }
    }
}
