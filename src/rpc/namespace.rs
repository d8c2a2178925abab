//! A prefix that goes on every key of a client and comes off every key it gets, as Go's `clientv3/namespace` does it.

use super::keys::prefix_range_end;
use super::kv::KeyValue;
use std::borrow::Cow;
use std::sync::Arc;

/// The prefix of a client's keys; empty for most clients. Its clones share it: every watch has one.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    prefix: Arc<[u8]>,
}

impl Namespace {
    /// A namespace below `prefix`.
    pub fn new(prefix: Vec<u8>) -> Namespace {
        Namespace { prefix: prefix.into() }
    }

    /// The prefix itself.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prefix.is_empty()
    }

    /// The full name of a key.
    pub(crate) fn add<'a>(&self, key: &'a [u8]) -> Cow<'a, [u8]> {
        if self.prefix.is_empty() { Cow::Borrowed(key) } else { Cow::Owned([&self.prefix, key].concat()) }
    }

    /// The first key after all keys of the namespace, as a `range_end`.
    pub(crate) fn end(&self) -> Vec<u8> {
        prefix_range_end(&self.prefix)
    }

    /// Takes the prefix off a key that the server sent.
    pub(crate) fn strip(&self, kv: &mut KeyValue) {
        kv.key = kv.key.without_first(self.prefix.len());
    }
}
