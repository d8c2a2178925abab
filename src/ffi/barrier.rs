//! Barriers.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use crate::concurrency::barrier::Barrier;

/// A barrier over a cluster: while somebody holds it, those who come wait. For any number of threads at the same time.
pub struct etcdgw_barrier {
    _private: (),
}

impl Handle for etcdgw_barrier {
    type Value = Barrier;
    type Shell = Native<Barrier>;
}

/// Makes a barrier of this name, which is its key, in the format of Go's `recipes.Barrier`. Nothing is sent.
///
/// It has no owner: whoever knows the name may hold it, release it and wait. `out`: receives the barrier, owned by the
/// caller: `etcdgw_barrier_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_barrier_new(
    client: *mut etcdgw_client,
    name: etcdgw_bytes,
    out: *mut *mut etcdgw_barrier,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            out.set(handle::new(Barrier::new(borrow(client)?, name.borrow("name")?)));
            Ok(())
        })
    }
}

/// Holds a barrier: from here on those who come wait, until it is released. It stays held when the program ends.
///
/// `options` may be NULL. `held`: receives 1 where this call holds it, 0 where it is held already. Any thread.
///
/// Where the answer is lost, it is looked up; an error that says so (`etcdgw_error_may_have_applied`) remains where that
/// is in vain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_barrier_hold(
    barrier: *mut etcdgw_barrier,
    options: *const etcdgw_call_options,
    held: *mut i32,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let held = Output::cleared(held).required("held")?;
            let barrier = handle::borrow(barrier, "barrier")?;
            held.set(i32::from(barrier.hold(&options::read(options)?.call()?)?));
            Ok(())
        })
    }
}

/// Releases a barrier, whoever holds it: all who wait go on. One that nobody holds stays so.
///
/// `options` may be NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_barrier_release(
    barrier: *mut etcdgw_barrier,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let barrier = handle::borrow(barrier, "barrier")?;
            barrier.release(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Waits until nobody holds the barrier; at once where nobody does.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. `options`: bounds each request to
/// the server; its token ends the wait; may be NULL. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when it was not released in time. A server that is away while the
/// call waits is waited for. Who waited goes on although it may be held again by then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_barrier_wait(
    barrier: *mut etcdgw_barrier,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let barrier = handle::borrow(barrier, "barrier")?;
            let is_free = barrier.wait(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if is_free { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Frees a barrier and releases nothing; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_barrier_free(barrier: *mut etcdgw_barrier) {
    // SAFETY: NULL or a barrier that the caller owns, says the header.
    infallible((), || unsafe { handle::free(barrier) });
}
