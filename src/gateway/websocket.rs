//! A WebSocket: messages of a stream in both directions at any time, so that one connection serves many watches.

use super::http::Cause;
use crate::net::{Connection, Control, random_id};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, Utf8Bytes};

/// Read from the connection at once. What tungstenite reads into is filled with zeros each time, so that more would cost
/// the small messages that are most of them: at 256 KiB a quarter of their whole way, where a large one saves a tenth.
const READ_BYTES: usize = 64 << 10;

/// What a client proves with that its peer has understood the upgrade (RFC 6455 §4.1).
pub(crate) struct Handshake {
    key: String,
}

impl Handshake {
    pub(crate) fn new() -> crate::error::Result<Handshake> {
        let mut key = [0; 16];
        for half in key.chunks_mut(size_of::<i64>()) {
            half.copy_from_slice(&random_id()?.to_ne_bytes());
        }
        Ok(Handshake { key: base64_simd::STANDARD.encode_to_string(key) })
    }

    /// The lines of the request.
    pub(crate) fn lines(&self) -> String {
        let key = &self.key;
        format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
    }

    /// Whether the `Sec-WebSocket-Accept` of an answer fits.
    pub(crate) fn accepts(&self, accept: &[u8]) -> bool {
        const ID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        let text = [self.key.as_bytes(), ID.as_bytes()].concat();
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
        base64_simd::STANDARD.encode_to_string(digest.as_ref()).as_bytes() == accept
    }
}

/// An open WebSocket, which waits for nothing: what can't be done at once is left for when it is ready.
pub(crate) struct WebSocket {
    endpoint: Arc<str>,
    socket: tungstenite::WebSocket<Wire>,
}

/// What has arrived.
pub(crate) enum Received {
    /// A message.
    Message(Bytes),
    /// Something that shows only that the server is there.
    Sign,
}

impl WebSocket {
    /// Over a connection whose server has accepted the upgrade.
    pub(crate) fn new(
        endpoint: Arc<str>,
        mut connection: Connection,
        max_message_bytes: usize,
    ) -> io::Result<WebSocket> {
        connection.stop_waiting()?;
        let early = connection.buffered().to_vec();
        connection.consume(early.len());
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes));
        let wire = Wire { connection, control: Control::UNBOUNDED, has_read: false };
        let socket = tungstenite::WebSocket::from_partially_read(wire, early, Role::Client, Some(config));
        Ok(WebSocket { endpoint, socket })
    }

    /// The URL of the endpoint at its other end.
    pub(crate) fn endpoint(&self) -> &Arc<str> {
        &self.endpoint
    }

    /// Whether any bytes have arrived since this was last asked.
    pub(crate) fn take_sign(&mut self) -> bool {
        std::mem::take(&mut self.socket.get_mut().has_read)
    }

    /// Takes a message; [`flush`](WebSocket::flush) sends it.
    pub(crate) fn send(&mut self, text: Vec<u8>) -> Result<(), Cause> {
        let text = Utf8Bytes::try_from(Bytes::from(text)).map_err(|error| Cause::Protocol(error.to_string()))?;
        self.write(Message::Text(text))
    }

    /// Takes a ping, which the server is to answer.
    pub(crate) fn ping(&mut self) -> Result<(), Cause> {
        self.write(Message::Ping(Bytes::new()))
    }

    fn write(&mut self, message: Message) -> Result<(), Cause> {
        match self.socket.write(message) {
            Err(error) if !would_block(&error) => Err(cause(error)),
            _ => Ok(()),
        }
    }

    /// Sends what was taken. False: not all of it could be; it is to be called again when the connection is writable.
    pub(crate) fn flush(&mut self) -> Result<bool, Cause> {
        match self.socket.flush() {
            Ok(()) => Ok(true),
            Err(error) if would_block(&error) => Ok(false),
            Err(error) => Err(cause(error)),
        }
    }

    /// What has arrived; `None`: nothing more has.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, Cause> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(Received::Message(text.into()))),
            Ok(Message::Binary(bytes)) => Ok(Some(Received::Message(bytes))),
            Ok(Message::Close(_)) => Err(cause(Error::ConnectionClosed)),
            Ok(_) => Ok(Some(Received::Sign)),
            Err(error) if would_block(&error) => Ok(None),
            Err(error) => Err(cause(error)),
        }
    }
}

impl AsRawFd for WebSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.get_ref().connection.as_raw_fd()
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn cause(error: Error) -> Cause {
    match error {
        Error::Io(error) => Cause::Io(error),
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) if is_end(&error) => {
            Cause::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the WebSocket"))
        }
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => Cause::TooLarge(max_size),
        other => Cause::Protocol(format!("not what a WebSocket carries: {other}")),
    }
}

/// Whether the connection has ended, in order or not: servers end it without a word.
fn is_end(error: &Error) -> bool {
    !matches!(error, Error::Protocol(other) if *other != ProtocolError::ResetWithoutClosingHandshake)
}

/// A connection as tungstenite reads and writes it.
struct Wire {
    connection: Connection,
    control: Control,
    has_read: bool,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.connection.receive(into, &self.control)?;
        self.has_read |= count > 0;
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.send_some(bytes, &self.control)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.connection.flush(&self.control)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_that_the_rfc_gives_to_its_key_is_accepted_and_no_other() {
        let handshake = Handshake { key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned() };
        assert!(handshake.accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!handshake.accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo"));
        assert!(!handshake.accepts(b""));
    }
}
