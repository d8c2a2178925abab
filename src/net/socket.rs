//! A connected socket whose every wait ends with the call's deadline, its cancel token, or its client.

use super::control::{Control, Stop};
use super::lifeline::{Lifeline, Registration};
use super::sys::{self, Descriptor, EventFd, Idle, Ready, Timer};
use crate::stats::Stats;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// A descriptor that another thread may shut down while this one waits on it. It is closed only when nobody can any
/// more, so that its number is never another file's by then.
#[derive(Debug)]
pub(crate) struct Handle(Descriptor);

impl Handle {
    pub(crate) fn new(fd: Descriptor) -> Handle {
        Handle(fd)
    }

    pub(crate) fn shutdown(&self) {
        sys::shutdown(self.0.as_raw_fd());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A child of fork may have it open as well; the peer is to hear of the end all the same.
        if self.0.is_own() {
            self.shutdown();
        }
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// How far the kernel's receive timeout may be from what is left of a call without being set anew. Calls of one limit,
/// one after another, then cost no system call for it.
const TIMEOUT_TOLERANCE: Duration = Duration::from_millis(40);

/// Beyond this a receive timeout is too coarse to wait for the end of a call with: Linux runs it on its timer wheel,
/// which may be late by an eighth.
const EXACT_TIMEOUT: Duration = Duration::from_millis(100);

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    handle: Arc<Handle>,
    lifeline: Arc<Lifeline>,
    stats: Arc<Stats>,
    /// The kernel's receive timeout; none: it waits for ever.
    receive_timeout: Option<Duration>,
    /// Whether it waits at all: else what can't be done at once is [`io::ErrorKind::WouldBlock`].
    waits: bool,
    /// Of one that doesn't wait: the last bytes received were fewer than there was room for, so that there were no more.
    is_drained: bool,
    /// The same: what it may receive before the next turn.
    left_of_turn: usize,
    _registration: Registration,
}

impl Socket {
    /// Takes over a connected descriptor. Fails where the client is closed.
    pub(crate) fn new(handle: Arc<Handle>, lifeline: &Arc<Lifeline>, stats: &Arc<Stats>) -> io::Result<Socket> {
        sys::set_blocking(handle.as_raw_fd(), true)?;
        let registration = lifeline.register(&handle)?;
        let (lifeline, stats) = (lifeline.clone(), stats.clone());
        Ok(Socket {
            handle,
            lifeline,
            stats,
            receive_timeout: None,
            waits: true,
            is_drained: false,
            left_of_turn: usize::MAX,
            _registration: registration,
        })
    }

    /// Waits for nothing from now on: somebody else does, and knows when it is ready.
    pub(crate) fn stop_waiting(&mut self) -> io::Result<()> {
        self.waits = false;
        sys::set_blocking(self.fd(), false)
    }

    /// Of one that doesn't wait: once it has received so much from now on, it is as if nothing more had come. A peer as fast
    /// as whoever reads would keep them at it, for ever with what amounts to nothing. The rest is reported as ready again.
    pub(crate) fn begin_turn(&mut self, bytes: usize) {
        (self.is_drained, self.left_of_turn) = (false, bytes);
    }

    /// Whether an idle connection can still be used, in one system call.
    pub(crate) fn is_quiet(&self) -> bool {
        sys::peek(self.fd()) == Idle::Quiet
    }

    fn fd(&self) -> RawFd {
        self.handle.as_raw_fd()
    }

    /// Receives at least one byte; 0 at the end.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], control: &Control) -> io::Result<usize> {
        let room = buffer.len();
        self.receive_with(room, control, |fd| sys::receive(fd, buffer))
    }

    /// Receives behind what the vector holds, into the room that it has and at most so much; 0 at the end.
    pub(crate) fn receive_onto(&mut self, out: &mut Vec<u8>, at_most: usize, control: &Control) -> io::Result<usize> {
        let room = at_most.min(out.capacity() - out.len());
        self.receive_with(room, control, |fd| sys::receive_onto(fd, out, at_most))
    }

    fn receive_with(
        &mut self,
        room: usize,
        control: &Control,
        mut receive: impl FnMut(RawFd) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Whoever knows when it is ready asks until nothing is left, and hears of what has come since in any case.
        if std::mem::take(&mut self.is_drained) || (!self.waits && self.left_of_turn == 0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match &control.cancel {
                _ if !self.waits => {}
                // With a token both must be waited for; without one, receiving is all the waiting there is.
                Some(_) => self.wait(Ready::Read, control)?,
                None => self.set_timeout(control)?,
            }
            match receive(self.fd()) {
                // A closing client shuts its sockets down.
                Ok(0) => return self.lifeline.check().map(|()| 0).map_err(io::Error::from),
                Ok(count) => {
                    self.stats.bytes_received.add(count);
                    self.is_drained = !self.waits && count < room;
                    self.left_of_turn = self.left_of_turn.saturating_sub(count);
                    return Ok(count);
                }
                Err(error) => self.may_go_on(error, control)?,
            }
        }
    }

    /// Sends what fits, at least one byte.
    pub(crate) fn send(&mut self, bytes: &[u8], control: &Control) -> io::Result<usize> {
        loop {
            match sys::send(self.fd(), bytes) {
                Ok(count) => {
                    self.stats.bytes_sent.add(count);
                    return Ok(count);
                }
                Err(error) => self.may_go_on(error, control)?,
            }
            self.wait(Ready::Write, control)?;
        }
    }

    /// Lets an error pass that only means "not yet".
    fn may_go_on(&self, error: io::Error, control: &Control) -> io::Result<()> {
        self.lifeline.check()?;
        match error.kind() {
            io::ErrorKind::WouldBlock if self.waits => Ok(control.check()?),
            io::ErrorKind::Interrupted => Ok(control.check()?),
            _ => Err(error),
        }
    }

    fn wait(&self, ready: Ready, control: &Control) -> io::Result<()> {
        wait_for(self.fd(), ready, &self.lifeline, control)
    }

    fn set_timeout(&mut self, control: &Control) -> io::Result<()> {
        let wanted = control.deadline.remaining().map(receive_timeout);
        let fits = match (self.receive_timeout, wanted) {
            (Some(set), Some(wanted)) => set.abs_diff(wanted) <= TIMEOUT_TOLERANCE.min(wanted / 8),
            (set, wanted) => set == wanted,
        };
        if !fits {
            if wanted.is_some_and(|wanted| wanted.is_zero()) {
                return Err(Stop::Deadline.into());
            }
            sys::set_receive_timeout(self.fd(), wanted)?;
            self.receive_timeout = wanted;
        }
        Ok(())
    }
}

/// The receive timeout for so much time that is left: less than that where it may end late, and then for the rest anew.
fn receive_timeout(remaining: Duration) -> Duration {
    if remaining > EXACT_TIMEOUT { remaining - remaining / 8 } else { remaining }
}

/// Waits until a descriptor is ready, or the call must end.
pub(crate) fn wait_for(fd: RawFd, ready: Ready, lifeline: &Lifeline, control: &Control) -> io::Result<()> {
    let closing = (lifeline.as_raw_fd(), Ready::Read);
    let is_ready = match &control.cancel {
        Some(token) => {
            let [is_ready, _, _] =
                sys::wait([(fd, ready), closing, (token.as_raw_fd(), Ready::Read)], control.deadline)?;
            is_ready
        }
        None => {
            let [is_ready, _] = sys::wait([(fd, ready), closing], control.deadline)?;
            is_ready
        }
    };
    lifeline.check()?;
    // Also where it is ready: a peer that never pauses must not keep the call going.
    control.check()?;
    if is_ready { Ok(()) } else { Err(Stop::Deadline.into()) }
}

/// Waits until an event is signalled, unless the call must end.
pub(crate) fn wait_for_event(event: &EventFd, lifeline: &Lifeline, control: &Control) -> io::Result<()> {
    wait_for(event.as_raw_fd(), Ready::Read, lifeline, control)
}

/// Waits until a timer's moment has come, unless the call must end.
pub(crate) fn wait_for_timer(timer: &Timer, lifeline: &Lifeline, control: &Control) -> io::Result<()> {
    wait_for(timer.as_raw_fd(), Ready::Read, lifeline, control)
}

/// Lets time pass, unless the call must end.
pub(crate) fn pause(time: Duration, lifeline: &Lifeline, control: &Control) -> io::Result<()> {
    match wait_for(lifeline.as_raw_fd(), Ready::Read, lifeline, &control.at_most(time)) {
        Err(error) if Stop::of(&error) == Some(Stop::Deadline) => Ok(control.check()?),
        done => done,
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}

impl Socket {
    /// See [`sys::set_tcp_options`].
    pub(crate) fn set_tcp_options(&self) -> io::Result<()> {
        sys::set_tcp_options(self.fd())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn a_socket_that_does_not_wait_asks_once_for_what_is_there_and_again_for_what_comes_later() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = sys::KernelAddress::of_ip(&listener.local_addr().unwrap());
        let handle = Arc::new(Handle::new(sys::start_connecting(&address).unwrap()));
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_nodelay(true).unwrap();
        let lifeline = Arc::new(Lifeline::new().unwrap());
        let mut socket = Socket::new(handle, &lifeline, &Arc::default()).unwrap();
        socket.stop_waiting().unwrap();
        // What was sent is there once a byte of it is, and is not there at once.
        let fd = socket.fd();
        let arrives = || sys::wait([(fd, Ready::Read)], Deadline::NEVER).is_ok();
        let mut receive = |room: usize| {
            let mut buffer = vec![0; room];
            match socket.receive(&mut buffer, &Control::UNBOUNDED) {
                Ok(count) => Some(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => panic!("{error}"),
            }
        };
        peer.write_all(b"five!").unwrap();
        assert!(arrives());
        assert_eq!([receive(4), receive(4), receive(4)], [Some(4), Some(1), None]);
        peer.write_all(b"more").unwrap();
        assert!(arrives());
        assert_eq!([receive(4), receive(4)], [Some(4), None]);
        peer.write_all(b"end").unwrap();
        assert!(arrives());
        assert_eq!([receive(4), receive(4)], [Some(3), None]);
        drop(peer);
        assert!(arrives());
        assert_eq!(receive(4), Some(0));
    }

    #[test]
    fn a_receive_timeout_that_ends_an_eighth_late_is_hardly_ever_late_for_the_call() {
        let mut remaining = Duration::from_millis(1);
        while remaining < Duration::from_secs(3600) {
            // One that was set before and is still taken for the right one.
            let set = receive_timeout(remaining);
            let set = set + TIMEOUT_TOLERANCE.min(set / 8);
            let late = (set + set / 8).saturating_sub(remaining);
            assert!(late < Duration::from_millis(50), "{remaining:?}: {late:?}");
            remaining = remaining * 21 / 20;
        }
    }
}
