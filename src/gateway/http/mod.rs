//! HTTP/1.1 as a client of the gateway needs it: one request, one answer, over a connection that others keep.
//!
//! Heads are httparse's work. The framing of bodies is ours, because a body goes straight to where it is decoded: a
//! range of any size is received once and copied never, and a watch's chunks are cut out of one large read. The same
//! few lines serve unary calls and streams, which a general client would do in two ways and at several times the cost.

mod body;
mod head;
mod request;

pub(crate) use body::Body;
pub(crate) use head::{Head, SWITCHING_PROTOCOLS};
pub(super) use request::decimal;
pub(crate) use request::{AUTHORIZATION, Outgoing, RequestHead};

use crate::net::{Connection, Control};
use head::receive_head;
use std::io;

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

impl Cause {
    /// Whether nothing is wrong: a connection that doesn't wait has no more, or no room, for now.
    pub(crate) fn must_wait(&self) -> bool {
        matches!(self, Cause::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
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

/// The beginning of what a server sent, fit for a message.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let beginning = bytes.get(..MOST).unwrap_or(bytes);
    let dots = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{}{dots}\"", String::from_utf8_lossy(beginning).escape_debug())
}
