//! What there is to tell: puts, deletions, and transactions of many keys; and compactions of what was read.

use crate::common::{LONG, Random, delete_request, put, put_request, wait_until, within};
use crate::reader::Reader;
use crate::storm::Stop;
use crate::told::{KEYS, key};
use etcdgw::client::Client;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::borrow::Cow;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

/// Whether a write succeeds is nothing that this is about.
pub fn write(stop: &Stop, direct: &Client, mut random: Random) {
    let mut number = 0;
    while stop.pause(random.time(0, 4)) {
        number += 1;
        let (key_number, value) = (random.below(KEYS), number.to_string());
        let one = key(key_number);
        match random.below(10) {
            0 => drop(direct.delete_range(&delete_request(one_key(&one)), &within(LIMIT))),
            1..3 => {
                let keys: Vec<String> = (key_number..KEYS).step_by(1 + random.below(4)).map(key).collect();
                let success = keys.iter().map(|key| TxnOp::Put(put_request(key.as_bytes(), value.as_bytes())));
                let request = TxnRequest { success: success.collect(), ..TxnRequest::default() };
                let _ = direct.txn(&request, &within(LIMIT));
            }
            _ => drop(direct.put(&put_request(one.as_bytes(), value.as_bytes()), &within(LIMIT))),
        }
    }
}

/// Writes and deletes every key, and answers the last revision.
#[track_caller]
pub fn write_every_key(direct: &Client) -> i64 {
    let mut revision = 0;
    for key in (0..KEYS).map(key) {
        wait_until(LONG, || put(direct, key.as_bytes(), b"last").is_ok());
        let delete = delete_request(one_key(&key));
        wait_until(LONG, || {
            // One that failed and was made after all finds nothing to delete.
            let deleted = direct.delete_range(&delete, &within(LIMIT));
            revision = deleted.as_ref().map_or(revision, |answer| answer.header.revision);
            deleted.is_ok()
        });
    }
    revision
}

fn one_key(key: &str) -> Keys<'_> {
    Keys::One(Cow::Borrowed(key.as_bytes()))
}

/// Compacts now and then, never more than the reader has read.
pub fn compact(stop: &Stop, direct: &Client, reader: &Reader, first: i64, mut random: Random) {
    while stop.pause(random.time(300, 1500)) {
        let revision = reader.revision() - random.below(400) as i64;
        if revision > first {
            let _ = direct.compact(revision, false, &within(LIMIT));
        }
    }
}
