//! What a watch tells, as C reads it.

use super::boundary::infallible;
use super::constants::{ETCDGW_EVENT_DELETE, ETCDGW_EVENT_PUT};
use super::error::{ErrorValue, etcdgw_error};
use super::response::{self, Kept, array, etcdgw_header, etcdgw_kv};
use crate::rpc::watch::EventType;
use crate::watch::WatchResponse;
use std::ptr;

/// One change of one key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_watch_event {
    /// `ETCDGW_EVENT_PUT` or `ETCDGW_EVENT_DELETE`.
    pub r#type: i32,
    /// 0.
    pub reserved0: i32,
    /// The key after it; of a deleted one only the key and the revision that deleted it, as `mod_revision`. Never NULL.
    pub kv: *const etcdgw_kv,
    /// The key before it, where that was asked for, it existed, and it isn't compacted away; else NULL.
    pub prev_kv: *const etcdgw_kv,
}

const _: () = assert!(size_of::<etcdgw_watch_event>() == 24 && std::mem::offset_of!(etcdgw_watch_event, kv) == 8);

/// One response of a watch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_watch_response {
    /// What it is about: one of `ETCDGW_WATCH_...`.
    pub kind: i32,
    /// 0.
    pub reserved0: i32,
    /// The header of the server's message, where there was one.
    pub header: etcdgw_header,
    /// The changes: whole revisions, in their order; `events_len` of them, NULL when there are none.
    pub events: *const etcdgw_watch_event,
    /// How many events are here.
    pub events_len: usize,
    /// A `start_revision` that continues exactly after this response, in every kind.
    pub resume_revision: i64,
    /// Where the watch ended because its revision was compacted away: the oldest revision that is left; else 0.
    pub compact_revision: i64,
    /// Why the connection was lost, or the watch ended; else NULL. It belongs to the response.
    pub error: *const etcdgw_error,
}

/// The arrays that a response points to. A callback watch uses the same ones again for each response.
#[derive(Default)]
pub(super) struct Arrays {
    kvs: Vec<etcdgw_kv>,
    events: Vec<etcdgw_watch_event>,
}

// SAFETY: what the pointers point to is only looked at between `lend` and the end of the call that it is for.
unsafe impl Send for Arrays {}

impl Arrays {
    /// The response for C to read, as long as it and the arrays stay as they are.
    pub(super) fn lend(&mut self, response: &WatchResponse, error: *const etcdgw_error) -> etcdgw_watch_response {
        self.lend_keys(response);
        self.lend_events(response);
        let (events, events_len) = array(&self.events);
        etcdgw_watch_response {
            kind: response.kind as i32,
            reserved0: 0,
            header: response.header.into(),
            events,
            events_len,
            resume_revision: response.resume_revision,
            compact_revision: response.compact_revision,
            error,
        }
    }

    /// Every event's key, and behind it the one before where there is one.
    fn lend_keys(&mut self, response: &WatchResponse) {
        self.kvs.clear();
        let lend = |kv| etcdgw_kv::lend(kv, |span| response.bytes(span));
        // The same twice: how many there will be is known where there is none before.
        if response.events.iter().all(|event| event.prev_kv.is_none()) {
            self.kvs.extend(response.events.iter().map(|event| lend(&event.kv)));
        } else {
            let keys = response.events.iter().flat_map(|event| std::iter::once(&event.kv).chain(&event.prev_kv));
            self.kvs.extend(keys.map(lend));
        }
    }

    /// Once all keys are in their places.
    fn lend_events(&mut self, response: &WatchResponse) {
        self.events.clear();
        let mut next = self.kvs.as_ptr();
        self.events.extend(response.events.iter().map(|event| {
            let kv = next;
            let after = kv.wrapping_add(1);
            let prev_kv = if event.prev_kv.is_some() { after } else { ptr::null() };
            next = if prev_kv.is_null() { after } else { after.wrapping_add(1) };
            let r#type = match event.event_type {
                EventType::Put => ETCDGW_EVENT_PUT,
                EventType::Delete => ETCDGW_EVENT_DELETE,
            };
            etcdgw_watch_event { r#type, reserved0: 0, kv, prev_kv }
        }));
    }
}

/// The error of a response as C reads it, which lives as long as the value returned with it.
pub(super) fn error_of(response: &mut WatchResponse) -> Option<ErrorValue> {
    response.error.take().map(ErrorValue::new)
}

pub(super) fn new(response: WatchResponse) -> *mut etcdgw_watch_response {
    let mut kept = Kept::default();
    let public = public(response, &mut kept);
    response::new(public, kept)
}

/// The response as a part of something else.
pub(super) fn keep(response: WatchResponse, kept: &mut Kept) -> *const etcdgw_watch_response {
    let public = public(response, kept);
    kept.keep(public)
}

fn public(mut response: WatchResponse, kept: &mut Kept) -> etcdgw_watch_response {
    let error = error_of(&mut response).map_or(ptr::null(), |error| kept.keep(error).cast());
    let mut arrays = Arrays::default();
    let public = arrays.lend(&response, error);
    kept.keep((response, arrays));
    public
}

/// Frees a response with everything in it; NULL is fine. Never to be called on a response that a callback was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_watch_response_free(response: *mut etcdgw_watch_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
