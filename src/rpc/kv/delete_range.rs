//! Deleting keys.

use super::{KeyValue, key_values, strip_all};
use crate::error::{Error, Result};
use crate::gateway::json::{Decode, JsonError, Reader, Writer};
use crate::rpc::{Header, Keys, Namespace, headed};

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

headed!(DeleteRangeResponse);

pub(crate) fn strip_delete(namespace: &Namespace, response: &mut DeleteRangeResponse) {
    strip_all(namespace, &mut response.prev_kvs);
}
