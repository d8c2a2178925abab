//! What a watch tells its consumer.

use crate::error::Error;
use crate::gateway::content::ARENAS;
use crate::gateway::json::Span;
use crate::rpc::Header;
use crate::rpc::watch::{EVENTS, Event};
use crate::spare;

/// What a response is about; the numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum WatchKind {
    /// Changes of keys.
    Events = 1,
    /// Nothing has changed up to here.
    Progress = 2,
    /// The stream was lost; the watch goes on as soon as a member answers.
    Disconnected = 3,
    /// The watch goes on.
    Resumed = 4,
    /// The last response of a watch, with the reason.
    Ended = 5,
}

/// One response of a watch.
#[derive(Debug)]
pub struct WatchResponse {
    /// What it is about.
    pub kind: WatchKind,
    /// The header of the server's message, where there was one.
    pub header: Header,
    /// The changes: whole revisions, in their order.
    pub events: Vec<Event>,
    /// A start revision that continues exactly after this response.
    pub resume_revision: i64,
    /// Where the watch ended because its revision was compacted away: the server's compact revision.
    pub compact_revision: i64,
    /// Why the stream was lost, or the watch has ended.
    pub error: Option<Error>,
    arena: Vec<u8>,
}

impl WatchResponse {
    /// A response without events.
    pub(super) fn new(kind: WatchKind, header: Header, resume_revision: i64) -> WatchResponse {
        let (events, arena) = (Vec::new(), Vec::new());
        WatchResponse { kind, header, events, resume_revision, compact_revision: 0, error: None, arena }
    }

    /// Events, and the buffer that their keys and values lie in.
    pub(super) fn of_events(header: Header, events: Vec<Event>, arena: Vec<u8>, resume_revision: i64) -> WatchResponse {
        WatchResponse { events, arena, ..WatchResponse::new(WatchKind::Events, header, resume_revision) }
    }

    /// The loss of a stream.
    pub(super) fn disconnected(error: Error, resume_revision: i64) -> WatchResponse {
        let response = WatchResponse::new(WatchKind::Disconnected, Header::default(), resume_revision);
        WatchResponse { error: Some(error), ..response }
    }

    /// The end of a watch.
    pub(super) fn ended(error: Error, resume_revision: i64) -> WatchResponse {
        let compact_revision = match &error {
            Error::Compacted { compact_revision, .. } => *compact_revision,
            _ => 0,
        };
        let response = WatchResponse::new(WatchKind::Ended, Header::default(), resume_revision);
        WatchResponse { compact_revision, error: Some(error), ..response }
    }

    /// The same with no more than its first revision.
    pub(super) fn of_first_revision(mut self) -> WatchResponse {
        let Some(first) = self.events.first().map(|event| event.kv.mod_revision) else { return self };
        let count = self.events.iter().take_while(|event| event.kv.mod_revision == first).count();
        if count < self.events.len() {
            self.events.truncate(count);
            self.resume_revision = first.saturating_add(1);
        }
        self
    }

    /// The bytes of a key or value of this response.
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// Leaves its memory to the next response that the calling thread reads, if it reads any.
    pub(crate) fn recycle(self) {
        spare::give(&ARENAS, self.arena);
        spare::give(&EVENTS, self.events);
    }

    /// What it takes of memory.
    pub(super) fn cost(&self) -> usize {
        size_of::<WatchResponse>() + self.arena.capacity() + self.events.capacity() * size_of::<Event>()
    }
}
