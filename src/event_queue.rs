//! One place for what many sources have to say, with one descriptor: for event loops, and for bindings that must not
//! hold a thread for each watch.
//!
//! A source keeps what it has to give, and with it the bounds and the end of that; the queue only knows which sources
//! have something, and serves them in turn. So what one source piles up delays no other.

use crate::concurrency::election::Observation;
use crate::concurrency::keepalive::KeepAliveEvent;
use crate::concurrency::mirror::MirrorChange;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::net::EventFd;
use crate::sync::{Mutex, Waiters, lock};
use crate::watch::WatchResponse;
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What an event comes from; the numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum SourceKind {
    /// A watch.
    Watch = 1,
    /// A keep-alive of a lease.
    KeepAlive = 2,
    /// A session.
    Session = 3,
    /// An election that is observed.
    Election = 4,
    /// A mirror.
    Mirror = 5,
}

/// What one source had to say once.
#[derive(Debug)]
pub struct Event {
    /// What it comes from.
    pub source: SourceKind,
    /// What the owner of the source gave along with it.
    pub tag: Arc<Tag>,
    /// What it says.
    pub content: Content,
}

/// What an event says.
#[derive(Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly all are of the largest")]
pub enum Content {
    /// A response of a watch.
    Watch(WatchResponse),
    /// What became of the lease of a keep-alive or of a session.
    KeepAlive(KeepAliveEvent),
    /// The leader of an election, or why its observer has ended.
    Election(Result<Observation>),
    /// A change of a mirror's copy.
    Mirror(MirrorChange),
}

/// What the owner of a source gave along with it. The source and its events share it, so that it is dropped when the
/// source has nothing more to give and the last of its events is gone.
pub struct Tag {
    /// Taken out by nobody but the end.
    value: Option<Box<dyn Any + Send + Sync>>,
    source: Weak<dyn Source>,
}

impl Tag {
    fn new(value: Box<dyn Any + Send + Sync>, source: Weak<dyn Source>) -> Arc<Tag> {
        Arc::new(Tag { value: Some(value), source })
    }

    /// The owner's value, where it is of this type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.value.as_ref()?.downcast_ref()
    }
}

/// The tag of a source as it keeps it, as long as there may be events.
pub(crate) struct TagSlot(Mutex<Option<Arc<Tag>>>);

impl TagSlot {
    pub(crate) fn new(value: Box<dyn Any + Send + Sync>, source: Weak<dyn Source>) -> TagSlot {
        TagSlot(Mutex::new(Some(Tag::new(value, source))))
    }

    /// For one event. `None`: there are to be none.
    pub(crate) fn get(&self) -> Option<Arc<Tag>> {
        lock(&self.0).clone()
    }

    /// No event is to come. What is in the hands of the owner keeps the tag as long as it lives; if nothing is, it is
    /// dropped inside.
    pub(crate) fn let_go(&self) {
        // Not under the lock: it may be the last.
        let tag = lock(&self.0).take();
        drop(tag);
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        drop(self.value.take());
        if let Some(source) = self.source.upgrade() {
            source.released();
        }
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tag").finish_non_exhaustive()
    }
}

/// What reports to a queue. It tells its [`Port`] when it has something and when it no longer has, under the lock of
/// its own that decides that, so that the two agree.
pub(crate) trait Source: Send + Sync {
    /// Gives one event, and tells the port anew whether there is another: to the queue it has none since it was chosen.
    /// `None`: what it had is gone. Called without a lock.
    fn take(&self) -> Option<Event>;

    /// The queue is gone: the source has nothing to give any more, and ends as if its owner had cancelled it unless it is
    /// of use without a queue. Called without a lock.
    fn cancel(&self);

    /// Its tag is gone, and what belonged to its owner with it. Called without a lock.
    fn released(&self);
}

/// An event queue for any number of threads and of sources, those of different clients too. Clones are the same queue; with
/// the last of them its watches and observers end as if cancelled; all else that delivers there goes on untold.
#[derive(Clone)]
pub struct EventQueue(Arc<Handle>);

struct Handle(Arc<Shared>);

/// Its lock may be taken under that of a source, and nothing else is taken or dropped under it.
struct Shared {
    state: Mutex<State>,
    changed: Waiters,
}

#[derive(Default)]
struct State {
    sources: HashMap<u64, Entry>,
    last_source: u64,
    /// The sources that have something, by their places in the line.
    line: BTreeMap<u64, u64>,
    last_place: u64,
    /// Made when it is first asked for; readable while the line has somebody.
    readable: Option<EventFd>,
}

struct Entry {
    source: Weak<dyn Source>,
    place: Option<u64>,
}

impl EventQueue {
    /// A queue without sources. It takes no descriptor and no thread.
    pub fn new() -> EventQueue {
        let shared = Shared { state: Mutex::new(State::default()), changed: Waiters::default() };
        EventQueue(Arc::new(Handle(Arc::new(shared))))
    }

    /// The next event, waited for at most so long, or without a limit as long as it takes. `None`: waited in vain. One
    /// that several threads wait for goes to one of them.
    pub fn next(&self, limit: Option<Duration>) -> Option<Event> {
        let deadline = limit.map_or(Deadline::NEVER, Deadline::after);
        loop {
            // Dropped without a lock: it may be the last to hold its source.
            let source = self.0.0.choose(deadline)?;
            let event = source.take();
            if event.is_some() {
                return event;
            }
        }
    }

    /// A descriptor that is readable while [`next`](EventQueue::next) would not wait; `None`: the process has none left.
    pub fn fd(&self) -> Option<RawFd> {
        let mut state = lock(&self.0.0.state);
        if state.readable.is_none() {
            let readable = EventFd::new().ok()?;
            if !state.line.is_empty() {
                readable.signal();
            }
            state.readable = Some(readable);
        }
        state.readable.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Makes a source known, which has nothing yet.
    pub(crate) fn register(&self, source: Weak<dyn Source>) -> Port {
        let shared = self.0.0.clone();
        let mut state = lock(&shared.state);
        state.last_source += 1;
        let id = state.last_source;
        state.sources.insert(id, Entry { source, place: None });
        drop(state);
        Port { queue: shared, id }
    }
}

impl Default for EventQueue {
    fn default() -> EventQueue {
        EventQueue::new()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let sources: Vec<_> = lock(&self.0.state).sources.values().map(|entry| entry.source.clone()).collect();
        sources.iter().filter_map(Weak::upgrade).for_each(|source| source.cancel());
    }
}

impl Shared {
    /// Takes the first source out of the line, waiting for one.
    fn choose(&self, deadline: Deadline) -> Option<Arc<dyn Source>> {
        let mut state = lock(&self.state);
        loop {
            while let Some(id) = state.leave_line() {
                let source = state.sources.get(&id).and_then(|entry| entry.source.upgrade());
                if source.is_some() {
                    return source;
                }
            }
            if deadline.has_passed() {
                return None;
            }
            state = self.changed.wait(state, deadline);
        }
    }
}

impl State {
    fn join_line(&mut self, id: u64) {
        let place = self.last_place + 1;
        let Some(entry) = self.sources.get_mut(&id).filter(|entry| entry.place.is_none()) else { return };
        entry.place = Some(place);
        self.last_place = place;
        if self.line.is_empty() {
            self.readable.iter().for_each(EventFd::signal);
        }
        self.line.insert(place, id);
    }

    /// The first leaves it.
    fn leave_line(&mut self) -> Option<u64> {
        let (_, id) = self.line.pop_first()?;
        if let Some(entry) = self.sources.get_mut(&id) {
            entry.place = None;
        }
        self.after_leaving();
        Some(id)
    }

    /// This one leaves it, if it is there.
    fn withdraw(&mut self, id: u64) {
        let place = self.sources.get_mut(&id).and_then(|entry| entry.place.take());
        if place.and_then(|place| self.line.remove(&place)).is_some() {
            self.after_leaving();
        }
    }

    fn after_leaving(&self) {
        if self.line.is_empty() {
            self.readable.iter().for_each(EventFd::clear);
        }
    }
}

/// A source's way to its queue, which forgets the source with it.
pub(crate) struct Port {
    queue: Arc<Shared>,
    id: u64,
}

impl Port {
    /// Says whether the source has something: if so, it is asked for it in its turn.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        let mut state = lock(&self.queue.state);
        if is_ready {
            state.join_line(self.id);
            self.queue.changed.wake_one(state);
        } else {
            state.withdraw(self.id);
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.withdraw(self.id);
        state.sources.remove(&self.id);
    }
}
