//! What a node of a tree holds: items in the order of their keys, found without looking at many of the keys.
//!
//! The keys of a node mostly begin alike. Behind what they have in common the next eight bytes of each stand as a number
//! in the node itself, so that a search touches the memory of two or three keys and not of six or seven.

use super::entry::Entry;
use std::sync::Arc;

/// The most items in a node.
pub(super) const CAPACITY: usize = 64;

/// The longest beginning that a node knows its keys to have in common.
const LONGEST_COMMON: usize = 31;

/// Something that has a key.
pub(super) trait Keyed: Clone {
    fn key(&self) -> &[u8];
}

impl Keyed for Entry {
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
}

impl Keyed for Arc<[u8]> {
    fn key(&self) -> &[u8] {
        self
    }
}

/// At most [`CAPACITY`] items with ascending keys.
#[derive(Clone)]
pub(super) struct Sorted<T> {
    /// How the keys begin, as far as it is alike and fits.
    common: [u8; LONGEST_COMMON],
    common_len: u8,
    /// The eight bytes of each key behind that, zeros where it has fewer.
    heads: [u64; CAPACITY],
    items: Vec<T>,
}

impl<T: Keyed> Sorted<T> {
    /// Of items that are in order.
    pub(super) fn new(items: Vec<T>) -> Sorted<T> {
        let mut sorted = Sorted { common: [0; LONGEST_COMMON], common_len: 0, heads: [0; CAPACITY], items };
        sorted.summarize();
        sorted
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Where the key is, or where it would be.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let common = self.common.get(..usize::from(self.common_len)).unwrap_or_default();
        let heads = self.heads.get(..self.items.len()).unwrap_or_default();
        let Some(rest) = key.strip_prefix(common) else {
            return Err(if key < common { 0 } else { heads.len() });
        };
        let head = head_of(rest);
        let first = heads.partition_point(|other| *other < head);
        // Mostly one or none.
        let alike = heads.get(first..).unwrap_or_default().iter().take_while(|other| **other == head).count();
        // Shorter keys end in zeros and longer ones go on: the whole keys tell those apart.
        let items = self.items.get(first..first + alike).unwrap_or_default();
        let found = items.binary_search_by(|item| item.key().cmp(key));
        found.map(|at| first + at).map_err(|at| first + at)
    }

    pub(super) fn insert(&mut self, at: usize, item: T) {
        self.items.insert(at, item);
        self.summarize();
    }

    /// Puts an item in the place of one with the same key.
    pub(super) fn replace(&mut self, at: usize, item: T) -> Option<T> {
        self.items.get_mut(at).map(|place| std::mem::replace(place, item))
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        if at >= self.items.len() {
            return None;
        }
        let removed = self.items.remove(at);
        self.summarize();
        Some(removed)
    }

    pub(super) fn split_off(&mut self, at: usize) -> Sorted<T> {
        let rest = self.items.split_off(at);
        self.summarize();
        Sorted::new(rest)
    }

    /// Adds items whose keys come after all these.
    pub(super) fn append(&mut self, items: impl IntoIterator<Item = T>) {
        self.items.extend(items);
        self.summarize();
    }

    /// Follows a change of the items.
    fn summarize(&mut self) {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return };
        // What the first and the last have in common, all between them have.
        let pairs = first.key().iter().zip(last.key()).take(LONGEST_COMMON);
        let count = pairs.take_while(|(a, b)| a == b).count();
        self.common_len = count as u8;
        for (to, from) in self.common.iter_mut().zip(first.key()).take(count) {
            *to = *from;
        }
        for (head, item) in self.heads.iter_mut().zip(&self.items) {
            *head = head_of(item.key().get(count..).unwrap_or_default());
        }
    }
}

/// The first eight bytes as a number that orders as they do.
fn head_of(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let shift = |head: u64, byte: &u8| head << 8 | u64::from(*byte);
            let left = 8 - bytes.len() as u32;
            bytes.iter().fold(0, shift).checked_shl(left * 8).unwrap_or_default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_where_it_is_and_every_other_one_where_it_would_be() {
        let keys: &[&[u8]] = &[
            b"",
            b"\0",
            b"\0\0",
            b"a",
            b"a\0",
            b"a\0\0\0\0\0\0\0\0\0",
            b"a\0\0\0\0\0\0\0\0\x01",
            b"abcdefgh",
            b"abcdefgh\0",
            b"abcdefghi",
            b"abcdefgi",
            b"abcdefgi\xff",
            b"b",
            b"\xff",
            b"\xff\xff",
        ];
        let long = [b'x'; 40];
        for prefix in [&b""[..], b"p/", &long] {
            let all: Vec<Arc<[u8]>> = keys.iter().map(|key| [prefix, key].concat().into()).collect();
            for from in 0..all.len() {
                for to in from..=all.len() {
                    let sorted = Sorted::new(all[from..to].to_vec());
                    for key in all.iter().map(|key| &**key).chain([&b"p"[..], b"", b"zz", &long[1..]]) {
                        let wanted = all[from..to].binary_search_by(|other| (**other).cmp(key));
                        assert_eq!(sorted.search(key), wanted, "{key:?} in {:?}", &all[from..to]);
                    }
                }
            }
        }
    }
}
