//! What a mirror tells, as C reads it.

use super::bytes::etcdgw_bytes;
use super::constants::{ETCDGW_EVENT_DELETE, ETCDGW_EVENT_PUT};
use super::error::{ErrorValue, etcdgw_error};
use super::response::{Kept, array, etcdgw_kv};
use super::watch_response::etcdgw_watch_event;
use crate::concurrency::mirror::{Entry, MirrorChange};
use crate::rpc::watch::EventType;
use std::ffi::c_void;
use std::ptr;

/// One change of a mirror's copy. Lookups show it, or a later state, once it is told.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_mirror_event {
    /// What it is about: one of `ETCDGW_MIRROR_...`.
    pub kind: i32,
    /// 0.
    pub reserved0: i32,
    /// What has changed, `events_len` of them, NULL when there are none. Of `ETCDGW_MIRROR_EVENTS` whole revisions, in
    /// their order; of `ETCDGW_MIRROR_REBUILT` the difference between the copy as it was last told and as it is, by key.
    /// `prev_kv` is what the copy had before, NULL where it had no such key. Of a key that was deleted, `mod_revision` of
    /// `ETCDGW_MIRROR_REBUILT` is the latest that the revision can have been.
    pub events: *const etcdgw_watch_event,
    /// How many events are here.
    pub events_len: usize,
    /// The revision that the keys are at once these have happened.
    pub revision: i64,
    /// Why the mirror has ended; else NULL. It belongs to the event.
    pub error: *const etcdgw_error,
}

/// Takes a change of a mirror, which is valid during the call only; `user_data` is what was given with the callback.
///
/// Called on a thread of the library, one at a time together with the other callbacks of the client, never under a lock:
/// it may call every function of the library, `etcdgw_mirror_free` included. The copy goes on while it runs, and so do the
/// client's other mirrors. It must not throw. Where it forks, the child must not return from it: the thread, and with it
/// the child, would end.
pub type etcdgw_mirror_callback =
    Option<unsafe extern "C" fn(event: *const etcdgw_mirror_event, user_data: *mut c_void)>;

/// A key for C to read, as long as the entry lives.
pub(super) fn lend(entry: &Entry) -> etcdgw_kv {
    etcdgw_kv {
        key: etcdgw_bytes::lend(entry.key()),
        value: etcdgw_bytes::lend(entry.value()),
        create_revision: entry.create_revision(),
        mod_revision: entry.mod_revision(),
        version: entry.version(),
        lease: entry.lease(),
    }
}

/// The arrays that an event points to. A mirror uses the same ones again for each.
#[derive(Default)]
pub(super) struct Arrays {
    kvs: Vec<etcdgw_kv>,
    events: Vec<etcdgw_watch_event>,
}

// SAFETY: what the pointers point to is only looked at between `lend` and the end of the call that it is for.
unsafe impl Send for Arrays {}

impl Arrays {
    /// The event for C to read, as long as the change, its error and the arrays stay as they are.
    pub(super) fn lend(&mut self, change: &MirrorChange, error: Option<&ErrorValue>) -> etcdgw_mirror_event {
        self.kvs.clear();
        // Two for each, of which the second may be of no use: then their places don't depend on one another.
        for event in &change.events {
            let previous = event.prev_kv.as_ref().unwrap_or(&event.kv);
            self.kvs.extend([lend(&event.kv), lend(previous)]);
        }
        self.events.clear();
        self.events.extend(change.events.iter().zip(self.kvs.chunks_exact(2)).map(|(event, kvs)| {
            let kv = kvs.as_ptr();
            etcdgw_watch_event {
                r#type: match event.event_type {
                    EventType::Put => ETCDGW_EVENT_PUT,
                    EventType::Delete => ETCDGW_EVENT_DELETE,
                },
                reserved0: 0,
                kv,
                prev_kv: if event.prev_kv.is_some() { kv.wrapping_add(1) } else { ptr::null() },
            }
        }));
        let (events, events_len) = array(&self.events);
        etcdgw_mirror_event {
            kind: change.kind as i32,
            reserved0: 0,
            events,
            events_len,
            revision: change.revision,
            error: error.map_or(ptr::null(), |error| ptr::from_ref(error).cast()),
        }
    }
}

/// The event as a part of something else.
pub(super) fn keep(mut change: MirrorChange, kept: &mut Kept) -> *const etcdgw_mirror_event {
    let error = change.error.take().map(|error| kept.keep(ErrorValue::new(error)));
    let mut arrays = Arrays::default();
    // SAFETY: it was kept just now, and stays where it is as long as the event.
    let public = arrays.lend(&change, error.map(|error| unsafe { &*error }));
    kept.keep((change, arrays));
    kept.keep(public)
}
