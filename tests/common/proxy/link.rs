//! One connection through a proxy.

use super::flow::Flow;
use super::{Direction, End, LONG, Shared};
use crate::common::sys;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Both halves of a connection.
pub(super) struct Link {
    client: TcpStream,
    /// None: the server has not taken it yet.
    server: Mutex<Option<Arc<TcpStream>>>,
    /// A fault has ended it both ways.
    has_ended: AtomicBool,
    /// The etcd member whose connection it is, where it is one's.
    sender: OnceLock<u64>,
}

impl Link {
    pub(super) fn new(client: TcpStream) -> Link {
        prepare(&client);
        Link { client, server: Mutex::default(), has_ended: AtomicBool::new(false), sender: OnceLock::new() }
    }

    /// Forwards until both directions have ended.
    pub(super) fn run(&self, shared: &Shared) {
        let Ok(server) = TcpStream::connect_timeout(&shared.server, Duration::from_secs(2)) else {
            return self.end(End::Reset, Direction::Answer);
        };
        prepare(&server);
        let server = Arc::new(server);
        *self.server.lock().unwrap() = Some(server.clone());
        if self.has_ended() {
            return;
        }
        std::thread::scope(|scope| {
            let flow = |direction, from, to| Flow::new(shared, self, direction, from, to);
            let request = flow(Direction::Request, &self.client, &server);
            let answer = flow(Direction::Answer, &server, &self.client);
            scope.spawn(|| answer.run());
            request.run();
        });
    }

    /// Looks for the field in which members say who they are.
    pub(super) fn note_sender(&self, request: &[u8]) {
        if self.sender.get().is_none() {
            let text = String::from_utf8_lossy(request);
            let id = text.lines().find_map(|line| line.strip_prefix("X-Server-From: "));
            let id = id.and_then(|id| u64::from_str_radix(id, 16).ok());
            id.map(|id| self.sender.set(id));
        }
    }

    pub(super) fn is_from(&self, member: u64) -> bool {
        self.sender.get() == Some(&member)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Ends it; a half-close only in this direction.
    pub(super) fn end(&self, end: End, direction: Direction) {
        self.has_ended.fetch_or(matches!(end, End::Close | End::Reset), Ordering::SeqCst);
        let server = self.server.lock().unwrap().clone();
        let both = || std::iter::once(&self.client).chain(server.as_deref());
        match (end, direction) {
            (End::Close, _) => both().for_each(|stream| drop(stream.shutdown(Shutdown::Both))),
            // The reset goes out when the last thread lets go of the connection; this wakes those that read, and says
            // nothing to the peer.
            (End::Reset, _) => both().for_each(|stream| {
                sys::reset_on_close(stream);
                let _ = stream.shutdown(Shutdown::Read);
            }),
            (End::HalfClose, Direction::Answer) => drop(self.client.shutdown(Shutdown::Write)),
            (End::HalfClose, Direction::Request) => {
                server.iter().for_each(|server| drop(server.shutdown(Shutdown::Write)));
            }
            (End::Stall, _) => {}
        }
    }
}

/// What goes out piece by piece is to arrive piece by piece; and a peer that takes nothing is not waited for for ever.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(LONG));
}
