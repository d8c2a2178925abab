//! What is to happen later.

use crate::deadline::Deadline;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Things that are due at some moment, none of which is ever taken back: whoever takes one looks whether it still means
/// anything.
pub(super) struct Timers<T> {
    due: BinaryHeap<Due<T>>,
}

struct Due<T> {
    at: Instant,
    what: T,
}

impl<T> Timers<T> {
    pub(super) fn new() -> Timers<T> {
        Timers { due: BinaryHeap::new() }
    }

    /// `what` is due after this time.
    pub(super) fn set(&mut self, after: Duration, what: T) {
        // A moment that can't be named is none that comes.
        if let Some(at) = Instant::now().checked_add(after) {
            self.due.push(Due { at, what });
        }
    }

    /// When the first of them is due.
    pub(super) fn next(&self) -> Deadline {
        self.due.peek().map_or(Deadline::NEVER, |due| Deadline::at(due.at))
    }

    /// Takes one that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<T> {
        self.due.peek().filter(|due| due.at <= now)?;
        self.due.pop().map(|due| due.what)
    }
}

/// The greatest is the first to be due.
impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Due<T>) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Due<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Due<T>) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Due<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_nothing_before_its_time() {
        let mut timers = Timers::new();
        let start = Instant::now();
        for after in [30, 10, 20] {
            timers.set(Duration::from_secs(after), after);
        }
        assert_eq!(timers.take(start + Duration::from_secs(9)), None);
        let end = start + Duration::from_secs(60);
        assert_eq!(
            [timers.take(end), timers.take(end), timers.take(end), timers.take(end)],
            [Some(10), Some(20), Some(30), None]
        );
        assert!(timers.next().remaining().is_none());
    }

    #[test]
    fn what_is_due_after_all_time_never_comes() {
        let mut timers = Timers::new();
        timers.set(Duration::MAX, ());
        assert!(timers.next().remaining().is_none());
    }
}
