//! Elections on sessions.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::callback::{Callback, Calling, Calls, UserData};
use super::constants::etcdgw_status;
use super::error::{ErrorValue, etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, option_struct, wait_limit};
use super::output::Output;
use super::queue::{self, etcdgw_queue};
use super::response::{self, Kept, etcdgw_header, etcdgw_kv};
use super::session::etcdgw_session;
use crate::concurrency::Consumer;
use crate::concurrency::election::{Election, Observation, Observer};
use crate::error::Result;
use crate::rpc::Header;
use crate::rpc::kv::KeyValue;
use std::ffi::c_void;
use std::ptr;

/// An election, as one candidate sees it. Its functions may be called from any thread at the same time.
pub struct etcdgw_election {
    _private: (),
}

impl Handle for etcdgw_election {
    type Value = Election;
    type Shell = Native<Election>;
}

/// Makes a candidate in the election of this name, which stands on a session: the candidate's key is `name`, a slash and
/// the session's lease in hexadecimal, as in Go's `concurrency.Election`. Go programs and `etcdctl elect` take part in
/// it. Nothing is sent; whoever only looks on needs one, too.
///
/// `out`: receives the candidate, owned by the caller: `etcdgw_election_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_new(
    session: *mut etcdgw_session,
    name: etcdgw_bytes,
    out: *mut *mut etcdgw_election,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let session = handle::borrow(session, "session")?;
            out.set(handle::new(Election::new(session, name.borrow("name")?)));
            Ok(())
        })
    }
}

/// Stands for leader, and waits to be it, behind those who came before. A candidate that leads already, in this process
/// or in an earlier one with the same lease, goes on with the new value.
///
/// `value`: what others see of the leader. `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it
/// takes. `options`: bounds each request to the server; its token ends the wait; may be NULL. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when it doesn't lead in time, `ETCDGW_LEASE_EXPIRED` when the
/// session is lost or closed, `ETCDGW_FAILED_PRECONDITION` while another thread is on its way in or out with this
/// handle. Whatever else than `ETCDGW_OK` comes back, the candidacy is withdrawn, now or as soon as a member answers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_campaign(
    election: *mut etcdgw_election,
    value: etcdgw_bytes,
    timeout_ms: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let election = handle::borrow(election, "election")?;
            let (value, call) = (value.borrow("value")?, options::read(options)?.call()?);
            if election.campaign(value, wait_limit(timeout_ms), &call)? { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Changes the value of a leader without another election. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` when the candidate doesn't lead any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_proclaim(
    election: *mut etcdgw_election,
    value: etcdgw_bytes,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let election = handle::borrow(election, "election")?;
            election.proclaim(value.borrow("value")?, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Gives leadership up; of a candidate that has none there is nothing to give. `options` may be NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_resign(
    election: *mut etcdgw_election,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let election = handle::borrow(election, "election")?;
            election.resign(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Who leads.
#[repr(C)]
pub struct etcdgw_leader_response {
    /// The header.
    pub header: etcdgw_header,
    /// The leader's key and value; NULL: there is no leader.
    pub leader: *const etcdgw_kv,
}

fn new_leader(arena: Vec<u8>, header: Header, leader: Option<KeyValue>) -> *mut etcdgw_leader_response {
    let mut kept = Kept::new(arena);
    let leader = kept.prev_kv(leader);
    response::new(etcdgw_leader_response { header: header.into(), leader }, kept)
}

/// Asks who leads, whoever that is.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_leader_response_free`; NULL when
/// it isn't wanted. Any thread.
///
/// That nobody leads is `ETCDGW_OK` with `leader` NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_leader(
    election: *mut etcdgw_election,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_leader_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let election = handle::borrow(election, "election")?;
            let (arena, range) = election.leader(&options::read(options)?.call()?)?.into_parts();
            response.set_with(|| new_leader(arena, range.header, range.kvs.first().copied()));
            Ok(())
        })
    }
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_leader_response_free(response: *mut etcdgw_leader_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// The candidate's key, whether or not it leads, without the client's `key_prefix`; empty of NULL.
///
/// It belongs to the candidate. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_key(election: *const etcdgw_election) -> etcdgw_bytes {
    infallible(etcdgw_bytes::EMPTY, || {
        // SAFETY: NULL or a candidate, says the header.
        unsafe { handle::peek(election) }.map_or(etcdgw_bytes::EMPTY, |election| etcdgw_bytes::lend(election.key()))
    })
}

/// The revision that created the candidate's key, while it leads: a number that no other leader has and that grows from
/// leader to leader, for fencing. 0: it doesn't lead; 0 of NULL, too. Any thread.
///
/// It says what this process knows; `etcdgw_txn_if_leader` asks the server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_revision(election: *const etcdgw_election) -> i64 {
    // SAFETY: NULL or a candidate, says the header.
    infallible(0, || unsafe { handle::peek(election) }.map_or(0, Election::revision))
}

/// Frees a candidate, which doesn't resign by that; NULL is fine. One that leads does so until its session ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_free(election: *mut etcdgw_election) {
    // SAFETY: NULL or a candidate that the caller owns, says the header.
    infallible((), || unsafe { handle::free(election) });
}

/// Follows an election, for any number of threads at the same time.
pub struct etcdgw_election_observer {
    _private: (),
}

impl Handle for etcdgw_election_observer {
    type Value = Calling<Observer>;
    type Shell = Native<Calling<Observer>>;
}

/// What an observer sees.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_election_event {
    /// The header of the answer that told it.
    pub header: etcdgw_header,
    /// The leader's key and value; NULL in the last event.
    pub leader: *const etcdgw_kv,
    /// Why the observer has ended, and this is the last event; else NULL. It belongs to the event.
    pub error: *const etcdgw_error,
}

/// Takes what an observer sees, which is valid during the call only; `user_data` is what was given with the callback.
///
/// Called as watches' callbacks are: on the client's thread for callbacks, never under a lock, any function allowed.
pub type etcdgw_election_callback =
    Option<unsafe extern "C" fn(event: *const etcdgw_election_event, user_data: *mut c_void)>;

/// What calls a callback.
///
/// # Safety
/// The callback may be called with the user data until that is dropped.
unsafe fn consumer(
    callback: unsafe extern "C" fn(*const etcdgw_election_event, *mut c_void),
    user_data: UserData,
    calls: &Calls,
) -> Consumer<Result<Observation>> {
    // SAFETY: the caller's promise.
    let callback = unsafe { Callback::new(callback, user_data, calls) };
    Box::new(move |seen| {
        let mut kept = Kept::default();
        let event = keep(seen, &mut kept);
        // SAFETY: what it is given lives until it returns.
        unsafe { callback.call(event) }
    })
}

/// What was seen as a part of something else.
pub(super) fn keep(seen: Result<Observation>, kept: &mut Kept) -> *const etcdgw_election_event {
    let event = match seen {
        Ok(seen) => {
            let (arena, header, leader) = seen.into_parts();
            let leader = etcdgw_kv::lend(&leader, |span| span.of(&arena));
            kept.keep(arena);
            etcdgw_election_event { header: header.into(), leader: kept.keep(leader), error: ptr::null() }
        }
        Err(error) => {
            let error = kept.keep(ErrorValue::new(error)).cast();
            etcdgw_election_event { header: etcdgw_header::default(), leader: ptr::null(), error }
        }
    };
    kept.keep(event)
}

/// Options of `etcdgw_election_observe`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_election_observe_options {
    /// `sizeof(etcdgw_election_observe_options)`.
    pub struct_size: usize,
    /// Unused here: nothing is sent.
    pub timeout_ms: i64,
    /// Unused here.
    pub cancel: *mut etcdgw_cancel,
    /// Where the events go in place of a callback, which must be NULL then; NULL: to the callback, or to who asks.
    pub queue: *mut etcdgw_queue,
}
option_struct!(etcdgw_election_observe_options {
    struct_size, timeout_ms, cancel, queue
} first_release_ended_with queue);

/// Follows who leads, and with what value: the leader that there is, and each that comes, over lost connections and
/// restarted servers. Some that lead shortly, or values that are soon replaced, may be left out, but never the latest.
///
/// `options` may be NULL. `callback`: told of each; NULL: `options.queue` is, or without one
/// `etcdgw_election_observer_next` is asked, and `user_data_free` runs at once. `user_data`: given to the callback, or in
/// each event of the queue. `user_data_free`: runs once with `user_data` after the last call, and also when this function
/// fails; NULL: nothing to do. `out`: receives the observer before the first call or event, owned by the caller:
/// `etcdgw_election_observer_free`; it may outlive the candidate and its session. Any thread.
///
/// In a queue only the latest leader waits to be taken, and behind it the error that ended the observer, which is the last
/// event. `user_data_free` runs there when no event is left and none can come: once the observer has been cancelled or
/// freed, its queue has been freed, or the error has been taken, and every event that was taken has been freed; on the
/// thread that does the last of these.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_observe(
    election: *mut etcdgw_election,
    options: *const etcdgw_election_observe_options,
    callback: etcdgw_election_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_election_observer,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        let user_data = UserData::new(user_data, user_data_free);
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let election = handle::borrow(election, "election")?;
            let options = options::read(options)?;
            let queue = queue::given(options.queue, callback.is_some())?;
            let calls = Calls::default();
            let observer = election.observe()?;
            let observer = match (queue, callback) {
                (Some(queue), _) => observer.delivering_to(queue, Box::new(user_data))?,
                (None, Some(callback)) => observer.calling(consumer(callback, user_data, &calls))?,
                (None, None) => observer,
            };
            let start = observer.start();
            out.set(handle::new(calls.end_with(observer)));
            // The handle may be freed by the callback: from here on it is not touched.
            start.allow();
            Ok(())
        })
    }
}

/// Takes what an observer without a callback and without a queue sees next.
///
/// `timeout_ms`: how long to wait for a change; 0: not at all, less than 0: as long as it takes. The first call asks the
/// server, which takes its time also where that is 0. `response`: receives the leader, never NULL in it, owned by the caller:
/// `etcdgw_leader_response_free`; NULL throws it away. Any thread; each change goes to one of them.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when nothing came in time, `ETCDGW_FAILED_PRECONDITION` for an
/// observer with a callback or a queue, `ETCDGW_CLOSED` after `etcdgw_election_observer_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_observer_next(
    observer: *mut etcdgw_election_observer,
    timeout_ms: i64,
    response: *mut *mut etcdgw_leader_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let observer = handle::borrow(observer, "observer")?;
            let seen = observer.next(wait_limit(timeout_ms))?.ok_or(Failure::Expired)?;
            let (arena, header, leader) = seen.into_parts();
            response.set_with(|| new_leader(arena, header, Some(leader)));
            Ok(())
        })
    }
}

/// Ends an observer. After it returns no further callback starts, and no further event is given; one may still be running,
/// or be in use. NULL does nothing.
///
/// Any thread, inside the callback too, any number of times, until the observer is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_observer_cancel(observer: *mut etcdgw_election_observer) {
    infallible((), || {
        // SAFETY: NULL or an observer, says the header.
        if let Some(observer) = unsafe { handle::peek(observer) } {
            observer.end_calls();
            observer.cancel();
        }
    });
}

/// Ends an observer as `etcdgw_election_observer_cancel` does, and frees it; NULL is fine. Inside its callback too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_election_observer_free(observer: *mut etcdgw_election_observer) {
    // SAFETY: NULL or an observer that the caller owns, says the header.
    infallible((), || unsafe { handle::free(observer) });
}
