//! What a mirror tells of its changes.

use super::entry::Entry;
use super::tree::Tree;
use crate::error::Error;
use crate::rpc::watch::EventType;

/// What a change is about; the numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ChangeKind {
    /// What happened to the keys: whole revisions, in their order, each event once.
    Events = 1,
    /// The difference between the copy as it was last told and as it is, an event for each key, and not what happened in
    /// between: the copy was made anew, since the history from the old one on is gone, or there was more to tell than
    /// could be kept.
    Rebuilt = 2,
    /// The last change, with the reason: the copy stays as it is.
    Ended = 3,
}

/// One change of one key.
#[derive(Clone, Debug)]
pub struct MirrorEvent {
    /// What happened.
    pub event_type: EventType,
    /// The key after it; of a deleted one only the key and the revision that deleted it, which of a copy made anew is the
    /// latest that it can have been.
    pub kv: Entry,
    /// The key before it, where it existed.
    pub prev_kv: Option<Entry>,
}

/// One change of a mirror's copy.
#[derive(Clone, Debug)]
pub struct MirrorChange {
    /// What it is about.
    pub kind: ChangeKind,
    /// What has changed.
    pub events: Vec<MirrorEvent>,
    /// The revision that the keys are at once these have happened.
    pub revision: i64,
    /// Why the mirror has ended.
    pub error: Option<Error>,
}

/// What makes one tree of another one, ascending by key; the new one is of this revision.
pub(super) fn difference(old: &Tree, new: &Tree, revision: i64) -> Vec<MirrorEvent> {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    let mut events = Vec::new();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return events,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some(new)) => old.key().cmp(new.key()),
        };
        // The first in order of what both have is in the old one, in both, or in the new one.
        let before = if order.is_le() { olds.next() } else { None };
        let after = if order.is_ge() { news.next() } else { None };
        match (before, after) {
            (before, Some(after)) if before != Some(after) => {
                events.push(MirrorEvent { event_type: EventType::Put, kv: after.clone(), prev_kv: before.cloned() })
            }
            (Some(before), None) => events.push(MirrorEvent {
                event_type: EventType::Delete,
                kv: Entry::deleted(before.key(), revision),
                prev_kv: Some(before.clone()),
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rpc::kv::KeyValue;

    fn tree(entries: &[(&str, &str, i64)]) -> Tree {
        let mut tree = Tree::default();
        for (key, value, mod_revision) in entries {
            let kv = KeyValue { mod_revision: *mod_revision, ..KeyValue::default() };
            tree.insert(Entry::new(&kv, key.as_bytes(), value.as_bytes()));
        }
        tree
    }

    #[test]
    fn a_difference_has_what_came_what_went_and_what_changed_and_nothing_else() {
        let old = tree(&[("a", "1", 1), ("b", "1", 2), ("d", "1", 3), ("e", "1", 4)]);
        let new = tree(&[("b", "1", 2), ("c", "1", 5), ("d", "2", 6), ("e", "1", 7), ("f", "1", 8)]);
        let events = difference(&old, &new, 9);
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let previous = event.prev_kv.as_ref().map(|previous| previous.mod_revision());
                (event.event_type, text(event.kv.key()), text(event.kv.value()), event.kv.mod_revision(), previous)
            })
            .collect();
        let put = |key: &str, value: &str, revision, previous| {
            (EventType::Put, key.to_owned(), value.to_owned(), revision, previous)
        };
        assert_eq!(
            told,
            [
                (EventType::Delete, "a".to_owned(), String::new(), 9, Some(1)),
                put("c", "1", 5, None),
                put("d", "2", 6, Some(3)),
                put("e", "1", 7, Some(4)),
                put("f", "1", 8, None),
            ]
        );
        assert!(difference(&new, &new.clone(), 9).is_empty());
        assert!(difference(&Tree::default(), &Tree::default(), 9).is_empty());
    }

    #[test]
    fn the_same_revision_with_another_value_is_a_change() {
        // A cluster that was restored counts again from where the backup was made.
        let (old, new) = (tree(&[("a", "before", 7)]), tree(&[("a", "after", 7)]));
        assert_eq!(difference(&old, &new, 7).len(), 1);
    }
}
