//! What lies between the feeder of a watch and its consumer: responses in order, bounded in bytes, and the end.

use super::buffers::Buffers;
use super::response::WatchResponse;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::event_queue::Port;
use crate::net::EventFd;
use crate::sync::{Mutex, MutexGuard, Waiters, lock};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// The responses of one watch that have not been consumed.
///
/// Its lock is held for no longer than a response takes to move. Only an event queue's is taken under it.
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Waiters,
    buffers: Arc<Buffers>,
    face: Face,
}

/// How a watch is consumed.
pub(super) enum Face {
    /// By callbacks, in the turns that the delivery thread gives it.
    Callback,
    /// By the feeder, who calls the consumer itself: nothing is ever here.
    Inline,
    /// By whoever asks, and looks at its descriptor.
    Pull,
    /// By an event queue.
    Queue(Port),
}

#[derive(Default)]
struct State {
    /// In boxes, so that an empty backlog of a watch that has seen something is small, too.
    responses: VecDeque<Box<WatchResponse>>,
    bytes: usize,
    /// What they came to when the feeder was told that it is full, until it is told that there is room again.
    full_at: Option<usize>,
    phase: Phase,
    /// Exactly after what was consumed; 0: not known before the watch's start is.
    resume_revision: i64,
    /// Of a pull watch, once it was asked for: readable while [`next`](Backlog::next) wouldn't wait.
    readable: Option<EventFd>,
    /// Whether the descriptor is readable, or the event queue knows of something here.
    is_ready: bool,
    turn: Turn,
    /// Nobody will hear of this watch again, and what belonged to its consumer is gone.
    is_released: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The last response is in the backlog.
    Ending,
    /// Nothing more will be consumed.
    Over,
}

/// Whose turn it is: that of a callback watch, or of one with an event queue, which is never due.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Turn {
    /// Not before [`start`](Backlog::start).
    #[default]
    Withheld,
    /// Nothing is to be done.
    Idle,
    /// The delivery thread has it, or will.
    Due,
}

/// Whether a watch may be fed on.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    /// It holds all it may. What was pushed is kept; nothing more is to come before the feeder hears that there is room.
    Full,
}

/// A response that is consumed.
pub(super) struct Popped {
    pub response: WatchResponse,
    /// The feeder must be told that there is room again.
    pub makes_room: bool,
    /// Nothing comes after it.
    pub is_last: bool,
}

/// What the delivery thread is to do.
#[allow(clippy::large_enum_variant, reason = "it is moved once and stored nowhere")]
pub(super) enum Work {
    Deliver(Popped),
    /// The last call has been made.
    Release,
    Nothing,
}

/// What ending a watch on behalf of its owner calls for.
#[must_use]
pub(super) struct Cancelled {
    /// It could still have been fed.
    pub was_open: bool,
    /// The delivery thread must be told.
    pub is_due: bool,
    /// It had not been started: the delivery thread has never heard of it.
    pub was_withheld: bool,
}

/// An empty one that stays so is not to keep the room of a burst.
const KEPT_PLACES: usize = 64;

impl Backlog {
    pub(super) fn new(face: Face, buffers: Arc<Buffers>) -> Backlog {
        Backlog { state: Mutex::new(State::default()), changed: Waiters::default(), buffers, face }
    }

    /// The descriptor of a pull watch; `None` of others, and where the process has none left.
    pub(super) fn fd(&self) -> Option<RawFd> {
        if !matches!(self.face, Face::Pull) {
            return None;
        }
        let mut state = lock(&self.state);
        if state.readable.is_none() {
            let readable = EventFd::new().ok()?;
            if state.is_ready {
                readable.signal();
            }
            state.readable = Some(readable);
        }
        state.readable.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Tells the revision that the watch starts at, once it is known and before anything is pushed.
    pub(super) fn begin_at(&self, revision: i64) {
        let mut state = lock(&self.state);
        if state.resume_revision == 0 {
            state.resume_revision = revision;
        }
    }

    /// Whether something may still come.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.state).phase == Phase::Open
    }

    /// Adds a response. True: the delivery thread must be told. Of a watch that is over it takes nothing, and has room.
    pub(super) fn push(&self, response: WatchResponse) -> (Room, bool) {
        self.add(response, Phase::Open)
    }

    /// Adds the last response. True: the delivery thread must be told.
    #[must_use]
    pub(super) fn end(&self, response: WatchResponse) -> bool {
        self.add(response, Phase::Ending).1
    }

    fn add(&self, response: WatchResponse, phase: Phase) -> (Room, bool) {
        let response = Box::new(response);
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return (Room::Left, false);
        }
        state.phase = phase;
        let before = state.bytes;
        state.bytes += response.cost();
        let is_full = self.buffers.hold(before, state.bytes);
        // Nobody waits for room behind the last response.
        state.full_at = (is_full && phase == Phase::Open).then_some(state.bytes);
        state.responses.push_back(response);
        self.show(&mut state);
        let is_due = self.becomes_due(&mut state);
        self.changed.wake_all(state);
        (if is_full { Room::Full } else { Room::Left }, is_due)
    }

    /// Accounts for a response that is consumed as it comes. False: the watch is over, and nobody is to have it.
    pub(super) fn pass(&self, response: &WatchResponse, is_last: bool) -> bool {
        let mut state = lock(&self.state);
        if state.phase != Phase::Open {
            return false;
        }
        if is_last {
            state.phase = Phase::Over;
        }
        state.resume_revision = response.resume_revision;
        self.buffers.stats.events_delivered.add(response.events.len());
        true
    }

    /// Lets callbacks and events begin. True: the delivery thread must be told.
    #[must_use]
    pub(super) fn start(&self) -> bool {
        let mut state = lock(&self.state);
        if state.turn == Turn::Withheld {
            state.turn = Turn::Idle;
        }
        self.show(&mut state);
        let has_work = !state.responses.is_empty() || state.phase == Phase::Over;
        has_work && self.becomes_due(&mut state)
    }

    /// Ends the watch on behalf of its owner, who gets nothing of it any more but the end of a pull watch.
    pub(super) fn cancel(&self) -> Cancelled {
        let is_pulled = matches!(self.face, Face::Pull);
        let mut state = lock(&self.state);
        if state.phase == Phase::Over || (state.phase == Phase::Ending && is_pulled) {
            return Cancelled { was_open: false, is_due: false, was_withheld: false };
        }
        let was_open = state.phase == Phase::Open;
        let dropped = std::mem::take(&mut state.responses);
        self.buffers.let_go(std::mem::take(&mut state.bytes));
        state.full_at = None;
        state.phase = Phase::Over;
        if is_pulled {
            let cancelled = Error::over("the watch was cancelled");
            let response = WatchResponse::ended(cancelled, state.resume_revision);
            state.bytes = response.cost();
            let _ = self.buffers.hold(0, state.bytes);
            state.responses.push_back(Box::new(response));
            state.phase = Phase::Ending;
        }
        let was_withheld = state.turn == Turn::Withheld;
        if was_withheld {
            state.turn = Turn::Idle;
        }
        self.show(&mut state);
        let is_due = self.becomes_due(&mut state);
        self.changed.wake_all(state);
        drop(dropped);
        Cancelled { was_open, is_due, was_withheld }
    }

    /// The next response of a pull watch. `None`: waited in vain.
    pub(super) fn next(&self, deadline: Deadline) -> Result<Option<Popped>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(popped) = self.pop(&mut state) {
                self.show(&mut state);
                if popped.is_last {
                    // Nothing will come for the others who wait.
                    self.changed.wake_all(state);
                }
                return Ok(Some(popped));
            }
            if state.phase == Phase::Over {
                return Err(Error::watch_over());
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            state = self.changed.wait(state, deadline);
        }
    }

    /// The next response of a watch whose event queue has chosen it.
    pub(super) fn take(&self) -> Option<Popped> {
        let mut state = lock(&self.state);
        // It has left the line, and joins it again if there is more.
        state.is_ready = false;
        let popped = self.pop(&mut state);
        self.show(&mut state);
        popped
    }

    /// What the delivery thread is to do now.
    pub(super) fn work(&self) -> Work {
        let mut state = lock(&self.state);
        if let Some(popped) = self.pop(&mut state) {
            return Work::Deliver(popped);
        }
        if state.phase == Phase::Over && !state.is_released {
            return Work::Release;
        }
        state.turn = Turn::Idle;
        Work::Nothing
    }

    /// The consumer is gone.
    pub(super) fn release(&self) {
        let mut state = lock(&self.state);
        state.is_released = true;
        self.changed.wake_all(state);
    }

    /// Waits until the consumer is gone. False: waited in vain.
    pub(super) fn wait_for_release(&self, deadline: Deadline) -> bool {
        let mut state = lock(&self.state);
        while !state.is_released && !deadline.has_passed() {
            state = self.changed.wait(state, deadline);
        }
        state.is_released
    }

    fn pop(&self, state: &mut MutexGuard<'_, State>) -> Option<Popped> {
        let response = state.responses.pop_front()?;
        let cost = response.cost();
        state.bytes = state.bytes.saturating_sub(cost);
        self.buffers.let_go(cost);
        self.buffers.stats.events_delivered.add(response.events.len());
        state.resume_revision = response.resume_revision;
        let is_empty = state.responses.is_empty();
        if is_empty && state.responses.capacity() > KEPT_PLACES {
            state.responses = VecDeque::new();
        }
        let is_last = is_empty && state.phase == Phase::Ending;
        if is_last {
            state.phase = Phase::Over;
        }
        let makes_room = state.full_at.is_some_and(|full| is_empty || state.bytes <= full / 2);
        if makes_room {
            state.full_at = None;
        }
        Some(Popped { response: *response, makes_room, is_last })
    }

    /// Makes the descriptor, or what the event queue knows, say what the state says; under the lock, so that they agree.
    fn show(&self, state: &mut MutexGuard<'_, State>) {
        let is_ready = match self.face {
            Face::Callback | Face::Inline => return,
            Face::Pull => !state.responses.is_empty() || state.phase == Phase::Over,
            Face::Queue(_) => !state.responses.is_empty() && state.turn != Turn::Withheld,
        };
        if std::mem::replace(&mut state.is_ready, is_ready) == is_ready {
            return;
        }
        match (&self.face, &state.readable) {
            (Face::Queue(port), _) => port.set_ready(is_ready),
            (_, Some(readable)) if is_ready => readable.signal(),
            (_, Some(readable)) => readable.clear(),
            (_, None) => {}
        }
    }

    /// Whether the delivery thread must be told of work: not where it knows, and not before the start.
    fn becomes_due(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let becomes_due = matches!(self.face, Face::Callback) && state.turn == Turn::Idle;
        if becomes_due {
            state.turn = Turn::Due;
        }
        becomes_due
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.buffers.let_go(lock(&self.state).bytes);
    }
}
