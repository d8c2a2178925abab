//! Reading keys.

use super::{KeyValue, key_values, strip_all};
use crate::gateway::json::{Decode, JsonError, Reader, Writer};
use crate::rpc::{Header, Keys, Namespace, headed};
use std::borrow::Cow;

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
        let fields = &[r#""header":{"#, r#""kvs":["#, r#""more":t"#, r#""count":""#];
        reader.frequent_object(fields, |plain, field| {
            match field {
                0 => response.header = plain.read(Header::decode)?,
                1 => response.kvs = plain.read(key_values)?,
                2 => response.more = plain.read(Reader::boolean)?,
                _ => response.count = plain.int64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(RangeResponse);

pub(crate) fn strip_range(namespace: &Namespace, response: &mut RangeResponse) {
    strip_all(namespace, &mut response.kvs);
}
