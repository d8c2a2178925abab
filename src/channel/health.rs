//! How an endpoint has been doing, and for how long to stay away from it. Time and chance are the caller's.

use crate::{backoff, limits};
use std::time::Instant;

/// The health of one endpoint: good, or backed off until a moment after which one call may try it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// Failures with no success in between; 0: it is good.
    failures: u32,
    /// When it may be tried again.
    due: Option<Instant>,
    /// It belongs to another cluster, by its own account.
    is_foreign: bool,
}

impl Health {
    pub(super) fn is_good(&self) -> bool {
        self.failures == 0
    }

    /// Whether it answered last as one of another cluster than the client's. It is not good then.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Whether it may be tried.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// When it may be tried.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A call failed here. While it is backed off that says nothing new: many calls may see one failure.
    pub(super) fn fail(&mut self, now: Instant, jitter: f64) {
        if self.is_good() || self.is_due(now) {
            self.back_off(now, jitter);
        }
    }

    /// One call tries an endpoint that is due again. Others stay away meanwhile, as if it had failed once more: so a
    /// dead one costs one of them its connect timeout, and not each of them.
    pub(super) fn begin_trial(&mut self, now: Instant, jitter: f64) {
        if !self.is_good() && self.is_due(now) {
            self.back_off(now, jitter);
        }
    }

    /// It answered, and not as one of this cluster.
    pub(super) fn be_foreign(&mut self, now: Instant, jitter: f64) {
        self.is_foreign = true;
        self.fail(now, jitter);
    }

    /// A call succeeded here.
    pub(super) fn recover(&mut self) {
        *self = Health::default();
    }

    fn back_off(&mut self, now: Instant, jitter: f64) {
        let longest = limits::ENDPOINT_BACKOFF_LONGEST;
        // A failure long after the last one has a cause of its own.
        let is_old = self.due.is_some_and(|due| now.saturating_duration_since(due) > longest);
        self.failures = if is_old { 1 } else { self.failures.saturating_add(1) };
        let pause = backoff::doubled(limits::ENDPOINT_BACKOFF_FIRST, longest, self.failures.saturating_sub(1));
        self.due = now.checked_add(backoff::spread(pause, jitter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FIRST: Duration = limits::ENDPOINT_BACKOFF_FIRST;
    const LONGEST: Duration = limits::ENDPOINT_BACKOFF_LONGEST;

    /// What is left of the back-off.
    fn left(health: &Health, now: Instant) -> Duration {
        health.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(now))
    }

    #[test]
    fn a_back_off_doubles_up_to_the_longest_and_chance_takes_half_of_it_at_most() {
        for (jitter, share) in [(0.0, 1.0), (0.5, 0.75), (0.999_999, 0.5)] {
            let (mut health, mut now) = (Health::default(), Instant::now());
            for doublings in 0..12 {
                health.fail(now, jitter);
                let wanted = (FIRST * (1 << doublings)).min(LONGEST).mul_f64(share);
                assert!(left(&health, now).abs_diff(wanted) < Duration::from_millis(1), "{doublings}, {jitter}");
                assert!(!health.is_good() && !health.is_due(now));
                now += left(&health, now);
                assert!(health.is_due(now) && !health.is_good());
            }
        }
    }

    #[test]
    fn one_failure_seen_by_many_calls_counts_once() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..50).for_each(|_| health.fail(now, 0.0));
        assert_eq!(left(&health, now), FIRST);
    }

    #[test]
    fn while_one_call_tries_an_endpoint_the_others_stay_away() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        health.fail(now, 0.0);
        health.begin_trial(now, 0.0);
        assert_eq!(left(&health, now), FIRST, "not due, not to be tried");
        now += FIRST;
        health.begin_trial(now, 0.0);
        assert!(!health.is_due(now));
        assert_eq!(left(&health, now), FIRST * 2);
        health.fail(now, 0.0);
        assert_eq!(left(&health, now), FIRST * 2, "the trial has been counted");
    }

    #[test]
    fn a_success_makes_up_for_everything() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.be_foreign(now, 0.0);
        assert_eq!((health.is_good(), health.is_foreign()), (false, true));
        health.recover();
        assert_eq!(health, Health::default());
        health.begin_trial(now, 0.0);
        assert!(health.is_good() && health.is_due(now));
    }

    #[test]
    fn a_failure_long_after_the_last_one_counts_as_the_first() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for _ in 0..8 {
            health.fail(now, 0.0);
            now += left(&health, now);
        }
        now += LONGEST + Duration::from_secs(1);
        health.fail(now, 0.0);
        assert_eq!(left(&health, now), FIRST);
    }
}
