//! Locks and waiting, for what hands things from one thread to another. A model checker stands in for the system's
//! locks where the crate is built with `--cfg loom`.

#[cfg(not(loom))]
pub(crate) use crate::net::lock;
#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic::AtomicUsize};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic::AtomicUsize};

use crate::deadline::Deadline;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// As [`net::lock`](crate::net::lock).
#[cfg(loom)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that wait for a change of what one lock protects. To tell them costs no system call while there is none,
/// which a condition variable alone always makes.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    changed: Condvar,
    /// Read and written under the lock alone.
    count: AtomicUsize,
}

impl Waiters {
    /// Waits for a change, or until the deadline; may return without either.
    pub(crate) fn wait<'a, T>(&self, state: MutexGuard<'a, T>, deadline: Deadline) -> MutexGuard<'a, T> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let state = match deadline.remaining() {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(left) => {
                let waited = self.changed.wait_timeout(state, left);
                waited.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
            }
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Releases the lock, and lets all who wait look again.
    pub(crate) fn wake_all<T>(&self, state: MutexGuard<'_, T>) {
        let is_awaited = self.count.load(Ordering::Relaxed) > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// Releases the lock, and lets one who waits look again.
    pub(crate) fn wake_one<T>(&self, state: MutexGuard<'_, T>) {
        let is_awaited = self.count.load(Ordering::Relaxed) > 0;
        drop(state);
        if is_awaited {
            self.changed.notify_one();
        }
    }
}
