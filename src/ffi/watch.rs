//! Watches.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::callback::{Callback, Calling, Calls, UserData};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options, wait_limit};
use super::output::Output;
use super::queue;
use super::watch_options::etcdgw_watch_options;
use super::watch_response::{self, Arrays, etcdgw_watch_response};
use crate::error::{Error, Result};
use crate::watch::{Watch, WatchOptions, WatchResponse};
use std::ffi::{c_int, c_void};
use std::ptr;

/// A watch, for any number of threads at the same time.
pub struct etcdgw_watch_handle {
    _private: (),
}

impl Handle for etcdgw_watch_handle {
    type Value = Calling<Watch>;
    type Shell = Native<Calling<Watch>>;
}

/// Takes a response of a watch, which is valid during the call only; `user_data` is what was given with the callback.
///
/// Called on a thread of the library, one response of a client after another, never under a lock: it may call every
/// function of the library but `etcdgw_watch_join`, `_cancel` and `_free` of its own watch included. It must not throw.
/// Where it forks, the child must not return from it: the thread, and with it the child, would end.
pub type etcdgw_watch_callback =
    Option<unsafe extern "C" fn(response: *const etcdgw_watch_response, user_data: *mut c_void)>;

struct Consumer {
    callback: Callback<etcdgw_watch_response>,
    arrays: Arrays,
}

impl Consumer {
    fn take(&mut self, mut response: WatchResponse) {
        let error = watch_response::error_of(&mut response);
        let error = error.as_ref().map_or(ptr::null(), |error| ptr::from_ref(error).cast());
        let public = self.arrays.lend(&response, error);
        // SAFETY: what it is given lives until it returns.
        unsafe { self.callback.call(&raw const public) }
        response.recycle();
    }
}

/// Watches a key, or with `options.prefix` or `options.range_end` a range of keys, and calls back for every response, or
/// gives it to `options.queue`. Returns when the server has confirmed the watch, so that it sees every change made after that.
///
/// The watch gets every event once, in order, whole revisions in one response, over lost connections and restarted
/// servers, from `start_revision` on. It ends with `ETCDGW_WATCH_ENDED` when that can't be kept up, and when the client
/// is closed; one that is cancelled or freed by its owner just falls silent.
///
/// `options` may be NULL. `callback`: NULL with a queue, and only then. `user_data`: given to the callback, or in each
/// event of the queue. `user_data_free`: runs once with `user_data` after the last call, and also when this function
/// fails; NULL: nothing to do. `out`: receives the watch before the first call or event, owned by the caller:
/// `etcdgw_watch_free`. Any thread.
///
/// With a queue `user_data_free` runs when no event of the watch is left and none can come: once the watch has been
/// cancelled or freed, its queue has been freed, or its `ETCDGW_WATCH_ENDED` has been taken, and every event that was
/// taken has been freed. It runs on the thread that does the last of these. What was not taken before the end is dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    options: *const etcdgw_watch_options,
    callback: etcdgw_watch_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_watch_handle,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        let user_data = UserData::new(user_data, user_data_free);
        fallible(err, || start(client, options, |options| options.of_key(key), callback, user_data, out))
    }
}

/// Watches every key that starts with `prefix`; of an empty prefix: every key.
///
/// `options.range_end` must be empty; else as `etcdgw_watch`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_prefix(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_watch_options,
    callback: etcdgw_watch_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_watch_handle,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        let user_data = UserData::new(user_data, user_data_free);
        fallible(err, || start(client, options, |options| options.of_prefix(prefix), callback, user_data, out))
    }
}

/// # Safety
/// As every exported function.
unsafe fn start(
    client: *mut etcdgw_client,
    options: *const etcdgw_watch_options,
    read: impl FnOnce(&etcdgw_watch_options) -> Result<WatchOptions>,
    callback: etcdgw_watch_callback,
    user_data: UserData,
    out: *mut *mut etcdgw_watch_handle,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (out, client, options) =
        unsafe { (Output::cleared(out).required("out")?, borrow(client)?, options::read(options)?) };
    // SAFETY: the caller's promise.
    let queue = unsafe { queue::given(options.queue, callback.is_some())? };
    let options = read(&options)?;
    let calls = Calls::default();
    let watch = match (queue, callback) {
        (None, None) => return Err(Error::invalid("callback is NULL").into()),
        (Some(queue), _) => client.watch_into(options, queue, Box::new(user_data))?,
        (None, Some(callback)) => {
            // SAFETY: the caller's promise.
            let callback = unsafe { Callback::new(callback, user_data, &calls) };
            let mut consumer = Consumer { callback, arrays: Arrays::default() };
            client.watch(options, Box::new(move |response| consumer.take(response)))?
        }
    };
    let started = watch.clone();
    out.set(handle::new(calls.end_with(watch)));
    // The handle may be freed by the callback: from here on it is not touched.
    started.start();
    Ok(())
}

/// Opens a watch that is asked for its responses with `etcdgw_watch_next`. Returns when the server has confirmed it.
///
/// `options` may be NULL. `out`: receives the watch, owned by the caller: `etcdgw_watch_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_open(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    options: *const etcdgw_watch_options,
    out: *mut *mut etcdgw_watch_handle,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            options.refuse_queue()?;
            out.set(handle::new(Calls::default().end_with(client.watch_open(options.of_key(key)?)?)));
            Ok(())
        })
    }
}

/// Takes the next response of a watch from `etcdgw_watch_open`.
///
/// `timeout_ms`: how long to wait for one; 0: not at all, less than 0: as long as it takes. `response`: receives it,
/// owned by the caller: `etcdgw_watch_response_free`; NULL throws it away. Any thread; each response goes to one of
/// them.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when nothing came in time, `ETCDGW_FAILED_PRECONDITION` for a
/// watch with a callback or a queue. The last response of every watch, `etcdgw_watch_cancel` included, is `ETCDGW_WATCH_ENDED`;
/// after it this is `ETCDGW_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_next(
    watch: *mut etcdgw_watch_handle,
    timeout_ms: i64,
    response: *mut *mut etcdgw_watch_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let watch = handle::borrow(watch, "watch")?;
            let next = watch.next(wait_limit(timeout_ms))?.ok_or(Failure::Expired)?;
            response.set_with(|| watch_response::new(next));
            Ok(())
        })
    }
}

/// A descriptor that is readable while `etcdgw_watch_next` would not wait, and for ever once the watch has ended: for
/// `poll` and `epoll`, level-triggered. -1 for a watch with a callback or a queue, for NULL, in a child of fork, and when the
/// process has no descriptor left.
///
/// It belongs to the watch, and is not to be read or closed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_fd(watch: *const etcdgw_watch_handle) -> c_int {
    // SAFETY: NULL or a watch, says the header.
    infallible(-1, || unsafe { handle::peek(watch) }.and_then(|watch| watch.fd()).unwrap_or(-1))
}

/// Waits for the first event of a key, or with `options.prefix` or `options.range_end` of a range of keys.
///
/// `options.timeout_ms` is how long it may take. `response`: receives the event with the others of its revision, owned
/// by the caller: `etcdgw_watch_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` when nothing happened in time, `ETCDGW_COMPACTED` when `start_revision` is
/// compacted away.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_once(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    options: *const etcdgw_watch_options,
    response: *mut *mut etcdgw_watch_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || once(client, options, |options| options.of_key(key), response)) }
}

/// Waits for the first event of a key that starts with `prefix`; of an empty prefix: of any key.
///
/// `options.range_end` must be empty; else as `etcdgw_watch_once`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_prefix_once(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_watch_options,
    response: *mut *mut etcdgw_watch_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || once(client, options, |options| options.of_prefix(prefix), response)) }
}

/// # Safety
/// As every exported function.
unsafe fn once(
    client: *mut etcdgw_client,
    options: *const etcdgw_watch_options,
    read: impl FnOnce(&etcdgw_watch_options) -> Result<WatchOptions>,
    response: *mut *mut etcdgw_watch_response,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (response, client, options) = unsafe { (Output::cleared(response), borrow(client)?, options::read(options)?) };
    options.refuse_queue()?;
    let first = client.watch_once(read(&options)?)?;
    response.set_with(|| watch_response::new(first));
    Ok(())
}

/// Asks the server how far the watch has come. The answer arrives as `ETCDGW_WATCH_PROGRESS` with `resume_revision`:
/// everything below it has been delivered, which includes all revisions that an answer to this client had told before the
/// call. It comes once all watches that share the connection have caught up, and where one of them has just begun, maybe
/// with the next write only. A watch that is without a connection asks when it has one again, and one that has its own for
/// a while, since its consumer was slow, when it is with others again at the latest.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_UNIMPLEMENTED` where the watch has an HTTP stream, or a WebSocket to etcd before 3.5.8, whose answers
/// can't be trusted; `options.progress_notify` of the watch reports progress at the server's interval there. Returns
/// `ETCDGW_CLOSED` when the watch has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_request_progress(
    watch: *mut etcdgw_watch_handle,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let watch = handle::borrow(watch, "watch")?;
            options::read(options)?.call()?.check()?;
            watch.request_progress()?;
            Ok(())
        })
    }
}

/// Waits until a watch with a callback or a queue is over: its last call has returned, its last event has been freed, and
/// `user_data_free` has run. To be called after `etcdgw_watch_cancel`, and never inside a callback.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. Any thread.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when it isn't over in time, `ETCDGW_FAILED_PRECONDITION` inside a
/// callback. A watch from `etcdgw_watch_open` is never waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_join(
    watch: *mut etcdgw_watch_handle,
    timeout_ms: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let watch = handle::borrow(watch, "watch")?;
            if watch.join(wait_limit(timeout_ms))? { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// Ends a watch. After it returns no further callback starts, and no further event is given; one may still be running, or
/// be in use. NULL does nothing.
///
/// Any thread, inside the callback too, any number of times, until the watch is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_cancel(watch: *mut etcdgw_watch_handle) {
    infallible((), || {
        // SAFETY: NULL or a watch, says the header.
        if let Some(watch) = unsafe { handle::peek(watch) } {
            watch.end_calls();
            watch.cancel();
        }
    });
}

/// Ends a watch as `etcdgw_watch_cancel` does, and frees it; NULL is fine. Inside its callback too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_free(watch: *mut etcdgw_watch_handle) {
    // SAFETY: NULL or a watch that the caller owns, says the header.
    infallible((), || unsafe { handle::free(watch) });
}
