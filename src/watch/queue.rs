//! What lies between the reader of a watch and its consumer: responses in order, bounded in bytes, and the end.

use super::response::WatchResponse;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::limits;
use crate::net::{EventFd, lock};
use crate::stats::Stats;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The responses of one watch that have not been consumed.
///
/// Its lock is held for no longer than a response takes to move, and no other lock is taken meanwhile.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    stats: Arc<Stats>,
    /// Of a pull watch: readable while [`next`](Queue::next) wouldn't wait.
    readable: Option<EventFd>,
}

#[derive(Default)]
struct State {
    responses: VecDeque<WatchResponse>,
    bytes: usize,
    phase: Phase,
    /// Exactly after what was consumed; 0: not known before the watch's start is.
    resume_revision: i64,
    /// Whether the descriptor is readable.
    is_readable: bool,
    turn: Turn,
    /// The client is closed: nobody waits for room any more.
    is_closing: bool,
    /// Nobody will hear of this watch again, and what belonged to its consumer is gone.
    is_released: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The last response is in the queue.
    Ending,
    /// Nothing more will be consumed.
    Over,
}

/// Where a callback watch stands with the delivery thread.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    /// Not before [`start`](Queue::start).
    #[default]
    Withheld,
    /// Nothing is to be done.
    Idle,
    /// The delivery thread has it, or will.
    Due,
}

/// What the delivery thread is to do.
#[allow(clippy::large_enum_variant, reason = "it is moved once and stored nowhere")]
pub(super) enum Work {
    Deliver(WatchResponse),
    /// The last call has been made.
    Release,
    Nothing,
}

impl Queue {
    /// Of a callback watch.
    pub(super) fn for_callbacks(stats: Arc<Stats>) -> Queue {
        Queue { state: Mutex::default(), changed: Condvar::new(), stats, readable: None }
    }

    /// Of a pull watch.
    pub(super) fn for_pulling(stats: Arc<Stats>) -> io::Result<Queue> {
        Ok(Queue { readable: Some(EventFd::new()?), ..Queue::for_callbacks(stats) })
    }

    pub(super) fn fd(&self) -> Option<RawFd> {
        self.readable.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Tells the revision that the watch starts at, once it is known and before anything is pushed.
    pub(super) fn begin_at(&self, revision: i64) {
        let mut state = lock(&self.state);
        if state.resume_revision == 0 {
            state.resume_revision = revision;
        }
    }

    /// Waits until the queue holds less than it may. False: the watch is to end.
    pub(super) fn wait_for_room(&self) -> bool {
        let mut state = lock(&self.state);
        while state.phase == Phase::Open && !state.is_closing && state.bytes >= limits::WATCH_BUFFER_BYTES {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.phase == Phase::Open && !state.is_closing
    }

    /// Adds a response. True: the delivery thread must be told.
    #[must_use]
    pub(super) fn push(&self, response: WatchResponse) -> bool {
        self.add(response, Phase::Open)
    }

    /// Adds the last response. True: the delivery thread must be told.
    #[must_use]
    pub(super) fn end(&self, response: WatchResponse) -> bool {
        self.add(response, Phase::Ending)
    }

    fn add(&self, response: WatchResponse, phase: Phase) -> bool {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return false;
        }
        state.phase = phase;
        state.bytes += response.cost();
        state.responses.push_back(response);
        self.signal(&mut state);
        state.becomes_due()
    }

    /// Lets callbacks begin. True: the delivery thread must be told.
    #[must_use]
    pub(super) fn start(&self) -> bool {
        let mut state = lock(&self.state);
        if state.turn == Turn::Withheld && self.readable.is_none() {
            state.turn = Turn::Idle;
        }
        let has_work = !state.responses.is_empty() || state.phase == Phase::Over;
        has_work && state.becomes_due()
    }

    /// Ends the watch on behalf of its owner, who gets nothing of it any more but the end of a pull watch. True: the
    /// delivery thread must be told.
    #[must_use]
    pub(super) fn cancel(&self) -> bool {
        let mut state = lock(&self.state);
        if state.phase == Phase::Over || (state.phase == Phase::Ending && self.readable.is_some()) {
            return false;
        }
        state.responses.clear();
        state.bytes = 0;
        state.phase = Phase::Over;
        if self.readable.is_some() {
            let closed = Error::Closed { outcome: Outcome::NotApplied };
            let response = WatchResponse::ended(closed, state.resume_revision);
            state.responses.push_back(response);
            state.phase = Phase::Ending;
        }
        self.signal(&mut state);
        if state.turn == Turn::Withheld && self.readable.is_none() {
            state.turn = Turn::Idle;
        }
        state.becomes_due()
    }

    /// Lets nobody wait for room any more: the client is closed.
    pub(super) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.changed.notify_all();
    }

    /// The next response of a pull watch. `None`: waited in vain.
    pub(super) fn next(&self, deadline: Deadline) -> Result<Option<WatchResponse>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(response) = state.pop() {
                self.signal(&mut state);
                self.stats.events_delivered.add(response.events.len());
                return Ok(Some(response));
            }
            if state.phase == Phase::Over {
                return Err(Error::Closed { outcome: Outcome::NotApplied });
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            state = self.wait(state, deadline);
        }
    }

    /// What the delivery thread is to do now.
    pub(super) fn work(&self) -> Work {
        let mut state = lock(&self.state);
        if let Some(response) = state.pop() {
            self.changed.notify_all();
            self.stats.events_delivered.add(response.events.len());
            return Work::Deliver(response);
        }
        if state.phase == Phase::Over && !state.is_released {
            return Work::Release;
        }
        state.turn = Turn::Idle;
        Work::Nothing
    }

    /// The consumer is gone.
    pub(super) fn release(&self) {
        lock(&self.state).is_released = true;
        self.changed.notify_all();
    }

    /// Waits until the consumer is gone. False: waited in vain.
    pub(super) fn wait_for_release(&self, deadline: Deadline) -> bool {
        let mut state = lock(&self.state);
        while !state.is_released && !deadline.has_passed() {
            state = self.wait(state, deadline);
        }
        state.is_released
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Deadline) -> MutexGuard<'a, State> {
        match deadline.remaining() {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                let waited = self.changed.wait_timeout(state, left);
                waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
            }
        }
    }

    /// Tells those who wait, and makes the descriptor say what the state says; under the lock, so that the two agree.
    fn signal(&self, state: &mut State) {
        self.changed.notify_all();
        let Some(readable) = &self.readable else { return };
        let is_readable = !state.responses.is_empty() || state.phase == Phase::Over;
        match (std::mem::replace(&mut state.is_readable, is_readable), is_readable) {
            (false, true) => readable.signal(),
            (true, false) => readable.clear(),
            _ => {}
        }
    }
}

impl State {
    fn pop(&mut self) -> Option<WatchResponse> {
        let response = self.responses.pop_front()?;
        self.bytes = self.bytes.saturating_sub(response.cost());
        self.resume_revision = response.resume_revision;
        if self.responses.is_empty() && self.phase == Phase::Ending {
            self.phase = Phase::Over;
        }
        Some(response)
    }

    /// Whether the delivery thread must be told of work: not where it knows, and not before the start.
    fn becomes_due(&mut self) -> bool {
        let becomes_due = self.turn == Turn::Idle;
        if becomes_due {
            self.turn = Turn::Due;
        }
        becomes_due
    }
}
