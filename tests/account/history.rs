//! What the server itself says happened, read without anything in between.

use crate::common::{LONG, plain};
use etcdgw::client::Client;
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::RangeRequest;
use etcdgw::rpc::watch::{EventType, WatchRequest};
use etcdgw::watch::{WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Everything that is written lies below this.
pub const PREFIX: &[u8] = b"account/";

/// Says how far an account goes.
pub const MARK: &[u8] = b"account/mark";

/// Where a value was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A key of this value's own.
    OwnKey,
    /// A counter that many threads change.
    Counter(u8),
}

impl Place {
    pub fn key(self, value: u64) -> String {
        match self {
            Place::OwnKey => format!("account/own/{value}"),
            Place::Counter(number) => format!("account/counter/{number}"),
        }
    }
}

/// One write in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: i64,
    /// How many times its key had been written by then.
    pub version: i64,
    pub place: Place,
    pub value: u64,
}

/// Every write from one revision to another, in order.
pub struct History(Vec<Change>);

/// A watch of everything.
pub fn watch_options(first: i64) -> WatchOptions {
    let keys = Keys::Prefix(Cow::Borrowed(PREFIX));
    let request = WatchRequest { start_revision: first, ..WatchRequest::new(keys) };
    WatchOptions { wait_created: false, ..WatchOptions::new(request) }
}

/// The writes that a response of a watch tells of, and whether it comes to this revision.
#[track_caller]
pub fn take(response: &WatchResponse, until: i64, changes: &mut Vec<Change>) -> bool {
    assert_ne!(response.kind, WatchKind::Ended, "{:?}", response.error);
    for event in &response.events {
        assert_eq!(event.event_type, EventType::Put);
        let (key, value) = (response.bytes(event.kv.key), response.bytes(event.kv.value));
        if key == MARK {
            continue;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, value) = (text(key), text(value).parse().unwrap());
        let place = match key.strip_prefix("account/counter/") {
            Some(number) => Place::Counter(number.parse().unwrap()),
            None => Place::OwnKey,
        };
        assert_eq!(key, place.key(value));
        changes.push(Change { revision: event.kv.mod_revision, version: event.kv.version, place, value });
    }
    response.resume_revision > until
}

impl History {
    /// Reads it, with a client that has nothing between it and the servers.
    #[track_caller]
    pub fn read(direct: &Client, first: i64, until: i64) -> History {
        let watch = direct.watch_open(watch_options(first)).unwrap();
        let mut changes = Vec::new();
        let mut last_sign = Instant::now();
        loop {
            match watch.next(Some(Duration::from_secs(1))).unwrap() {
                Some(response) if take(&response, until, &mut changes) => break,
                Some(_) => last_sign = Instant::now(),
                None => assert!(last_sign.elapsed() < LONG, "the history does not come to its end"),
            }
        }
        assert!(changes.is_sorted_by_key(|change| change.revision));
        changes.retain(|change| change.revision <= until);
        History(changes)
    }

    pub fn changes(&self) -> &[Change] {
        &self.0
    }

    pub fn up_to(&self, revision: i64) -> &[Change] {
        &self.0[..self.0.partition_point(|change| change.revision <= revision)]
    }

    /// The keys that are there are those of the history, each as it left them.
    #[track_caller]
    pub fn check_against_keys(&self, direct: &Client) {
        let last: HashMap<String, &Change> =
            self.0.iter().map(|change| (change.place.key(change.value), change)).collect();
        let mut count = 0;
        let mut next = PREFIX.to_vec();
        loop {
            let keys = Keys::Range { key: Cow::Owned(next), end: Cow::Borrowed(b"account0") };
            let page = direct.range(&RangeRequest { limit: 10_000, ..RangeRequest::new(keys) }, &plain()).unwrap();
            for kv in page.kvs.iter().filter(|kv| page.bytes(kv.key) != MARK) {
                let key = String::from_utf8(page.bytes(kv.key).to_vec()).unwrap();
                let change = last[&key];
                assert_eq!((kv.mod_revision, kv.version), (change.revision, change.version), "{key}");
                count += 1;
            }
            let Some(kv) = page.kvs.last().filter(|_| page.more) else { break };
            next = [page.bytes(kv.key), &[0]].concat();
        }
        assert_eq!(count, last.len());
    }
}
