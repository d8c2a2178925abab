//! etcd3gw's lock.

use super::boundary::{fallible, infallible};
use super::bytes::{borrow_text, c_string, etcdgw_bytes};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, not_negative_or, option_struct, wait_limit};
use super::output::Output;
use crate::concurrency::lock::{DEFAULT_TTL_S, Lock, LockOptions};
use std::ffi::{CString, c_char};

/// etcd3gw's lock, as one owner sees it, for programs that share locks with Python's. For any number of threads at the
/// same time. New programs are better served by `etcdgw_mutex`, which keeps itself and lets nobody overtake.
pub struct etcdgw_lock {
    _private: (),
}

/// What is behind an [`etcdgw_lock`].
pub(super) struct LockValue {
    pub lock: Lock,
    uuid: CString,
}

impl Handle for etcdgw_lock {
    type Value = LockValue;
    type Shell = Native<LockValue>;
}

/// Options of `etcdgw_lock_new`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_lock_options {
    /// `sizeof(etcdgw_lock_options)`.
    pub struct_size: usize,
    /// Unused here.
    pub timeout_ms: i64,
    /// Unused here.
    pub cancel: *mut etcdgw_cancel,
    /// Seconds that the lock is held without being refreshed; 0: 30.
    pub ttl: i64,
    /// Who the owner is, such as before a restart; NULL: a random UUID.
    pub uuid: *const c_char,
}
option_struct!(etcdgw_lock_options { struct_size, timeout_ms, cancel, ttl, uuid } first_release_ended_with uuid);

/// Makes a lock of this name: its key is `/locks/` and the name, its value the owner's UUID. Nothing is sent.
///
/// `options` may be NULL. `out`: receives the lock, owned by the caller: `etcdgw_lock_free`. It may outlive the client's
/// handle. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_new(
    client: *mut etcdgw_client,
    name: etcdgw_bytes,
    options: *const etcdgw_lock_options,
    out: *mut *mut etcdgw_lock,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let uuid = borrow_text(options.uuid, "options.uuid")?.map(str::to_owned);
            let ttl = not_negative_or(DEFAULT_TTL_S, options.ttl, "options.ttl")?;
            let lock = Lock::new(client, name.borrow("name")?, LockOptions { ttl, uuid })?;
            let uuid = c_string(lock.uuid());
            out.set(handle::new(LockValue { lock, uuid }));
            Ok(())
        })
    }
}

/// Takes a lock. It is not kept: the owner calls `etcdgw_lock_refresh`, in time.
///
/// `timeout_ms`: how long to wait until it is free; 0: not at all, less than 0: as long as it takes. `options`: bounds
/// each request to the server; its token ends the wait; may be NULL. `acquired`: receives 1 where this call has taken
/// the lock; 0 where somebody had it all the time, which is this owner, too, if it has it already: its hold is then as
/// it was. Any thread.
///
/// Not acquired in time is `ETCDGW_OK` with 0. Whoever doesn't get it leaves no lease behind, as far as the server can be
/// reached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_acquire(
    lock: *mut etcdgw_lock,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    acquired: *mut i32,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let acquired = Output::cleared(acquired).required("acquired")?;
            let value = handle::borrow(lock, "lock")?;
            let call = options::read(options)?.call()?;
            acquired.set(i32::from(value.lock.acquire(wait_limit(timeout_ms), &call)?));
            Ok(())
        })
    }
}

/// Gives a lock back, and revokes its lease.
///
/// `options` may be NULL. `released`: receives 1, or 0 where this owner didn't have it any more. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_release(
    lock: *mut etcdgw_lock,
    options: *const etcdgw_call_options,
    released: *mut i32,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let released = Output::cleared(released).required("released")?;
            let value = handle::borrow(lock, "lock")?;
            released.set(i32::from(value.lock.release(&options::read(options)?.call()?)?));
            Ok(())
        })
    }
}

/// Starts the time of the hold anew.
///
/// `options` may be NULL. `ttl_s`: receives the seconds that it now has. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` when the lock wasn't acquired with this handle, `ETCDGW_LEASE_EXPIRED` when the
/// hold has run out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_refresh(
    lock: *mut etcdgw_lock,
    options: *const etcdgw_call_options,
    ttl_s: *mut i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let ttl_s = Output::cleared(ttl_s).required("ttl_s")?;
            let value = handle::borrow(lock, "lock")?;
            ttl_s.set(value.lock.refresh(&options::read(options)?.call()?)?);
            Ok(())
        })
    }
}

/// Asks the server whether this owner has the lock.
///
/// `options` may be NULL. `acquired`: receives 1 or 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_is_acquired(
    lock: *mut etcdgw_lock,
    options: *const etcdgw_call_options,
    acquired: *mut i32,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let acquired = Output::cleared(acquired).required("acquired")?;
            let value = handle::borrow(lock, "lock")?;
            acquired.set(i32::from(value.lock.is_acquired(&options::read(options)?.call()?)?));
            Ok(())
        })
    }
}

/// Who the owner is. Never NULL; empty of NULL.
///
/// The string belongs to the lock. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_uuid(lock: *const etcdgw_lock) -> *const c_char {
    infallible(c"".as_ptr(), || {
        // SAFETY: NULL or a lock, says the header.
        unsafe { handle::peek(lock) }.map_or(c"".as_ptr(), |value| value.uuid.as_ptr())
    })
}

/// The lock's key, without the client's `key_prefix`; empty of NULL.
///
/// It belongs to the lock. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_key(lock: *const etcdgw_lock) -> etcdgw_bytes {
    infallible(etcdgw_bytes::EMPTY, || {
        // SAFETY: NULL or a lock, says the header.
        unsafe { handle::peek(lock) }.map_or(etcdgw_bytes::EMPTY, |value| etcdgw_bytes::lend(value.lock.key()))
    })
}

/// The revision that created the key, while the lock is held as far as this process knows: a number that no other owner
/// has and that grows from owner to owner, for fencing. 0: it wasn't acquired with this handle; 0 of NULL, too. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_revision(lock: *const etcdgw_lock) -> i64 {
    // SAFETY: NULL or a lock, says the header.
    infallible(0, || unsafe { handle::peek(lock) }.map_or(0, |value| value.lock.revision()))
}

/// Frees a lock and releases nothing; NULL is fine. What is held runs out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lock_free(lock: *mut etcdgw_lock) {
    // SAFETY: NULL or a lock that the caller owns, says the header.
    infallible((), || unsafe { handle::free(lock) });
}
