//! HTTP/1.1 as a client of the gateway needs it: one request, one answer, over a connection that others keep.
//!
//! Heads are httparse's work. The framing of bodies is ours, because a body goes straight to where it is decoded: a
//! range of any size is received once and copied never, and a watch's chunks are cut out of one large read. The same
//! few lines serve unary calls and streams, which a general client would do in two ways and at several times the cost.

use crate::limits;
use crate::net::{Connection, Control};
use crate::spare::{self, Spare};
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use zeroize::Zeroize;

/// Why an exchange failed, and how far it had come.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Whether the last byte of the request was taken: only then can the server have executed it.
    pub sent: bool,
    /// Whether anything of an answer arrived.
    pub answered: bool,
    pub cause: Cause,
}

#[derive(Debug)]
pub(crate) enum Cause {
    Io(io::Error),
    /// Not HTTP.
    Protocol(String),
    /// More than so many bytes.
    TooLarge(usize),
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Failure {
        Failure { sent: true, answered: true, cause }
    }
}

fn protocol(what: impl Into<String>) -> Cause {
    Cause::Protocol(what.into())
}

fn ended() -> Cause {
    Cause::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it before the answer was complete"))
}

/// What stands before a request's body, but for the body's length.
pub(crate) struct RequestHead<'a> {
    pub verb: &'a str,
    /// Two parts.
    pub path: [&'a str; 2],
    pub host: &'a str,
    /// Further lines, each with its end.
    pub lines: &'a str,
    /// The token, where there is to be one.
    pub token: Option<&'a str>,
    /// What stands before it in its line.
    pub token_name: &'a str,
}

/// Before a token in a request that the gateway passes on with its header.
pub(crate) const AUTHORIZATION: &str = "Authorization: ";

/// Which of a head's parts is the token.
const TOKEN_PART: usize = 10;

impl RequestHead<'_> {
    fn parts(&self) -> [&str; 13] {
        let [path, rest] = self.path;
        let [token_name, token, token_end] = self.token.map_or([""; 3], |token| [self.token_name, token, "\r\n"]);
        [
            self.verb,
            " ",
            path,
            rest,
            " HTTP/1.1\r\nHost: ",
            self.host,
            "\r\n",
            COMMON_LINES,
            self.lines,
            token_name,
            token,
            token_end,
            "Content-Length: ",
        ]
    }
}

/// A request being built: the body is written first, its length then stands in the head. What is secret of it is wiped
/// before the buffer is used for anything else.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    start: usize,
    /// Before the body. It doesn't have to grow, so that both go out in one write and nothing is moved.
    room: usize,
    token: Range<usize>,
    has_secret_body: bool,
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const MOST_DIGITS: usize = 20;

impl Outgoing {
    /// An empty request in a buffer that was used before, or in a new one.
    pub(crate) fn new(mut buffer: Vec<u8>, head: &RequestHead<'_>, has_secret_body: bool) -> Outgoing {
        let room = head.parts().iter().map(|part| part.len()).sum::<usize>() + MOST_DIGITS + END_OF_HEAD.len();
        buffer.clear();
        buffer.resize(room, 0);
        Outgoing { bytes: buffer, start: 0, room, token: 0..0, has_secret_body }
    }

    /// Where the body is to be appended.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts the head before the body.
    pub(crate) fn finish(&mut self, head: &RequestHead<'_>) {
        let parts = head.parts();
        let mut digits = [0; MOST_DIGITS];
        let digits = decimal(self.bytes.len().saturating_sub(self.room), &mut digits);
        self.start = MOST_DIGITS - digits.len();
        let mut at = self.start;
        for (number, part) in parts.iter().map(|part| part.as_bytes()).chain([digits, END_OF_HEAD]).enumerate() {
            let end = at + part.len();
            if let Some(place) = self.bytes.get_mut(at..end) {
                place.copy_from_slice(part);
            }
            if number == TOKEN_PART {
                self.token = at..end;
            }
            at = end;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The buffer, for the next request, unless this one was so large that keeping it would be waste.
    pub(crate) fn into_spare(mut self) -> Vec<u8> {
        self.wipe();
        let buffer = std::mem::take(&mut self.bytes);
        if buffer.capacity() <= limits::KEPT_REQUEST_BYTES { buffer } else { Vec::new() }
    }

    fn wipe(&mut self) {
        if self.has_secret_body {
            self.bytes.zeroize();
        } else if let Some(token) = self.bytes.get_mut(self.token.clone()) {
            token.zeroize();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.wipe();
    }
}

const COMMON_LINES: &str =
    concat!("User-Agent: libetcdgw/", env!("CARGO_PKG_VERSION"), "\r\nContent-Type: application/json\r\n");

pub(super) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(digits.len() - used..).unwrap_or_default()
}

/// Sends a request.
pub(crate) fn send(connection: &mut Connection, request: &[u8], control: &Control) -> Result<(), Failure> {
    let unsent = |error| Failure { sent: false, answered: false, cause: Cause::Io(error) };
    connection.send(request, control).map_err(unsent)
}

/// Receives the head of the answer. A wait that ended before anything of it came may be gone on with.
pub(crate) fn receive(connection: &mut Connection, control: &Control) -> Result<Head, Failure> {
    loop {
        let head = receive_head(connection, control)?;
        if head.status >= 200 || head.status == SWITCHING_PROTOCOLS {
            return Ok(head);
        }
    }
}

/// The status of an answer after which the connection speaks another protocol.
pub(crate) const SWITCHING_PROTOCOLS: u16 = 101;

/// The head of an answer, as far as it matters.
#[derive(Debug)]
pub(crate) struct Head {
    pub status: u16,
    pub body: Body,
    /// Whether the connection carries another request once the body has been read.
    pub keeps_connection: bool,
    /// Of an upgrade: its `Sec-WebSocket-Accept`.
    pub accept: Option<Vec<u8>>,
}

fn receive_head(connection: &mut Connection, control: &Control) -> Result<Head, Failure> {
    loop {
        let buffered = connection.buffered();
        let answered = !buffered.is_empty();
        if let Some((length, head)) = parse_head(buffered)? {
            connection.consume(length);
            return Ok(head);
        }
        if buffered.len() > limits::MAX_HEAD_BYTES {
            return Err(protocol("the head of its answer has no end").into());
        }
        match connection.fill(control) {
            Ok(0) => return Err(Failure { sent: true, answered, cause: ended() }),
            Ok(_) => {}
            Err(error) => return Err(Failure { sent: true, answered, cause: Cause::Io(error) }),
        }
    }
}

/// The length of a head and what it says; `None`: it isn't complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head)>, Cause> {
    let mut headers = [const { MaybeUninit::uninit() }; limits::MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|error| protocol(format!("its answer is not HTTP/1.1 ({error}): {}", excerpt(bytes))))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let mut keeps_connection = response.version == Some(1);
    let mut body = Body { state: State::UntilClose };
    let mut is_chunked = false;
    let mut accept = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let announced = content_length(header.value)?;
            if matches!(body.state, State::Length(other) if other != announced) {
                return Err(protocol("its answer has two lengths"));
            }
            body.state = State::Length(announced);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(protocol("its answer has an unknown transfer encoding"));
            }
            is_chunked = true;
        } else if status == SWITCHING_PROTOCOLS && header.name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(header.value.to_vec());
        } else if header.name.eq_ignore_ascii_case("connection") {
            keeps_connection = !header.value.eq_ignore_ascii_case(b"close")
                && (keeps_connection || header.value.eq_ignore_ascii_case(b"keep-alive"));
        }
    }
    if is_chunked {
        // RFC 9112 §6.3: chunked wins over a length.
        body.state = State::ChunkHead;
    } else if status < 200 || status == 204 || status == 304 {
        body.state = State::Done;
    }
    keeps_connection &= !matches!(body.state, State::UntilClose);
    Ok(Some((length, Head { status, body, keeps_connection, accept })))
}

fn content_length(value: &[u8]) -> Result<u64, Cause> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.ok_or_else(|| protocol(format!("its answer has no length that is a number: {}", excerpt(value))))
}

/// The beginning of what a server sent, fit for a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let beginning = bytes.get(..MOST).unwrap_or(bytes);
    let dots = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{dots}\"", String::from_utf8_lossy(beginning).escape_debug())
}

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

/// What is left of a body or chunk goes straight to its place when it is at least this much.
const DIRECT_BYTES: u64 = 4 << 10;

/// Room that is made for a body on the strength of its announced length alone.
const TRUSTED_BYTES: usize = 4 << 20;

impl Body {
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
                check_limit(out.len(), input.len().min(1) as u64, limit)?;
                let (taken, rest) = input.split_at_checked(limit - out.len()).unwrap_or((input, &[]));
                out.extend_from_slice(taken);
                *input = rest;
                Ok(false)
            }
            State::Length(left) | State::Chunk(left) => {
                check_limit(out.len(), *left, limit)?;
                let due = usize::try_from(*left).unwrap_or(usize::MAX);
                let count = due.min(input.len());
                // Small chunks come many at a time.
                make_room(out, if out.is_empty() { due.max(input.len()) } else { due });
                let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
                out.extend_from_slice(taken);
                *left -= taken.len() as u64;
                *input = rest;
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
            State::Length(left) | State::Chunk(left) if *left >= DIRECT_BYTES && connection.buffered().is_empty() => {
                check_limit(out.len(), *left, limit)?;
                let due = usize::try_from(*left).unwrap_or(usize::MAX);
                make_room(out, due);
                let count = connection.receive_onto(out, due, control).map_err(Cause::Io)?;
                *left -= count as u64;
                count
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

thread_local! {
    /// A buffer for content.
    pub(crate) static ARENAS: Spare<u8> = const { Spare::new() };
}

/// Makes room for what is due, and for the end of a line, which has a chunk of its own behind a long one. Beyond what may
/// be trusted it grows with what has arrived, and for one chunk after another it grows by doubling.
fn make_room(out: &mut Vec<u8>, due: usize) {
    let more = match out.is_empty() {
        true => due.min(TRUSTED_BYTES).saturating_add(1),
        false => due.min(TRUSTED_BYTES.max(out.len())),
    };
    spare::make_room(&ARENAS, out, more);
}

fn check_limit(have: usize, due: u64, limit: usize) -> Result<(), Cause> {
    if due > limit.saturating_sub(have) as u64 {
        return Err(Cause::TooLarge(limit));
    }
    Ok(())
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
