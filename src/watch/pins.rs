//! The revisions that watches start after, read by those who start them. One read serves all that wait when it begins:
//! it must not be older than any of them.

use super::confirmation::{check, until_next_look};
use super::errand;
use crate::channel::Channel;
use crate::error::Result;
use crate::net::Control;
use crate::rpc::Namespace;
use crate::rpc::watch::WatchRequest;
use crate::sync::{Mutex, Waiters, lock};

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
}

impl Pins {
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
        lock(&self.state).last = (number, revision);
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
