//! Watches that are created while the revision to start after is being read, after the one that the read is likely to find.
//!
//! The guess counts only if the read, which begins after the call that starts the watch, finds that very revision: then the
//! create is the one that would have been sent after it. Else a new one is. Until that is known nothing is delivered and
//! nothing is judged: of what a server says, only that it has created the watch is taken in. After anything else the watch
//! is taken off its connection, to be created anew where it is known to start, and to find out then what is true.

use super::Reactor;
use crate::error::{Error, Outcome};
use crate::gateway::frames::Frames;
use crate::watch::entry::{Link, Pin};
use std::sync::Arc;

impl Reactor {
    /// Takes in what a server sent of a watch whose start is a guess.
    pub(super) fn receive_guessed(&mut self, watch: u64, frames: Frames, endpoint: &Arc<str>) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        let was_created = entry.account.is_created();
        if entry.receive_guessed(frames, endpoint) {
            if entry.account.is_created() && !was_created {
                self.note_creation(watch);
            }
            return;
        }
        self.take_off(watch);
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.withdraw_guess();
        }
    }

    /// It is known now where a watch starts. Whoever waits for it need not wait for this where the guess was right.
    pub(super) fn pin(&mut self, pin: Pin) {
        let Pin { watch, revision, confirmation } = pin;
        let Some(entry) = self.watches.get_mut(&watch) else {
            // The client was closed meanwhile.
            return confirmation.tell(Err(Error::Closed { outcome: Outcome::NotApplied }));
        };
        if entry.guess.take() != Some(revision) {
            entry.account.restart_after(revision);
            entry.confirmation = Some(confirmation);
            self.take_off(watch);
        } else if matches!(entry.link, Link::Unpinned) {
            entry.link = Link::Due;
        }
        // If it is due: what was created rightly goes on where it is.
        self.place(watch);
    }
}
