//! A fake gateway's end of a WebSocket, down to the frame: what a library for it would not send, a test must.

use super::gateway::{Reply, Request, Stream};
use super::sys;
use serde_json::Value;
use std::net::Shutdown;
use std::time::Duration;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Request {
    /// Whether it asks for a WebSocket.
    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|what| what.eq_ignore_ascii_case("websocket"))
    }
}

impl<'a> Reply<'a> {
    /// Switches to a WebSocket, as etcd does: no extension, and of what was offered as protocol only `Bearer`.
    #[track_caller]
    pub fn upgrade(&mut self, request: &Request) -> Socket<'a> {
        self.upgrade_with(request, &[])
    }

    /// The same with these bytes of the WebSocket along with the answer.
    #[track_caller]
    pub fn upgrade_with(&mut self, request: &Request, first: &[u8]) -> Socket<'a> {
        let key = request.header("sec-websocket-key").expect("an upgrade has a key");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let is_bearer = request.header("sec-websocket-protocol").is_some_and(|given| given.starts_with("Bearer"));
        let protocol = if is_bearer { "Sec-WebSocket-Protocol: Bearer\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
        );
        self.raw([head.as_bytes(), first].concat());
        Socket { stream: self.stream, buffered: Vec::new(), is_open: self.is_open, answers_pings: true, pings: 0 }
    }
}

/// A frame as it came, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub is_final: bool,
    pub payload: Vec<u8>,
}

/// The server's end. What the client no longer takes is dropped.
pub struct Socket<'a> {
    stream: &'a Stream,
    buffered: Vec<u8>,
    is_open: bool,
    answers_pings: bool,
    pings: usize,
}

impl Socket<'_> {
    /// From now on pings are counted and not answered.
    pub fn ignore_pings(&mut self) {
        self.answers_pings = false;
    }

    /// How many pings have been read.
    pub fn pings(&self) -> usize {
        self.pings
    }

    /// Whether the client may still be there.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// The client's next message as JSON; `None`: it has left.
    #[track_caller]
    pub fn message(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        loop {
            let frame = self.frame()?;
            match frame.opcode {
                PING | PONG => {}
                CLOSE => {
                    self.send(CLOSE, true, &frame.payload);
                    self.close();
                    return None;
                }
                _ => text.extend(frame.payload),
            }
            if frame.is_final && frame.opcode <= 2 {
                return Some(serde_json::from_slice(&text).expect("a message is JSON"));
            }
        }
    }

    /// The same within this time; `None`: nothing came, or the client has left, which [`is_open`](Socket::is_open) tells.
    pub fn message_within(&mut self, limit: Duration) -> Option<Value> {
        self.stream.limit_reads(Some(limit));
        let message = self.message();
        self.stream.limit_reads(None);
        message
    }

    /// The next message, which must be a create; its `create_request`.
    #[track_caller]
    pub fn create(&mut self) -> Option<Value> {
        let message = self.message()?;
        let create = message.get("create_request");
        Some(create.unwrap_or_else(|| panic!("a create was expected: {message}")).clone())
    }

    /// The next message, which must be a cancel; its `watch_id`.
    #[track_caller]
    pub fn cancel(&mut self) -> Option<i64> {
        let message = self.message()?;
        let id = &message["cancel_request"]["watch_id"];
        assert!(message.get("cancel_request").is_some(), "a cancel was expected: {message}");
        Some(number(id))
    }

    /// Reads one frame, and answers a ping unless told not to. What has come of one that isn't whole yet is kept.
    #[track_caller]
    pub fn frame(&mut self) -> Option<Frame> {
        let (frame, length) = loop {
            if let Some(parsed) = parse(&self.buffered) {
                break parsed;
            }
            let mut piece = [0; 16 << 10];
            let read = self.stream.read(&mut piece);
            self.buffered.extend_from_slice(&piece[..read]);
            if read == 0 {
                return None;
            }
        };
        self.buffered.drain(..length);
        if frame.opcode == PING {
            self.pings += 1;
            if self.answers_pings {
                self.send(PONG, true, &frame.payload);
            }
        }
        Some(frame)
    }

    /// One frame.
    pub fn send(&mut self, opcode: u8, is_final: bool, payload: &[u8]) {
        let mut frame = vec![opcode | if is_final { 0x80 } else { 0 }];
        match payload.len() {
            short @ 0..126 => frame.push(short as u8),
            medium @ 126..0x1_0000 => {
                frame.push(126);
                frame.extend((medium as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.raw(&frame);
    }

    /// These bytes and no frame around them.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.is_open = self.is_open && self.stream.write(bytes);
    }

    /// A text message in one frame.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.send(TEXT, true, text.as_ref().as_bytes());
    }

    /// A ping of the server's, which etcd never sends.
    pub fn ping(&mut self, payload: &[u8]) {
        self.send(PING, true, payload);
    }

    /// A message about a watch: `fields` come after its header and its ID.
    pub fn result(&mut self, id: i64, revision: i64, fields: &str) {
        let id = if id == 0 { String::new() } else { format!(r#","watch_id":"{id}""#) };
        let comma = if fields.is_empty() { "" } else { "," };
        let header = format!(r#""header":{{"revision":"{revision}","raft_term":"2"}}"#);
        self.text(format!(r#"{{"result":{{{header}{id}{comma}{fields}}}}}"#));
    }

    pub fn created(&mut self, id: i64, revision: i64) {
        self.result(id, revision, r#""created":true"#);
    }

    /// Takes creates until so many have come, and confirms each, with IDs from 0 on. False: the client has left.
    #[track_caller]
    pub fn create_all(&mut self, count: usize, revision: i64) -> bool {
        (0..count).all(|id| {
            let came = self.create().is_some();
            self.created(id as i64, revision);
            came
        })
    }

    /// Refuses a create, as a server does that doesn't allow it.
    pub fn refused(&mut self, reason: &str) {
        self.result(-1, 4, &format!(r#""created":true,"canceled":true,"cancel_reason":"{reason}""#));
    }

    /// The answer to a cancel.
    pub fn canceled(&mut self, id: i64, revision: i64) {
        self.result(id, revision, r#""canceled":true"#);
    }

    /// The end of a watch whose next revision is gone. Such a message has no revision.
    pub fn compacted(&mut self, id: i64, compact_revision: i64) {
        let id = if id == 0 { String::new() } else { format!(r#""watch_id":"{id}","#) };
        self.text(format!(
            r#"{{"result":{{"header":{{}},{id}"canceled":true,"compact_revision":"{compact_revision}"}}}}"#
        ));
    }

    /// Progress of one watch; of -1, what answers a progress request.
    pub fn progress(&mut self, id: i64, revision: i64) {
        self.result(id, revision, "");
    }

    /// A put of the key `k` for each revision, whose value is the revision.
    pub fn puts(&mut self, id: i64, revisions: &[i64]) {
        let last = revisions.last().copied().unwrap_or(0);
        self.result(id, last, &format!(r#""events":[{}]"#, events(revisions)));
    }

    /// The same as a part of a message that goes on.
    pub fn fragment(&mut self, id: i64, revisions: &[i64]) {
        let last = revisions.last().copied().unwrap_or(0);
        self.result(id, last, &format!(r#""fragment":true,"events":[{}]"#, events(revisions)));
    }

    /// An error object, as a server that ends sends it last.
    pub fn error(&mut self, code: i32, message: &str) {
        self.text(format!(r#"{{"error":{{"code":{code},"message":"{message}"}}}}"#));
    }

    /// Ends the connection without a close frame, as etcd does.
    pub fn close(&mut self) {
        self.stream.shutdown(Shutdown::Both);
        self.is_open = false;
    }

    /// Ends it with a close frame of this code.
    pub fn close_with(&mut self, code: u16) {
        self.send(CLOSE, true, &code.to_be_bytes());
        self.close();
    }

    /// Ends it with a reset.
    pub fn reset(&mut self) {
        if let Stream::Tcp(stream) = self.stream {
            sys::reset_on_close(stream);
        }
        self.is_open = false;
    }

    /// Takes everything and answers nothing, pings included, until the client leaves.
    pub fn hold(&mut self) {
        while self.stream.read(&mut [0; 4096]) > 0 {}
        self.is_open = false;
    }

    /// Answers pings and nothing else until the client leaves.
    pub fn idle(&mut self) {
        while self.frame().is_some_and(|frame| frame.opcode != CLOSE) {}
        self.close();
    }
}

/// The frame at the beginning of these bytes, and its length there; `None`: it is not whole yet.
#[track_caller]
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0x70, 0, "no extension was agreed on");
    assert_ne!(second & 0x80, 0, "a client masks its frames");
    let (length, at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap(), 10),
        short => (usize::from(short), 2),
    };
    let mask = bytes.get(at..at + 4)?;
    let masked = bytes.get(at + 4..at + 4 + length)?;
    let payload = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((Frame { opcode: first & 0xf, is_final: first & 0x80 != 0, payload }, at + 4 + length))
}

/// A number as the gateway and its clients write it.
fn number(value: &Value) -> i64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        Value::Null => 0,
        other => other.as_i64().unwrap(),
    }
}

fn events(revisions: &[i64]) -> String {
    let event = |revision: &i64| {
        let value = base64_simd::STANDARD.encode_to_string(revision.to_string());
        format!(r#"{{"kv":{{"key":"aw==","mod_revision":"{revision}","version":"1","value":"{value}"}}}}"#)
    };
    revisions.iter().map(event).collect::<Vec<_>>().join(",")
}
