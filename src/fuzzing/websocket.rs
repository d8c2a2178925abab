//! The frames of a WebSocket, in pieces.

use super::pieces::limit_and_pieces;
use super::server::{Speaker, connect};
use crate::gateway::http::Cause;
use crate::gateway::websocket::{Received, WebSocket};
use std::io::{self, Cursor};
use std::sync::Arc;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message};

/// Frames give the same messages in whatever pieces they arrive, and those that tungstenite reads, which takes the same
/// for wrong; none is larger than the limit, nor takes more memory than that says.
///
/// The input: which limit; how many pieces; the length of each but the last; the frames.
pub fn websocket(bytes: &[u8]) {
    let Some((limit, pieces)) = limit_and_pieces(bytes) else { return };
    let frames = pieces.concat();
    let heard = hear(&pieces, limit);
    assert_eq!(heard, hear(&[&frames], limit));
    let reference = refer(&frames, limit);
    match reference.end {
        End::NotText => assert!(heard.messages.starts_with(&reference.messages), "{heard:?}, {reference:?}"),
        // Of what ends amid a frame, its header may have been wrong.
        End::Closed if heard.end == End::Malformed => assert_eq!(heard.messages, reference.messages),
        _ => assert_eq!(heard, reference),
    }
}

/// What has come of some frames: the messages, and how they ended.
#[derive(Debug, PartialEq)]
struct Heard {
    messages: Vec<String>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Closed,
    Malformed,
    /// Something isn't UTF-8, which we don't look at.
    NotText,
}

/// Memory that a buffer may have beyond its limit: one that is used again is twice as large as is needed at most.
const ROOM: usize = 40_000;

fn hear(pieces: &[&[u8]], limit: usize) -> Heard {
    let (connection, peer) = connect();
    let mut socket = WebSocket::new(Arc::from("unix:a"), connection, limit).unwrap();
    let mut speaker = Speaker::new(peer, pieces);
    let mut heard = Heard { messages: Vec::new(), end: End::Closed };
    let mut message = b"old".to_vec();
    loop {
        match socket.receive(&mut message) {
            Ok(Received::Message) => {
                assert!(message.len() <= limit && message.capacity() <= 2 * limit + ROOM);
                heard.messages.push(message.escape_ascii().to_string());
            }
            Ok(Received::Sign) => {
                let _ = socket.flush();
            }
            Ok(Received::Nothing) => speaker.say(),
            Err(Cause::Io(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                return heard;
            }
            Err(_) => return Heard { end: End::Malformed, ..heard },
        }
    }
}

/// What tungstenite reads.
fn refer(frames: &[u8], limit: usize) -> Heard {
    // It has one limit for the frames of messages and for others.
    let frame_limit = limit.max(125);
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(frame_limit));
    let stream = Deaf(Cursor::new(frames));
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Client, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(Message::Text(text)) => messages.push(text.as_bytes().escape_ascii().to_string()),
            Ok(Message::Binary(bytes)) => messages.push(bytes.escape_ascii().to_string()),
            Ok(Message::Close(_)) => break End::Closed,
            Ok(_) => {}
            Err(Error::Utf8(_)) => break End::NotText,
            // We look no further than that it is a close frame.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::InvalidCloseSequence)) => {
                break End::Closed;
            }
            Err(Error::Protocol(_) | Error::Capacity(_)) => break End::Malformed,
            Err(error) => panic!("{error}"),
        }
    };
    Heard { messages, end }
}

/// What is said to it is lost.
struct Deaf<'a>(Cursor<&'a [u8]>);

impl io::Read for Deaf<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl io::Write for Deaf<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
