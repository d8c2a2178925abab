//! Mutexes on sessions.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use super::session::etcdgw_session;
use crate::concurrency::mutex::Mutex;

/// A mutex over a cluster, as one owner sees it. Its functions may be called from any thread at the same time, but one
/// handle is one owner: it keeps others out, and not two threads that share it.
pub struct etcdgw_mutex {
    _private: (),
}

impl Handle for etcdgw_mutex {
    type Value = Mutex;
    type Shell = Native<Mutex>;
}

/// Makes a mutex of this name, which stands on a session: the owner's key is `name`, a slash and the session's lease in
/// hexadecimal, as in Go's `concurrency.Mutex`. Go programs and `etcdctl lock` take turns with it. Nothing is sent.
///
/// All of one session and name are one owner. `out`: receives the mutex, owned by the caller: `etcdgw_mutex_free`. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_new(
    session: *mut etcdgw_session,
    name: etcdgw_bytes,
    out: *mut *mut etcdgw_mutex,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let session = handle::borrow(session, "session")?;
            out.set(handle::new(Mutex::new(session, name.borrow("name")?)));
            Ok(())
        })
    }
}

/// Locks a mutex, waiting for those who came before. One that this owner has locked stays so.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. `options`: bounds each request to
/// the server; its token ends the wait; may be NULL. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when it wasn't free in time, `ETCDGW_LEASE_EXPIRED` when the
/// session is lost or closed, `ETCDGW_FAILED_PRECONDITION` while another thread is on its way in or out with this
/// handle. A server that is away while the call waits is waited for. Whatever else than `ETCDGW_OK` comes back, the
/// mutex isn't locked by this call, and no key is left behind: it is deleted at once, or as soon as a member answers.
/// One that this owner had locked before is so still.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_lock(
    mutex: *mut etcdgw_mutex,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let mutex = handle::borrow(mutex, "mutex")?;
            let is_locked = mutex.lock(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if is_locked { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Locks a mutex unless somebody else has it.
///
/// `options` may be NULL. `locked`: receives 1 where it is locked now, 0 where somebody else has it. Any thread. Else as
/// `etcdgw_mutex_lock`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_try_lock(
    mutex: *mut etcdgw_mutex,
    options: *const etcdgw_call_options,
    locked: *mut i32,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let locked = Output::cleared(locked).required("locked")?;
            let mutex = handle::borrow(mutex, "mutex")?;
            locked.set(i32::from(mutex.try_lock(&options::read(options)?.call()?)?));
            Ok(())
        })
    }
}

/// Unlocks a mutex. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` when it isn't locked, `ETCDGW_LEASE_EXPIRED` when it had been lost before, with
/// the session, or with its key, which somebody else has deleted, or this owner by another handle: others may have had it
/// meanwhile. After another error it may still be locked, and can be unlocked again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_unlock(
    mutex: *mut etcdgw_mutex,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let mutex = handle::borrow(mutex, "mutex")?;
            mutex.unlock(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// The owner's key, whether or not it has the mutex, without the client's `key_prefix`; empty of NULL.
///
/// It belongs to the mutex. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_key(mutex: *const etcdgw_mutex) -> etcdgw_bytes {
    infallible(etcdgw_bytes::EMPTY, || {
        // SAFETY: NULL or a mutex, says the header.
        unsafe { handle::peek(mutex) }.map_or(etcdgw_bytes::EMPTY, |mutex| etcdgw_bytes::lend(mutex.key()))
    })
}

/// The revision that created the owner's key, while the mutex is locked: a number that no other owner has and that
/// grows from owner to owner, for fencing. 0: it isn't locked, or its session is lost or closed; 0 of NULL, too. Any
/// thread.
///
/// It says what this process knows; `etcdgw_txn_if_owner` asks the server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_revision(mutex: *const etcdgw_mutex) -> i64 {
    // SAFETY: NULL or a mutex, says the header.
    infallible(0, || unsafe { handle::peek(mutex) }.map_or(0, Mutex::revision))
}

/// Frees a mutex and unlocks nothing; NULL is fine. What is locked stays so until the session ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mutex_free(mutex: *mut etcdgw_mutex) {
    // SAFETY: NULL or a mutex that the caller owns, says the header.
    infallible((), || unsafe { handle::free(mutex) });
}
