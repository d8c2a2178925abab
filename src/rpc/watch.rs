//! The messages of etcd's Watch service. [`crate::watch`] makes an exact account of events from them.

use super::kv::KeyValue;
use super::{Header, Keys, Namespace};
use crate::channel::{Kind, Method, Size};
use crate::gateway::json::{Decode, Encode, Frequent, JsonError, Plain, Reader, Writer};
use crate::spare::{self, Spare};

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
    const EMPTY: Event = Event { event_type: EventType::Put, kv: KeyValue::EMPTY, prev_kv: None };

    /// Every key and value of it.
    fn kvs(&mut self) -> impl Iterator<Item = &mut KeyValue> {
        std::iter::once(&mut self.kv).chain(&mut self.prev_kv)
    }

    /// Takes the namespace off its keys.
    pub(crate) fn strip(&mut self, namespace: &Namespace) {
        self.kvs().for_each(|kv| namespace.strip(kv));
    }

    /// Moves its keys and values from one buffer to the end of another.
    pub(crate) fn move_to(&mut self, from: &[u8], to: &mut Vec<u8>) {
        for kv in self.kvs() {
            kv.key = kv.key.copy(from, to);
            kv.value = kv.value.copy(from, to);
        }
    }
}

impl Frequent for Event {
    #[inline(always)]
    fn read(&mut self, plain: &mut Plain<'_, '_>) -> Result<(), JsonError> {
        plain.object(
            &[r#""type":""#, r#""kv":{"#, r#""prev_kv":{"#],
            #[inline(always)]
            |plain, field| {
                match field {
                    0 => self.event_type = plain.read(event_type)?,
                    1 => plain.message(&mut self.kv)?,
                    _ => plain.message(self.prev_kv.insert(KeyValue::default()))?,
                }
                Ok(())
            },
        )
    }
}

fn event_type(reader: &mut Reader<'_>) -> Result<EventType, JsonError> {
    match reader.string_is(&["PUT", "DELETE"])? {
        Some(0) => Ok(EventType::Put),
        Some(1) => Ok(EventType::Delete),
        _ => Err(reader.expected("the event type PUT or DELETE")),
    }
}

/// Appends the events of an array.
fn read_events(reader: &mut Reader<'_>, events: &mut Vec<Event>) -> Result<(), JsonError> {
    let (before, (start, _)) = (events.len(), reader.progress());
    reader.frequent_objects(
        #[inline(always)]
        |plain| {
            if events.len() == events.capacity() {
                let (at, left) = plain.progress();
                spare::make_room(&EVENTS, events, likely_more(events.len() - before, at - start, left));
            }
            // A push would write it to the stack first, and wait for that before moving it.
            events.extend_from_slice(&[Event::EMPTY]);
            let Some(event) = events.last_mut() else { return Ok(()) };
            plain.message(event)
        },
    )
}

thread_local! {
    /// A buffer for events.
    pub(crate) static EVENTS: Spare<Event> = const { Spare::new() };
}

/// How many events the bytes that are left may hold, if they are about as large as those before. Room for the right
/// number spares moving them, and giving back what is too much.
fn likely_more(events: usize, bytes: usize, left: usize) -> usize {
    /// Hardly any event is smaller, and a few that are promise nothing.
    const LEAST_BYTES: usize = 48;
    let likely = left / bytes.checked_div(events).unwrap_or(left).max(LEAST_BYTES);
    likely + likely / 32 + 1
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

impl WatchRequest {
    /// Everything that happens to these keys once the watch is confirmed.
    pub fn new(keys: Keys<'static>) -> WatchRequest {
        WatchRequest { keys, start_revision: 0, no_put: false, no_delete: false, prev_kv: false }
    }
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

/// The `watch_id` of what concerns no single watch: a refused create, and the answer to a progress request.
pub(crate) const NO_WATCH: i64 = -1;

/// One message of the server about a watch; its events go to the caller's list.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchMessage {
    pub header: Header,
    /// Which watch of a shared connection; [`NO_WATCH`]: none of them.
    pub watch_id: i64,
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
        let before = events.len();
        let fields = &[
            r#""header":{"#,
            r#""watch_id":""#,
            r#""created":t"#,
            r#""canceled":t"#,
            r#""compact_revision":""#,
            r#""cancel_reason":""#,
            r#""fragment":t"#,
            r#""events":["#,
        ];
        reader.frequent_object(fields, |plain, field| {
            match field {
                0 => message.header = plain.read(Header::decode)?,
                1 => message.watch_id = plain.int64()?,
                2 => message.created = plain.read(Reader::boolean)?,
                3 => message.canceled = plain.read(Reader::boolean)?,
                4 => message.compact_revision = plain.int64()?,
                5 => message.cancel_reason = plain.read(Reader::text)?,
                6 => message.fragment = plain.read(Reader::boolean)?,
                _ => {
                    events.truncate(before);
                    plain.read(|reader| read_events(reader, events))?;
                }
            }
            Ok(())
        })?;
        Ok(message)
    }

    /// The `watch_id` of a whole message that is decoded later, where nearly every server writes it: behind a header
    /// without objects in it, which is all that is looked at. With it comes what follows it. `None`: that is not how it is
    /// written.
    ///
    /// These bytes stand in no string, where quotes are escaped. A brace in a string of the header can't be taken for
    /// the header's end either: the next quote would end that string, and be followed by a name.
    pub(crate) fn plain_id(message: &[u8]) -> Option<(i64, &[u8])> {
        /// 64 bits hold every number of so many digits.
        const DIGITS: usize = 18;
        let header = message.strip_prefix(br#"{"result":{"header":{"#)?;
        let end = memchr::memchr2(b'{', b'}', header)?;
        let rest = header.get(end..)?.strip_prefix(br#"},"watch_id":""#)?;
        let mut id = 0;
        for (count, byte) in rest.iter().take(DIGITS + 1).enumerate() {
            match byte {
                b'0'..=b'9' if count < DIGITS => id = id * 10 + i64::from(byte - b'0'),
                b'"' if count > 0 => return Some((id, rest.get(count + 1..)?)),
                _ => return None,
            }
        }
        None
    }

    /// The same of any message: what stands before it is passed over.
    pub(crate) fn peek_id(reader: &mut Reader<'_>) -> Result<i64, JsonError> {
        match reader.find(&["watch_id"])? {
            Some(_) => reader.int64(),
            None => Ok(0),
        }
    }

    /// Whether it says nothing but how far the server has come, if no events came with it.
    pub(crate) fn is_progress(&self) -> bool {
        let is_about_the_watch = self.created || self.canceled || self.fragment || self.compact_revision > 0;
        !is_about_the_watch && self.header.revision > 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::gateway::frames;

    fn peek(line: &str) -> Result<Option<i64>, JsonError> {
        let mut arena = line.as_bytes().to_vec();
        let found = frames::peek(&mut arena, 0..line.len(), WatchMessage::peek_id);
        assert_eq!(arena, line.as_bytes(), "it can still be decoded");
        if let Some((id, _)) = WatchMessage::plain_id(line.as_bytes()) {
            assert_eq!(found.as_ref().ok(), Some(&Some(id)), "{line}");
        }
        found
    }

    #[test]
    fn the_watch_that_a_message_is_of_is_found_without_decoding_it() {
        let header = r#""header":{"cluster_id":"14841639068965178418","member_id":"1","revision":"5","raft_term":"2"}"#;
        let events = r#""events":[{"kv":{"key":"aw==","mod_revision":"5","value":"fQ=="}}]"#;
        let [plain, more] =
            ["5", "1234567890123456789"].map(|id| format!(r#"{{"result":{{{header},"watch_id":"{id}",{events}}}}}"#));
        let follows = format!(",{events}}}}}");
        assert_eq!(WatchMessage::plain_id(plain.as_bytes()), Some((5, follows.as_bytes())));
        assert_eq!(WatchMessage::plain_id(more.as_bytes()), None);
        for (line, watch_id) in [
            (format!(r#"{{"result":{{{header},"watch_id":"5",{events}}}}}"#), 5),
            // What follows the ID is not looked at.
            (format!(r#"{{"result":{{{header},"watch_id":"77",???"#), 77),
            (format!(r#"{{"result":{{{header},"watch_id":"-1"}}}}"#), -1),
            (format!(r#"{{"result":{{{header}}}}}"#), 0),
            (format!(r#"{{"result":{{{header},{events}}}}}"#), 0),
            (format!(r#"{{"result":{{{events},{header},"watch_id":6}}}}"#), 6),
            (format!(r#" {{ "result" : {{ {header} , "watch_id" : "8" , "created" : true }} }}"#), 8),
            (format!(r#"{{"result":{{"watch_id":null,{header}}}}}"#), 0),
            (r#"{"result":{"cancel_reason":"a \"reason\" \\","watch_id":"9"}}"#.to_owned(), 9),
            (r#"{"result":{"cancel_reason":"\"watch_id\":\"4\"}"}}"#.to_owned(), 0),
            (r#"{"result":{"\u0061":{"watch_id":"4"},"b":[{"watch_id":"4"}]}}"#.to_owned(), 0),
            (r#"{"more":{"result":1},"result":{"watch_id":"3"}}"#.to_owned(), 3),
            (r#"{"result":{"header":{"a":{"b":"1"},"watch_id":"4"},"watch_id":"3"}}"#.to_owned(), 3),
            (r#"{"result":{"header":{"a":"},\"watch_id\":\"4\"}"},"watch_id":"3"}}"#.to_owned(), 3),
            (r#"{"result":{"header":{"a":"{}"},"watch_id":"3"}}"#.to_owned(), 3),
            (r#"{"result":{"header":{},"watch_id":"3"}}"#.to_owned(), 3),
            (r#"{"result":{}}"#.to_owned(), 0),
        ] {
            assert_eq!(peek(&line).unwrap(), Some(watch_id), "{line}");
        }
    }

    #[test]
    fn a_message_that_is_changed_anywhere_has_no_other_plain_id_than_the_one_that_it_is_decoded_with() {
        let message =
            br#"{"result":{"header":{"a":"\"","member_id":"1","revision":"5"},"watch_id":"7","created":true}}"#;
        let mut are_plain = 0;
        for (at, byte) in (0..message.len()).flat_map(|at| br#"{}":,\107a "#.map(|byte| (at, byte))) {
            for replaced in [0, 1] {
                let mut bytes = [&message[..at], &[byte], &message[at + replaced..]].concat();
                let length = bytes.len();
                let Some((id, _)) = WatchMessage::plain_id(&bytes) else { continue };
                let decoded =
                    frames::message(&mut bytes, 0..length, |reader| WatchMessage::decode(reader, &mut Vec::new()));
                let Ok(Ok(decoded)) = decoded else { continue };
                assert_eq!(id, decoded.watch_id, "{at} {}", char::from(byte));
                are_plain += 1;
            }
        }
        assert!(are_plain > 50, "{are_plain}");
    }

    #[test]
    fn an_error_is_told_from_a_message_and_garbage_from_both() {
        assert_eq!(peek(r#"{"error":{"code":14,"message":"etcdserver: \"no leader\""}}"#).unwrap(), None);
        assert_eq!(peek(r#"{"result":null,"error":{"code":14}}"#).unwrap(), None);
        for garbage in ["", "{}", "[]", "<html>", r#"{"result":1}"#, r#"{"result":{"watch_id":"x"}}"#, r#"{"result":{"#]
        {
            peek(garbage).unwrap_err();
        }
    }

    #[test]
    fn what_is_null_is_absent() {
        let event = r#"{"type":null,"kv":{"key":"aw==","lease":null},"prev_kv":null}"#;
        let result = format!(r#""result":{{"header":null,"watch_id":"3","created": null,"events":[{event}]}}"#);
        for line in [format!(r#"{{"error":null,{result}}}"#), format!(r#"{{{result},"error":null}}"#)] {
            let (mut bytes, mut events) = (line.clone().into_bytes(), Vec::new());
            let length = bytes.len();
            let decoded =
                frames::message(&mut bytes, 0..length, |reader| WatchMessage::decode(reader, &mut events)).unwrap();
            assert_eq!(decoded.unwrap().watch_id, 3, "{line}");
            assert!(matches!(&events[..], [event] if event.prev_kv.is_none()), "{line}: {events:?}");
        }
    }

    #[test]
    fn a_message_says_which_watch_it_is_of() {
        for (line, watch_id) in [(r#"{"watch_id":"5"}"#, 5), (r#"{"watch_id":"-1"}"#, NO_WATCH), ("{}", 0)] {
            let mut bytes = line.as_bytes().to_vec();
            let message = WatchMessage::decode(&mut Reader::new(&mut bytes), &mut Vec::new()).unwrap();
            assert_eq!(message.watch_id, watch_id);
        }
    }

    #[test]
    fn room_is_made_at_once_for_the_events_of_a_large_message_and_for_few_more() {
        for count in [1, 2, 100, 5_000] {
            let event = |number| format!(r#"{{"kv":{{"key":"aw==","mod_revision":"{number}","value":"dmFsdWU="}}}}"#);
            let events = (0..count).map(event).collect::<Vec<_>>().join(",");
            let mut bytes = format!(r#"{{"header":{{"revision":"9"}},"events":[{events}]}}"#).into_bytes();
            let mut events = Vec::with_capacity(1);
            WatchMessage::decode(&mut Reader::new(&mut bytes), &mut events).unwrap();
            assert_eq!(events.len(), count);
            assert_eq!(events.last().map(|event| event.kv.mod_revision), Some(count as i64 - 1));
            assert!(events.capacity() <= count + count / 8 + 4, "{count}: {}", events.capacity());
        }
    }
}
