//! The options of watches.

use super::bytes::etcdgw_bytes;
use super::error::etcdgw_cancel;
use super::kv_options::{keys, prefix_keys};
use super::options::{OptionStruct, flag, option_struct, refuse};
use super::queue::etcdgw_queue;
use crate::error::Result;
use crate::rpc::Keys;
use crate::rpc::watch::WatchRequest;
use crate::watch::WatchOptions;

/// Options of watches.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_watch_options {
    /// `sizeof(etcdgw_watch_options)`.
    pub struct_size: usize,
    /// How long the server may take to confirm the watch, of `etcdgw_watch_once` how long the first event may take;
    /// 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call that starts the watch when triggered, not the watch itself; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The first key that no longer belongs to the range; `ETCDGW_FROM_KEY`: every key from the given one on; empty:
    /// one key. Not together with `prefix`.
    pub range_end: etcdgw_bytes,
    /// The first revision to report; 0: what happens after the watch is confirmed.
    pub start_revision: i64,
    /// Where the responses go in place of a callback, which must be NULL then; NULL: to the callback. Only for
    /// `etcdgw_watch` and `etcdgw_watch_prefix`.
    pub queue: *mut etcdgw_queue,
    /// 1: every key that starts with the given one.
    pub prefix: i32,
    /// 1: reports progress too (`ETCDGW_WATCH_PROGRESS`).
    pub progress_notify: i32,
    /// 1: without puts.
    pub no_put: i32,
    /// 1: without deletions.
    pub no_delete: i32,
    /// 1: asks for what each key was before.
    pub prev_kv: i32,
    /// 1: reports that the connection was lost and is back (`ETCDGW_WATCH_DISCONNECTED`, `ETCDGW_WATCH_RESUMED`).
    pub report_connection: i32,
    /// 1: stays with a member that has lost its leader.
    pub no_require_leader: i32,
    /// 1: the call returns at once, and a refusal comes as `ETCDGW_WATCH_ENDED`. Nothing bounds the confirmation then: it
    /// comes when there is a server again.
    pub no_wait_created: i32,
}
option_struct!(etcdgw_watch_options {
    struct_size, timeout_ms, cancel, range_end, start_revision, queue, prefix, progress_notify, no_put, no_delete,
    prev_kv, report_connection, no_require_leader, no_wait_created
} first_release_ended_with no_wait_created);

impl etcdgw_watch_options {
    /// Refuses a queue, where there is nothing for it to give.
    pub(super) fn refuse_queue(&self) -> Result<()> {
        refuse(!self.queue.is_null(), "options.queue", "is given, but the response is this function's to give")
    }

    /// # Safety
    /// `key` and `range_end` can be read during the call.
    pub(super) unsafe fn of_key(&self, key: etcdgw_bytes) -> Result<WatchOptions> {
        // SAFETY: the caller's promise.
        let keys = unsafe { keys(key.borrow("key")?, self.range_end, self.prefix)? };
        self.of(keys)
    }

    /// # Safety
    /// `prefix` and `range_end` can be read during the call.
    pub(super) unsafe fn of_prefix(&self, prefix: etcdgw_bytes) -> Result<WatchOptions> {
        // SAFETY: the caller's promise.
        let keys = unsafe { prefix_keys(prefix.borrow("prefix")?, self.range_end, self.prefix)? };
        self.of(keys)
    }

    fn of(&self, keys: Keys<'_>) -> Result<WatchOptions> {
        Ok(WatchOptions {
            request: WatchRequest {
                keys: keys.into_owned(),
                start_revision: self.start_revision,
                no_put: flag(self.no_put, "options.no_put")?,
                no_delete: flag(self.no_delete, "options.no_delete")?,
                prev_kv: flag(self.prev_kv, "options.prev_kv")?,
            },
            progress_notify: flag(self.progress_notify, "options.progress_notify")?,
            report_connection: flag(self.report_connection, "options.report_connection")?,
            require_leader: !flag(self.no_require_leader, "options.no_require_leader")?,
            wait_created: !flag(self.no_wait_created, "options.no_wait_created")?,
            follows_read: false,
            call: self.call()?,
        })
    }
}
