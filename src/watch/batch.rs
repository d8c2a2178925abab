//! Messages that become one response. What arrives together is handed over together, which costs the same for one event
//! and for hundreds.

use crate::gateway::frames;
use crate::gateway::http::excerpt;
use crate::gateway::status::ServerStatus;
use crate::rpc::watch::{Event, WatchMessage};
use crate::rpc::{Header, Namespace};
use std::ops::Range;

/// The events of whole messages, and after them those of one whose last fragment is missing.
#[derive(Default)]
pub(super) struct Batch {
    /// What the keys and values of the events lie in.
    pub arena: Vec<u8>,
    pub events: Vec<Event>,
    /// So many of the events are of whole messages.
    whole: usize,
    /// Whether the last fragment of a message is missing.
    pub is_open: bool,
    /// Of the last whole message with events.
    pub header: Header,
    /// Of a progress message that no event came after.
    pub progress: Option<Header>,
}

impl Batch {
    /// Takes in bytes of so many messages. Answers how far they were moved up, or why there are too many of them.
    pub(super) fn append(&mut self, arena: Vec<u8>, messages: usize, limit: usize) -> Result<usize, String> {
        let added = self.arena.len();
        if added == 0 {
            self.arena = arena;
        } else if arena.len() > limit.saturating_sub(added) {
            return Err(format!("the fragments of a message are larger than {limit} bytes"));
        } else {
            self.arena.extend_from_slice(&arena);
        }
        self.events.reserve(messages);
        Ok(added)
    }

    /// Decodes one message; its events come last.
    pub(super) fn decode(&mut self, line: Range<usize>) -> Result<Result<WatchMessage, ServerStatus>, String> {
        let (start, end) = (line.start, line.end);
        let events = &mut self.events;
        let decoded = frames::message(&mut self.arena, line, |reader| WatchMessage::decode(reader, events));
        decoded.map_err(|error| {
            let line = self.arena.get(start..end).unwrap_or_default();
            format!("a message of a watch is malformed: {error}: {}", excerpt(line))
        })
    }

    /// Whether something could be handed over while a message in fragments is not complete.
    pub(super) fn has_whole_message(&self) -> bool {
        self.whole > 0 && !self.is_open
    }

    /// Whether there are events that [`complete`](Batch::complete) has not been told of.
    pub(super) fn has_more_than_whole(&self) -> bool {
        self.events.len() > self.whole
    }

    /// The last message is whole. Drops its events below a revision; answers the revision of its last one, if one is
    /// left.
    pub(super) fn complete(&mut self, header: Header, next_revision: i64, namespace: &Namespace) -> Option<i64> {
        let added = self.events.get(self.whole..).unwrap_or_default();
        if added.iter().any(|event| event.kv.mod_revision < next_revision) {
            let mut left = self.whole;
            self.events.retain(|event| {
                let is_accounted_for = left > 0;
                left = left.saturating_sub(1);
                is_accounted_for || event.kv.mod_revision >= next_revision
            });
        }
        let added = self.events.get_mut(self.whole..).unwrap_or_default();
        let last = added.last()?.kv.mod_revision;
        if !namespace.is_empty() {
            added.iter_mut().for_each(|event| event.strip(namespace));
        }
        self.whole = self.events.len();
        self.header = header;
        self.progress = None;
        Some(last)
    }

    /// Gives up a message whose last fragment is missing.
    pub(super) fn drop_fragments(&mut self) {
        self.events.truncate(self.whole);
        self.is_open = false;
    }

    /// Splits off the message that begins at `start` and was decoded last.
    pub(super) fn split_off(&mut self, start: usize) -> Batch {
        let mut events = self.events.split_off(self.whole);
        events.iter_mut().for_each(|event| event.move_down(start));
        Batch { arena: self.arena.split_off(start), events, ..Batch::default() }
    }
}
