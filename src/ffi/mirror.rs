//! Mirrors.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::callback::{Callback, Calling, Calls, UserData};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{ErrorValue, etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::kv_response::etcdgw_get_response;
use super::mirror_event::{Arrays, etcdgw_mirror_callback, etcdgw_mirror_event, lend};
use super::options::{self, OptionStruct, option_struct, wait_limit};
use super::output::Output;
use super::queue::{self, etcdgw_queue};
use super::response::{self, Kept, etcdgw_kv};
use crate::concurrency::mirror::{Entry, Mirror, MirrorChange, MirrorOptions};
use crate::error::{Error, Result};
use crate::rpc::Header;
use std::ffi::c_void;
use std::slice;

/// A mirror, for any number of threads at the same time.
pub struct etcdgw_mirror {
    _private: (),
}

impl Handle for etcdgw_mirror {
    type Value = Calling<Mirror>;
    type Shell = Native<Calling<Mirror>>;
}

/// Options of `etcdgw_mirror_open`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_mirror_options {
    /// `sizeof(etcdgw_mirror_options)`.
    pub struct_size: usize,
    /// Bounds the making of the first copy; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call that opens the mirror when triggered, not the mirror itself; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// Where the changes go in place of a callback, which must be NULL then; NULL: to the callback. The mirror goes on also
    /// when the queue is freed.
    pub queue: *mut etcdgw_queue,
}
option_struct!(etcdgw_mirror_options { struct_size, timeout_ms, cancel, queue } first_release_ended_with queue);

struct Consumer {
    callback: Callback<etcdgw_mirror_event>,
    arrays: Arrays,
}

impl Consumer {
    fn take(&mut self, mut change: MirrorChange) {
        let error = change.error.take().map(ErrorValue::new);
        let public = self.arrays.lend(&change, error.as_ref());
        // SAFETY: what it is given lives until it returns.
        unsafe { self.callback.call(&raw const public) }
    }
}

/// Opens a mirror: a local copy of every key that starts with `prefix`, kept up with the cluster, from which lookups are
/// answered without asking a server. Of an empty prefix: every key. Returns when the first copy is complete; every change
/// made after that reaches it.
///
/// A transaction is in the copy as a whole or not at all. Over lost connections and restarted servers the mirror goes on
/// as a watch does. Where the history that it needs was compacted away it makes its copy anew in the background, as often
/// as it takes, and lookups show the old one until then (`ETCDGW_MIRROR_REBUILT`). It ends (`ETCDGW_MIRROR_ENDED`) when
/// the server refuses the keys to it, when a change is larger than the client's `max_response_bytes`, when the client's
/// endpoints are of another cluster now, and when the client is closed: lookups are then answered from the copy as it was.
///
/// `options` may be NULL. `callback`: is told of every change; NULL: nobody is, or `options.queue` has the changes.
/// `user_data`: given to the callback, or in each event of the queue. `user_data_free`: runs once with `user_data` after
/// the last call, at once without a callback and a queue, and also when this function fails; NULL: nothing to do. `out`:
/// receives the mirror before the first call or event, owned by the caller: `etcdgw_mirror_free`. Any thread.
///
/// With a queue `user_data_free` runs when no event of the mirror is left and none can come: once the mirror or its queue
/// has been freed, or its `ETCDGW_MIRROR_ENDED` has been taken, and every event that was taken has been freed. It runs on
/// the thread that does the last of these. What was not taken before the end is dropped.
///
/// The copy goes on however slow a callback is, and whether or not events are taken: lookups may show what has not been
/// told. What has not been told is kept within `watch_buffer_bytes` of the client, as of a watch; where that is too much
/// for it, one `ETCDGW_MIRROR_REBUILT` takes its place. So each change, applied to what was told before, gives a state of
/// the keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_open(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_mirror_options,
    callback: etcdgw_mirror_callback,
    user_data: *mut c_void,
    user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    out: *mut *mut etcdgw_mirror,
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
            let prefix = prefix.borrow("prefix")?.to_vec();
            let mirror_options = MirrorOptions { prefix, call: options.call()? };
            let calls = Calls::default();
            let mirror = match (queue, callback) {
                (Some(queue), _) => client.mirror_into(mirror_options, queue, Box::new(user_data))?,
                (None, None) => client.mirror(mirror_options, None)?,
                (None, Some(callback)) => {
                    let callback = Callback::new(callback, user_data, &calls);
                    let mut consumer = Consumer { callback, arrays: Arrays::default() };
                    client.mirror(mirror_options, Some(Box::new(move |change| consumer.take(change))))?
                }
            };
            let started = mirror.clone();
            out.set(handle::new(calls.end_with(mirror)));
            // The handle may be freed by the callback: from here on it is not touched.
            started.start();
            Ok(())
        })
    }
}

/// Looks a key up in the copy: no network, no lock.
///
/// `key`: one that starts with the mirror's prefix. `response`: receives the key, owned by the caller:
/// `etcdgw_get_response_free`; NULL when it isn't wanted. The revision in its header is the copy's. Any thread.
///
/// A key that doesn't exist is `ETCDGW_OK` with `kvs_len` 0. Returns `ETCDGW_INVALID_ARGUMENT` for a key that the mirror
/// can't know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_get(
    mirror: *mut etcdgw_mirror,
    key: etcdgw_bytes,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let mirror = handle::borrow(mirror, "mirror")?;
            let key = covered(mirror, key.borrow("key")?, "key")?;
            let snapshot = mirror.snapshot();
            response.set_with(|| {
                let mut kept = Kept::default();
                let kvs = snapshot.get(key).map_or_else(Vec::new, |entry| keep_entry(entry, &mut kept));
                answer(snapshot.header(), kvs, kept)
            });
            Ok(())
        })
    }
}

/// Values larger than this are shared with the copy and not copied for a response: that costs other processors that
/// look the same key up at the same time more than copying a small one.
const LARGEST_COPIED: usize = 4 << 10;

/// The key of a response that has one.
fn keep_entry(entry: &Entry, kept: &mut Kept) -> Vec<etcdgw_kv> {
    if entry.value().len() > LARGEST_COPIED {
        // SAFETY: it was kept just now, and stays where it is as long as the response.
        let entry = unsafe { &*kept.keep(entry.clone()) };
        return vec![lend(entry)];
    }
    let (key, value) = (entry.key(), entry.value());
    let room = (key.len() + value.len()).div_ceil(size_of::<etcdgw_kv>());
    let mut kvs = Vec::with_capacity(1 + room);
    kvs.push(lend(entry));
    // The bytes go behind the key in the same piece of memory.
    let place = kvs.spare_capacity_mut().as_mut_ptr().cast::<u8>();
    // SAFETY: there is room for `room` keys, which are no fewer bytes than these; nothing else is put there.
    let (key, value) = unsafe {
        key.as_ptr().copy_to_nonoverlapping(place, key.len());
        value.as_ptr().copy_to_nonoverlapping(place.add(key.len()), value.len());
        (slice::from_raw_parts(place, key.len()), slice::from_raw_parts(place.add(key.len()), value.len()))
    };
    for kv in &mut kvs {
        (kv.key, kv.value) = (etcdgw_bytes::lend(key), etcdgw_bytes::lend(value));
    }
    kvs
}

fn answer(header: Header, kvs: Vec<etcdgw_kv>, mut kept: Kept) -> *mut etcdgw_get_response {
    let (kvs, kvs_len) = kept.ready_kvs(kvs);
    let count = kvs_len as i64;
    response::new(etcdgw_get_response { header: header.into(), kvs, kvs_len, count, more: 0, reserved0: 0 }, kept)
}

/// What the mirror can know of: else an answer without keys would say that there are none.
fn covered<'a>(mirror: &Mirror, bytes: &'a [u8], name: &str) -> Result<&'a [u8]> {
    if bytes.starts_with(mirror.prefix()) {
        return Ok(bytes);
    }
    Err(Error::invalid(format!("{name} does not start with the mirror's prefix, {}", mirror.prefix().escape_ascii())))
}

/// Reads every key of the copy that starts with `prefix`, ascending, all at one revision: no network, no lock.
///
/// `prefix`: one that starts with the mirror's prefix, or is it. `response`: receives the keys, owned by the caller:
/// `etcdgw_get_response_free`; NULL when they aren't wanted. They are shared with the copy, whose memory at that revision
/// is kept as long as the response. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for a prefix whose keys the mirror can't all know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_range(
    mirror: *mut etcdgw_mirror,
    prefix: etcdgw_bytes,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let mirror = handle::borrow(mirror, "mirror")?;
            let prefix = covered(mirror, prefix.borrow("prefix")?, "prefix")?;
            response.set_with(|| {
                let snapshot = mirror.snapshot();
                let header = snapshot.header();
                let snapshot = snapshot.into_shared();
                let kvs = snapshot.range(prefix).map(lend).collect();
                let mut kept = Kept::default();
                kept.keep(snapshot);
                answer(header, kvs, kept)
            });
            Ok(())
        })
    }
}

/// The revision that the copy shows. It grows also by what happens to other keys, as far as that is known, and goes back
/// only when the cluster did: when it was restored. 0 of NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_revision(mirror: *const etcdgw_mirror) -> i64 {
    // SAFETY: NULL or a mirror, says the header.
    infallible(0, || unsafe { handle::peek(mirror) }.map_or(0, |mirror| mirror.revision()))
}

/// Waits until the copy shows `revision`: that of a put for instance, so that lookups after this see it. 0: the store's
/// revision at this moment, so that they see everything that was written before.
///
/// `timeout_ms`: how long to wait; 0: not at all, less than 0: as long as it takes. Any thread; inside a callback it delays
/// the client's others.
///
/// Where no event comes, since other keys were written, the cluster is asked: now and then, by one of those who wait.
///
/// Returns `ETCDGW_DEADLINE_EXCEEDED` with `*err` NULL when the copy doesn't show it in time, the error that the mirror
/// ended with when it has, and what the server refuses the question with when it does, which a mirror whose watch it
/// still serves may outlive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_wait_for_revision(
    mirror: *mut etcdgw_mirror,
    revision: i64,
    timeout_ms: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let mirror = handle::borrow(mirror, "mirror")?;
            let is_reached = mirror.wait_for_revision(revision, wait_limit(timeout_ms))?;
            if is_reached { Ok(()) } else { Err(Failure::Expired) }
        })
    }
}

/// How many milliseconds ago the copy was last known to be the latest there was: by its being made, an event, progress
/// that the server told, or an `etcdgw_mirror_wait_for_revision` that asked. Where nothing changes the server tells
/// progress every ten minutes by default, so that a high age alone doesn't mean that something is wrong: wait for
/// revision 0 to be sure. -1 of NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_age_ms(mirror: *const etcdgw_mirror) -> i64 {
    // SAFETY: NULL or a mirror, says the header.
    infallible(-1, || unsafe { handle::peek(mirror) }.map_or(-1, |mirror| mirror.age().as_millis() as i64))
}

/// Ends a mirror and frees it; NULL is fine. After it returns no further callback starts, and no further event is given;
/// one may still be running, or be in use. Responses stay as they are. Inside its callback too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_mirror_free(mirror: *mut etcdgw_mirror) {
    // SAFETY: NULL or a mirror that the caller owns, says the header.
    infallible((), || unsafe { handle::free(mirror) });
}
