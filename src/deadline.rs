//! The one value that bounds a call in time: made where a call enters, passed down, never derived again.

use std::time::{Duration, Instant};

/// The moment at which a call must have ended; none: it may take as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.
    pub const NEVER: Deadline = Deadline(None);

    /// `limit` from now. A limit too large for the clock is no limit.
    pub fn after(limit: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(limit))
    }

    /// This moment.
    pub(crate) fn at(moment: Instant) -> Deadline {
        Deadline(Some(moment))
    }

    /// The earlier of the two.
    pub(crate) fn earlier(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Deadline(Some(a.min(b))),
            (a, b) => Deadline(a.or(b)),
        }
    }

    /// So much sooner.
    pub(crate) fn sooner_by(self, time: Duration) -> Deadline {
        Deadline(self.0.map(|at| at.checked_sub(time).unwrap_or(at)))
    }

    /// What is left: `None` without a limit, zero once it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether the moment has passed.
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }

    /// The earlier of this one and `limit` from now.
    pub fn at_most(self, limit: Duration) -> Deadline {
        self.earlier(Deadline::after(limit))
    }
}
