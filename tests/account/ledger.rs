//! What the writers were told about each of their writes.

use crate::history::{Change, History, Place};
use etcdgw::error::Error;
use std::collections::HashMap;
use std::fmt;
use std::iter::Sum;

/// One write, with a value that no other one has.
#[derive(Debug)]
pub struct Entry {
    pub value: u64,
    pub place: Place,
    /// Of a counter: the revision that the write was to follow.
    pub follows: i64,
    pub told: Told,
}

/// What a writer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was made, at this revision.
    Made(i64),
    /// It was not: it failed for certain, or its condition did not hold.
    NotMade,
    /// Nobody knows.
    Unknown,
}

impl Told {
    pub fn of_error(error: &Error) -> Told {
        if error.may_have_applied() { Told::Unknown } else { Told::NotMade }
    }
}

/// Everything that the writers were told.
#[derive(Debug, Default)]
pub struct Ledger(pub Vec<Entry>);

/// How many of each there were.
pub struct Summary {
    pub made: usize,
    pub not_made: usize,
    pub unknown: usize,
    /// Of the unknown ones.
    pub made_after_all: usize,
}

impl Ledger {
    pub fn acknowledged(&self) -> usize {
        self.0.iter().filter(|entry| matches!(entry.told, Told::Made(_))).count()
    }

    /// Each write is in the history as its writer was told, at most once, and the history has no other.
    #[track_caller]
    pub fn compare(&self, history: &History) -> Summary {
        let mut found: HashMap<u64, Vec<&Change>> = HashMap::new();
        history.changes().iter().for_each(|change| found.entry(change.value).or_default().push(change));
        let mut summary = Summary { made: 0, not_made: 0, unknown: 0, made_after_all: 0 };
        for entry in &self.0 {
            let found = found.remove(&entry.value).unwrap_or_default();
            assert!(found.len() <= 1, "made twice: {entry:?}: {found:?}");
            assert!(found.iter().all(|change| change.place == entry.place), "made elsewhere: {entry:?}: {found:?}");
            match entry.told {
                Told::Made(revision) => {
                    assert_eq!(found.first().map(|change| change.revision), Some(revision), "lost: {entry:?}");
                    summary.made += 1;
                }
                Told::NotMade => {
                    assert!(found.is_empty(), "denied, but made: {entry:?}: {found:?}");
                    summary.not_made += 1;
                }
                Told::Unknown => {
                    summary.unknown += 1;
                    summary.made_after_all += found.len();
                }
            }
        }
        assert!(found.is_empty(), "nobody's writes: {:?}", found.values().take(5).collect::<Vec<_>>());
        self.check_counters(history);
        summary
    }

    /// Every write of a counter followed the one that it was to follow.
    #[track_caller]
    fn check_counters(&self, history: &History) {
        let follows: HashMap<u64, i64> = self.0.iter().map(|entry| (entry.value, entry.follows)).collect();
        let mut last: HashMap<Place, i64> = HashMap::new();
        for change in history.changes().iter().filter(|change| matches!(change.place, Place::Counter(_))) {
            let before = last.insert(change.place, change.revision).unwrap_or(0);
            assert_eq!(follows[&change.value], before, "{change:?} did not follow revision {before}");
        }
    }
}

impl Sum for Ledger {
    fn sum<I: Iterator<Item = Ledger>>(parts: I) -> Ledger {
        Ledger(parts.flat_map(|part| part.0).collect())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { made, not_made, unknown, made_after_all } = self;
        write!(
            f,
            "{made} writes made, {not_made} not, {unknown} unknown (of which {made_after_all} made), 0 untruthful"
        )
    }
}
