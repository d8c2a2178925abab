//! Chance that can be repeated: everything random in a test follows from one number, its seed.

use std::time::{Duration, SystemTime};

/// A sequence of numbers that follows from its seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The sequence of the seed in `ETCDGW_SEED`, and without that one that nobody has seen. Says which: the output of a
    /// test that fails is shown.
    pub fn of_this_run() -> Random {
        let given = std::env::var("ETCDGW_SEED").ok().filter(|text| !text.is_empty());
        let seed = match given {
            Some(text) => text.parse().expect("ETCDGW_SEED must be a number"),
            None => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_000,
        };
        println!("to have the same faults again: ETCDGW_SEED={seed}");
        Random(seed)
    }

    /// A sequence of its own for another thread.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 on, smaller than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True this often in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A time between these, in whole milliseconds.
    pub fn time(&mut self, shortest_ms: u64, longest_ms: u64) -> Duration {
        Duration::from_millis(shortest_ms + self.next() % (longest_ms - shortest_ms + 1))
    }
}
