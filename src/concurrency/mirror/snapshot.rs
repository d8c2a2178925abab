//! The copy as it is published: it stays as it is, and readers get at it without waiting for anybody.

use super::entry::Entry;
use super::tree::{Entries, Tree};
use crate::rpc::Header;
use arc_swap::Guard;
use std::sync::Arc;

/// A state of the keys. It never changes: the next one takes its place.
#[derive(Clone, Default)]
pub(super) struct State {
    pub tree: Tree,
    /// Its revision is the one that the keys are shown at.
    pub header: Header,
}

impl State {
    /// The same keys, or others, at a revision.
    pub(super) fn at(&self, tree: Tree, revision: i64) -> State {
        State { tree, header: Header { revision, ..self.header } }
    }
}

/// The keys of a mirror at one revision. It stays as it is while the mirror goes on, and costs as much memory as has
/// changed since; meant to be looked at and dropped.
pub struct Snapshot(pub(super) Guard<Arc<State>>);

impl Snapshot {
    /// The revision that it shows.
    pub fn revision(&self) -> i64 {
        self.0.header.revision
    }

    /// The revision with the cluster's ID; no member answered, so that the rest is 0.
    pub fn header(&self) -> Header {
        self.0.header
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.tree.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A key. One that the mirror doesn't have is `None`, whether it doesn't exist or is beside the mirror's prefix.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.0.tree.get(key)
    }

    /// The keys that start so, ascending.
    pub fn range<'a>(&'a self, prefix: &'a [u8]) -> Range<'a> {
        Range { entries: self.0.tree.iter_from(prefix), prefix }
    }

    /// The same, to be kept for long and shared.
    pub(crate) fn into_shared(self) -> SharedSnapshot {
        SharedSnapshot(Guard::into_inner(self.0))
    }
}

/// A snapshot that is held on to.
#[derive(Clone)]
pub(crate) struct SharedSnapshot(Arc<State>);

impl SharedSnapshot {
    /// As [`Snapshot::range`].
    pub(crate) fn range<'a>(&'a self, prefix: &'a [u8]) -> Range<'a> {
        Range { entries: self.0.tree.iter_from(prefix), prefix }
    }
}

/// Some keys of a snapshot, ascending.
#[derive(Clone)]
pub struct Range<'a> {
    entries: Entries<'a>,
    prefix: &'a [u8],
}

impl<'a> Iterator for Range<'a> {
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        self.entries.next().filter(|entry| entry.key().starts_with(self.prefix))
    }
}
