//! One direction of a connection through a proxy.

use super::link::Link;
use super::{Direction, End, Fault, Plan, Shared};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Forwards what comes from one side to the other, as the fault of the hour wants it.
pub(super) struct Flow<'a> {
    shared: &'a Shared,
    link: &'a Link,
    direction: Direction,
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// Forwarded since the fault of this number was set.
    passed: usize,
    number: usize,
}

/// Whether a direction goes on.
type GoesOn = bool;

const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>\n";

impl<'a> Flow<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        link: &'a Link,
        direction: Direction,
        from: &'a TcpStream,
        to: &'a TcpStream,
    ) -> Flow<'a> {
        Flow { shared, link, direction, from, to, passed: 0, number: shared.plan().number }
    }

    /// Until one side ends it, or the fault does. The peer of a side that ends hears of it.
    pub(super) fn run(mut self) {
        let mut buffer = vec![0; 64 << 10];
        while let Some(count) = receive(self.from, &mut buffer) {
            if self.direction == Direction::Request {
                self.link.note_sender(&buffer[..count]);
            }
            if !self.pass(&buffer[..count]) {
                return;
            }
        }
        if !self.link.has_ended() {
            let _ = self.to.shutdown(Shutdown::Write);
        }
    }

    /// Forwards these bytes in the end; asks at each step what the fault is by then.
    fn pass(&mut self, bytes: &[u8]) -> GoesOn {
        let mut rest = bytes;
        while !rest.is_empty() {
            let plan = self.shared.plan();
            if plan.number != self.number {
                (self.passed, self.number) = (0, plan.number);
            }
            let forwarded = match plan.fault {
                Fault::HoleFor(member) if !self.link.is_from(member) => self.send(rest),
                Fault::Hole | Fault::HoleFor(_) => self.wait_for_release(plan).then_some(0),
                Fault::BadGateway if self.direction == Direction::Request => return self.answer(rest),
                Fault::Delay(direction, time) if direction == self.direction => {
                    self.shared.pause(time, plan);
                    self.send(rest)
                }
                Fault::Drip(direction, pause) if direction == self.direction => self.drip(rest, pause, plan),
                Fault::Merge(direction, quiet) if direction == self.direction => return self.merge(rest, quiet),
                Fault::After(direction, limit, end) if direction == self.direction => {
                    self.send_up_to(limit, rest, end, plan)
                }
                _ => self.send(rest),
            };
            let Some(forwarded) = forwarded else { return false };
            rest = &rest[forwarded..];
        }
        true
    }

    /// How many were forwarded: all of them. None: the direction has ended.
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        // What comes while it ends, or was held back until then, is lost.
        if self.link.has_ended() {
            return None;
        }
        let mut to = self.to;
        self.passed += bytes.len();
        // Counted before the peer can have seen it.
        self.shared.forwarded[self.direction as usize].fetch_add(bytes.len(), Ordering::SeqCst);
        if to.write_all(bytes).is_err() {
            self.link.end(End::Close, self.direction);
            return None;
        }
        Some(bytes.len())
    }

    /// Until what is held back may go on.
    fn wait_for_release(&self, plan: Plan) -> GoesOn {
        self.shared.wait_for_release(plan) && !self.link.has_ended()
    }

    fn drip(&mut self, bytes: &[u8], pause: Duration, plan: Plan) -> Option<usize> {
        let sent = self.send(&bytes[..1])?;
        if !pause.is_zero() {
            self.shared.pause(pause, plan);
        }
        Some(sent)
    }

    fn merge(&mut self, first: &[u8], quiet: Duration) -> GoesOn {
        let mut all = first.to_vec();
        self.from.set_read_timeout(Some(quiet)).unwrap();
        let mut piece = [0; 4096];
        while let Some(count) = receive(self.from, &mut piece) {
            all.extend_from_slice(&piece[..count]);
        }
        self.from.set_read_timeout(None).unwrap();
        self.send(&all).is_some()
    }

    fn send_up_to(&mut self, limit: usize, bytes: &[u8], end: End, plan: Plan) -> Option<usize> {
        let left = limit.saturating_sub(self.passed);
        if bytes.len() < left {
            return self.send(bytes);
        }
        let sent = self.send(&bytes[..left])?;
        self.shared.has_struck(plan);
        self.link.end(end, self.direction);
        match end {
            End::Stall => self.wait_for_release(plan).then_some(sent),
            End::Close | End::Reset | End::HalfClose => None,
        }
    }

    /// Answers in the server's place the requests that have begun with these bytes.
    fn answer(&mut self, begun: &[u8]) -> GoesOn {
        let mut bytes = begun.to_vec();
        let mut piece = [0; 4096];
        let mut client = self.from;
        loop {
            while let Some(length) = request_length(&bytes) {
                bytes.drain(..length);
                let head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: ";
                if client.write_all(format!("{head}{}\r\n\r\n{PAGE}", PAGE.len()).as_bytes()).is_err() {
                    return false;
                }
            }
            if bytes.is_empty() {
                return true;
            }
            let Some(count) = receive(self.from, &mut piece) else {
                self.link.end(End::Close, self.direction);
                return false;
            };
            bytes.extend_from_slice(&piece[..count]);
        }
    }
}

/// How many bytes came; none: it has ended, or nothing came in time.
fn receive(mut from: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
    from.read(buffer).ok().filter(|count| *count > 0)
}

/// How long a request is that these bytes begin with; none: they aren't all of it.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_length]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|text| text.parse().unwrap());
    Some(head_length + length.unwrap_or(0)).filter(|length| *length <= bytes.len())
}
