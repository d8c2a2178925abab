//! Pauses that grow with every failure, and differ among those that failed together.

use std::time::Duration;

/// A pause that is doubled so many times, up to the longest.
pub(crate) fn doubled(first: Duration, longest: Duration, doublings: u32) -> Duration {
    first.saturating_mul(1 << doublings.min(16)).min(longest)
}

/// What chance (0 up to 1), which takes away up to a half, leaves of a pause: those who lost the same member are not to
/// come back all at once.
pub(crate) fn spread(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(30);
    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn a_pause_doubles_up_to_the_longest_however_many_doublings_are_asked_for() {
        assert_eq!(doubled(FIRST, LONGEST, 0), FIRST);
        assert_eq!(doubled(FIRST, LONGEST, 3), FIRST * 8);
        for doublings in [8, 16, 17, 31, 32, 64, u32::MAX] {
            assert_eq!(doubled(FIRST, LONGEST, doublings), LONGEST, "{doublings}");
        }
    }

    #[test]
    fn chance_takes_half_of_a_pause_at_most() {
        for (jitter, left) in [(-1.0, 1.0), (0.0, 1.0), (0.5, 0.75), (1.0, 0.5), (7.0, 0.5)] {
            assert_eq!(spread(LONGEST, jitter), LONGEST.mul_f64(left), "{jitter}");
        }
    }
}
