//! The body of an answer, taken apart as it comes.

use super::{Cause, ended, excerpt, protocol};
use crate::gateway::content;
use crate::limits;
use crate::net::{Connection, Control};

/// The body of an answer, as far as it has not been read.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes to come.
    Length(u64),
    /// The line with a chunk's size is next.
    ChunkHead,
    /// So many bytes of a chunk to come.
    Chunk(u64),
    /// The line end after a chunk's bytes is next.
    ChunkEnd,
    /// Lines after the last chunk, up to an empty one.
    Trailer {
        read: usize,
    },
    UntilClose,
    Done,
}

/// A line of the framing may be as long as this: a chunk's size with extensions that nobody uses.
const MAX_CHUNK_LINE_BYTES: usize = 4 << 10;

impl Body {
    pub(super) fn chunked() -> Body {
        Body { state: State::ChunkHead }
    }

    pub(super) fn of_length(length: u64) -> Body {
        Body { state: State::Length(length) }
    }

    pub(super) fn empty() -> Body {
        Body { state: State::Done }
    }

    pub(super) fn until_close() -> Body {
        Body { state: State::UntilClose }
    }

    pub(super) fn lasts_until_close(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Reads to the end into `out`, which is empty and gets at most `limit` bytes.
    pub(crate) fn read_all(
        mut self,
        connection: &mut Connection,
        out: &mut Vec<u8>,
        limit: usize,
        control: &Control,
    ) -> Result<(), Cause> {
        while self.read(connection, out, limit, control)? {}
        Ok(())
    }

    /// Appends what has arrived to `out`, waiting where nothing has. False: that was the end. `out` is kept within
    /// `limit` bytes.
    pub(crate) fn read(
        &mut self,
        connection: &mut Connection,
        out: &mut Vec<u8>,
        limit: usize,
        control: &Control,
    ) -> Result<bool, Cause> {
        let before = out.len();
        loop {
            self.take_buffered(connection, out, limit)?;
            if matches!(self.state, State::Done) {
                return Ok(false);
            }
            if out.len() > before {
                return Ok(true);
            }
            self.receive(connection, out, limit, control)?;
        }
    }

    /// Takes apart what the connection has buffered. Behind other content the beginning of a chunk is left there until it
    /// is asked for: whoever takes the content before it then needs neither move it nor make more room. So is a piece that
    /// fails: what came before it is whole. Without that, it may even be within the limit.
    fn take_buffered(&mut self, connection: &mut Connection, out: &mut Vec<u8>, limit: usize) -> Result<(), Cause> {
        let mut input = connection.buffered();
        let (available, before) = (input.len(), out.len());
        loop {
            let mut rest = input;
            let goes_on = match self.take_piece(&mut rest, out, limit) {
                Err(_) if out.len() > before => break,
                taken => taken?,
            };
            input = rest;
            let is_cut = matches!(self.state, State::Chunk(left) if left > input.len() as u64);
            if !goes_on || (is_cut && out.len() > before) {
                break;
            }
        }
        let used = available - input.len();
        connection.consume(used);
        Ok(())
    }

    /// One piece of the framing, taken off `input`. False: more input is needed, or none is.
    fn take_piece(&mut self, input: &mut &[u8], out: &mut Vec<u8>, limit: usize) -> Result<bool, Cause> {
        match &mut self.state {
            State::Done => Ok(false),
            State::UntilClose => {
                content::check_limit(out.len(), input.len().min(1) as u64, limit)?;
                let (taken, rest) = input.split_at_checked(limit - out.len()).unwrap_or((input, &[]));
                out.extend_from_slice(taken);
                *input = rest;
                Ok(false)
            }
            State::Length(left) | State::Chunk(left) => {
                content::check_limit(out.len(), *left, limit)?;
                let due = content::due(*left);
                // Small chunks come many at a time.
                content::make_room(out, if out.is_empty() { due.max(input.len()) } else { due });
                content::take(input, out, left);
                let is_complete = *left == 0;
                if is_complete {
                    let is_chunk = matches!(self.state, State::Chunk(_));
                    self.state = if is_chunk { State::ChunkEnd } else { State::Done };
                }
                Ok(is_complete)
            }
            State::ChunkHead => {
                let Some(line) = take_line(input)? else { return Ok(false) };
                self.state = match chunk_size(line)? {
                    0 => State::Trailer { read: 0 },
                    size => State::Chunk(size),
                };
                Ok(true)
            }
            State::ChunkEnd => {
                let Some(line) = take_line(input)? else { return Ok(false) };
                if !line.is_empty() {
                    return Err(protocol("a chunk of its answer is longer than it says"));
                }
                self.state = State::ChunkHead;
                Ok(true)
            }
            State::Trailer { read } => {
                let Some(line) = take_line(input)? else { return Ok(false) };
                *read += line.len() + 1;
                if *read > limits::MAX_HEAD_BYTES {
                    return Err(protocol("the trailer of its answer has no end"));
                }
                if line.is_empty() {
                    self.state = State::Done;
                }
                Ok(true)
            }
        }
    }

    /// Waits for more: into the connection's buffer, or straight to `out` where a long stretch of content is due.
    fn receive(
        &mut self,
        connection: &mut Connection,
        out: &mut Vec<u8>,
        limit: usize,
        control: &Control,
    ) -> Result<(), Cause> {
        let count = match &mut self.state {
            State::Length(left) | State::Chunk(left) => {
                content::check_limit(out.len(), *left, limit)?;
                content::receive(connection, out, left, control)?
            }
            _ => connection.fill(control).map_err(Cause::Io)?,
        };
        match (count, &self.state) {
            (0, State::UntilClose) => self.state = State::Done,
            (0, _) => return Err(ended()),
            _ => {}
        }
        Ok(())
    }
}

/// Takes a line off the input, without its end; `None`: it isn't complete.
fn take_line<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Cause> {
    let Some(end) = memchr::memchr(b'\n', input) else {
        if input.len() > MAX_CHUNK_LINE_BYTES {
            return Err(protocol("a line of its answer's framing has no end"));
        }
        return Ok(None);
    };
    let (line, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
    *input = rest.get(1..).unwrap_or_default();
    Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
}

/// The size in a chunk's first line; extensions after it mean nothing to us.
fn chunk_size(line: &[u8]) -> Result<u64, Cause> {
    let bad = || protocol(format!("a chunk of its answer has no size: {}", excerpt(line)));
    let mut size = 0_u64;
    let mut digits = 0;
    for byte in line {
        let Some(digit) = char::from(*byte).to_digit(16) else { break };
        // Sixteen digits are all that fit; nobody sends that much.
        digits += 1;
        if digits > 15 {
            return Err(bad());
        }
        size = size << 4 | u64::from(digit);
    }
    let after = line.get(digits..).unwrap_or_default();
    let ends_well = after.is_empty() || matches!(after.first(), Some(b';' | b' ' | b'\t'));
    if digits == 0 || !ends_well { Err(bad()) } else { Ok(size) }
}
