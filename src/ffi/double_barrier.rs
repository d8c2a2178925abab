//! Double barriers on sessions.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use super::session::etcdgw_session;
use crate::concurrency::double_barrier::DoubleBarrier;

/// A double barrier over a cluster, as one participant sees it: so many begin together, and end together. Its functions
/// may be called from any thread at the same time, but one handle is one participant.
pub struct etcdgw_double_barrier {
    _private: (),
}

impl Handle for etcdgw_double_barrier {
    type Value = DoubleBarrier;
    type Shell = Native<DoubleBarrier>;
}

/// Makes a participant in the double barrier of this name, in the format of Go's `recipes.DoubleBarrier`. It stands on a
/// session: who is gone with it is not waited for. Nothing is sent.
///
/// `count`: how many the barrier is for, the same for all of them. `out`: receives the barrier, owned by the caller:
/// `etcdgw_double_barrier_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_double_barrier_new(
    session: *mut etcdgw_session,
    name: etcdgw_bytes,
    count: i64,
    out: *mut *mut etcdgw_double_barrier,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let session = handle::borrow(session, "session")?;
            out.set(handle::new(DoubleBarrier::new(session, name.borrow("name")?, count)?));
            Ok(())
        })
    }
}

/// Enters, waiting until as many are there as the barrier is for. Who is inside stays so.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. `options`: bounds each request to
/// the server; its token ends the wait; may be NULL. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when the others didn't come in time, and with an error when no
/// member said in time whether they did: they may have begun, counting on this one. `ETCDGW_FAILED_PRECONDITION` when as
/// many as it is for are inside, or have not all left yet, and while another thread is on its way in or out with this
/// handle, `ETCDGW_LEASE_EXPIRED` when the session is lost or closed. A server that is away while the call waits is
/// waited for. Whatever else than `ETCDGW_OK` comes back, this one isn't inside by this call, and no key is left behind:
/// it is deleted at once, or as soon as a member answers. Who was inside before is so still.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_double_barrier_enter(
    double_barrier: *mut etcdgw_double_barrier,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let barrier = handle::borrow(double_barrier, "double_barrier")?;
            let is_inside = barrier.enter(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if is_inside { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Leaves, waiting until all others have left or are gone. Else as `etcdgw_double_barrier_enter`.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when they didn't in time: call it again to go on leaving.
/// `ETCDGW_FAILED_PRECONDITION` when it was not entered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_double_barrier_leave(
    double_barrier: *mut etcdgw_double_barrier,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let barrier = handle::borrow(double_barrier, "double_barrier")?;
            let has_left = barrier.leave(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            if has_left { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Frees a double barrier and leaves nothing; NULL is fine. Who is inside stays so until the session ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_double_barrier_free(double_barrier: *mut etcdgw_double_barrier) {
    // SAFETY: NULL or a double barrier that the caller owns, says the header.
    infallible((), || unsafe { handle::free(double_barrier) });
}
