//! The messages of etcd's Watch service. [`crate::watch`] makes an exact account of events from them.

use super::kv::KeyValue;
use super::{Header, Keys, Namespace};
use crate::channel::{Kind, Method, Size};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

pub(crate) const WATCH: Method = Method::new("watch", Kind::Read, Size::Values).streamed();

/// Whether an event wrote a key or deleted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum EventType {
    #[default]
    Put,
    Delete,
}

/// One change of one key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// The key after it; of a deleted one only the key and the revision that deleted it.
    pub kv: KeyValue,
    /// The key before it, where that was asked for, it existed, and it isn't compacted away.
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// Decodes an event where it is to stay.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        reader.object(&["type", "kv", "prev_kv"], |reader, field| {
            match field {
                0 => {
                    self.event_type = match reader.string_is(&["PUT", "DELETE"])? {
                        Some(0) => EventType::Put,
                        Some(1) => EventType::Delete,
                        _ => return Err(reader.expected("the event type PUT or DELETE")),
                    }
                }
                1 => self.kv.read(reader)?,
                _ => self.prev_kv = Some(KeyValue::decode(reader)?),
            }
            Ok(())
        })
    }

    /// Every key and value of it.
    fn kvs(&mut self) -> impl Iterator<Item = &mut KeyValue> {
        std::iter::once(&mut self.kv).chain(&mut self.prev_kv)
    }

    /// Takes the namespace off its keys.
    pub(crate) fn strip(&mut self, namespace: &Namespace) {
        self.kvs().for_each(|kv| namespace.strip(kv));
    }

    /// Follows its buffer, of which the first `count` bytes are gone.
    pub(crate) fn move_down(&mut self, count: usize) {
        for kv in self.kvs() {
            kv.key = kv.key.moved_down(count);
            kv.value = kv.value.moved_down(count);
        }
    }
}

/// What a watch asks for.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// Which keys.
    pub keys: Keys<'static>,
    /// The first revision to report; 0: what comes after the watch is confirmed.
    pub start_revision: i64,
    /// Leaves out puts.
    pub no_put: bool,
    /// Leaves out deletions.
    pub no_delete: bool,
    /// Asks for what each key was before.
    pub prev_kv: bool,
}

/// `create_request`, with the revision that is owed next in place of the first one.
pub(crate) struct WatchCreate<'a> {
    pub request: &'a WatchRequest,
    pub start_revision: i64,
    pub namespace: &'a Namespace,
    /// On a connection of many watches: which one it becomes.
    pub watch_id: Option<i64>,
}

/// Cancels a watch of a connection of many.
pub(crate) struct WatchCancel {
    pub watch_id: i64,
}

impl Encode for WatchCancel {
    fn encode(&self, out: &mut Writer<'_>) {
        out.object_field("cancel_request", |out| out.int64_field("watch_id", self.watch_id));
    }
}

/// Asks how far the watches of a connection have come.
pub(crate) struct WatchProgress;

impl Encode for WatchProgress {
    fn encode(&self, out: &mut Writer<'_>) {
        out.object_field("progress_request", |_| ());
    }
}

impl Encode for WatchCreate<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.object_field("create_request", |out| {
            self.request.keys.write(self.namespace, out);
            out.int64_field("start_revision", self.start_revision);
            // Progress moves the resume point of a quiet watch past compactions.
            out.bool_field("progress_notify", true);
            let filters = [("NOPUT", self.request.no_put), ("NODELETE", self.request.no_delete)];
            out.array_field("filters", filters.iter().filter(|(_, set)| *set), |out, (name, _)| out.text(name));
            if self.request.prev_kv {
                out.bool_field("prev_kv", true);
            }
            out.bool_field("fragment", true);
            if let Some(watch_id) = self.watch_id {
                out.int64_field("watch_id", watch_id);
            }
        });
    }
}

/// One message of the server about a watch; its events go to the caller's list.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchMessage {
    pub header: Header,
    pub created: bool,
    pub canceled: bool,
    pub compact_revision: i64,
    pub cancel_reason: String,
    /// More of the same follows.
    pub fragment: bool,
}

impl WatchMessage {
    /// Decodes one message, appending its events to `events`.
    pub(crate) fn decode(reader: &mut Reader<'_>, events: &mut Vec<Event>) -> Result<WatchMessage, JsonError> {
        let mut message = WatchMessage::default();
        let names = &["header", "created", "canceled", "compact_revision", "cancel_reason", "fragment", "events"];
        reader.object(names, |reader, field| {
            match field {
                0 => message.header = Header::decode(reader)?,
                1 => message.created = reader.boolean()?,
                2 => message.canceled = reader.boolean()?,
                3 => message.compact_revision = reader.int64()?,
                4 => message.cancel_reason = reader.text()?,
                5 => message.fragment = reader.boolean()?,
                _ => reader.array(|reader| {
                    events.push(Event::default());
                    events.last_mut().map_or(Ok(()), |event| event.read(reader))
                })?,
            }
            Ok(())
        })?;
        Ok(message)
    }
}
