//! The rests of watches with streams of their own between two attempts.

use crate::deadline::Deadline;
use crate::limits;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// The watches that rest. Together they ask no more often than one would alone, until a server confirms one.
#[derive(Default)]
pub(super) struct Rests {
    of: HashMap<u64, Rest>,
    /// Each with its end, the first to come first.
    by_end: BTreeSet<(Instant, u64)>,
    /// One that rested has gone, and the others may still rest for it.
    has_fewer: bool,
}

struct Rest {
    end: Instant,
    /// Its end if no others rested.
    alone: Instant,
}

impl Rests {
    /// Lets a watch rest for as long as it would alone, times all that do.
    pub(super) fn begin(&mut self, watch: u64, now: Instant, alone: Duration) {
        self.end(watch);
        let resting = u32::try_from(self.of.len() + 1).unwrap_or(u32::MAX);
        let pause = alone.saturating_mul(resting).min(limits::WATCH_BACKOFF_LONGEST_OF_MANY);
        self.of.insert(watch, Rest { end: now + pause, alone: now + alone });
        self.by_end.insert((now + pause, watch));
    }

    /// When the first of them has rested.
    pub(super) fn next(&self) -> Deadline {
        self.by_end.first().map_or(Deadline::NEVER, |(end, _)| Deadline::at(*end))
    }

    /// Takes one that has rested.
    pub(super) fn take(&mut self, now: Instant) -> Option<u64> {
        let (_, watch) = *self.by_end.first().filter(|(end, _)| *end <= now)?;
        self.end(watch);
        Some(watch)
    }

    fn end(&mut self, watch: u64) -> bool {
        let rest = self.of.remove(&watch);
        rest.is_some_and(|rest| self.by_end.remove(&(rest.end, watch)))
    }

    /// A watch has gone, whether it rested or not.
    pub(super) fn forget(&mut self, watch: u64) {
        self.has_fewer |= self.end(watch);
    }

    /// Nobody rests for those that have gone: each rests no longer than it takes for the ones before it to have their turn.
    pub(super) fn close_up(&mut self, now: Instant) {
        if !std::mem::take(&mut self.has_fewer) {
            return;
        }
        let turns = limits::WATCH_BACKOFF_LONGEST_OF_MANY.div_duration_f32(limits::WATCH_BACKOFF_LONGEST);
        let first = self.by_end.iter().take(turns as usize).map(|(_, watch)| *watch).collect::<Vec<_>>();
        let mut end = now;
        for watch in first {
            end += limits::WATCH_BACKOFF_LONGEST;
            self.shorten(watch, end);
        }
    }

    /// A server has confirmed a watch: none rests longer than it would alone any more, nor shorter, since that server may
    /// well refuse this one.
    pub(super) fn let_each_rest_as_alone(&mut self) {
        let longer = self.of.iter().filter(|(_, rest)| rest.end > rest.alone);
        let ends = longer.map(|(watch, rest)| (*watch, rest.alone)).collect::<Vec<_>>();
        ends.into_iter().for_each(|(watch, end)| self.shorten(watch, end));
    }

    fn shorten(&mut self, watch: u64, end: Instant) {
        if let Some(rest) = self.of.get_mut(&watch).filter(|rest| end < rest.end) {
            self.by_end.remove(&(rest.end, watch));
            self.by_end.insert((end, watch));
            rest.end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Duration = limits::WATCH_BACKOFF_LONGEST;

    /// So many watches, numbered from 1, that begin to rest one after the other at this moment.
    fn resting(watches: u64, now: Instant) -> Rests {
        let mut rests = Rests::default();
        (1..=watches).for_each(|watch| rests.begin(watch, now, ALONE));
        rests
    }

    fn taken(rests: &mut Rests, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| rests.take(now)).collect()
    }

    #[test]
    fn each_rests_for_all_before_it_and_none_for_ever() {
        let now = Instant::now();
        let mut rests = resting(1000, now);
        assert!(taken(&mut rests, now).is_empty());
        assert_eq!(rests.next(), Deadline::at(now + ALONE));
        assert_eq!(taken(&mut rests, now + ALONE * 3), [1, 2, 3]);
        assert_eq!(taken(&mut rests, now + limits::WATCH_BACKOFF_LONGEST_OF_MANY).len(), 997);
        assert_eq!(rests.next(), Deadline::NEVER);
    }

    #[test]
    fn who_has_gone_is_rested_for_by_nobody() {
        let now = Instant::now();
        let mut rests = resting(100, now);
        (1..=99).for_each(|watch| rests.forget(watch));
        rests.close_up(now);
        assert_eq!(taken(&mut rests, now + ALONE), [100]);
    }

    #[test]
    fn who_goes_shortens_no_rest_of_those_before_it() {
        let now = Instant::now();
        let mut rests = resting(3, now);
        rests.forget(3);
        rests.forget(7);
        rests.close_up(now);
        assert_eq!(taken(&mut rests, now + ALONE), [1]);
        assert_eq!(taken(&mut rests, now + ALONE * 2), [2]);
    }

    #[test]
    fn after_a_confirmation_each_rests_as_it_would_alone_and_no_shorter() {
        let now = Instant::now();
        let mut rests = resting(1000, now);
        rests.let_each_rest_as_alone();
        assert!(taken(&mut rests, now + ALONE / 2).is_empty());
        assert_eq!(taken(&mut rests, now + ALONE).len(), 1000);
    }

    #[test]
    fn a_rest_that_was_cut_short_leaves_nothing_behind() {
        let now = Instant::now();
        let mut rests = Rests::default();
        for _ in 0..100 {
            (1..=10).for_each(|watch| rests.begin(watch, now, ALONE));
            rests.let_each_rest_as_alone();
            assert_eq!(taken(&mut rests, now + ALONE).len(), 10);
        }
        assert!(rests.of.is_empty() && rests.by_end.is_empty());
    }
}
