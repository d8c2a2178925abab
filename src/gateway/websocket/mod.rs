//! A WebSocket: messages of a stream in both directions at any time, so that one connection serves many watches.

mod handshake;
mod incoming;

pub(crate) use handshake::Handshake;

use super::http::Cause;
use crate::limits;
use crate::net::{Connection, Control, random_bits};
use incoming::{Arrival, Incoming};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use tungstenite::Bytes;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// An open WebSocket, which waits for nothing: what can't be done at once is left for when it is ready.
pub(crate) struct WebSocket {
    endpoint: Arc<str>,
    connection: Connection,
    incoming: Incoming,
    /// Taken and not sent.
    outgoing: Vec<u8>,
    /// What the server's last ping is to be answered with, once everything else has been sent.
    pong: Option<Vec<u8>>,
}

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message.
    Message,
    /// Something that shows only that the server is there, and may want an answer.
    Sign,
    /// Nothing more, in this turn at least.
    Nothing,
}

impl WebSocket {
    /// Over a connection whose server has accepted the upgrade.
    pub(crate) fn new(
        endpoint: Arc<str>,
        mut connection: Connection,
        max_message_bytes: usize,
    ) -> io::Result<WebSocket> {
        connection.stop_waiting()?;
        let incoming = Incoming::new(max_message_bytes);
        Ok(WebSocket { endpoint, connection, incoming, outgoing: Vec::new(), pong: None })
    }

    /// The URL of the endpoint at its other end.
    pub(crate) fn endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// Whether any bytes have arrived since this was last asked.
    pub(crate) fn take_sign(&mut self) -> bool {
        self.incoming.take_sign()
    }

    /// See [`Connection::begin_turn`].
    pub(crate) fn begin_turn(&mut self, bytes: usize) {
        self.connection.begin_turn(bytes);
    }

    /// Takes a message; [`flush`](WebSocket::flush) sends it.
    pub(crate) fn send(&mut self, text: Vec<u8>) -> Result<(), Cause> {
        self.write(Frame::message(text, OpCode::Data(Data::Text), true))
    }

    /// Takes a ping, which the server is to answer.
    pub(crate) fn ping(&mut self) -> Result<(), Cause> {
        self.write(Frame::ping(Bytes::new()))
    }

    fn write(&mut self, mut frame: Frame) -> Result<(), Cause> {
        let bits = random_bits().map_err(|error| Cause::Io(io::Error::other(error)))?;
        frame.header_mut().mask = bits.to_ne_bytes().first_chunk().copied();
        frame.format(&mut self.outgoing).map_err(|error| Cause::Protocol(error.to_string()))
    }

    /// Sends what was taken. False: not all of it could be; it is to be called again when the connection is writable.
    pub(crate) fn flush(&mut self) -> Result<bool, Cause> {
        match self.send_all() {
            Ok(()) => Ok(true),
            Err(cause) if cause.must_wait() => Ok(false),
            Err(cause) => Err(cause),
        }
    }

    fn send_all(&mut self) -> Result<(), Cause> {
        loop {
            while !self.outgoing.is_empty() {
                let count = self.connection.send_some(&self.outgoing, &Control::UNBOUNDED).map_err(Cause::Io)?;
                self.outgoing.drain(..count);
            }
            self.outgoing.shrink_to(limits::KEPT_REQUEST_BYTES);
            match self.pong.take() {
                Some(payload) => self.write(Frame::pong(payload))?,
                None => return self.connection.flush(&Control::UNBOUNDED).map_err(Cause::Io),
            }
        }
    }

    /// What has arrived. A message is left in `message`, in place of what was there.
    pub(crate) fn receive(&mut self, message: &mut Vec<u8>) -> Result<Received, Cause> {
        match self.incoming.next(&mut self.connection, message) {
            Ok(Arrival::Message) => Ok(Received::Message),
            Ok(Arrival::Ping(payload)) => {
                self.pong = Some(payload);
                Ok(Received::Sign)
            }
            Ok(Arrival::Pong) => Ok(Received::Sign),
            Err(cause) if cause.must_wait() => Ok(Received::Nothing),
            Err(cause) => Err(cause),
        }
    }
}

impl AsRawFd for WebSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.connection.as_raw_fd()
    }
}
