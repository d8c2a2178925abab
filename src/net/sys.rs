//! The operating system's calls that Rust's library doesn't offer: the only unsafe code outside `ffi`.
#![allow(unsafe_code)]

mod any_of;
mod avx2;
mod boot_time;
mod descriptor;
mod epoll;
mod forks;
mod generation;

pub(crate) use any_of::AnyOf;
pub(crate) use avx2::compiled_for_avx2;
pub(crate) use boot_time::{BootTime, Timer};
pub(crate) use descriptor::{Descriptor, close_inherited_descriptors};
pub(crate) use epoll::Epoll;
pub(crate) use generation::Generation;

use crate::deadline::Deadline;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// A descriptor that is readable once it has been signalled.
#[derive(Debug)]
pub struct EventFd(Descriptor);

impl EventFd {
    /// A new one, not signalled.
    pub fn new() -> io::Result<EventFd> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Descriptor::opened(fd).map(EventFd)
    }

    /// Makes it readable. Async-signal-safe.
    pub fn signal(&self) {
        let one = 1_u64;
        // SAFETY: writes eight bytes from a live integer. The only failure is a full counter, which is readable too.
        unsafe { libc::write(self.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: reads eight bytes into a live integer; the descriptor doesn't block.
        unsafe { libc::read(self.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn checked(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// What to wait for on a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    Read,
    Write,
}

/// Waits until one of the descriptors is ready or in error. Answers for each whether it is; all false: the deadline.
pub(crate) fn wait<const N: usize>(fds: [(RawFd, Ready); N], deadline: Deadline) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|(fd, ready)| libc::pollfd {
        fd,
        events: if ready == Ready::Read { libc::POLLIN } else { libc::POLLOUT },
        revents: 0,
    });
    loop {
        let timeout = deadline.remaining().map_or(-1, milliseconds_up);
        // SAFETY: the array is live and of the length given.
        let count = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout) };
        if count > 0 || (count == 0 && deadline.has_passed()) {
            return Ok(polled.map(|polled| polled.revents != 0));
        }
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Rounded up, so that a wait does not end a little before its deadline and spin.
fn milliseconds_up(duration: Duration) -> i32 {
    i32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// What an idle connection has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing: it can be used.
    Quiet,
    /// It has ended, or says what nobody asked for.
    Stale,
}

/// Looks at an idle connection without waiting and without taking anything from it.
pub(crate) fn peek(fd: RawFd) -> Idle {
    let mut byte = MaybeUninit::<u8>::uninit();
    // SAFETY: the buffer holds the one byte asked for.
    let result = unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    let waits = result < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
    if waits { Idle::Quiet } else { Idle::Stale }
}

/// Receives, for as long as the socket's receive timeout lets it.
pub(crate) fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is live and of the length given.
    checked(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// Receives behind what the vector holds: at most so much, and what it has room for.
pub(crate) fn receive_onto(fd: RawFd, out: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
    let room = out.spare_capacity_mut();
    let size = room.len().min(at_most);
    // SAFETY: the room is live and at least of the size given; the call writes to it and reads nothing.
    let count = checked(unsafe { libc::recv(fd, room.as_mut_ptr().cast(), size, 0) })?;
    // SAFETY: the call has written so many bytes to the room.
    unsafe { out.set_len(out.len() + count) };
    Ok(count)
}

/// Sends what fits without waiting; a peer that is gone is an error and no signal.
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the bytes are live and of the length given.
    checked(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Ends both directions: whoever waits on the socket wakes up.
pub(crate) fn shutdown(fd: RawFd) {
    // SAFETY: takes no pointers. A socket that isn't connected any more is what is wanted.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is live and of the size given; every caller passes the type that the option takes.
    let result = unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How long [`receive`] waits; `None`: for ever.
pub(crate) fn set_receive_timeout(fd: RawFd, timeout: Option<Duration>) -> io::Result<()> {
    // A zero would mean for ever.
    let timeout = timeout.map_or(Duration::ZERO, |timeout| timeout.max(Duration::from_millis(1)));
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(timeout.subsec_micros()),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &value)
}

/// Sends small requests at once, and notices in the end that an idle peer's host is gone.
pub(crate) fn set_tcp_options(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1_i32)?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1_i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, &15_i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, &5_i32)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, &3_i32)
}

/// Makes calls on the descriptor wait, or not.
pub(crate) fn set_blocking(fd: RawFd, blocking: bool) -> io::Result<()> {
    let mut nonblocking = libc::c_int::from(!blocking);
    // SAFETY: FIONBIO reads the integer given.
    let result = unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut nonblocking) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket address as the kernel takes it.
pub(crate) struct KernelAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl KernelAddress {
    pub(crate) fn of_ip(address: &SocketAddr) -> KernelAddress {
        match address {
            SocketAddr::V4(v4) => KernelAddress::new(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => KernelAddress::new(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    pub(crate) fn of_path(path: &Path) -> io::Result<KernelAddress> {
        let mut address =
            libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; UNIX_PATH_BYTES] };
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() >= UNIX_PATH_BYTES {
            let message = format!("the path is longer than {} bytes", UNIX_PATH_BYTES - 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        Ok(KernelAddress::new(address))
    }

    fn new<T: Copy>(address: T) -> KernelAddress {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: every bit pattern of the storage is valid, zero too.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        // SAFETY: the storage is aligned for every socket address and, as asserted, large enough for this one.
        unsafe { std::ptr::write((&raw mut storage).cast::<T>(), address) };
        KernelAddress { storage, length: size_of::<T>() as libc::socklen_t }
    }
}

const UNIX_PATH_BYTES: usize = 108;

/// A socket that doesn't block yet, on its way to an address.
pub(crate) fn start_connecting(address: &KernelAddress) -> io::Result<Descriptor> {
    let family = libc::c_int::from(address.storage.ss_family);
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
    let socket = Descriptor::opened(fd)?;
    // SAFETY: the address is live and of the length given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address.storage).cast(), address.length) };
    if result < 0 {
        let error = io::Error::last_os_error();
        let goes_on = matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR));
        if !goes_on {
            return Err(error);
        }
    }
    Ok(socket)
}

/// How connecting ended.
pub(crate) fn connect_result(fd: RawFd) -> io::Result<()> {
    let mut error = 0_i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: both places are live, and the option is an integer.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut size) };
    match (result, error) {
        (0, 0) => Ok(()),
        (0, error) => Err(io::Error::from_raw_os_error(error)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a connection's system call failed for want of something on this machine.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}

/// Runs `run` with every signal blocked, so that a thread started in it inherits that: the program's handlers are to
/// run on the program's threads.
pub(crate) fn with_signals_blocked<T>(run: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the first set is filled, the second is written by the call.
    let blocked = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) } == 0;
    let result = run();
    if blocked {
        // SAFETY: the call above has written the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    }
    result
}

/// Random bits of the kernel's; of no process before a fork.
pub(crate) fn random() -> io::Result<u64> {
    let mut bits = [0_u8; size_of::<u64>()];
    loop {
        // SAFETY: the buffer is live and of the length given. So few bytes come whole or not at all.
        let result = unsafe { libc::getrandom(bits.as_mut_ptr().cast(), bits.len(), 0) };
        match checked(result) {
            Ok(_) => return Ok(u64::from_ne_bytes(bits)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the process runs with more rights than its user has, who then must not steer it by the environment.
pub(crate) fn is_secure_execution() -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The user in whose name the process opens files.
pub(crate) fn user_id() -> u32 {
    // SAFETY: takes no pointers, and can't fail.
    unsafe { libc::geteuid() }
}

/// Locks a file as long as it is open, against whoever locks it in the same way. False: somebody else has.
pub(crate) fn lock_file(file: &impl AsRawFd) -> io::Result<bool> {
    loop {
        // SAFETY: takes no pointers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}
