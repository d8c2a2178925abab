//! Read-write locks on sessions.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use super::session::etcdgw_session;
use crate::concurrency::rwlock::RwLock;

/// A lock over a cluster for many readers or one writer, as one owner sees it. Its functions may be called from any
/// thread at the same time, but one handle is one owner, and locked for reading or for writing.
pub struct etcdgw_rwlock {
    _private: (),
}

impl Handle for etcdgw_rwlock {
    type Value = RwLock;
    type Shell = Native<RwLock>;
}

/// Makes a read-write lock of this name, which stands on a session, in the format of Go's `recipes.RWMutex`. Nothing is
/// sent.
///
/// Other than with mutexes each handle is an owner of its own. `out`: receives the lock, owned by the caller:
/// `etcdgw_rwlock_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_new(
    session: *mut etcdgw_session,
    name: etcdgw_bytes,
    out: *mut *mut etcdgw_rwlock,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let session = handle::borrow(session, "session")?;
            out.set(handle::new(RwLock::new(session, name.borrow("name")?)?));
            Ok(())
        })
    }
}

/// Locks for reading, waiting for the writers that came before.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` also where it is locked for writing. Else as `etcdgw_mutex_lock`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_read(
    rwlock: *mut etcdgw_rwlock,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let rwlock = handle::borrow(rwlock, "rwlock")?;
            let is_locked = rwlock.read(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if is_locked { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Locks for writing, waiting for all readers and writers that came before.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` also where it is locked for reading. Else as `etcdgw_mutex_lock`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_write(
    rwlock: *mut etcdgw_rwlock,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let rwlock = handle::borrow(rwlock, "rwlock")?;
            let is_locked = rwlock.write(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if is_locked { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Unlocks, however it is locked. `options` may be NULL. Any thread. Else as `etcdgw_mutex_unlock`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_unlock(
    rwlock: *mut etcdgw_rwlock,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let rwlock = handle::borrow(rwlock, "rwlock")?;
            rwlock.unlock(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// The key by which it is locked, without the client's `key_prefix`, and while it isn't the one for writing; empty of
/// NULL.
///
/// It belongs to the lock. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_key(rwlock: *const etcdgw_rwlock) -> etcdgw_bytes {
    infallible(etcdgw_bytes::EMPTY, || {
        // SAFETY: NULL or a lock, says the header.
        unsafe { handle::peek(rwlock) }.map_or(etcdgw_bytes::EMPTY, |rwlock| etcdgw_bytes::lend(rwlock.key()))
    })
}

/// The revision that created that key, while it is locked: for fencing, with `etcdgw_txn_if_create_revision`. 0: it isn't
/// locked; 0 of NULL, too. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_revision(rwlock: *const etcdgw_rwlock) -> i64 {
    // SAFETY: NULL or a lock, says the header.
    infallible(0, || unsafe { handle::peek(rwlock) }.map_or(0, RwLock::revision))
}

/// Frees a lock and unlocks nothing; NULL is fine. What is locked stays so until the session ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_rwlock_free(rwlock: *mut etcdgw_rwlock) {
    // SAFETY: NULL or a lock that the caller owns, says the header.
    infallible((), || unsafe { handle::free(rwlock) });
}
