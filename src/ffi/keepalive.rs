//! Keep-alives of leases.

use super::boundary::{fallible, infallible};
use super::callback::{Callback, Calling, Calls, UserData};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{ErrorValue, etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, option_struct};
use super::output::Output;
use super::queue::{self, etcdgw_queue};
use super::response::Kept;
use crate::concurrency::Consumer;
use crate::concurrency::keepalive::{KeepAlive, KeepAliveEvent};
use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

/// A lease that is kept alive, for any number of threads at the same time.
pub struct etcdgw_keepalive {
    _private: (),
}

impl Handle for etcdgw_keepalive {
    type Value = Calling<KeepAlive>;
    type Shell = Native<Calling<KeepAlive>>;
}

/// What became of a lease that is kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_keepalive_event {
    /// The lease's ID.
    pub lease: i64,
    /// Seconds that it has from this renewal on; 0 where it is lost.
    pub ttl_s: i64,
    /// NULL: it was renewed. Else why it is lost, and this is the last event: `ETCDGW_LEASE_EXPIRED` when it is gone or
    /// may be, `ETCDGW_CLOSED` when the client was closed, which leaves the lease to its time. It belongs to the event.
    pub lost: *const etcdgw_error,
}

/// Takes an event of a lease, which is valid during the call only; `user_data` is what was given with the callback.
///
/// Called as watches' callbacks are: on the client's thread for callbacks, never under a lock, any function allowed. Of
/// renewals that a slow callback has missed only the latest is told.
pub type etcdgw_keepalive_callback =
    Option<unsafe extern "C" fn(event: *const etcdgw_keepalive_event, user_data: *mut c_void)>;

/// What calls a callback, if there is one.
///
/// # Safety
/// The callback may be called with the user data until that is dropped.
pub(super) unsafe fn consumer(
    callback: etcdgw_keepalive_callback,
    user_data: UserData,
    calls: &Calls,
) -> Option<Consumer<KeepAliveEvent>> {
    // SAFETY: the caller's promise.
    let callback = unsafe { Callback::new(callback?, user_data, calls) };
    Some(Box::new(move |event| {
        let mut kept = Kept::default();
        let event = keep(event, &mut kept);
        // SAFETY: what it is given lives until it returns.
        unsafe { callback.call(event) }
    }))
}

/// The event as a part of something else.
pub(super) fn keep(event: KeepAliveEvent, kept: &mut Kept) -> *const etcdgw_keepalive_event {
    let lost = event.lost.map_or(ptr::null(), |error| kept.keep(ErrorValue::new(error)).cast());
    kept.keep(etcdgw_keepalive_event { lease: event.lease, ttl_s: event.ttl, lost })
}

/// Milliseconds, rounded down: what is left is certain.
pub(super) fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Options of `etcdgw_keepalive_start`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_keepalive_options {
    /// `sizeof(etcdgw_keepalive_options)`.
    pub struct_size: usize,
    /// Bounds the first renewal; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the first renewal when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// Where the events go in place of a callback, which must be NULL then; NULL: to the callback. The lease is kept
    /// also when the queue is freed.
    pub queue: *mut etcdgw_queue,
}
option_struct!(etcdgw_keepalive_options { struct_size, timeout_ms, cancel, queue } first_release_ended_with queue);

/// Keeps a lease alive: renews it now, and from then on whenever a third of the time granted has passed, over lost
/// connections and on other members, until it is freed.
///
/// `options` may be NULL. `callback`: told of every later renewal and of the loss; NULL: `options.queue` is, or without one
/// nobody, and `user_data_free` runs at once. `user_data`: given to the callback, or in each event of the queue.
/// `user_data_free`: runs once with `user_data` after the last call, and also when this function fails; NULL: nothing to
/// do. `out`: receives the keep-alive before the first call or event, owned by the caller: `etcdgw_keepalive_free`. Any
/// thread.
///
/// In a queue only the latest renewal waits to be taken, and the loss behind it. `user_data_free` runs there when no event
/// is left and none can come: once the keep-alive or the queue has been freed, or the loss has been taken, and every event
/// that was taken has been freed; on the thread that does the last of these.
///
/// A loss is told once, when the server says that the lease is gone, or when the time of the last renewal is over,
/// counted from before it was sent: not after the server lets it expire, as long as the process runs.
///
/// Returns `ETCDGW_LEASE_EXPIRED` when the lease is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_keepalive_start(
    client: *mut etcdgw_client,
    id: i64,
    options: *const etcdgw_keepalive_options,
    callback: etcdgw_keepalive_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_keepalive,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        let user_data = UserData::new(user_data, user_data_free);
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let queue = queue::given(options.queue, callback.is_some())?;
            let call = options.call()?;
            let calls = Calls::default();
            let keepalive = match queue {
                Some(queue) => client.keep_alive_into(id, queue, Box::new(user_data), &call)?,
                None => client.keep_alive(id, consumer(callback, user_data, &calls), &call)?,
            };
            let start = keepalive.start();
            out.set(handle::new(calls.end_with(keepalive)));
            // The handle may be freed by the callback: from here on it is not touched.
            start.allow();
            Ok(())
        })
    }
}

/// 1: the lease is lost: gone at the server, or not renewed for so long that it may be. Also in a child of fork, which
/// doesn't keep it. 0 else, and of NULL.
///
/// Right at any moment, whether or not the callback has been called. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_keepalive_is_lost(keepalive: *const etcdgw_keepalive) -> i32 {
    let lost =
        |keepalive: Option<&Calling<KeepAlive>>| i32::from(keepalive.is_some_and(|keepalive| keepalive.is_lost()));
    // SAFETY: NULL or a keep-alive, says the header.
    infallible(0, || unsafe { handle::borrow_optional(keepalive, "keepalive") }.map_or(1, lost))
}

/// How many milliseconds the lease certainly lives on, even if it is never renewed again; 0 once it is lost, and of NULL.
///
/// The time in which the machine is suspended counts. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_keepalive_remaining_ms(keepalive: *const etcdgw_keepalive) -> i64 {
    // SAFETY: NULL or a keep-alive, says the header.
    infallible(0, || unsafe { handle::peek(keepalive) }.map_or(0, |keepalive| milliseconds(keepalive.remaining())))
}

/// Keeps a lease no longer, and frees the keep-alive; NULL is fine. The lease stays for as long as it has:
/// `etcdgw_lease_revoke` ends it. Inside the callback too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_keepalive_free(keepalive: *mut etcdgw_keepalive) {
    // SAFETY: NULL or a keep-alive that the caller owns, says the header.
    infallible((), || unsafe { handle::free(keepalive) });
}
