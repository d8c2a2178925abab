//! Readiness of many descriptors at once.

use super::{Descriptor, milliseconds_up};
use crate::deadline::Deadline;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Descriptors that are waited for together. None of them may be closed before it is removed: a child of `fork` may
/// have it open as well, and the kernel would go on to report it.
#[derive(Debug)]
pub(crate) struct Epoll(Descriptor);

/// What to hear of a descriptor: that it can be read, always, and that it can be written, if that is wanted.
fn interest(token: u64, wants_write: bool) -> libc::epoll_event {
    let write = if wants_write { libc::EPOLLOUT } else { 0 };
    libc::epoll_event { events: (libc::EPOLLIN | write) as u32, u64: token }
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Descriptor::opened(fd).map(Epoll)
    }

    /// One that can't be waited for.
    #[cfg(all(test, not(loom)))]
    #[allow(clippy::expect_used)]
    pub(crate) fn broken() -> Epoll {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        Epoll(Descriptor::opened(fd).expect("a descriptor"))
    }

    /// Reports the descriptor under this token from now on, level-triggered.
    pub(crate) fn add(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest(token, false))
    }

    /// Whether to report that it can be written, too.
    pub(crate) fn set_wants_write(&self, fd: RawFd, token: u64, wants_write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest(token, wants_write))
    }

    /// Reports it no more.
    pub(crate) fn remove(&self, fd: RawFd) {
        // Nothing is to be done about a descriptor that isn't there.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, interest(0, false));
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, mut event: libc::epoll_event) -> io::Result<()> {
        // SAFETY: the event is live.
        let result = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until some are ready or in error, and gives their tokens; none: the deadline.
    pub(crate) fn wait(&self, deadline: Deadline, ready: &mut Vec<u64>) -> io::Result<()> {
        const AT_ONCE: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        ready.clear();
        let timeout = deadline.remaining().map_or(-1, milliseconds_up);
        // SAFETY: the array is live and of the length given.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), AT_ONCE as libc::c_int, timeout) };
        if count < 0 {
            let error = io::Error::last_os_error();
            // The caller looks at its deadlines and comes back.
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(events.iter().take(usize::try_from(count).unwrap_or(0)).map(|event| event.u64));
        Ok(())
    }
}
