//! Events on their way from messages to a response. What arrives together is handed over together, which costs the same
//! for one event and for hundreds.

use crate::gateway::frames::{self, Frames};
use crate::gateway::http::excerpt;
use crate::gateway::status::ServerStatus;
use crate::rpc::watch::{Event, WatchMessage};
use crate::rpc::{Header, Namespace};
use std::ops::Range;

/// Of events: so many, and a share of those that have come.
const MUCH_ROOM: usize = 64;
const MUCH_ROOM_SHARE: usize = 16;

/// The events of messages that arrived together: first those of whole revisions, then those of one that may have more,
/// then those that are decoded and not accounted for.
pub(super) struct Batch {
    /// What the keys and values of the events lie in.
    pub arena: Vec<u8>,
    pub events: Vec<Event>,
    whole: usize,
    accounted: usize,
    /// Of the last message that made a revision whole.
    pub header: Header,
    /// Of the last message with events.
    open_header: Header,
    /// Of a progress message that no event came after.
    pub progress: Option<Header>,
}

impl Batch {
    /// Takes bytes of so many messages, nearly all of which hold an event at least.
    pub(super) fn new(arena: Vec<u8>, messages: usize) -> Batch {
        let (events, header) = (Vec::with_capacity(messages), Header::default());
        Batch { arena, events, whole: 0, accounted: 0, header, open_header: header, progress: None }
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

    /// A copy of lines that are not decoded, apart from the others.
    pub(super) fn copy_of(&self, lines: &[Range<usize>]) -> Option<Frames> {
        let start = lines.first()?.start;
        let arena = self.arena.get(start..).unwrap_or_default().to_vec();
        Some(Frames { arena, lines: lines.iter().map(|line| line.start - start..line.end - start).collect() })
    }

    /// The events that are not accounted for.
    pub(super) fn decoded(&self) -> &[Event] {
        self.events.get(self.accounted..).unwrap_or_default()
    }

    /// Throws them away.
    pub(super) fn drop_decoded(&mut self) {
        self.events.truncate(self.accounted);
    }

    /// Accounts for them, but for those below the revision that is owed next, or below another that came before them.
    /// An event of a greater revision makes what came before it whole. Answers the revision of the last event, which may
    /// have more; `None`: no event was left.
    pub(super) fn account_for(&mut self, next_revision: i64, header: Header, namespace: &Namespace) -> Option<i64> {
        self.drop_old(next_revision);
        if self.decoded().is_empty() {
            return None;
        }
        let mut next_revision = next_revision;
        let events = self.events.iter_mut().enumerate().skip(self.accounted);
        for (index, event) in events {
            if event.kv.mod_revision > next_revision {
                next_revision = event.kv.mod_revision;
                if index > self.whole {
                    (self.whole, self.header, self.progress) = (index, header, None);
                }
            }
            if !namespace.is_empty() {
                event.strip(namespace);
            }
        }
        self.accounted = self.events.len();
        self.open_header = header;
        Some(next_revision)
    }

    fn drop_old(&mut self, next_revision: i64) {
        let mut newest = next_revision;
        let mut is_old = |event: &Event| {
            let is_old = event.kv.mod_revision < newest;
            newest = newest.max(event.kv.mod_revision);
            is_old
        };
        if !self.decoded().iter().any(&mut is_old) {
            return;
        }
        let (mut accounted, mut newest) = (self.accounted, next_revision);
        self.events.retain(|event| {
            let is_kept = accounted > 0 || event.kv.mod_revision >= newest;
            if accounted == 0 {
                newest = newest.max(event.kv.mod_revision);
            }
            accounted = accounted.saturating_sub(1);
            is_kept
        });
    }

    /// The last revision has no more events: it is whole. Answers whether there was one that was not.
    pub(super) fn complete(&mut self, header: Header) -> bool {
        let has_open = self.accounted > self.whole;
        if has_open {
            (self.whole, self.header, self.progress) = (self.accounted, header, None);
        }
        has_open
    }

    /// Takes out the events that are not of whole revisions.
    pub(super) fn split_open(&mut self) -> Vec<Event> {
        self.accounted = self.whole;
        self.events.split_off(self.whole)
    }

    /// Keeps events that were taken out, together with those of the same revision that were kept before.
    pub(super) fn keep(&self, events: Vec<Event>, open: Option<Box<OpenRevision>>) -> Option<Box<OpenRevision>> {
        let Some(first) = events.first() else { return open };
        let mut open = open.unwrap_or_else(|| Box::new(OpenRevision::new(first.kv.mod_revision)));
        open.header = self.open_header;
        open.add(events.into_iter(), &self.arena);
        Some(open)
    }

    /// Gives back what was reserved for events that have not come, where that is much: a consumer may take its time.
    pub(super) fn give_back_room(&mut self) {
        let count = self.events.len();
        if self.events.capacity() - count > MUCH_ROOM.max(count / MUCH_ROOM_SHARE) {
            self.events.shrink_to_fit();
        }
    }

    /// Moves the first events to the revision that was open before, where they are of it.
    pub(super) fn move_first(&mut self, open: &mut OpenRevision) {
        let count = self.events.iter().take_while(|event| event.kv.mod_revision == open.revision).count();
        self.whole = self.whole.saturating_sub(count);
        self.accounted = self.accounted.saturating_sub(count);
        open.add(self.events.drain(..count), &self.arena);
    }
}

/// The events of a revision that may have more, kept apart from the messages that they came in: of a large message with
/// many revisions only the last is kept.
pub(super) struct OpenRevision {
    pub revision: i64,
    /// Of the message that they are of.
    pub header: Header,
    pub arena: Vec<u8>,
    pub events: Vec<Event>,
}

impl OpenRevision {
    fn new(revision: i64) -> OpenRevision {
        OpenRevision { revision, header: Header::default(), arena: Vec::new(), events: Vec::new() }
    }

    /// Moves events here, of whose bytes it takes a copy.
    fn add(&mut self, events: impl Iterator<Item = Event>, arena: &[u8]) {
        for mut event in events {
            event.move_to(arena, &mut self.arena);
            self.events.push(event);
        }
    }

    /// How large it is.
    pub(super) fn size(&self) -> usize {
        self.arena.len() + self.events.len() * size_of::<Event>()
    }

    /// What it takes of memory, with room for more.
    pub(super) fn held_bytes(&self) -> usize {
        self.arena.capacity() + self.events.capacity() * size_of::<Event>()
    }
}
