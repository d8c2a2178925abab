//! Threads that write values which nobody else writes, and keep what they are told.

use crate::clock::Clock;
use crate::common::{Random, one, put_request, within};
use crate::history::Place;
use crate::ledger::{Entry, Ledger, Told};
use crate::storm::Stop;
use etcdgw::client::{CallOptions, Client};
use etcdgw::error::Result;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use std::borrow::Cow;
use std::time::Duration;

const COUNTERS: usize = 4;

/// Writes until the storm is over.
pub fn write_until(stop: &Stop, number: usize, client: &Client, mut random: Random, clock: &Clock) -> Ledger {
    let mut ledger = Ledger::default();
    let mut value = (number as u64 + 1) << 40;
    while !stop.is_stopped() {
        value += 1;
        let limit = random.time(200, 4000);
        let call = Write { client, value, limit, options: within(limit), clock };
        let entry = match random.below(10) {
            0..4 => call.put(),
            4..7 => call.create(),
            _ => call.count(random.below(COUNTERS) as u8),
        };
        let Some(entry) = entry else { continue };
        if matches!(entry.told, Told::Made(_)) && entry.place == Place::OwnKey && random.percent(25) {
            call.read_back();
        }
        ledger.0.push(entry);
        stop.pause(Duration::from_micros(random.next() % 3000));
    }
    ledger
}

struct Write<'a> {
    client: &'a Client,
    value: u64,
    limit: Duration,
    options: CallOptions,
    clock: &'a Clock,
}

impl Write<'_> {
    fn key(&self) -> String {
        Place::OwnKey.key(self.value)
    }

    fn put(&self) -> Option<Entry> {
        let (key, text) = (self.key(), self.value.to_string());
        let request = put_request(key.as_bytes(), text.as_bytes());
        let answer = self.clock.time(self.limit, || self.client.put(&request, &self.options));
        Some(self.entry(Place::OwnKey, 0, answer.map(|answer| (true, answer.header.revision))))
    }

    fn create(&self) -> Option<Entry> {
        let (key, text) = (self.key(), self.value.to_string());
        let request = put_request(key.as_bytes(), text.as_bytes());
        let answer = self.clock.time(self.limit, || self.client.create(request, &self.options));
        if let Ok((is_created, _)) = answer {
            assert!(is_created, "{key} is there already, which nobody else creates: it was created twice");
        }
        Some(self.entry(Place::OwnKey, 0, answer))
    }

    /// Changes a counter if nobody else has done so since it was read; nothing where it can't be read.
    fn count(&self, number: u8) -> Option<Entry> {
        let place = Place::Counter(number);
        let (key, text) = (place.key(self.value), self.value.to_string());
        let before = self.clock.time(self.limit, || self.client.range(&one(key.as_bytes()), &self.options));
        let revision = before.ok()?.kvs.first().map_or(0, |kv| kv.mod_revision);
        let unchanged = Compare {
            keys: Keys::One(Cow::Borrowed(key.as_bytes())),
            op: CompareOp::Equal,
            target: CompareTarget::ModRevision(revision),
        };
        let put = TxnOp::Put(put_request(key.as_bytes(), text.as_bytes()));
        let request = TxnRequest { compare: vec![unchanged], success: vec![put], ..TxnRequest::default() };
        let answer = self.clock.time(self.limit, || self.client.txn(&request, &self.options));
        Some(self.entry(place, revision, answer.map(|answer| (answer.succeeded, answer.header.revision))))
    }

    /// A write that was acknowledged is seen by every later read.
    fn read_back(&self) {
        let key = self.key();
        let answer = self.clock.time(self.limit, || self.client.range(&one(key.as_bytes()), &self.options));
        if let Ok(answer) = answer {
            let kv = answer.kvs.first().unwrap_or_else(|| panic!("{key} was written, and a read does not find it"));
            assert_eq!((answer.bytes(kv.value), kv.version), (self.value.to_string().as_bytes(), 1));
        }
    }

    fn entry(&self, place: Place, follows: i64, answer: Result<(bool, i64)>) -> Entry {
        let told = match answer {
            Ok((true, revision)) => Told::Made(revision),
            Ok((false, _)) => Told::NotMade,
            Err(error) => Told::of_error(&error),
        };
        Entry { value: self.value, place, follows, told }
    }
}
