//! Writing a key.

use super::KeyValue;
use crate::gateway::json::{Decode, JsonError, Reader, Writer};
use crate::rpc::{Header, Namespace, headed};
use std::borrow::Cow;

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
        reader.frequent_object(
            &[r#""header":{"#, r#""prev_kv":{"#],
            #[inline(always)]
            |plain, field| {
                match field {
                    0 => response.header = plain.read(Header::decode)?,
                    _ => plain.message(response.prev_kv.insert(KeyValue::default()))?,
                }
                Ok(())
            },
        )?;
        Ok(response)
    }
}

headed!(PutResponse);

pub(crate) fn strip_put(namespace: &Namespace, response: &mut PutResponse) {
    if let Some(kv) = &mut response.prev_kv {
        namespace.strip(kv);
    }
}
