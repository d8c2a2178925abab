//! Keys and values: etcd's KV service without transactions, which have a file of their own.

mod delete_range;
mod put;
mod range;

pub use delete_range::{DeleteRangeRequest, DeleteRangeResponse};
pub use put::{PutRequest, PutResponse};
pub use range::{RangeRequest, RangeResponse, SortOrder, SortTarget};

pub(crate) use delete_range::strip_delete;
pub(crate) use put::strip_put;
pub(crate) use range::strip_range;

use super::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use super::{HeaderOnly, Keys, Namespace, Response};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Reason, Result};
use crate::gateway::json::{Encode, Frequent, JsonError, Plain, Reader, Span, Writer};
use crate::net::Control;
use std::borrow::Cow;

const SERIALIZABLE_RANGE: Method = Method::new("kv/range", Kind::Read, Size::Values);
const RANGE: Method = SERIALIZABLE_RANGE.with_leader();
const PUT: Method = Method::new("kv/put", Kind::Write, Size::Plain).with_leader();
const PUT_WITH_PREVIOUS: Method = Method::new("kv/put", Kind::Write, Size::Values).with_leader();
const DELETE_RANGE: Method = Method::new("kv/deleterange", Kind::Write, Size::Values).with_leader();
const COMPACT: Method = Method::new("kv/compaction", Kind::Write, Size::Plain).with_leader();

/// A key with its value and history; the spans are places in the buffer of the response.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue {
    /// The key.
    pub key: Span,
    /// Its value; empty where only keys were asked for.
    pub value: Span,
    /// The revision that created it.
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// How many times it was written since it was created.
    pub version: i64,
    /// The lease it is attached to; 0: none.
    pub lease: i64,
}

impl KeyValue {
    pub(crate) const EMPTY: KeyValue =
        KeyValue { key: Span::EMPTY, value: Span::EMPTY, create_revision: 0, mod_revision: 0, version: 0, lease: 0 };
}

impl Frequent for KeyValue {
    #[inline(always)]
    fn read(&mut self, plain: &mut Plain<'_, '_>) -> Result<(), JsonError> {
        *self = KeyValue::default();
        let fields = &[
            r#""key":""#,
            r#""create_revision":""#,
            r#""mod_revision":""#,
            r#""version":""#,
            r#""value":""#,
            r#""lease":""#,
        ];
        plain.object(
            fields,
            #[inline(always)]
            |plain, field| {
                match field {
                    0 => self.key = plain.bytes()?,
                    1 => self.create_revision = plain.int64()?,
                    2 => self.mod_revision = plain.int64()?,
                    3 => self.version = plain.int64()?,
                    4 => self.value = plain.bytes()?,
                    _ => self.lease = plain.int64()?,
                }
                Ok(())
            },
        )
    }
}

/// Decodes an array of keys with their values.
fn key_values(reader: &mut Reader<'_>) -> Result<Vec<KeyValue>, JsonError> {
    let mut kvs = Vec::new();
    reader.frequent_objects(
        #[inline(always)]
        |plain| {
            kvs.push(KeyValue::default());
            let Some(kv) = kvs.last_mut() else { return Ok(()) };
            plain.message(kv)
        },
    )?;
    Ok(kvs)
}

struct CompactRequest {
    revision: i64,
    physical: bool,
}

impl Encode for CompactRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        out.int64_field("revision", self.revision);
        if self.physical {
            out.bool_field("physical", true);
        }
    }
}

/// A request as it goes out in a namespace.
struct InNamespace<'a, R>(&'a R, &'a Namespace);

macro_rules! encode_in_namespace {
    ($($request:ident),*) => {$(
        impl Encode for InNamespace<'_, $request<'_>> {
            fn encode(&self, out: &mut Writer<'_>) {
                self.0.write(self.1, out);
            }
        }
    )*};
}
encode_in_namespace!(PutRequest, RangeRequest, DeleteRangeRequest);

impl Client {
    /// Writes a key's value.
    pub fn put(&self, request: &PutRequest<'_>, options: &CallOptions) -> Result<Response<PutResponse>> {
        self.check_key(request.key.is_empty())?;
        let method = if request.prev_kv { PUT_WITH_PREVIOUS } else { PUT };
        let mut response: Response<PutResponse> =
            self.call(method, &InNamespace(request, self.namespace()), options)?;
        strip_put(self.namespace(), response.message_mut());
        Ok(response)
    }

    /// Reads keys.
    pub fn range(&self, request: &RangeRequest<'_>, options: &CallOptions) -> Result<Response<RangeResponse>> {
        self.check_key(request.keys.is_empty_key())?;
        let method = if request.serializable { SERIALIZABLE_RANGE } else { RANGE };
        let mut response: Response<RangeResponse> =
            self.call(method, &InNamespace(request, self.namespace()), options)?;
        strip_range(self.namespace(), response.message_mut());
        Ok(response)
    }

    /// Reads keys whose names are complete, and leaves those of the answer as they are.
    pub(crate) fn range_of_full_names(
        &self,
        request: &RangeRequest<'_>,
        control: &Control,
    ) -> Result<Response<RangeResponse>> {
        self.shared.channel.call(RANGE, &InNamespace(request, &Namespace::default()), control)
    }

    /// Deletes keys.
    pub fn delete_range(
        &self,
        request: &DeleteRangeRequest<'_>,
        options: &CallOptions,
    ) -> Result<Response<DeleteRangeResponse>> {
        request.check()?;
        self.check_key(request.keys.is_empty_key())?;
        let mut response: Response<DeleteRangeResponse> =
            self.call(DELETE_RANGE, &InNamespace(request, self.namespace()), options)?;
        strip_delete(self.namespace(), response.message_mut());
        Ok(response)
    }

    /// Forgets the history before `revision`; `physical` waits until the space is free.
    pub fn compact(&self, revision: i64, physical: bool, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(COMPACT, &CompactRequest { revision, physical }, options)?;
        Ok(())
    }

    /// Writes a key only where it doesn't exist. Answers whether it did, and the store's revision then.
    pub fn create(&self, put: PutRequest<'_>, options: &CallOptions) -> Result<(bool, i64)> {
        let absent = Compare {
            keys: Keys::One(put.key.clone()),
            op: CompareOp::Equal,
            target: CompareTarget::CreateRevision(0),
        };
        self.put_if(absent, put, options)
    }

    /// Writes a key only where its value is `expected`. Answers whether it did, and the store's revision then.
    pub fn replace(&self, put: PutRequest<'_>, expected: &[u8], options: &CallOptions) -> Result<(bool, i64)> {
        let unchanged = Compare {
            keys: Keys::One(put.key.clone()),
            op: CompareOp::Equal,
            target: CompareTarget::Value(Cow::Borrowed(expected)),
        };
        self.put_if(unchanged, put, options)
    }

    fn put_if(&self, condition: Compare<'_>, put: PutRequest<'_>, options: &CallOptions) -> Result<(bool, i64)> {
        let request = TxnRequest { compare: vec![condition], success: vec![TxnOp::Put(put)], failure: Vec::new() };
        let response = self.txn(&request, options)?;
        Ok((response.succeeded, response.header.revision))
    }

    /// With a namespace an empty key would name the prefix itself; the server's own answer is given in its stead.
    pub(crate) fn check_key(&self, is_empty: bool) -> Result<()> {
        if is_empty && !self.namespace().is_empty() {
            let what = "etcdserver: key is not provided".to_owned();
            return Err(Error::InvalidArgument { what, reason: Reason::EmptyKey });
        }
        Ok(())
    }
}

fn strip_all(namespace: &Namespace, kvs: &mut [KeyValue]) {
    if !namespace.is_empty() {
        kvs.iter_mut().for_each(|kv| namespace.strip(kv));
    }
}
