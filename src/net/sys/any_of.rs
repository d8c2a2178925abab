//! Several descriptors as one.

use super::Descriptor;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// A descriptor that is readable while one of several is. These must stay open as long as it does.
#[derive(Debug)]
pub(crate) struct AnyOf(Descriptor);

impl AnyOf {
    /// Of these.
    pub(crate) fn new(fds: &[RawFd]) -> io::Result<AnyOf> {
        // SAFETY: takes no pointers.
        let any = AnyOf(Descriptor::opened(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?);
        for fd in fds {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            // SAFETY: reads a live structure.
            let result = unsafe { libc::epoll_ctl(any.as_raw_fd(), libc::EPOLL_CTL_ADD, *fd, &raw mut event) };
            if result < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(any)
    }
}

impl AsRawFd for AnyOf {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
