//! The thread that feeds a watch.

use super::backlog::Room;
use super::feed::Feed;
use super::mailbox::{Feeder, Mailbox};
use super::response::WatchResponse;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::net::{CancelToken, Control};
use crate::sync::{Mutex, Waiters, lock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What the thread of a watch waits for.
pub(super) struct Reader {
    stop: Arc<CancelToken>,
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    /// What the step before has said.
    is_full: bool,
    /// Heard of room since that step began.
    has_room: bool,
    is_over: bool,
}

impl Reader {
    pub(super) fn new() -> Result<Arc<Reader>> {
        let stop = CancelToken::new()
            .map_err(|source| Error::System { what: "an event descriptor", source: Arc::new(source) })?;
        Ok(Arc::new(Reader { stop: Arc::new(stop), state: Mutex::new(State::default()), changed: Waiters::default() }))
    }

    /// What the thread does.
    pub(super) fn read_to_the_end(&self, mut feed: Feed, mailbox: &Arc<Mailbox>) {
        let control = Control { deadline: Deadline::NEVER, cancel: Some(self.stop.clone()) };
        let read = catch_unwind(AssertUnwindSafe(|| {
            while self.wait_for_room() {
                let step = feed.step(&control, &mut |response| {
                    if mailbox.push(response) == Room::Full {
                        lock(&self.state).is_full = true;
                    }
                });
                if let Err(error) = step {
                    return error;
                }
                mailbox.begin_at(feed.next_revision());
            }
            Error::Closed { outcome: Outcome::NotApplied }
        }));
        let error = read.unwrap_or_else(|_| Error::Panic("the reader of a watch panicked".to_owned()));
        mailbox.end(WatchResponse::ended(error, feed.next_revision()));
    }

    /// False: the watch is to end.
    fn wait_for_room(&self) -> bool {
        let mut state = lock(&self.state);
        while state.is_full && !state.has_room && !state.is_over {
            state = self.changed.wait(state, Deadline::NEVER);
        }
        (state.is_full, state.has_room) = (false, false);
        !state.is_over
    }

    /// The watch is over, or its client is closed.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_over = true;
        self.changed.wake_all(state);
    }
}

impl Feeder for Reader {
    fn has_room(&self, _watch: u64) {
        let mut state = lock(&self.state);
        state.has_room = true;
        self.changed.wake_all(state);
    }

    fn is_over(&self, _watch: u64) {
        self.close();
        self.stop.trigger();
    }
}
