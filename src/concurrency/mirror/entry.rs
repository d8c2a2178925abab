//! One key of a copy.

use crate::rpc::kv::KeyValue;
use std::fmt;
use std::sync::Arc;

/// A key with its value and history, in one piece of memory that any number of copies and events share.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry(Arc<[u8]>);

/// Create revision, modification revision, version, lease and the length of the key; the key and the value follow.
const HEAD: usize = 5 * size_of::<i64>();

impl Entry {
    /// The entry of a key whose bytes are these.
    pub(super) fn new(kv: &KeyValue, key: &[u8], value: &[u8]) -> Entry {
        let numbers = [kv.create_revision, kv.mod_revision, kv.version, kv.lease, key.len() as i64];
        let mut bytes = Vec::with_capacity(HEAD + key.len() + value.len());
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Entry(bytes.into())
    }

    /// What is known of a key that was deleted, by this revision at the latest.
    pub(super) fn deleted(key: &[u8], mod_revision: i64) -> Entry {
        Entry::new(&KeyValue { mod_revision, ..KeyValue::default() }, key, b"")
    }

    /// How many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        self.0.get(HEAD..HEAD + self.key_len()).unwrap_or_default()
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        self.0.get(HEAD + self.key_len()..).unwrap_or_default()
    }

    /// The revision that created it.
    pub fn create_revision(&self) -> i64 {
        self.number(0)
    }

    /// The revision that changed it last, or deleted it.
    pub fn mod_revision(&self) -> i64 {
        self.number(1)
    }

    /// How many times it was written since it was created.
    pub fn version(&self) -> i64 {
        self.number(2)
    }

    /// The lease it is attached to; 0: none.
    pub fn lease(&self) -> i64 {
        self.number(3)
    }

    fn key_len(&self) -> usize {
        self.number(4) as usize
    }

    fn number(&self, index: usize) -> i64 {
        let bytes = self.0.get(index * size_of::<i64>()..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| i64::from_ne_bytes(*bytes))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("value", &self.value().escape_ascii().to_string())
            .field("create_revision", &self.create_revision())
            .field("mod_revision", &self.mod_revision())
            .field("version", &self.version())
            .field("lease", &self.lease())
            .finish()
    }
}
