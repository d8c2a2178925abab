//! Sessions.

use super::boundary::{fallible, infallible};
use super::callback::{Calling, Calls, UserData};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::keepalive::{consumer, etcdgw_keepalive_callback, milliseconds};
use super::options::{self, OptionStruct, etcdgw_call_options, not_negative_or, option_struct};
use super::output::Output;
use super::queue::{self, etcdgw_queue};
use crate::concurrency::session::{DEFAULT_TTL_S, Session, SessionOptions};
use std::ffi::c_void;

/// A session: a lease that is kept alive, on which mutexes and elections stand. For any number of threads at the same
/// time.
pub struct etcdgw_session {
    _private: (),
}

impl Handle for etcdgw_session {
    type Value = Calling<Session>;
    type Shell = Native<Calling<Session>>;
}

/// Options of `etcdgw_session_new`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_session_options {
    /// `sizeof(etcdgw_session_options)`.
    pub struct_size: usize,
    /// Bounds the start of the session; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call that starts the session when triggered, not the session; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// Seconds that the lease lives on when the session no longer renews it; 0: 60. Of a lease that is adopted its own
    /// time counts.
    pub ttl: i64,
    /// A lease to adopt, such as that of a process that crashed; 0: a new one.
    pub lease: i64,
    /// Where the loss goes, as `keepalive` of an event, in place of a callback, which must be NULL then; NULL: to the
    /// callback. The session goes on also when the queue is freed.
    pub queue: *mut etcdgw_queue,
}
option_struct!(etcdgw_session_options {
    struct_size, timeout_ms, cancel, ttl, lease, queue
} first_release_ended_with queue);

/// Begins a session: takes a lease and keeps it alive until the session ends.
///
/// `options` may be NULL. `callback`: called once when the lease is lost, and with it all that stands on the session,
/// with `lost` set; not when the session is closed, orphaned or freed. NULL: `options.queue` is told, or without one
/// nobody, and `user_data_free` runs at once. `user_data`: given to the callback, or in the event of the queue.
/// `user_data_free`: runs once with `user_data` after the last call, and also when this function fails; NULL: nothing to
/// do. `out`: receives the session before the first call or event, owned by the caller: `etcdgw_session_free`. Any thread.
///
/// With a queue `user_data_free` runs when no event is left and none can come: once the session has been closed, orphaned
/// or freed, or its queue has been freed, or the event that was taken has been freed; on the thread that does this.
///
/// A lease that can't be renewed counts as lost when its time is over, one that somebody else has revoked at the next
/// renewal, which is within a third of the time granted. etcd renews no lease with a key that its user may not write, 3.4
/// excepted: a role that is revoked ends the sessions that stood on it.
///
/// Returns `ETCDGW_LEASE_EXPIRED` when the lease to adopt is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_new(
    client: *mut etcdgw_client,
    options: *const etcdgw_session_options,
    callback: etcdgw_keepalive_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_session,
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
            let ttl = not_negative_or(DEFAULT_TTL_S, options.ttl, "options.ttl")?;
            let wanted = SessionOptions { ttl, lease: options.lease, call: options.call()? };
            let calls = Calls::default();
            let session = match queue {
                Some(queue) => client.session_into(&wanted, queue, Box::new(user_data))?,
                None => client.session(&wanted, consumer(callback, user_data, &calls))?,
            };
            let start = session.start();
            out.set(handle::new(calls.end_with(session)));
            // The handle may be freed by the callback: from here on it is not touched.
            start.allow();
            Ok(())
        })
    }
}

/// The ID of the session's lease, for keys that are to go with the session; 0 of NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_lease(session: *const etcdgw_session) -> i64 {
    // SAFETY: NULL or a session, says the header.
    infallible(0, || unsafe { handle::peek(session) }.map_or(0, |session| session.lease()))
}

/// 1: the lease is lost or the session closed: nothing that stood on it is to be relied on. Also in a child
/// of fork, which has no part in it. 0 else, and of NULL.
///
/// Right at any moment, whether or not the callback has been called. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_is_lost(session: *const etcdgw_session) -> i32 {
    let lost = |session: Option<&Calling<Session>>| i32::from(session.is_some_and(|session| session.is_lost()));
    // SAFETY: NULL or a session, says the header.
    infallible(0, || unsafe { handle::borrow_optional(session, "session") }.map_or(1, lost))
}

/// How many milliseconds the lease certainly lives on, even if it is never renewed again; 0 once it is lost, and of NULL.
///
/// The time in which the machine is suspended counts. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_remaining_ms(session: *const etcdgw_session) -> i64 {
    // SAFETY: NULL or a session, says the header.
    infallible(0, || unsafe { handle::peek(session) }.map_or(0, |session| milliseconds(session.remaining())))
}

/// Keeps the session's lease no longer, and leaves it, with all that stands on it, to its time or to a session that
/// adopts it. Nothing is told of it any more, and freeing the session revokes nothing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_orphan(
    session: *mut etcdgw_session,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let session = handle::borrow(session, "session")?;
            session.end_calls();
            session.orphan();
            Ok(())
        })
    }
}

/// Ends the session: revokes its lease, and with that goes all that stood on it. Calls that wait on it end with
/// `ETCDGW_LEASE_EXPIRED`. A session whose lease is gone already ends as well, and a second time does nothing.
///
/// `options` may be NULL. Any thread. After an error the lease is no longer kept, and another call tries again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_close(
    session: *mut etcdgw_session,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let session = handle::borrow(session, "session")?;
            let call = options::read(options)?.call()?;
            session.end_calls();
            session.close(&call)?;
            Ok(())
        })
    }
}

/// Ends a session as `etcdgw_session_close` does, as far as that is done within 2 s, and frees it; NULL is fine. One that
/// was orphaned is only freed. Inside the callback too.
///
/// What stands on the session may be freed before or after it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_session_free(session: *mut etcdgw_session) {
    // SAFETY: NULL or a session that the caller owns, says the header.
    infallible((), || unsafe { handle::free(session) });
}
