//! The answer of a stream, in pieces.

use super::pieces::limit_and_pieces;
use super::server::{Speaker, connect};
use crate::gateway::frames::MessageStream;
use crate::gateway::http::{self, Cause, Head};
use crate::net::Control;
use std::io;
use std::sync::Arc;

/// An answer gives the same messages and the same end in whatever pieces it arrives, none larger than the limit, and takes
/// no more memory than that says.
///
/// The input: which limit; how many pieces; the length of each but the last; the answer.
pub fn stream(bytes: &[u8]) {
    let Some((limit, pieces)) = limit_and_pieces(bytes) else { return };
    let whole = hear(&[&pieces.concat()], limit);
    let cut = hear(&pieces, limit);
    assert_eq!(whole, cut);
}

/// What has come of an answer: its messages, and how it ended.
#[derive(Debug, PartialEq)]
struct Heard {
    status: Option<u16>,
    messages: Vec<String>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    Whole,
    Lost,
    Malformed,
}

impl End {
    fn of(cause: &Cause) -> End {
        match cause {
            Cause::Io(error) => {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                End::Lost
            }
            Cause::Protocol(what) => {
                assert!(!what.is_empty());
                End::Malformed
            }
            Cause::TooLarge(_) => End::Malformed,
        }
    }
}

fn hear(pieces: &[&[u8]], limit: usize) -> Heard {
    let (mut connection, peer) = connect();
    connection.stop_waiting().unwrap();
    let mut speaker = Speaker::new(peer, pieces);
    let mut heard = Heard { status: None, messages: Vec::new(), end: End::Whole };
    let head = loop {
        match http::receive(&mut connection, &Control::UNBOUNDED) {
            Ok(head) => break head,
            Err(failure) if failure.cause.must_wait() => speaker.say(),
            Err(failure) => {
                heard.end = End::of(&failure.cause);
                return heard;
            }
        }
    };
    let Head { status, body, .. } = head;
    heard.status = Some(status);
    let mut stream = MessageStream::new(Arc::from("unix:a"), connection, body, limit);
    loop {
        match stream.next_batch(&Control::UNBOUNDED) {
            Ok(Some(frames)) => {
                assert!(frames.arena.len() <= limit && frames.arena.capacity() <= 2 * limit + ROOM);
                assert!(!frames.lines.is_empty());
                heard
                    .messages
                    .extend(frames.lines.into_iter().map(|line| frames.arena[line].escape_ascii().to_string()));
            }
            Ok(None) => return heard,
            Err(cause) if cause.must_wait() => speaker.say(),
            Err(cause) => {
                heard.end = End::of(&cause);
                return heard;
            }
        }
    }
}

/// What buffers may have in addition: the next one that is kept for being used again is twice as large at most.
const ROOM: usize = 200_000;
