//! Which keys the handles of one session have in lines: two of one name have the same key, and what one of them would
//! leave behind may be what the other has.

use std::collections::HashMap;

/// Keys, with the revisions that created them: once for each handle.
#[derive(Default)]
pub(super) struct Claims(HashMap<Vec<u8>, Vec<i64>>);

impl Claims {
    pub(super) fn add(&mut self, key: &[u8], revision: i64) {
        self.0.entry(key.to_vec()).or_default().push(revision);
    }

    pub(super) fn remove(&mut self, key: &[u8], revision: i64) {
        let Some(revisions) = self.0.get_mut(key) else { return };
        if let Some(place) = revisions.iter().position(|claimed| *claimed == revision) {
            revisions.swap_remove(place);
        }
        if revisions.is_empty() {
            self.0.remove(key);
        }
    }

    /// Whether a handle has this key; `None`: with whatever revision.
    pub(super) fn has(&self, key: &[u8], revision: Option<i64>) -> bool {
        self.0.get(key).is_some_and(|revisions| revision.is_none_or(|revision| revisions.contains(&revision)))
    }
}
