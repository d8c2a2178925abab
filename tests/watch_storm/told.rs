//! One event, and which events a watch is to tell.

use crate::common::Random;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use std::borrow::Cow;

/// How many keys there are: few, so that ranges overlap and every key has a past.
pub const KEYS: usize = 24;

pub fn key(number: usize) -> String {
    format!("storm/{number:02}")
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub revision: i64,
    pub is_delete: bool,
    pub key: String,
    pub value: String,
    pub version: i64,
    /// The value before, where the watch asks for it.
    pub previous: Option<String>,
}

/// What a watch asks for: keys from one number to another, and kinds of events.
#[derive(Clone, Debug)]
pub struct Interest {
    first: usize,
    end: usize,
    no_put: bool,
    no_delete: bool,
    pub prev_kv: bool,
}

impl Interest {
    pub fn random(random: &mut Random) -> Interest {
        let first = random.below(KEYS);
        // One key each fourth time, so that there are many watches of the same key.
        let count = if random.percent(25) { 1 } else { 1 + random.below(KEYS - first) };
        let filter = random.below(6);
        let (no_put, no_delete) = (filter == 0, filter == 1);
        Interest { first, end: first + count, no_put, no_delete, prev_kv: random.percent(20) }
    }

    pub fn request(&self, start_revision: i64) -> WatchRequest {
        let bytes = |number| Cow::Owned(key(number).into_bytes());
        let keys = match self.end - self.first {
            1 => Keys::One(bytes(self.first)),
            KEYS => Keys::Prefix(Cow::Borrowed(&b"storm/"[..])),
            _ => Keys::Range { key: bytes(self.first), end: bytes(self.end) },
        };
        let Interest { no_put, no_delete, prev_kv, .. } = *self;
        WatchRequest { keys, start_revision, no_put, no_delete, prev_kv }
    }

    /// Whether an event is to be told.
    pub fn covers(&self, told: &Told) -> bool {
        let is_inside = told.key >= key(self.first) && told.key < key(self.end);
        is_inside && !(if told.is_delete { self.no_delete } else { self.no_put })
    }
}
