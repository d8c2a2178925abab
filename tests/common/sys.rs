//! Some things about sockets that the standard library doesn't offer.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Lets the stream end with a reset and not with an orderly end.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value is live and of the size given.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(result, 0);
}

/// Makes the queue of connections that wait to be accepted as short as can be.
pub fn shorten_queue(listener: &TcpListener) {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(result, 0);
}

/// Lets the socket take no more connections, and ends an `accept` that waits on another thread.
pub fn stop_listening(listener: &TcpListener) {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(result, 0);
}
