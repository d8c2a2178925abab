//! The options of gets, puts and deletes, and the core's requests made from them: alone and in transactions.

use super::bytes::etcdgw_bytes;
use super::error::etcdgw_cancel;
use super::options::{choice, flag, not_negative, option_struct, refuse};
use crate::error::Result;
use crate::rpc::Keys;
use crate::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget};
use std::borrow::Cow;

/// Options of `etcdgw_put`, `etcdgw_create`, `etcdgw_replace` and of puts in transactions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_put_options {
    /// `sizeof(etcdgw_put_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The lease to attach the key to; 0: none.
    pub lease: i64,
    /// 1: asks for what the key was before.
    pub prev_kv: i32,
    /// 1: keeps the value and changes only the lease; the value given must be empty, and the key must exist.
    pub ignore_value: i32,
    /// 1: keeps the lease and changes only the value; the lease given must be 0, and the key must exist.
    pub ignore_lease: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_put_options {
    struct_size, timeout_ms, cancel, lease, prev_kv, ignore_value, ignore_lease, reserved0
} first_release_ended_with reserved0 reserved0);

impl etcdgw_put_options {
    pub(super) fn request<'a>(&self, key: &'a [u8], value: &'a [u8]) -> Result<PutRequest<'a>> {
        Ok(PutRequest {
            key: Cow::Borrowed(key),
            value: Cow::Borrowed(value),
            lease: self.lease,
            prev_kv: flag(self.prev_kv, "options.prev_kv")?,
            ignore_value: flag(self.ignore_value, "options.ignore_value")?,
            ignore_lease: flag(self.ignore_lease, "options.ignore_lease")?,
        })
    }

    /// The request of a put that depends on a condition: only a lease may go with it.
    pub(super) fn conditional_request<'a>(&self, key: &'a [u8], value: &'a [u8]) -> Result<PutRequest<'a>> {
        let has_none = "must be 0 here, where a lease and nothing else may be given";
        refuse(self.prev_kv != 0, "options.prev_kv", has_none)?;
        refuse(self.ignore_value != 0, "options.ignore_value", has_none)?;
        refuse(self.ignore_lease != 0, "options.ignore_lease", has_none)?;
        self.request(key, value)
    }
}

/// Options of `etcdgw_get`, `etcdgw_get_prefix`, `etcdgw_get_all` and of gets in transactions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_get_options {
    /// `sizeof(etcdgw_get_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The first key that no longer belongs to the range; `ETCDGW_FROM_KEY`: every key from the given one on; empty:
    /// one key. Not together with `prefix`.
    pub range_end: etcdgw_bytes,
    /// At most so many keys; 0: all.
    pub limit: i64,
    /// As the keys were at this revision; 0: now.
    pub revision: i64,
    /// Only keys changed last at or after this revision; 0: any.
    pub min_mod_revision: i64,
    /// Only keys changed last at or before this revision; 0: any.
    pub max_mod_revision: i64,
    /// Only keys created at or after this revision; 0: any.
    pub min_create_revision: i64,
    /// Only keys created at or before this revision; 0: any.
    pub max_create_revision: i64,
    /// 1: every key that starts with the given one.
    pub prefix: i32,
    /// One of `ETCDGW_SORT_NONE`, `_ASCEND`, `_DESCEND`.
    pub sort_order: i32,
    /// One of `ETCDGW_SORT_BY_...`.
    pub sort_target: i32,
    /// 1: answered by one member from what it has, which may be old, without asking the cluster.
    pub serializable: i32,
    /// 1: without values.
    pub keys_only: i32,
    /// 1: only `count`, no keys.
    pub count_only: i32,
}
option_struct!(etcdgw_get_options {
    struct_size, timeout_ms, cancel, range_end, limit, revision, min_mod_revision, max_mod_revision,
    min_create_revision, max_create_revision, prefix, sort_order, sort_target, serializable, keys_only, count_only
} first_release_ended_with count_only);

const SORT_ORDERS: &[SortOrder] = &[SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
const SORT_TARGETS: &[SortTarget] =
    &[SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];

impl etcdgw_get_options {
    /// # Safety
    /// `range_end` can be read as long as the request lives.
    pub(super) unsafe fn request<'a>(&self, key: &'a [u8]) -> Result<RangeRequest<'a>> {
        // SAFETY: the caller's promise.
        let keys = unsafe { keys(key, self.range_end, self.prefix)? };
        self.request_of(keys)
    }

    /// # Safety
    /// `range_end` can be read during the call.
    pub(super) unsafe fn prefix_request<'a>(&self, prefix: &'a [u8]) -> Result<RangeRequest<'a>> {
        // SAFETY: the caller's promise.
        let keys = unsafe { prefix_keys(prefix, self.range_end, self.prefix)? };
        self.request_of(keys)
    }

    fn request_of<'a>(&self, keys: Keys<'a>) -> Result<RangeRequest<'a>> {
        Ok(RangeRequest {
            keys,
            limit: not_negative(self.limit, "options.limit")?,
            revision: not_negative(self.revision, "options.revision")?,
            min_mod_revision: not_negative(self.min_mod_revision, "options.min_mod_revision")?,
            max_mod_revision: not_negative(self.max_mod_revision, "options.max_mod_revision")?,
            min_create_revision: not_negative(self.min_create_revision, "options.min_create_revision")?,
            max_create_revision: not_negative(self.max_create_revision, "options.max_create_revision")?,
            sort_order: choice(self.sort_order, "options.sort_order", SORT_ORDERS)?,
            sort_target: choice(self.sort_target, "options.sort_target", SORT_TARGETS)?,
            serializable: flag(self.serializable, "options.serializable")?,
            keys_only: flag(self.keys_only, "options.keys_only")?,
            count_only: flag(self.count_only, "options.count_only")?,
        })
    }
}

/// Options of `etcdgw_delete`, `etcdgw_delete_prefix` and of deletes in transactions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_delete_options {
    /// `sizeof(etcdgw_delete_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The first key that no longer belongs to the range; `ETCDGW_FROM_KEY`: every key from the given one on; empty:
    /// one key. Not together with `prefix`.
    pub range_end: etcdgw_bytes,
    /// 1: every key that starts with the given one.
    pub prefix: i32,
    /// 1: asks for what the keys were.
    pub prev_kv: i32,
    /// 1: lets a delete of every key through, such as that of an empty prefix. Else it is refused: an unset
    /// configuration value must not empty a cluster.
    pub all: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_delete_options {
    struct_size, timeout_ms, cancel, range_end, prefix, prev_kv, all, reserved0
} first_release_ended_with reserved0 reserved0);

impl etcdgw_delete_options {
    /// # Safety
    /// `range_end` can be read as long as the request lives.
    pub(super) unsafe fn request<'a>(&self, key: &'a [u8]) -> Result<DeleteRangeRequest<'a>> {
        // SAFETY: the caller's promise.
        let keys = unsafe { keys(key, self.range_end, self.prefix)? };
        self.request_of(keys)
    }

    /// # Safety
    /// `range_end` can be read during the call.
    pub(super) unsafe fn prefix_request<'a>(&self, prefix: &'a [u8]) -> Result<DeleteRangeRequest<'a>> {
        // SAFETY: the caller's promise.
        let keys = unsafe { prefix_keys(prefix, self.range_end, self.prefix)? };
        self.request_of(keys)
    }

    fn request_of<'a>(&self, keys: Keys<'a>) -> Result<DeleteRangeRequest<'a>> {
        let prev_kv = flag(self.prev_kv, "options.prev_kv")?;
        let request = DeleteRangeRequest { keys, prev_kv, all: flag(self.all, "options.all")? };
        request.check()?;
        Ok(request)
    }
}

/// The keys that a key, a range end and the option `prefix` mean together.
///
/// # Safety
/// `range_end` can be read as long as the keys live.
pub(super) unsafe fn keys<'a>(key: &'a [u8], range_end: etcdgw_bytes, prefix: i32) -> Result<Keys<'a>> {
    // SAFETY: the caller's promise.
    let end = unsafe { range_end.borrow("options.range_end")? };
    if flag(prefix, "options.prefix")? {
        refuse(!end.is_empty(), "options.range_end", "is given together with options.prefix")?;
        return Ok(Keys::Prefix(Cow::Borrowed(key)));
    }
    Ok(Keys::from_wire(Cow::Borrowed(key), Cow::Borrowed(end)))
}

/// The keys below a prefix, in a function that says so by its name: the option `prefix` adds nothing there.
///
/// # Safety
/// `range_end` can be read during the call.
pub(super) unsafe fn prefix_keys<'a>(key: &'a [u8], range_end: etcdgw_bytes, prefix: i32) -> Result<Keys<'a>> {
    // SAFETY: the caller's promise.
    let end = unsafe { range_end.borrow("options.range_end")? };
    flag(prefix, "options.prefix")?;
    refuse(!end.is_empty(), "options.range_end", "is given together with a prefix")?;
    Ok(Keys::Prefix(Cow::Borrowed(key)))
}
