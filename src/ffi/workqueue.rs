//! Work queues on sessions.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::kv_response::{etcdgw_get_response, new_get};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use super::session::etcdgw_session;
use crate::concurrency::workqueue::WorkQueue;

/// A work queue over a cluster: many put items in, many take them out, and each item is taken once. For any number of
/// threads at the same time.
pub struct etcdgw_workqueue {
    _private: (),
}

impl Handle for etcdgw_workqueue {
    type Value = WorkQueue;
    type Shell = Native<WorkQueue>;
}

/// Makes a work queue of this name, in the format of Go's `recipes.Queue`: an item is the key `name`, a slash and a time.
/// Nothing is sent.
///
/// It stands on a session, with which go the keys below `__name/` in which it notes what it has done: they tell what
/// became of a request whose answer was lost. The items don't go. With users, both ranges of keys must be permitted.
/// `out`: receives the queue, owned by the caller: `etcdgw_workqueue_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_workqueue_new(
    session: *mut etcdgw_session,
    name: etcdgw_bytes,
    out: *mut *mut etcdgw_workqueue,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let session = handle::borrow(session, "session")?;
            out.set(handle::new(WorkQueue::new(session, name.borrow("name")?)));
            Ok(())
        })
    }
}

/// Puts an item in, once, over lost answers too. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_LEASE_EXPIRED` when the session is lost or closed. After an error the item is not in, unless
/// `etcdgw_error_may_have_applied` says that nobody could tell within the call's time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_workqueue_enqueue(
    workqueue: *mut etcdgw_workqueue,
    value: etcdgw_bytes,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let workqueue = handle::borrow(workqueue, "workqueue")?;
            workqueue.enqueue(value.borrow("value")?, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Takes the oldest item out, waiting for one. Nobody else gets it: a program that ends before it has done the work takes
/// the item with it.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. `options`: bounds each request to
/// the server; its token ends the wait; may be NULL. `response`: receives the item's key and value, owned by the caller:
/// `etcdgw_get_response_free`; NULL throws it away. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when there was none in time, `ETCDGW_LEASE_EXPIRED` when the
/// session is lost or closed. A server that is away while the call waits is waited for. Where
/// `etcdgw_error_may_have_applied` says that nobody could tell whether an item was taken, the next call with this handle
/// finds out first, and gives that item if it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_workqueue_dequeue(
    workqueue: *mut etcdgw_workqueue,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let workqueue = handle::borrow(workqueue, "workqueue")?;
            let item = workqueue.dequeue(wait_limit(timeout_ms), &options::read(options)?.call()?)?;
            let item = item.ok_or(Failure::Expired)?;
            response.set_with(|| new_get(item));
            Ok(())
        })
    }
}

/// Frees a work queue; NULL is fine. Its items stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_workqueue_free(workqueue: *mut etcdgw_workqueue) {
    // SAFETY: NULL or a work queue that the caller owns, says the header.
    infallible((), || unsafe { handle::free(workqueue) });
}
