//! A connection: a socket, TLS over it where asked for, and what has arrived but not been used yet.

use super::control::Control;
use super::socket::Socket;
use crate::limits;
use rustls::ClientConnection;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use zeroize::Zeroize;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    input: Vec<u8>,
    /// What is unused of `input`.
    start: usize,
    end: usize,
    /// Kept for the next request.
    pub(crate) spare: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Socket, Box<ClientConnection>),
}

impl Connection {
    pub(crate) fn plain(socket: Socket) -> Connection {
        Connection::new(Stream::Plain(socket))
    }

    /// Shakes hands.
    pub(crate) fn secured(socket: Socket, session: ClientConnection, control: &Control) -> io::Result<Connection> {
        let mut connection = Connection::new(Stream::Tls(socket, Box::new(session)));
        if let Stream::Tls(socket, session) = &mut connection.stream {
            while session.is_handshaking() {
                session.complete_io(&mut Bounded { socket, control })?;
            }
        }
        Ok(connection)
    }

    fn new(stream: Stream) -> Connection {
        Connection { stream, input: Vec::new(), start: 0, end: 0, spare: Vec::new() }
    }

    /// Whether it can carry another request: nothing arrived that nobody asked for, and it has not ended.
    pub(crate) fn is_quiet(&self) -> bool {
        let (socket, holds_nothing_back) = match &self.stream {
            Stream::Plain(socket) => (socket, true),
            // rustls wants no more as long as it has something that was not taken.
            Stream::Tls(socket, session) => (socket, session.wants_read()),
        };
        self.start == self.end && holds_nothing_back && socket.is_quiet()
    }

    /// Sends everything. An error means that the last byte was not taken: the peer can't have the whole.
    pub(crate) fn send(&mut self, bytes: &[u8], control: &Control) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => Bounded { socket, control }.write_all(bytes),
            Stream::Tls(socket, session) => {
                let mut rest = bytes;
                let mut socket = Bounded { socket, control };
                while !rest.is_empty() {
                    let taken = session.writer().write(rest)?;
                    rest = rest.get(taken..).unwrap_or_default();
                    write_tls(session, &mut socket)?;
                }
                Ok(())
            }
        }
    }

    /// What has arrived and is unused.
    pub(crate) fn buffered(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    /// Uses up the first `count` of [`buffered`](Connection::buffered).
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Wipes the buffer, through which a secret has come. What is unused of it is gone, too.
    pub(crate) fn wipe(&mut self) {
        self.input.zeroize();
        (self.start, self.end) = (0, 0);
    }

    /// Waits for nothing from now on: what can't be done at once is [`io::ErrorKind::WouldBlock`].
    pub(crate) fn stop_waiting(&mut self) -> io::Result<()> {
        self.socket_mut().stop_waiting()
    }

    /// See [`Socket::begin_turn`]. What TLS has made of that before is given all the same.
    pub(crate) fn begin_turn(&mut self, bytes: usize) {
        self.socket_mut().begin_turn(bytes);
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match &mut self.stream {
            Stream::Plain(socket) | Stream::Tls(socket, _) => socket,
        }
    }

    /// Takes some of it for sending, which [`flush`](Connection::flush) may have to complete.
    pub(crate) fn send_some(&mut self, bytes: &[u8], control: &Control) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.send(bytes, control),
            Stream::Tls(socket, session) => loop {
                let taken = session.writer().write(bytes)?;
                match write_tls(session, &mut Bounded { socket, control }) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => break Ok(taken),
                    Ok(()) if taken == 0 && !bytes.is_empty() => {}
                    written => break written.map(|()| taken),
                }
            },
        }
    }

    /// Sends what TLS has taken and not sent.
    pub(crate) fn flush(&mut self, control: &Control) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(socket, session) => write_tls(session, &mut Bounded { socket, control }),
        }
    }

    /// Waits for more to arrive; 0 at the end.
    pub(crate) fn fill(&mut self, control: &Control) -> io::Result<usize> {
        // A buffer that the last read filled to its end is too small for what comes.
        let was_filled = self.end == self.input.len();
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if was_filled {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if was_filled && (self.input.len() < limits::READ_BYTES || self.end == self.input.len()) {
            let size = (self.input.len() * 4).clamp(FIRST_READ_BYTES, limits::READ_BYTES.max(self.end * 2));
            self.input.resize(size, 0);
        }
        let free = self.input.get_mut(self.end..).unwrap_or_default();
        let count = receive(&mut self.stream, free, control)?;
        self.end += count;
        Ok(count)
    }

    /// Receives past the buffer, which must be empty, straight to where the bytes belong: behind what `out` holds,
    /// into the room that it has and at most so much; 0 at the end.
    pub(crate) fn receive_onto(&mut self, out: &mut Vec<u8>, at_most: usize, control: &Control) -> io::Result<usize> {
        debug_assert_eq!(self.start, self.end);
        match &mut self.stream {
            Stream::Plain(socket) => socket.receive_onto(out, at_most, control),
            Stream::Tls(socket, session) => {
                // rustls hands out a record at a time, into memory that is written already.
                let (filled, room) = (out.len(), out.capacity() - out.len());
                out.resize(filled + room.min(at_most).min(MAX_TLS_RECORD_BYTES), 0);
                let into = out.get_mut(filled..).unwrap_or_default();
                let received = receive_tls(session, &mut Bounded { socket, control }, into);
                out.truncate(filled + received.as_ref().copied().unwrap_or_default());
                received
            }
        }
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        match &self.stream {
            Stream::Plain(socket) | Stream::Tls(socket, _) => socket.as_raw_fd(),
        }
    }
}

const MAX_TLS_RECORD_BYTES: usize = 16 << 10;

/// Enough for the answer to most calls, head and body, in one read.
const FIRST_READ_BYTES: usize = 8 << 10;

fn receive(stream: &mut Stream, into: &mut [u8], control: &Control) -> io::Result<usize> {
    match stream {
        Stream::Plain(socket) => socket.receive(into, control),
        Stream::Tls(socket, session) => receive_tls(session, &mut Bounded { socket, control }, into),
    }
}

fn receive_tls(session: &mut ClientConnection, socket: &mut Bounded<'_>, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match session.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // What lasts until the end of its connection may have been cut by anybody.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::new(error.kind(), "the server broke off its TLS connection"));
            }
            done => return done,
        }
        session.read_tls(socket)?;
        session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match write_tls(session, socket) {
            // It goes out with what is sent next.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => written?,
        }
    }
}

/// Sends what the session has to send.
fn write_tls(session: &mut ClientConnection, socket: &mut Bounded<'_>) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(socket)?;
    }
    Ok(())
}

/// A socket within the bounds of one call, as [`Read`] and [`Write`].
struct Bounded<'a> {
    socket: &'a mut Socket,
    control: &'a Control,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer, self.control)
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes, self.control)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
