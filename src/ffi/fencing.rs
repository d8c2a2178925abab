//! Conditions of transactions that hold only while a mutex, an office or a lock is still had.

use super::boundary::{Failure, fallible};
use super::constants::etcdgw_status;
use super::election::etcdgw_election;
use super::error::etcdgw_error;
use super::handle;
use super::lock::etcdgw_lock;
use super::mutex::etcdgw_mutex;
use super::txn::etcdgw_txn;
use crate::client::Client;
use crate::error::Error;
use crate::rpc::txn::Compare;

/// Adds a condition of another object's.
///
/// # Safety
/// As every exported function.
unsafe fn add(
    txn: *mut etcdgw_txn,
    compare: Option<Compare<'static>>,
    client: &Client,
    lacking: &'static str,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let txn = unsafe { handle::borrow_mut(txn, "txn")? };
    // The same name would be another key.
    if txn.client().namespace().prefix() != client.namespace().prefix() {
        return Err(Error::invalid("txn: its client has another key_prefix").into());
    }
    txn.add_compare(compare.ok_or(Error::FailedPrecondition { what: lacking })?);
    Ok(())
}

/// Adds the condition that the mutex is still locked by its owner, and has been ever since: the transaction happens then
/// or not at all, whatever the owner's process has missed.
///
/// `mutex` stays the caller's; what becomes of it later doesn't change the condition. One thread at a time for `txn`.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` when it isn't locked, or its session is known to be lost or closed,
/// `ETCDGW_INVALID_ARGUMENT` when the clients of the two have different prefixes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_owner(
    txn: *mut etcdgw_txn,
    mutex: *const etcdgw_mutex,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let mutex = handle::borrow(mutex, "mutex")?;
            add(txn, mutex.is_owner(), mutex.client(), "the mutex is not locked")
        })
    }
}

/// Adds the condition that the candidate still leads. Else as `etcdgw_txn_if_owner`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_leader(
    txn: *mut etcdgw_txn,
    election: *const etcdgw_election,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let election = handle::borrow(election, "election")?;
            add(txn, election.is_leader(), election.client(), "the candidate is not the leader")
        })
    }
}

/// Adds the condition that the lock is still held. Else as `etcdgw_txn_if_owner`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_if_lock(
    txn: *mut etcdgw_txn,
    lock: *const etcdgw_lock,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let lock = &handle::borrow(lock, "lock")?.lock;
            add(txn, lock.is_held(), lock.client(), "the lock is not held")
        })
    }
}
