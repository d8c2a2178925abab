//! What the tests need of sockets that the standard library doesn't offer.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Lets the stream end with a reset and not with an orderly end.
pub fn reset_on_close(stream: &TcpStream) {
    set_option(stream, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Lets the kernel buffer as little as can be of what comes over the listener's connections.
pub fn shrink_receive_buffer(listener: &TcpListener) {
    set_option(listener, libc::SO_RCVBUF, &1_i32);
}

fn set_option<T>(socket: &impl AsRawFd, name: i32, value: &T) {
    let size = size_of::<T>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: the value is live and of the size given; both callers pass the type that the option takes.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, std::ptr::from_ref(value).cast(), size) };
    assert_eq!(result, 0);
}

/// Makes the queue of connections that wait to be accepted as short as can be.
pub fn shorten_queue(listener: &TcpListener) {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(result, 0);
}

/// Lets the socket take no more connections, and ends an `accept` that waits on another thread.
pub fn stop_listening(listener: &impl AsRawFd) {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(result, 0);
}

/// The resident set of a process (`VmRSS`).
pub fn resident_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
