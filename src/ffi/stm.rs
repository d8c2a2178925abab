//! Optimistic transactions.

use super::boundary::fallible;
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client};
use super::constants::{ETCDGW_OK, etcdgw_status};
use super::error::{etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::kv_options::etcdgw_put_options;
use super::kv_response::{etcdgw_get_response, new_get};
use super::options::{self, OptionStruct, choice, option_struct};
use super::output::Output;
use super::txn_response::{etcdgw_txn_response, new_txn};
use crate::concurrency::stm::{Isolation, Stm, StmOptions};
use crate::error::{Error, Result};
use crate::rpc::Response;
use crate::rpc::txn::TxnResponse;
use std::ffi::c_void;

/// An optimistic transaction, for the function that is called with it: it ends when that returns. One thread at a time.
pub struct etcdgw_stm_handle {
    _private: (),
}

impl Handle for etcdgw_stm_handle {
    type Value = Stm;
    type Shell = Native<Stm>;
}

/// Reads and writes in an optimistic transaction, by `etcdgw_stm_get`, `_put` and `_delete`; `user_data` is what was given
/// to `etcdgw_stm`. It returns `ETCDGW_OK` to commit what it wrote; anything else gives it up, and is what `etcdgw_stm`
/// returns.
///
/// Called on the thread that called `etcdgw_stm`, as often as it takes: it must do nothing that can't be done again. It
/// may call every function of the library, and must not throw.
pub type etcdgw_stm_callback =
    Option<unsafe extern "C" fn(stm: *mut etcdgw_stm_handle, user_data: *mut c_void) -> etcdgw_status>;

/// Options of `etcdgw_stm`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_stm_options {
    /// `sizeof(etcdgw_stm_options)`.
    pub struct_size: usize,
    /// Bounds the whole, with all attempts; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// One of `ETCDGW_STM_...`.
    pub isolation: i32,
    /// At most so many attempts; 0: as many as the time allows.
    pub max_attempts: i32,
}
option_struct!(etcdgw_stm_options {
    struct_size, timeout_ms, cancel, isolation, max_attempts
} first_release_ended_with max_attempts);

const ISOLATIONS: &[Isolation] =
    &[Isolation::SerializableSnapshot, Isolation::Serializable, Isolation::RepeatableReads, Isolation::ReadCommitted];

impl etcdgw_stm_options {
    fn read(&self) -> Result<StmOptions> {
        let isolation = choice(self.isolation, "options.isolation", ISOLATIONS)?;
        let max_attempts = u32::try_from(self.max_attempts)
            .map_err(|_| Error::invalid(format!("options.max_attempts is negative: {}", self.max_attempts)))?;
        Ok(StmOptions { isolation, max_attempts, call: self.call()? })
    }
}

/// Runs an optimistic transaction, as Go's `concurrency.NewSTM`: calls `apply`, which reads and writes keys as if it were
/// alone, and commits what it wrote in one transaction, provided that nobody else has written meanwhile what it read. Else
/// it calls `apply` anew, after a pause from the second time on.
///
/// `options` may be NULL. `user_data`: given to `apply`. `response`: receives the answer to the transaction that was
/// committed, owned by the caller: `etcdgw_txn_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns what `apply` returned, if that is not `ETCDGW_OK`; `ETCDGW_ABORTED` when `options.max_attempts` attempts met
/// others' writes. A read that fails ends it with that error, whatever `apply` returns. A commit whose answer was lost is
/// not made again: `etcdgw_error_may_have_applied` tells of it, and after every other error nothing was written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_stm(
    client: *mut etcdgw_client,
    options: *const etcdgw_stm_options,
    apply: etcdgw_stm_callback,
    user_data: *mut c_void,
    response: *mut *mut etcdgw_txn_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let apply = apply.ok_or_else(|| Error::invalid("apply is NULL"))?;
            let stm = handle::new(Stm::new(client, options::read(options)?.read()?));
            let done = run(stm, &|| apply(stm, user_data));
            handle::free(stm);
            let done = done?;
            response.set_with(|| new_txn(done));
            Ok(())
        })
    }
}

/// # Safety
/// `stm` is a handle that nobody else uses but `apply`.
unsafe fn run(stm: *mut etcdgw_stm_handle, apply: &dyn Fn() -> etcdgw_status) -> Result<Response<TxnResponse>> {
    loop {
        // SAFETY: the caller's promise; no borrow lasts while `apply` runs.
        unsafe { handle::borrow_mut(stm, "stm")? }.begin()?;
        let status = apply();
        // SAFETY: as above.
        let stm = unsafe { handle::borrow_mut(stm, "stm")? };
        let applied = if status == ETCDGW_OK { Ok(()) } else { Err(Error::GivenUp { status }) };
        if let Some(done) = stm.end(applied)? {
            return Ok(done);
        }
    }
}

/// Reads a key as the transaction has left it: what it wrote itself, else what was there.
///
/// `response`: receives the key, owned by the caller: `etcdgw_get_response_free`; NULL when it isn't wanted. The revision in
/// its header is that of the transaction's first read; a key that the transaction wrote has no revisions. A key that
/// doesn't exist is `ETCDGW_OK` with `kvs_len` 0. The time limit and the token of `etcdgw_stm` bound it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_stm_get(
    stm: *mut etcdgw_stm_handle,
    key: etcdgw_bytes,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let answer = handle::borrow_mut(stm, "stm")?.get(key.borrow("key")?)?;
            response.set_with(|| new_get(answer));
            Ok(())
        })
    }
}

/// Writes a key, when the transaction is committed; nothing is sent before.
///
/// `options`: a lease, and nothing else; may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_stm_put(
    stm: *mut etcdgw_stm_handle,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let stm = handle::borrow_mut(stm, "stm")?;
            let options = options::read_without_limits(options, "has no meaning here: that of etcdgw_stm counts")?;
            stm.put(options.conditional_request(key.borrow("key")?, value.borrow("value")?)?);
            Ok(())
        })
    }
}

/// Deletes a key, when the transaction is committed; nothing is sent before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_stm_delete(
    stm: *mut etcdgw_stm_handle,
    key: etcdgw_bytes,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            handle::borrow_mut(stm, "stm")?.delete(key.borrow("key")?);
            Ok(())
        })
    }
}
