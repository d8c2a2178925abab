//! An HTTP stream that carries one watch.

use crate::channel::{self, Channel, Grant, OpeningStream};
use crate::error::{Error, Outcome, Result};
use crate::gateway::frames::{Frames, MessageStream};
use crate::net::Control;
use crate::rpc::watch::WATCH;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// A stream of one watch, read when something has arrived.
pub(super) struct OwnStream {
    pub endpoint: Arc<str>,
    /// The token that it was opened with.
    pub grant: Grant,
    fd: RawFd,
    stage: Stage,
}

enum Stage {
    Opening(OpeningStream),
    Open(MessageStream),
}

impl OwnStream {
    pub(super) fn new(opening: OpeningStream) -> OwnStream {
        let (endpoint, grant, fd) = (opening.endpoint.clone(), opening.grant.clone(), opening.as_raw_fd());
        OwnStream { endpoint, grant, fd, stage: Stage::Opening(opening) }
    }

    /// See [`Connection::begin_turn`](crate::net::Connection::begin_turn).
    pub(super) fn begin_turn(&mut self, bytes: usize) {
        match &mut self.stage {
            Stage::Opening(opening) => opening.begin_turn(bytes),
            Stage::Open(stream) => stream.begin_turn(bytes),
        }
    }

    /// The messages that have arrived; `None`: no whole one has, or not in this turn.
    pub(super) fn receive(&mut self, channel: &Channel) -> Result<Option<Frames>> {
        if let Stage::Opening(opening) = &mut self.stage {
            match opening.advance(channel, WATCH)? {
                Some(stream) => self.stage = Stage::Open(stream),
                None => return Ok(None),
            }
        }
        let Stage::Open(stream) = &mut self.stage else { return Ok(None) };
        match stream.next_batch(&Control::UNBOUNDED) {
            Ok(Some(frames)) => Ok(Some(frames)),
            Ok(None) => Err(Error::Lost {
                endpoint: self.endpoint.clone(),
                outcome: Outcome::NotApplied,
                source: Arc::new(io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the stream")),
            }),
            Err(cause) if cause.must_wait() => Ok(None),
            Err(cause) => Err(channel::stream_error(cause, &self.endpoint)),
        }
    }
}

impl AsRawFd for OwnStream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}
