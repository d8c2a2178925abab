//! Event queues.

use super::boundary::{Failure, fallible, infallible};
use super::callback::{InProcess, UserData};
use super::constants::etcdgw_status;
use super::election::{self, etcdgw_election_event};
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::keepalive::{self, etcdgw_keepalive_event};
use super::mirror_event::{self, etcdgw_mirror_event};
use super::options::{refuse, wait_limit};
use super::output::Output;
use super::response::{self, Kept};
use super::watch_response::{self, etcdgw_watch_response};
use crate::error::Result;
use crate::event_queue::{Content, Event, EventQueue};
use std::ffi::{c_int, c_void};
use std::ptr;

/// One place for the events of any number of watches, keep-alives, sessions, observers of elections and mirrors, of
/// different clients too, with one descriptor. For any number of threads at the same time.
pub struct etcdgw_queue {
    _private: (),
}

impl Handle for etcdgw_queue {
    type Value = EventQueue;
    type Shell = Native<EventQueue>;
}

/// What one source of a queue had to say. What it points to belongs to it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_event {
    /// What it comes from: one of `ETCDGW_SOURCE_...`.
    pub source: i32,
    /// 0.
    pub reserved0: i32,
    /// What the owner of the source gave along with the queue. It is valid as long as the event, also where the source is
    /// cancelled or freed meanwhile.
    pub user_data: *mut c_void,
    /// Of a watch: its response; else NULL.
    pub watch: *const etcdgw_watch_response,
    /// Of a keep-alive, and of a session: what became of the lease; else NULL.
    pub keepalive: *const etcdgw_keepalive_event,
    /// Of an election: its leader; else NULL.
    pub election: *const etcdgw_election_event,
    /// Of a mirror: what has changed; else NULL.
    pub mirror: *const etcdgw_mirror_event,
}

/// The queue that the options of a registering call name, in place of a callback.
///
/// # Safety
/// `queue` is NULL or a queue that is not freed while the borrow lasts.
pub(super) unsafe fn given<'a>(queue: *mut etcdgw_queue, has_callback: bool) -> Result<Option<&'a EventQueue>> {
    // SAFETY: the caller's promise.
    let queue = unsafe { handle::borrow_optional(queue, "options.queue")? };
    refuse(queue.is_some() && has_callback, "callback", "is given together with options.queue")?;
    Ok(queue)
}

fn new_event(event: Event) -> *mut etcdgw_event {
    let Event { source, tag, content } = event;
    let mut kept = Kept::default();
    let mut public = etcdgw_event {
        source: source as i32,
        reserved0: 0,
        user_data: tag.get::<UserData>().map_or(ptr::null_mut(), UserData::get),
        watch: ptr::null(),
        keepalive: ptr::null(),
        election: ptr::null(),
        mirror: ptr::null(),
    };
    match content {
        Content::Watch(response) => public.watch = watch_response::keep(response, &mut kept),
        Content::KeepAlive(told) => public.keepalive = keepalive::keep(told, &mut kept),
        Content::Election(seen) => public.election = election::keep(seen, &mut kept),
        Content::Mirror(change) => public.mirror = mirror_event::keep(change, &mut kept),
    }
    kept.keep(InProcess::new(tag));
    response::new(public, kept)
}

/// Makes a queue. A watch, a keep-alive, a session, an observer of an election or a mirror is given it as
/// `options.queue`.
///
/// `out`: receives the queue, owned by the caller: `etcdgw_queue_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_queue_new(out: *mut *mut etcdgw_queue, err: *mut *mut etcdgw_error) -> etcdgw_status {
    // SAFETY: outputs are NULL or writable, says the header.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            out.set(handle::new(EventQueue::new()));
            Ok(())
        })
    }
}

/// Gives the next event of a queue, waiting for it. The sources that have something are served in turn, one event of each;
/// the events of one source come in their order.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. `event`: receives it, owned by the
/// caller: `etcdgw_event_free`; NULL throws it away. Any thread; each event goes to one of them.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when nothing came in time. Only an event ends a wait before that: a
/// thread that is to end is given a limit, or waits for `etcdgw_queue_fd` together with a descriptor of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_queue_next(
    queue: *mut etcdgw_queue,
    timeout_ms: i64,
    event: *mut *mut etcdgw_event,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let event = Output::cleared(event);
            let queue = handle::borrow(queue, "queue")?;
            let next = queue.next(wait_limit(timeout_ms)).ok_or(Failure::Expired)?;
            event.set_with(|| new_event(next));
            Ok(())
        })
    }
}

/// A descriptor that is readable while `etcdgw_queue_next` would not wait: for `poll` and `epoll`, level-triggered. Where
/// several threads take events, one of them may have been faster. -1 for NULL, in a child of fork, and when the process has
/// no descriptor left.
///
/// It belongs to the queue, and is not to be read or closed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_queue_fd(queue: *const etcdgw_queue) -> c_int {
    // SAFETY: NULL or a queue, says the header.
    infallible(-1, || unsafe { handle::peek(queue) }.and_then(EventQueue::fd).unwrap_or(-1))
}

/// Frees a queue; NULL is fine. No other thread may be inside a call with it. Watches and observers that still deliver
/// there end as if they were cancelled; keep-alives and sessions go on renewing their leases, mirrors keep up their copies,
/// and tell nobody. All are to be freed all the same, before or after the queue, and so are events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_queue_free(queue: *mut etcdgw_queue) {
    // SAFETY: NULL or a queue that the caller owns, says the header.
    infallible((), || unsafe { handle::free(queue) });
}

/// Frees an event with everything in it; NULL is fine. Where it is the last of a source that has no more to give,
/// `user_data_free` runs inside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_event_free(event: *mut etcdgw_event) {
    // SAFETY: NULL or an event that the caller owns, says the header.
    infallible((), || unsafe { response::free(event) });
}
