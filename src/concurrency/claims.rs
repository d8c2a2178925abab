//! Which keys the handles of one session have in lines: two of one name have the same key, and what one of them would
//! leave behind may be what the other has.

use crate::net::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// Keys, with the revisions that created them: once for each handle.
#[derive(Default)]
pub(super) struct Claims(Mutex<HashMap<Vec<u8>, Vec<i64>>>);

impl Claims {
    pub(super) fn add(&self, key: &[u8], revision: i64) {
        lock(&self.0).entry(key.to_vec()).or_default().push(revision);
    }

    pub(super) fn remove(&self, key: &[u8], revision: i64) {
        let mut claims = lock(&self.0);
        let Some(revisions) = claims.get_mut(key) else { return };
        if let Some(place) = revisions.iter().position(|claimed| *claimed == revision) {
            revisions.swap_remove(place);
        }
        if revisions.is_empty() {
            claims.remove(key);
        }
    }

    /// Whether a handle has this key; `None`: with whatever revision.
    pub(super) fn has(&self, key: &[u8], revision: Option<i64>) -> bool {
        let claims = lock(&self.0);
        claims.get(key).is_some_and(|revisions| revision.is_none_or(|revision| revisions.contains(&revision)))
    }
}
