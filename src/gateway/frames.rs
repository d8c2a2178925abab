//! Messages of a stream: one JSON object per line, wherever the chunks of the body begin and end.

use super::http::{Body, Cause};
use super::json::{JsonError, Reader};
use super::status::ServerStatus;
use crate::net::{Connection, Control};
use std::ops::Range;
use std::sync::Arc;

/// A streaming answer.
#[derive(Debug)]
pub(crate) struct MessageStream {
    endpoint: Arc<str>,
    connection: Connection,
    body: Body,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    max_line_bytes: usize,
    has_ended: bool,
}

/// Some messages that arrived together.
#[derive(Debug)]
pub(crate) struct Frames {
    /// The buffer that they lie in.
    pub arena: Vec<u8>,
    /// Where each of them lies, at least one.
    pub lines: Vec<Range<usize>>,
}

impl Frames {
    /// A single message.
    pub(crate) fn one(arena: Vec<u8>) -> Frames {
        let whole = 0..arena.len();
        Frames { arena, lines: Vec::from([whole]) }
    }

    /// Adds another one.
    pub(crate) fn push(&mut self, message: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(message);
        self.lines.push(start..self.arena.len());
    }
}

impl MessageStream {
    pub(crate) fn new(endpoint: Arc<str>, connection: Connection, body: Body, max_line_bytes: usize) -> MessageStream {
        MessageStream { endpoint, connection, body, partial: Vec::new(), max_line_bytes, has_ended: false }
    }

    /// The URL of the endpoint that it comes from.
    pub(crate) fn endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// See [`Connection::begin_turn`].
    pub(crate) fn begin_turn(&mut self, bytes: usize) {
        self.connection.begin_turn(bytes);
    }

    /// The messages that have arrived, waiting for one where there is none; `None`: the stream has ended.
    pub(crate) fn next_batch(&mut self, control: &Control) -> Result<Option<Frames>, Cause> {
        loop {
            let mut arena = std::mem::take(&mut self.partial);
            let received = self.receive_line_end(&mut arena, control);
            if let Err(cause) = received {
                self.partial = arena;
                return Err(cause);
            }
            let lines = split_lines(&arena);
            if !lines.is_empty() {
                return Ok(Some(Frames { arena, lines }));
            }
            if self.has_ended {
                return Ok(None);
            }
        }
    }

    /// Receives up to the end of a line at least, or to the stream's. What has arrived of the line after it is kept.
    fn receive_line_end(&mut self, arena: &mut Vec<u8>, control: &Control) -> Result<(), Cause> {
        while !self.has_ended {
            let scanned = arena.len();
            self.has_ended = !self.body.read(&mut self.connection, arena, self.max_line_bytes, control)?;
            let arrived = arena.get(scanned..).unwrap_or_default();
            if let Some(end) = memchr::memrchr(b'\n', arrived) {
                if !self.has_ended {
                    self.partial = arena.split_off(scanned + end + 1);
                }
                break;
            }
        }
        Ok(())
    }
}

/// The lines that are not empty; the last needs no end.
pub(crate) fn split_lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        let line = bytes.get(start..end).unwrap_or_default();
        if !line.trim_ascii().is_empty() {
            lines.push(start..end);
        }
        start = end + 1;
    }
    lines
}

/// One message: what it carries, or the error that the server ends the stream with.
pub(crate) fn message<T>(
    arena: &mut [u8],
    line: Range<usize>,
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, JsonError>,
) -> Result<Result<T, ServerStatus>, JsonError> {
    let mut reader = Reader::over(arena, line.start, line.end);
    let mut decode = Some(decode);
    let mut carried = None;
    reader.frequent_object(&[r#""result":{"#, r#""error":{"#], |plain, field| {
        plain.read(|reader| {
            match (field, decode.take()) {
                (0, Some(decode)) => carried = Some(Ok(decode(reader)?)),
                (0, None) => return Err(reader.expected("one result")),
                _ => carried = Some(Err(ServerStatus::decode(reader)?)),
            }
            Ok(())
        })
    })?;
    reader.finish()?;
    carried.ok_or_else(|| reader.expected("a result or an error"))
}

/// What a message carries, found by going into it and leaving the rest unread; `None`: it is an error. The message can
/// still be decoded.
pub(crate) fn peek<T>(
    arena: &mut [u8],
    line: Range<usize>,
    find: impl FnOnce(&mut Reader<'_>) -> Result<T, JsonError>,
) -> Result<Option<T>, JsonError> {
    let mut reader = Reader::over(arena, line.start, line.end);
    match reader.find(&["result", "error"])? {
        Some(0) => find(&mut reader).map(Some),
        Some(_) => Ok(None),
        None => Err(reader.expected("a result or an error")),
    }
}
