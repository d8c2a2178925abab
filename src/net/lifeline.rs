//! The end of a client, for everything that waits on its behalf.

use super::control::Stop;
use super::socket::Handle;
use super::{CancelToken, lock};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};

/// Says whether the client is closed, and wakes whoever waits on one of its sockets when it is.
#[derive(Debug)]
pub(crate) struct Lifeline {
    closed: CancelToken,
    sockets: Mutex<Sockets>,
}

#[derive(Debug, Default)]
struct Sockets {
    next: u64,
    open: HashMap<u64, Arc<Handle>>,
}

impl Lifeline {
    pub(crate) fn new() -> io::Result<Lifeline> {
        Ok(Lifeline { closed: CancelToken::new()?, sockets: Mutex::default() })
    }

    /// Whether the client is still open.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.closed.is_triggered() { Err(Stop::Closed) } else { Ok(()) }
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        self.closed.trigger();
        lock(&self.sockets).open.values().for_each(|handle| handle.shutdown());
    }

    /// Lets [`close`](Lifeline::close) shut a socket down, until the registration is dropped.
    pub(crate) fn register(self: &Arc<Lifeline>, handle: &Arc<Handle>) -> io::Result<Registration> {
        let mut sockets = lock(&self.sockets);
        // Under the lock: a close that comes later finds the socket.
        self.check()?;
        let id = sockets.next;
        sockets.next += 1;
        sockets.open.insert(id, handle.clone());
        Ok(Registration { lifeline: self.clone(), id })
    }
}

impl AsRawFd for Lifeline {
    fn as_raw_fd(&self) -> RawFd {
        self.closed.as_raw_fd()
    }
}

/// A socket that its client's end shuts down.
#[derive(Debug)]
pub(crate) struct Registration {
    lifeline: Arc<Lifeline>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.lifeline.sockets).open.remove(&self.id);
    }
}
