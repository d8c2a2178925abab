//! The answers to transactions.

use super::boundary::infallible;
use super::constants::{ETCDGW_TXN_DELETE, ETCDGW_TXN_GET, ETCDGW_TXN_PUT, ETCDGW_TXN_TXN};
use super::kv_response::{etcdgw_delete_response, etcdgw_get_response, etcdgw_put_response};
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::txn::{TxnResponse, TxnResult};
use std::ptr;

/// The answer to a transaction.
#[repr(C)]
pub struct etcdgw_txn_response {
    /// The header; those of the results carry a revision at most.
    pub header: etcdgw_header,
    /// 1: every condition held.
    pub succeeded: i32,
    /// 0.
    pub reserved0: i32,
    /// What the operations that were done answered, in their order; `results_len` of them, NULL when there are none.
    pub results: *const *const etcdgw_txn_result,
    /// How many results are here.
    pub results_len: usize,
}

/// What one operation of a transaction answered: the pointer that fits `operation` is set, the others are NULL. All
/// belong to the transaction's response.
#[repr(C)]
pub struct etcdgw_txn_result {
    /// One of `ETCDGW_TXN_...`.
    pub operation: i32,
    /// 0.
    pub reserved0: i32,
    /// The answer to a put.
    pub put: *const etcdgw_put_response,
    /// The answer to a get.
    pub get: *const etcdgw_get_response,
    /// The answer to a delete.
    pub deleted: *const etcdgw_delete_response,
    /// The answer to a transaction inside.
    pub txn: *const etcdgw_txn_response,
}

impl etcdgw_txn_response {
    fn lend(answer: TxnResponse, kept: &mut Kept) -> etcdgw_txn_response {
        let results = answer.results.into_iter().map(|result| etcdgw_txn_result::keep(result, kept)).collect();
        let (results, results_len) = kept.array(results);
        let succeeded = i32::from(answer.succeeded);
        etcdgw_txn_response { header: answer.header.into(), succeeded, reserved0: 0, results, results_len }
    }
}

impl etcdgw_txn_result {
    fn keep(answer: TxnResult, kept: &mut Kept) -> *const etcdgw_txn_result {
        let mut result = etcdgw_txn_result {
            operation: 0,
            reserved0: 0,
            put: ptr::null(),
            get: ptr::null(),
            deleted: ptr::null(),
            txn: ptr::null(),
        };
        match answer {
            TxnResult::Put(answer) => {
                let put = etcdgw_put_response::lend(answer, kept);
                result.operation = ETCDGW_TXN_PUT;
                result.put = kept.keep(put);
            }
            TxnResult::Range(answer) => {
                let get = etcdgw_get_response::lend(answer, kept, Kept::kvs);
                result.operation = ETCDGW_TXN_GET;
                result.get = kept.keep(get);
            }
            TxnResult::DeleteRange(answer) => {
                let deleted = etcdgw_delete_response::lend(answer, kept, Kept::kvs);
                result.operation = ETCDGW_TXN_DELETE;
                result.deleted = kept.keep(deleted);
            }
            TxnResult::Txn(answer) => {
                let txn = etcdgw_txn_response::lend(answer, kept);
                result.operation = ETCDGW_TXN_TXN;
                result.txn = kept.keep(txn);
            }
        }
        kept.keep(result)
    }
}

pub(super) fn new_txn(answer: Response<TxnResponse>) -> *mut etcdgw_txn_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    response::new(etcdgw_txn_response::lend(answer, &mut kept), kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_response_free(response: *mut etcdgw_txn_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
