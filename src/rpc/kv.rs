//! Keys and values: etcd's KV service without transactions, which have a file of their own.

use super::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use super::{Header, HeaderOnly, Keys, Namespace, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Reason, Result};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Span, Writer};
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

    /// Decodes a key where it is to stay: its numbers have just been written one by one then, and moving them at once
    /// would wait until all of these writes are through.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        *self = KeyValue::default();
        let names = &["key", "create_revision", "mod_revision", "version", "value", "lease"];
        reader.frequent_object(names, |reader, field| {
            match field {
                0 => reader.bytes_into(&mut self.key)?,
                1 => self.create_revision = reader.int64()?,
                2 => self.mod_revision = reader.int64()?,
                3 => self.version = reader.int64()?,
                4 => reader.bytes_into(&mut self.value)?,
                _ => self.lease = reader.int64()?,
            }
            Ok(())
        })
    }
}

impl Decode for KeyValue {
    fn decode(reader: &mut Reader<'_>) -> Result<KeyValue, JsonError> {
        let mut kv = KeyValue::default();
        kv.read(reader)?;
        Ok(kv)
    }
}

/// Decodes an array of keys with their values.
fn key_values(reader: &mut Reader<'_>) -> Result<Vec<KeyValue>, JsonError> {
    let mut kvs = Vec::new();
    reader.array(|reader| {
        kvs.push(KeyValue::default());
        kvs.last_mut().map_or(Ok(()), |kv| kv.read(reader))
    })?;
    Ok(kvs)
}

/// Writes a key's value.
#[derive(Clone, Debug, Default)]
pub struct PutRequest<'a> {
    /// The key.
    pub key: Cow<'a, [u8]>,
    /// Its new value.
    pub value: Cow<'a, [u8]>,
    /// The lease to attach it to; 0: none.
    pub lease: i64,
    /// Asks for what the key was before.
    pub prev_kv: bool,
    /// Keeps the value and changes only the lease.
    pub ignore_value: bool,
    /// Keeps the lease and changes only the value.
    pub ignore_lease: bool,
}

impl PutRequest<'_> {
    pub(crate) fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        out.joined_bytes_field("key", namespace.prefix(), &self.key);
        if !self.value.is_empty() {
            out.bytes_field("value", &self.value);
        }
        if self.lease != 0 {
            out.int64_field("lease", self.lease);
        }
        for (name, set) in
            [("prev_kv", self.prev_kv), ("ignore_value", self.ignore_value), ("ignore_lease", self.ignore_lease)]
        {
            if set {
                out.bool_field(name, true);
            }
        }
    }

    /// The same request, owned.
    pub fn into_owned(self) -> PutRequest<'static> {
        PutRequest {
            key: Cow::Owned(self.key.into_owned()),
            value: Cow::Owned(self.value.into_owned()),
            lease: self.lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        }
    }
}

/// The answer to a put.
#[derive(Clone, Copy, Debug, Default)]
pub struct PutResponse {
    /// The answer's header; its revision is the put's.
    pub header: Header,
    /// What the key was before, where that was asked for and the key existed.
    pub prev_kv: Option<KeyValue>,
}

impl Decode for PutResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<PutResponse, JsonError> {
        let mut response = PutResponse::default();
        reader.frequent_object(&["header", "prev_kv"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.prev_kv = Some(KeyValue::decode(reader)?),
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// The order of a range's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// What a range is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the fields of a key")]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Reads keys.
#[derive(Clone, Debug)]
pub struct RangeRequest<'a> {
    /// Which ones.
    pub keys: Keys<'a>,
    /// At most so many; 0: all.
    pub limit: i64,
    /// As they were at this revision; 0: now.
    pub revision: i64,
    /// Only those last changed at or after this revision; 0: any. Likewise the next three.
    pub min_mod_revision: i64,
    /// Only those last changed at or before this revision.
    pub max_mod_revision: i64,
    /// Only those created at or after this revision.
    pub min_create_revision: i64,
    /// Only those created at or before this revision.
    pub max_create_revision: i64,
    /// Their order.
    pub sort_order: SortOrder,
    /// What they are ordered by.
    pub sort_target: SortTarget,
    /// Answered by one member from what it has, without asking the cluster whether that is the latest.
    pub serializable: bool,
    /// Without values.
    pub keys_only: bool,
    /// Only how many there are.
    pub count_only: bool,
}

impl<'a> RangeRequest<'a> {
    /// Reads these keys, all and now.
    pub fn new(keys: Keys<'a>) -> RangeRequest<'a> {
        RangeRequest {
            keys,
            limit: 0,
            revision: 0,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
        }
    }

    pub(crate) fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        self.keys.write(namespace, out);
        for (name, number) in [
            ("limit", self.limit),
            ("revision", self.revision),
            ("min_mod_revision", self.min_mod_revision),
            ("max_mod_revision", self.max_mod_revision),
            ("min_create_revision", self.min_create_revision),
            ("max_create_revision", self.max_create_revision),
        ] {
            if number != 0 {
                out.int64_field(name, number);
            }
        }
        match self.sort_order {
            SortOrder::None => {}
            SortOrder::Ascend => out.enum_field("sort_order", "ASCEND"),
            SortOrder::Descend => out.enum_field("sort_order", "DESCEND"),
        }
        match self.sort_target {
            SortTarget::Key => {}
            SortTarget::Version => out.enum_field("sort_target", "VERSION"),
            SortTarget::Create => out.enum_field("sort_target", "CREATE"),
            SortTarget::Mod => out.enum_field("sort_target", "MOD"),
            SortTarget::Value => out.enum_field("sort_target", "VALUE"),
        }
        for (name, set) in
            [("serializable", self.serializable), ("keys_only", self.keys_only), ("count_only", self.count_only)]
        {
            if set {
                out.bool_field(name, true);
            }
        }
    }

    /// The same request, owned.
    pub fn into_owned(self) -> RangeRequest<'static> {
        RangeRequest { keys: self.keys.into_owned(), ..RangeRequest { keys: Keys::One(Cow::Borrowed(b"")), ..self } }
    }
}

/// The answer to a range.
#[derive(Clone, Debug, Default)]
pub struct RangeResponse {
    /// The answer's header.
    pub header: Header,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left some out.
    pub more: bool,
    /// How many keys there are in the range, whatever the limit.
    pub count: i64,
}

impl Decode for RangeResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<RangeResponse, JsonError> {
        let mut response = RangeResponse::default();
        reader.frequent_object(&["header", "kvs", "more", "count"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.kvs = key_values(reader)?,
                2 => response.more = reader.boolean()?,
                _ => response.count = reader.int64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// Deletes keys.
#[derive(Clone, Debug)]
pub struct DeleteRangeRequest<'a> {
    /// Which ones.
    pub keys: Keys<'a>,
    /// Asks for what they were.
    pub prev_kv: bool,
    /// Lets [`Keys::is_everything`] through, which is refused otherwise: an unset configuration value must not empty a
    /// cluster.
    pub all: bool,
}

impl<'a> DeleteRangeRequest<'a> {
    /// Deletes these, without asking what they were.
    pub fn new(keys: Keys<'a>) -> DeleteRangeRequest<'a> {
        DeleteRangeRequest { keys, prev_kv: false, all: false }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.keys.is_everything() && !self.all {
            let what =
                if matches!(self.keys, Keys::Prefix(_)) { "prefix is empty" } else { "range_end is without end" };
            let why = "that deletes every key, and is refused unless the option `all` is 1";
            return Err(Error::invalid(format!("{what}: {why}")));
        }
        Ok(())
    }

    pub(crate) fn write(&self, namespace: &Namespace, out: &mut Writer<'_>) {
        self.keys.write(namespace, out);
        if self.prev_kv {
            out.bool_field("prev_kv", true);
        }
    }

    /// The same request, owned.
    pub fn into_owned(self) -> DeleteRangeRequest<'static> {
        DeleteRangeRequest { keys: self.keys.into_owned(), prev_kv: self.prev_kv, all: self.all }
    }
}

/// The answer to a delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteRangeResponse {
    /// The answer's header.
    pub header: Header,
    /// How many keys there were to delete.
    pub deleted: i64,
    /// What they were, where that was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

impl Decode for DeleteRangeResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<DeleteRangeResponse, JsonError> {
        let mut response = DeleteRangeResponse::default();
        reader.object(&["header", "deleted", "prev_kvs"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.deleted = reader.int64()?,
                _ => response.prev_kvs = key_values(reader)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
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

headed!(PutResponse, RangeResponse, DeleteRangeResponse);

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

pub(crate) fn strip_put(namespace: &Namespace, response: &mut PutResponse) {
    if let Some(kv) = &mut response.prev_kv {
        namespace.strip(kv);
    }
}

pub(crate) fn strip_range(namespace: &Namespace, response: &mut RangeResponse) {
    strip_all(namespace, &mut response.kvs);
}

pub(crate) fn strip_delete(namespace: &Namespace, response: &mut DeleteRangeResponse) {
    strip_all(namespace, &mut response.prev_kvs);
}

fn strip_all(namespace: &Namespace, kvs: &mut [KeyValue]) {
    if !namespace.is_empty() {
        kvs.iter_mut().for_each(|kv| namespace.strip(kv));
    }
}
