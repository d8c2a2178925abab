//! Bytes: connections within a deadline, and what ends a wait early.

mod connect;
mod connection;
mod control;
mod lifeline;
mod pool;
mod resolve;
mod socket;
mod sys;
mod tls;

pub use control::{CancelToken, Control};
pub use sys::EventFd;

pub(crate) use connect::{ConnectError, Connector, Target, without_zone};
pub(crate) use connection::Connection;
pub(crate) use control::Stop;
pub(crate) use lifeline::Lifeline;
pub(crate) use pool::Pool;
pub(crate) use resolve::{Resolver, is_failed_lookup};
pub(crate) use socket::{pause, wait_for_event, wait_for_timer};
pub(crate) use sys::{
    BootTime, Epoll, Generation, Timer, close_inherited_descriptors, compiled_for_avx2, lock_file, user_id,
};
pub(crate) use tls::Tls;

use crate::error::{Error, Result};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Locks, whatever became of the thread that held it last: no invariant of ours spans a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a descriptor that can't be had.
pub(crate) fn no_descriptor(source: io::Error) -> Error {
    Error::System { what: "an event descriptor", source: Arc::new(source) }
}

/// Whether something that a connection takes could not be had of this machine, which says nothing of the peer.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    sys::is_shortage(error) || resolve::lacked_a_thread(error)
}

/// Starts a thread of the library, with every signal blocked.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    spawn_io(name, run).map_err(|source| Error::System { what: "a thread", source: Arc::new(source) })
}

fn spawn_io(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    sys::with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(run))
}

/// Whether a descriptor is readable now.
#[cfg(all(test, not(loom)))]
pub(crate) fn is_readable(fd: std::os::fd::RawFd) -> bool {
    let now = crate::deadline::Deadline::after(std::time::Duration::ZERO);
    sys::wait([(fd, sys::Ready::Read)], now).is_ok_and(|[is_ready]| is_ready)
}

/// A random positive number, for IDs that nobody else picks.
pub(crate) fn random_id() -> Result<i64> {
    Ok(((random_bits()? >> 1) as i64).max(1))
}

/// Bits that nobody foresees.
pub(crate) fn random_bits() -> Result<u64> {
    sys::random().map_err(|source| Error::System { what: "random bits", source: Arc::new(source) })
}

/// A random number from 0 up to 1, for pauses that are not to coincide with others'.
pub(crate) fn jitter() -> f64 {
    sys::random().map_or(0.5, |bits| (bits >> 11) as f64 / (1_u64 << 53) as f64)
}

/// `ETCDGW_API_PATH`, where the environment may be trusted.
pub(crate) fn env_api_path() -> Option<String> {
    if sys::is_secure_execution() {
        return None;
    }
    std::env::var("ETCDGW_API_PATH").ok().filter(|path| !path.is_empty())
}
