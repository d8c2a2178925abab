//! How long to wait before a lost stream is opened again.

use crate::backoff;
use crate::limits;
use crate::net;
use std::time::{Duration, Instant};

/// Attempts that failed, or whose stream was soon lost, one after the other.
pub(super) struct Backoff {
    losses: u32,
    /// When the last attempt began.
    attempted: Instant,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { losses: 0, attempted: Instant::now() }
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self) {
        self.attempted = Instant::now();
    }

    /// The time since the last attempt began.
    pub(super) fn age(&self) -> Duration {
        self.attempted.elapsed()
    }

    /// Whether what was opened last has held so long that it wasn't lost for the reason of the one before.
    pub(super) fn has_held(&self) -> bool {
        self.attempted.elapsed() > limits::WATCH_BACKOFF_LONGEST * 2
    }

    /// The pause after a failure or a loss.
    pub(super) fn pause(&mut self) -> Duration {
        self.losses = if self.has_held() { 0 } else { self.losses.saturating_add(1) };
        pause(self.losses, net::jitter())
    }
}

/// The pause after so many losses.
fn pause(losses: u32, jitter: f64) -> Duration {
    backoff::spread(backoff::doubled(limits::WATCH_BACKOFF_FIRST, limits::WATCH_BACKOFF_LONGEST, losses), jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_never_vanish() {
        assert_eq!(pause(0, 0.0), limits::WATCH_BACKOFF_FIRST);
        assert_eq!(pause(1, 0.0), limits::WATCH_BACKOFF_FIRST * 2);
        for losses in 0..100 {
            let shortest = pause(losses, 0.999);
            assert!(shortest >= limits::WATCH_BACKOFF_FIRST / 2 && shortest <= limits::WATCH_BACKOFF_LONGEST);
        }
        assert_eq!(pause(u32::MAX, 0.0), limits::WATCH_BACKOFF_LONGEST);
    }
}
