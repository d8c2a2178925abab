//! Recorded answers of real gateways with a few bytes changed: whatever comes of it, it comes at once and is no panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{DONE, FakeGateway, capture, capture_names, get, plain, wait_until, with_length, within};
use etcdgw::error::Error;
use etcdgw::rpc::snapshot::SnapshotRequest;
use etcdgw::rpc::txn::TxnRequest;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Changes an answer in one to three places.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: &[u8] = b"{}[]\":,\\0123456789-.eE+ \r\n\0\xff=nulltrue";
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let length = 1 + self.below(8).min(bytes.len() - at - 1);
            match self.below(5) {
                0 => bytes[at] = TELLING[self.below(TELLING.len())],
                1 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..at + length)),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let copy = bytes[at..at + length].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
            }
        }
    }
}

/// An answer that ends where its connection does can't be waited for in vain.
#[test]
fn a_changed_answer_is_decoded_or_refused_at_once() {
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let answered = answer.clone();
    let gateway = FakeGateway::start(move |_, reply| {
        reply.raw(&*answered.lock().unwrap());
        reply.close();
    });
    let client = common::client_without_retries(gateway.url());
    let limit = within(Duration::from_secs(10));
    let mut dice = Dice(0x5eed);
    for name in capture_names().iter().filter(|name| !name.contains("-err-")) {
        for _ in 0..3 {
            let mut bytes = capture(name);
            dice.change(&mut bytes);
            answer.lock().unwrap().clone_from(&bytes);
            let results = [
                common::get_with(&client, b"k", &limit).map(drop),
                client.txn(&TxnRequest::default(), &limit).map(drop),
                client.lease_refresh(1, &limit).map(drop),
                client.lease_time_to_live(1, true, &limit).map(drop),
                client.member_list(true, &limit).map(drop),
                client.member_remove(1, &limit).map(drop),
                client.status(None, &limit).map(drop),
                client.alarm_list(&limit).map(drop),
                client.hash_kv(None, 0, &limit).map(drop),
                client.user_get("user", &limit).map(drop),
                client.role_get("role", &limit).map(drop),
                client.snapshot_read(SnapshotRequest::default(), &mut |_| Ok(()), &limit).map(drop),
            ];
            for result in results {
                let is_timely = !matches!(result, Err(Error::Deadline { .. }));
                assert!(is_timely, "{name}: {}", String::from_utf8_lossy(&bytes));
            }
        }
    }
    *answer.lock().unwrap() = with_length(DONE).into_bytes();
    // A connection may be taken for idle while its server is closing it, and nothing is repeated here.
    wait_until(Duration::from_secs(10), || get(&client, b"k").is_ok());
    wait_until(Duration::from_secs(10), || client.status(None, &plain()).is_ok());
}
