//! Transactions being built.

use super::boundary::{Failure, fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{self, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::kv_options::{etcdgw_delete_options, etcdgw_get_options, etcdgw_put_options};
use super::options::{self, OptionStruct, choice, etcdgw_call_options, refuse};
use super::output::Output;
use super::txn_response::{etcdgw_txn_response, new_txn};
use crate::client::Client;
use crate::error::Result;
use crate::rpc::Keys;
use crate::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use std::borrow::Cow;

/// A transaction being built: conditions, what to do where all of them hold, and what to do else. It belongs to one
/// thread at a time.
pub struct etcdgw_txn {
    _private: (),
}

/// What is behind an [`etcdgw_txn`].
pub(super) struct TxnValue {
    client: Client,
    request: TxnRequest<'static>,
    /// How deep transactions lie in it.
    depth: usize,
}

impl TxnValue {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn add_compare(&mut self, compare: Compare<'static>) {
        self.request.compare.push(compare);
    }
}

/// Deeper nesting is refused: the way down it takes stack, and no use of it is known.
const MAX_DEPTH: usize = 16;

impl Handle for etcdgw_txn {
    type Value = TxnValue;
    type Shell = Native<TxnValue>;
}

/// Begins a transaction without conditions and operations. Nothing is sent before it is committed.
///
/// `out`: receives it, owned by the caller: `etcdgw_txn_free`. It may outlive the client's handle. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_new(
    client: *mut etcdgw_client,
    out: *mut *mut etcdgw_txn,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let client = client::borrow(client)?.clone();
            out.set(handle::new(TxnValue { client, request: TxnRequest::default(), depth: 0 }));
            Ok(())
        })
    }
}

/// Frees a transaction, committed or not; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_free(txn: *mut etcdgw_txn) {
    // SAFETY: NULL or a transaction that the caller owns, says the header.
    infallible((), || unsafe { handle::free(txn) });
}

const COMPARE_OPS: &[CompareOp] = &[CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];

/// Adds a condition.
///
/// # Safety
/// As every exported function.
unsafe fn add_condition(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    target: impl FnOnce() -> Result<CompareTarget<'static>>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (txn, key, range_end) =
        unsafe { (handle::borrow_mut(txn, "txn")?, key.borrow("key")?, range_end.borrow("range_end")?) };
    let keys = Keys::from_wire(Cow::Borrowed(key), Cow::Borrowed(range_end)).into_owned();
    txn.request.compare.push(Compare { keys, op: choice(op, "op", COMPARE_OPS)?, target: target()? });
    Ok(())
}

/// Adds the condition that the key's value stands to `value` as `op` says. A key that doesn't exist fulfils it never.
///
/// `range_end`: empty for one key; else every key of the range must fulfil it. `op`: `ETCDGW_EQUAL`, `_GREATER`,
/// `_LESS` or `_NOT_EQUAL`. One thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_value(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    value: etcdgw_bytes,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        let target = || Ok(CompareTarget::Value(Cow::Owned(value.borrow("value")?.to_vec())));
        fallible(err, || add_condition(txn, key, range_end, op, target))
    }
}

/// Adds a condition on how many times the key was written since it was created; 0: it doesn't exist. Else as
/// `etcdgw_txn_if_value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_version(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    version: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_condition(txn, key, range_end, op, || Ok(CompareTarget::Version(version)))) }
}

/// Adds a condition on the revision that created the key; 0: it doesn't exist. Else as `etcdgw_txn_if_value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_create_revision(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    revision: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_condition(txn, key, range_end, op, || Ok(CompareTarget::CreateRevision(revision)))) }
}

/// Adds a condition on the revision that changed the key last; 0: it doesn't exist. Else as `etcdgw_txn_if_value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_mod_revision(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    revision: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_condition(txn, key, range_end, op, || Ok(CompareTarget::ModRevision(revision)))) }
}

/// Adds a condition on the lease that the key is attached to; 0: none. Else as `etcdgw_txn_if_value`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_lease(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    range_end: etcdgw_bytes,
    op: i32,
    lease: i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_condition(txn, key, range_end, op, || Ok(CompareTarget::Lease(lease)))) }
}

/// Which of a transaction's two lists of operations.
#[derive(Clone, Copy)]
enum Branch {
    Then,
    Else,
}

impl Branch {
    fn of(self, txn: &mut TxnValue) -> &mut Vec<TxnOp<'static>> {
        match self {
            Branch::Then => &mut txn.request.success,
            Branch::Else => &mut txn.request.failure,
        }
    }
}

/// Adds an operation that is made from options. The time limits of these are refused: those of the commit count.
///
/// # Safety
/// As every exported function.
unsafe fn add_operation<O: OptionStruct>(
    txn: *mut etcdgw_txn,
    branch: Branch,
    options: *const O,
    operation: impl FnOnce(&O) -> Result<TxnOp<'static>>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let txn = unsafe { handle::borrow_mut(txn, "txn")? };
    let counts = "has no meaning here: that of etcdgw_txn_commit counts";
    // SAFETY: the caller's promise.
    let options = unsafe { options::read_without_limits(options, counts)? };
    branch.of(txn).push(operation(&options)?);
    Ok(())
}

/// # Safety
/// As every exported function.
unsafe fn add_put(
    txn: *mut etcdgw_txn,
    branch: Branch,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        let put = |options: &etcdgw_put_options| {
            Ok(TxnOp::Put(options.request(key.borrow("key")?, value.borrow("value")?)?.into_owned()))
        };
        add_operation(txn, branch, options, put)
    }
}

/// # Safety
/// As every exported function.
unsafe fn add_get(
    txn: *mut etcdgw_txn,
    branch: Branch,
    key: etcdgw_bytes,
    options: *const etcdgw_get_options,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        let get = |options: &etcdgw_get_options| Ok(TxnOp::Range(options.request(key.borrow("key")?)?.into_owned()));
        add_operation(txn, branch, options, get)
    }
}

/// # Safety
/// As every exported function.
unsafe fn add_delete(
    txn: *mut etcdgw_txn,
    branch: Branch,
    key: etcdgw_bytes,
    options: *const etcdgw_delete_options,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    unsafe {
        let delete =
            |options: &etcdgw_delete_options| Ok(TxnOp::DeleteRange(options.request(key.borrow("key")?)?.into_owned()));
        add_operation(txn, branch, options, delete)
    }
}

/// # Safety
/// As every exported function.
unsafe fn add_txn(txn: *mut etcdgw_txn, branch: Branch, copied: *const etcdgw_txn) -> Result<(), Failure> {
    // `copied` may be `txn` itself: its borrow ends before that of `txn` begins.
    let (request, depth) = {
        // SAFETY: the caller's promise.
        let copied = unsafe { handle::borrow(copied, "copied")? };
        (copied.request.clone(), copied.depth + 1)
    };
    // SAFETY: the caller's promise.
    let txn = unsafe { handle::borrow_mut(txn, "txn")? };
    refuse(depth > MAX_DEPTH, "copied", "nests transactions deeper than 16")?;
    txn.depth = txn.depth.max(depth);
    branch.of(txn).push(TxnOp::Txn(request));
    Ok(())
}

/// Adds a put to what is done where every condition holds.
///
/// `options`: as of `etcdgw_put`, without `timeout_ms` and `cancel`; may be NULL. One thread at a time.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for options that `etcdgw_put` refuses; the transaction is then as it was. What only the
/// server refuses, an empty key for instance, is told by the commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_then_put(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_put(txn, Branch::Then, key, value, options)) }
}

/// Adds a get to what is done where every condition holds.
///
/// `options`: as of `etcdgw_get`, without `timeout_ms` and `cancel`; may be NULL. One thread at a time.
///
/// Returns `ETCDGW_INVALID_ARGUMENT`, as `etcdgw_get` would; the transaction is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_then_get(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    options: *const etcdgw_get_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_get(txn, Branch::Then, key, options)) }
}

/// Adds a delete to what is done where every condition holds.
///
/// `options`: as of `etcdgw_delete`, without `timeout_ms` and `cancel`; may be NULL. One thread at a time.
///
/// Returns `ETCDGW_INVALID_ARGUMENT`, as `etcdgw_delete` would; the transaction is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_then_delete(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    options: *const etcdgw_delete_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_delete(txn, Branch::Then, key, options)) }
}

/// Adds a transaction to what is done where every condition holds.
///
/// `copied`: stays the caller's; what is added to it later doesn't count here. Its client doesn't matter. One thread at
/// a time, for both.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for transactions nested deeper than 16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_then_txn(
    txn: *mut etcdgw_txn,
    copied: *const etcdgw_txn,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_txn(txn, Branch::Then, copied)) }
}

/// Adds a put to what is done where a condition doesn't hold. Else as `etcdgw_txn_then_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_else_put(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_put(txn, Branch::Else, key, value, options)) }
}

/// Adds a get to what is done where a condition doesn't hold. Else as `etcdgw_txn_then_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_else_get(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    options: *const etcdgw_get_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_get(txn, Branch::Else, key, options)) }
}

/// Adds a delete to what is done where a condition doesn't hold. Else as `etcdgw_txn_then_delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_else_delete(
    txn: *mut etcdgw_txn,
    key: etcdgw_bytes,
    options: *const etcdgw_delete_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_delete(txn, Branch::Else, key, options)) }
}

/// Adds a transaction to what is done where a condition doesn't hold. Else as `etcdgw_txn_then_txn`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_else_txn(
    txn: *mut etcdgw_txn,
    copied: *const etcdgw_txn,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || add_txn(txn, Branch::Else, copied)) }
}

/// Runs the transaction: all of it at one revision, or nothing of it. It may be extended and committed again.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_txn_response_free`; NULL when
/// it isn't wanted. One thread at a time.
///
/// That a condition didn't hold is `ETCDGW_OK` with `succeeded` 0. Returns `ETCDGW_INVALID_ARGUMENT` with a reason when
/// the server refuses it: `ETCDGW_REASON_DUPLICATE_KEY`, `ETCDGW_REASON_TOO_MANY_OPS`. After a failure
/// `etcdgw_error_may_have_applied` tells whether it may have been done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_commit(
    txn: *mut etcdgw_txn,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_txn_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let txn = handle::borrow(txn, "txn")?;
            let answer = txn.client.txn(&txn.request, &options::read(options)?.call()?)?;
            response.set_with(|| new_txn(answer));
            Ok(())
        })
    }
}
