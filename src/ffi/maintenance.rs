//! The care of members: their state, space and hashes, and which of them leads.

use super::boundary::{fallible, infallible};
use super::bytes::borrow_text;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, etcdgw_call_options, not_negative};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::maintenance::{HashKvResponse, HashResponse, StatusResponse};
use std::ffi::c_char;

/// What a member says of itself. What its version doesn't know is 0 or empty; no string is NULL.
#[repr(C)]
pub struct etcdgw_maintenance_status_response {
    /// The header.
    pub header: etcdgw_header,
    /// etcd's version there.
    pub version: *const c_char,
    /// Bytes that its database takes on disk.
    pub db_size: i64,
    /// Bytes of that which hold data.
    pub db_size_in_use: i64,
    /// Bytes that the database may take (3.6 and newer).
    pub db_size_quota: i64,
    /// The leader's member ID; 0: it knows none.
    pub leader: u64,
    /// The last Raft index that it has.
    pub raft_index: u64,
    /// Its Raft term.
    pub raft_term: u64,
    /// The last Raft index that it has applied.
    pub raft_applied_index: u64,
    /// Its alarms and faults in its words; `errors_len` strings.
    pub errors: *const *const c_char,
    /// How many of them are here.
    pub errors_len: usize,
    /// Version of its storage format (3.6 and newer).
    pub storage_version: *const c_char,
    /// The version that a downgrade leads to.
    pub downgrade_target_version: *const c_char,
    /// 1: a downgrade is under way (3.6 and newer).
    pub downgrade_enabled: i32,
    /// 1: it only learns, and doesn't vote.
    pub is_learner: i32,
}

/// Asks a member for its state.
///
/// `endpoint`: its URL, written as an endpoint of the client; NULL: the member in use. One that is none of the client's
/// endpoints is asked without the client's token. `options` may be NULL.
/// `response`: receives the answer, owned by the caller: `etcdgw_maintenance_status_response_free`; NULL when it isn't
/// wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_status(
    client: *mut etcdgw_client,
    endpoint: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_status_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let endpoint = borrow_text(endpoint, "endpoint")?;
            let answer = client.status(endpoint, &options::read(options)?.call()?)?;
            response.set_with(|| new_status(answer));
            Ok(())
        })
    }
}

fn new_status(answer: Response<StatusResponse>) -> *mut etcdgw_maintenance_status_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (errors, errors_len) = kept.texts(answer.errors);
    let response = etcdgw_maintenance_status_response {
        header: answer.header.into(),
        version: kept.text(answer.version),
        db_size: answer.db_size,
        db_size_in_use: answer.db_size_in_use,
        db_size_quota: answer.db_size_quota,
        leader: answer.leader,
        raft_index: answer.raft_index,
        raft_term: answer.raft_term,
        raft_applied_index: answer.raft_applied_index,
        errors,
        errors_len,
        storage_version: kept.text(answer.storage_version),
        downgrade_target_version: kept.text(answer.downgrade_target_version),
        downgrade_enabled: answer.downgrade_enabled.into(),
        is_learner: answer.is_learner.into(),
    };
    response::new(response, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_status_response_free(response: *mut etcdgw_maintenance_status_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Gives the space that a member's database no longer needs back to its file system.
///
/// `endpoint`: the member's URL, as in `etcdgw_maintenance_status`; NULL: the one in use. `options` may be NULL. Any
/// thread.
///
/// The member answers nobody meanwhile, which takes seconds for each gigabyte: give it a `timeout_ms` for that. When the
/// call ends early the member goes on, and the error may have applied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_defragment(
    client: *mut etcdgw_client,
    endpoint: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let endpoint = borrow_text(endpoint, "endpoint")?;
            client.defragment(endpoint, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// A hash of a member's whole database.
#[repr(C)]
pub struct etcdgw_maintenance_hash_response {
    /// The header.
    pub header: etcdgw_header,
    /// The hash.
    pub hash: u32,
    /// 0.
    pub reserved0: u32,
}

/// Hashes the whole database of a member, which tells only whether it changes: those of two members differ although they
/// hold the same keys. To compare members use `etcdgw_maintenance_hash_kv`.
///
/// `endpoint`: the member's URL, as in `etcdgw_maintenance_status`; NULL: the one in use. `options` may be NULL.
/// `response`: receives the answer, owned by the caller: `etcdgw_maintenance_hash_response_free`; NULL when it isn't
/// wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_hash(
    client: *mut etcdgw_client,
    endpoint: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_hash_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let endpoint = borrow_text(endpoint, "endpoint")?;
            let answer = client.hash(endpoint, &options::read(options)?.call()?)?;
            response.set_with(|| new_hash(answer));
            Ok(())
        })
    }
}

fn new_hash(answer: Response<HashResponse>) -> *mut etcdgw_maintenance_hash_response {
    let (_, HashResponse { header, hash }) = answer.into_parts();
    let response = etcdgw_maintenance_hash_response { header: header.into(), hash, reserved0: 0 };
    response::new(response, Kept::default())
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_hash_response_free(response: *mut etcdgw_maintenance_hash_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// A hash of a member's keys with their history.
#[repr(C)]
pub struct etcdgw_maintenance_hash_kv_response {
    /// The header.
    pub header: etcdgw_header,
    /// The revision that the member is compacted at; 0 or less: it never was.
    pub compact_revision: i64,
    /// The revision up to which was hashed (3.6 and newer).
    pub hash_revision: i64,
    /// The hash.
    pub hash: u32,
    /// 0.
    pub reserved0: u32,
}

/// Hashes the keys of a member with their history up to a revision: members that are compacted alike give the same hash of
/// one revision, unless one is corrupt.
///
/// `endpoint`: the member's URL, as in `etcdgw_maintenance_status`; NULL: the one in use. `revision`: 0: up to now.
/// `options` may be NULL. `response`: receives the answer, owned by the caller:
/// `etcdgw_maintenance_hash_kv_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_OUT_OF_RANGE` for a revision that is compacted or yet to come, and `ETCDGW_UNIMPLEMENTED` from etcd 3.4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_hash_kv(
    client: *mut etcdgw_client,
    endpoint: *const c_char,
    revision: i64,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_hash_kv_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let endpoint = borrow_text(endpoint, "endpoint")?;
            let revision = not_negative(revision, "revision")?;
            let answer = client.hash_kv(endpoint, revision, &options::read(options)?.call()?)?;
            response.set_with(|| new_hash_kv(answer));
            Ok(())
        })
    }
}

fn new_hash_kv(answer: Response<HashKvResponse>) -> *mut etcdgw_maintenance_hash_kv_response {
    let (_, HashKvResponse { header, hash, compact_revision, hash_revision }) = answer.into_parts();
    let header = header.into();
    let response = etcdgw_maintenance_hash_kv_response { header, compact_revision, hash_revision, hash, reserved0: 0 };
    response::new(response, Kept::default())
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_hash_kv_response_free(response: *mut etcdgw_maintenance_hash_kv_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Makes another member the leader, and returns when it is.
///
/// Only the leader can do it: it is looked for among the client's endpoints. `target_id`: the ID of the member that is to
/// lead. `options` may be NULL. Any thread. When the answer is lost it is asked for again: done twice it does no more.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` for a member that can't lead: there is none of this ID, or it is a learner; and
/// with reason `ETCDGW_REASON_NOT_LEADER` where no endpoint is that of the leader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_move_leader(
    client: *mut etcdgw_client,
    target_id: u64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.move_leader(target_id, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}
