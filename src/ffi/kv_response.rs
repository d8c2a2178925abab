//! The answers to gets, puts and deletes: alone and in transactions.

use super::boundary::infallible;
use super::response::{self, Kept, etcdgw_header, etcdgw_kv};
use crate::rpc::Response;
use crate::rpc::kv::{DeleteRangeResponse, KeyValue, PutResponse, RangeResponse};

/// The answer to a put.
#[repr(C)]
pub struct etcdgw_put_response {
    /// Its revision is the put's.
    pub header: etcdgw_header,
    /// What the key was before, where that was asked for and it existed; else NULL.
    pub prev_kv: *const etcdgw_kv,
}

/// The answer to a get.
#[repr(C)]
pub struct etcdgw_get_response {
    /// The header.
    pub header: etcdgw_header,
    /// The keys, `kvs_len` of them; NULL when there are none.
    pub kvs: *const etcdgw_kv,
    /// How many keys are here.
    pub kvs_len: usize,
    /// How many keys there are in the range, also those that the limit or their revisions leave out.
    pub count: i64,
    /// 1: the limit left some out.
    pub more: i32,
    /// 0.
    pub reserved0: i32,
}

/// The answer to a delete.
#[repr(C)]
pub struct etcdgw_delete_response {
    /// The header.
    pub header: etcdgw_header,
    /// How many keys were deleted.
    pub deleted: i64,
    /// What they were, where that was asked for; NULL when there are none.
    pub prev_kvs: *const etcdgw_kv,
    /// How many keys are here.
    pub prev_kvs_len: usize,
}

/// Where the keys of an answer are kept: beside it where it stands alone, among others in a transaction.
pub(super) type KeepKvs = fn(&mut Kept, Vec<KeyValue>) -> (*const etcdgw_kv, usize);

impl etcdgw_put_response {
    pub(super) fn lend(answer: PutResponse, kept: &mut Kept) -> etcdgw_put_response {
        etcdgw_put_response { header: answer.header.into(), prev_kv: kept.prev_kv(answer.prev_kv) }
    }
}

impl etcdgw_get_response {
    pub(super) fn lend(answer: RangeResponse, kept: &mut Kept, keep_kvs: KeepKvs) -> etcdgw_get_response {
        let (kvs, kvs_len) = keep_kvs(kept, answer.kvs);
        let more = i32::from(answer.more);
        etcdgw_get_response { header: answer.header.into(), kvs, kvs_len, count: answer.count, more, reserved0: 0 }
    }
}

impl etcdgw_delete_response {
    pub(super) fn lend(answer: DeleteRangeResponse, kept: &mut Kept, keep_kvs: KeepKvs) -> etcdgw_delete_response {
        let (prev_kvs, prev_kvs_len) = keep_kvs(kept, answer.prev_kvs);
        etcdgw_delete_response { header: answer.header.into(), deleted: answer.deleted, prev_kvs, prev_kvs_len }
    }
}

pub(super) fn new_put(answer: Response<PutResponse>) -> *mut etcdgw_put_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    response::new(etcdgw_put_response::lend(answer, &mut kept), kept)
}

pub(super) fn new_get(answer: Response<RangeResponse>) -> *mut etcdgw_get_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    response::new(etcdgw_get_response::lend(answer, &mut kept, Kept::only_kvs), kept)
}

pub(super) fn new_delete(answer: Response<DeleteRangeResponse>) -> *mut etcdgw_delete_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    response::new(etcdgw_delete_response::lend(answer, &mut kept, Kept::only_kvs), kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_put_response_free(response: *mut etcdgw_put_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_get_response_free(response: *mut etcdgw_get_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_delete_response_free(response: *mut etcdgw_delete_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
