//! Frames as they arrive, and the messages that they are parts of (RFC 6455 §5).
//!
//! tungstenite knows their headers. Reading is not left to it: it fills with zeros what it reads into, before each read,
//! and checks that text is UTF-8, which the reader of JSON does where it matters. That was a tenth of all that large
//! messages cost, and more of small ones.

use crate::gateway::content;
use crate::gateway::http::Cause;
use crate::limits;
use crate::net::{Connection, Control};
use std::io::{self, Cursor};
use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{self, Data, OpCode};

/// What has been read of a server's frames.
pub(super) struct Incoming {
    frame: Option<Frame>,
    /// What has come of a message.
    message: Vec<u8>,
    /// A message has begun and is to go on with the next data frame.
    is_amid_message: bool,
    /// What has come of the payload of a control frame, which may stand between those of a message.
    control: Vec<u8>,
    max_message_bytes: usize,
    has_read: bool,
}

/// A frame whose payload is being read.
#[derive(Clone, Copy)]
struct Frame {
    opcode: OpCode,
    is_final: bool,
    /// What is to come of its payload.
    left: u64,
}

/// Something that has arrived whole.
pub(super) enum Arrival {
    Message,
    Ping(Vec<u8>),
    Pong,
}

impl Incoming {
    pub(super) fn new(max_message_bytes: usize) -> Incoming {
        Incoming {
            frame: None,
            message: Vec::new(),
            is_amid_message: false,
            control: Vec::new(),
            max_message_bytes,
            has_read: false,
        }
    }

    /// Whether any bytes have arrived since this was last asked.
    pub(super) fn take_sign(&mut self) -> bool {
        std::mem::take(&mut self.has_read)
    }

    /// The next thing that has arrived. A message is put into `message`, whose old content is gone.
    pub(super) fn next(&mut self, connection: &mut Connection, message: &mut Vec<u8>) -> Result<Arrival, Cause> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => self.begin_frame(connection)?,
            };
            self.receive_payload(connection)?;
            self.frame = None;
            match frame.opcode {
                OpCode::Data(_) if frame.is_final => {
                    self.is_amid_message = false;
                    std::mem::swap(&mut self.message, message);
                    self.message.clear();
                    self.message.shrink_to(limits::READ_BYTES);
                    return Ok(Arrival::Message);
                }
                OpCode::Data(_) => self.is_amid_message = true,
                OpCode::Control(coding::Control::Ping) => return Ok(Arrival::Ping(std::mem::take(&mut self.control))),
                OpCode::Control(coding::Control::Close) => return Err(closed()),
                OpCode::Control(_) => {
                    self.control.clear();
                    return Ok(Arrival::Pong);
                }
            }
        }
    }

    /// Reads the header of a frame.
    fn begin_frame(&mut self, connection: &mut Connection) -> Result<Frame, Cause> {
        loop {
            let mut cursor = Cursor::new(connection.buffered());
            if let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(bad)? {
                let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
                self.check(&header, length)?;
                connection.consume(read);
                let frame = Frame { opcode: header.opcode, is_final: header.is_final, left: length };
                self.frame = Some(frame);
                return Ok(frame);
            }
            self.fill(connection)?;
        }
    }

    /// Whether a server may send such a frame now.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<(), Cause> {
        const MAX_CONTROL_BYTES: u64 = 125;
        let wrong = match header.opcode {
            _ if header.rsv1 || header.rsv2 || header.rsv3 => ProtocolError::NonZeroReservedBits,
            _ if header.mask.is_some() => ProtocolError::MaskedFrameFromServer,
            OpCode::Control(_) if !header.is_final => ProtocolError::FragmentedControlFrame,
            OpCode::Control(_) if length > MAX_CONTROL_BYTES => ProtocolError::ControlFrameTooBig,
            OpCode::Data(Data::Continue) if !self.is_amid_message => ProtocolError::UnexpectedContinueFrame,
            OpCode::Data(data) if data != Data::Continue && self.is_amid_message => {
                ProtocolError::ExpectedFragment(data)
            }
            OpCode::Data(_) => return content::check_limit(self.message.len(), length, self.max_message_bytes),
            OpCode::Control(_) => return Ok(()),
        };
        Err(bad(Error::Protocol(wrong)))
    }

    /// Reads what is to come of a frame's payload.
    fn receive_payload(&mut self, connection: &mut Connection) -> Result<(), Cause> {
        let Some(frame) = &mut self.frame else { return Ok(()) };
        let out = if matches!(frame.opcode, OpCode::Data(_)) { &mut self.message } else { &mut self.control };
        loop {
            let mut input = connection.buffered();
            let available = input.len();
            content::make_room(out, content::due(frame.left));
            content::take(&mut input, out, &mut frame.left);
            let used = available - input.len();
            connection.consume(used);
            if frame.left == 0 {
                return Ok(());
            }
            let count = content::receive(connection, out, &mut frame.left, &Control::UNBOUNDED)?;
            if count == 0 {
                return Err(closed());
            }
            self.has_read = true;
        }
    }

    fn fill(&mut self, connection: &mut Connection) -> Result<(), Cause> {
        let count = connection.fill(&Control::UNBOUNDED).map_err(Cause::Io)?;
        if count == 0 {
            return Err(closed());
        }
        self.has_read = true;
        Ok(())
    }
}

/// The connection has ended, in order or not: servers end it without a word.
fn closed() -> Cause {
    Cause::Io(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the WebSocket"))
}

fn bad(error: Error) -> Cause {
    Cause::Protocol(format!("not what a WebSocket carries: {error}"))
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fuzzing::Server;
    use std::io::Write;

    #[test]
    fn the_room_of_a_large_message_is_not_kept_for_the_next_ones() {
        const LARGE: u16 = 60_000;
        let (mut connection, mut peer) = Server::new().connect();
        let mut incoming = Incoming::new(1 << 20);
        // In two frames, it is larger than what is kept.
        let [begins, ends] = [0x01, 0x80].map(|first| {
            let length = LARGE.to_be_bytes();
            [&[first, 126, length[0], length[1]][..], &[b'x'; LARGE as usize]].concat()
        });
        peer.write_all(&[&begins[..], &ends, b"\x81\x01a\x81\x01b"].concat()).unwrap();
        let mut message = Vec::new();
        for length in [2 * usize::from(LARGE), 1, 1] {
            assert!(matches!(incoming.next(&mut connection, &mut message), Ok(Arrival::Message)));
            assert_eq!(message.len(), length);
            assert!(incoming.message.capacity() <= limits::READ_BYTES, "{}", incoming.message.capacity());
        }
    }
}
