//! The state of one member.

use super::boundary::{fallible, infallible};
use super::bytes::borrow_text;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::maintenance::StatusResponse;
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
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

fn new(answer: Response<StatusResponse>) -> *mut etcdgw_maintenance_status_response {
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
