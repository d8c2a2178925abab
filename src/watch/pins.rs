//! The revisions that watches start after, read by those who start them. One read serves all that wait when it begins:
//! it must not be older than any of them.

use super::confirmation::{check, until_next_look};
use super::errand;
use crate::channel::Channel;
use crate::error::Result;
use crate::limits;
use crate::net::Control;
use crate::rpc::Namespace;
use crate::rpc::watch::WatchRequest;
use crate::sync::{Mutex, Waiters, lock};
use std::time::Instant;

/// The reads of a client's watches, one after another, numbered from 1.
///
/// The lock is never held while anything is waited for.
#[derive(Default)]
pub(super) struct Pins {
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    begun: u64,
    is_reading: bool,
    /// The last one that succeeded, and what it read.
    last: (u64, i64),
    /// When that was, if the one before had read the same.
    quiet_at: Option<Instant>,
}

impl State {
    fn find(&mut self, number: u64, revision: i64, now: Instant) {
        self.quiet_at = (self.last.1 == revision).then_some(now);
        self.last = (number, revision);
    }

    fn guess(&self, now: Instant) -> Option<i64> {
        let age = now.saturating_duration_since(self.quiet_at?);
        (age <= limits::WATCH_GUESS_AGE).then_some(self.last.1)
    }
}

impl Pins {
    /// What the next read is likely to find, while the store is quiet: what the last two have found.
    pub(super) fn guess(&self) -> Option<i64> {
        lock(&self.state).guess(Instant::now())
    }

    /// The revision of the store, no older than this call.
    pub(super) fn read(
        &self,
        channel: &Channel,
        request: &WatchRequest,
        namespace: &Namespace,
        control: &Control,
    ) -> Result<i64> {
        let mut state = lock(&self.state);
        let first_fit = state.begun + 1;
        loop {
            let (number, revision) = state.last;
            if number >= first_fit {
                return Ok(revision);
            }
            if !state.is_reading {
                break;
            }
            check(channel, control)?;
            state = self.changed.wait(state, until_next_look(control));
        }
        // Whoever read before may have had other rights, or less time: each reads for itself where the other failed.
        state.is_reading = true;
        state.begun += 1;
        let number = state.begun;
        drop(state);
        let read = Reading(self);
        let revision = errand::read_revision(channel, request, namespace, control)?;
        lock(&self.state).find(number, revision, Instant::now());
        drop(read);
        Ok(revision)
    }
}

/// A read under way. Whoever waits goes on when it is over, also by a panic.
struct Reading<'a>(&'a Pins);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_reading = false;
        self.0.changed.wake_all(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What is guessed after reads that found these revisions.
    fn guess_after(found: &[i64]) -> Option<i64> {
        let (mut state, now) = (State::default(), Instant::now());
        (1..).zip(found).for_each(|(number, revision)| state.find(number, *revision, now));
        state.guess(now)
    }

    #[test]
    fn a_revision_is_guessed_only_while_the_last_two_reads_have_found_it() {
        assert_eq!(guess_after(&[]), None);
        assert_eq!(guess_after(&[7]), None);
        assert_eq!(guess_after(&[7, 7]), Some(7));
        assert_eq!(guess_after(&[7, 7, 7]), Some(7));
        assert_eq!(guess_after(&[7, 7, 8]), None);
        assert_eq!(guess_after(&[7, 8, 7]), None);
        assert_eq!(guess_after(&[7, 7, 6]), None);
        assert_eq!(guess_after(&[7, 7, 6, 6]), Some(6));
    }

    #[test]
    fn what_was_found_long_ago_is_no_guess() {
        let (mut state, then) = (State::default(), Instant::now());
        state.find(1, 7, then);
        state.find(2, 7, then);
        assert_eq!(state.guess(then + limits::WATCH_GUESS_AGE), Some(7));
        assert_eq!(state.guess(then + limits::WATCH_GUESS_AGE + Duration::from_nanos(1)), None);
    }
}
