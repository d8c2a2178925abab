//! How long calls take beyond their limits, and how much of that the machine is to blame for.

use crate::storm::Stop;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a call may take beyond its limit: 100 ms, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(1);

/// The worst of everything that was seen.
#[derive(Default)]
pub struct Clock(Mutex<Worst>);

#[derive(Default)]
struct Worst {
    call: Duration,
    /// What a sleep took beyond its time: the machine had no time for this process.
    nap: Duration,
}

impl Clock {
    /// Runs a call, and keeps in mind by how much it exceeded its limit.
    pub fn time<T>(&self, limit: Duration, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let excess = start.elapsed().saturating_sub(limit);
        let mut worst = self.0.lock().unwrap();
        worst.call = worst.call.max(excess);
        result
    }

    /// Naps until the storm is over, and keeps in mind how late it wakes up.
    pub fn watch_the_machine(&self, stop: &Stop) {
        let nap = Duration::from_millis(10);
        while !stop.is_stopped() {
            let start = Instant::now();
            std::thread::sleep(nap);
            let mut worst = self.0.lock().unwrap();
            worst.nap = worst.nap.max(start.elapsed().saturating_sub(nap));
        }
    }

    #[track_caller]
    pub fn check(&self) {
        let is_in_time = |worst: &Worst| worst.call < GRACE + worst.nap;
        assert!(is_in_time(&self.0.lock().unwrap()), "{self}");
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worst = self.0.lock().unwrap();
        write!(f, "no call took longer than its limit and {:?} (a nap: {:?})", worst.call, worst.nap)
    }
}
