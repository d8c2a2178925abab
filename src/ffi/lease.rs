//! Leases.

use super::boundary::{fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::options::{self, OptionStruct, etcdgw_call_options, flag, not_negative, option_struct};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::client::Client;
use crate::error::Error;
use crate::rpc::Response;
use crate::rpc::lease::{LeaseLeasesResponse, LeaseTimeToLiveResponse};

/// Options of `etcdgw_lease_grant`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_lease_grant_options {
    /// `sizeof(etcdgw_lease_grant_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The ID of the new lease; 0: the library picks a random one.
    pub id: i64,
}
option_struct!(etcdgw_lease_grant_options { struct_size, timeout_ms, cancel, id } first_release_ended_with id);

/// Grants a lease: keys attached to it are deleted when it isn't refreshed for its time.
///
/// `ttl_s`: the time wanted, in seconds; 0: the shortest that the server grants. `options` may be NULL. `id`: receives the
/// lease's ID; after a failure too if `etcdgw_error_may_have_applied`, so that the lease can be looked for.
/// `granted_ttl_s`: receives the time granted, which the server may have raised; may be NULL. Any thread.
///
/// With an ID of the library's a grant that got no answer is made again, on another member too: there is one lease
/// whatever happens. Under an ID of the caller's it is made once.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_LEASE_EXISTS` for an ID that is taken, and
/// `ETCDGW_OUT_OF_RANGE` for a time beyond the server's maximum.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_grant(
    client: *mut etcdgw_client,
    ttl_s: i64,
    options: *const etcdgw_lease_grant_options,
    id: *mut i64,
    granted_ttl_s: *mut i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let (id, granted_ttl_s) = (Output::cleared(id), Output::cleared(granted_ttl_s));
            let id = id.required("id")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let ttl_s = not_negative(ttl_s, "ttl_s")?;
            let is_new = options.id == 0;
            let wanted = if is_new { Client::new_lease_id()? } else { options.id };
            let call = options.call()?;
            let granted = match is_new {
                true => client.lease_grant_new(ttl_s, wanted, &call),
                false => client.lease_grant(ttl_s, wanted, &call),
            };
            let answer = granted.inspect_err(|error| {
                if error.may_have_applied() {
                    id.set(wanted);
                }
            })?;
            id.set(answer.id);
            granted_ttl_s.set(answer.ttl);
            Ok(())
        })
    }
}

/// Ends a lease, and deletes the keys attached to it. A revoke that got no answer is made again; a lease that is gone by
/// then was revoked. Any thread.
///
/// Returns `ETCDGW_NOT_FOUND` when there is no such lease.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_revoke(
    client: *mut etcdgw_client,
    id: i64,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.lease_revoke(id, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Starts the time of a lease anew, once.
///
/// `ttl_s`: receives the seconds that the lease now has; -1 if it is gone. Any thread.
///
/// Returns `ETCDGW_LEASE_EXPIRED` when the lease has expired, was revoked, or never was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_refresh(
    client: *mut etcdgw_client,
    id: i64,
    options: *const etcdgw_call_options,
    ttl_s: *mut i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let ttl_s = Output::cleared(ttl_s).required("ttl_s")?;
            let client = borrow(client)?;
            let ttl = client.lease_refresh(id, &options::read(options)?.call()?).inspect_err(|error| {
                if matches!(error, Error::LeaseExpired { .. }) {
                    ttl_s.set(-1);
                }
            })?;
            ttl_s.set(ttl);
            Ok(())
        })
    }
}

/// Options of `etcdgw_lease_ttl`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_lease_ttl_options {
    /// `sizeof(etcdgw_lease_ttl_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// 1: asks for the attached keys.
    pub keys: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_lease_ttl_options {
    struct_size, timeout_ms, cancel, keys, reserved0
} first_release_ended_with reserved0 reserved0);

/// What is left of a lease.
#[repr(C)]
pub struct etcdgw_lease_ttl_response {
    /// The header.
    pub header: etcdgw_header,
    /// The lease's ID.
    pub id: i64,
    /// Seconds left; -1: it has expired, was revoked, or never was.
    pub ttl: i64,
    /// Seconds granted, and granted again by every refresh.
    pub granted_ttl: i64,
    /// The attached keys, where they were asked for; NULL when there are none.
    pub keys: *const etcdgw_bytes,
    /// How many keys are here.
    pub keys_len: usize,
}

/// Asks what is left of a lease, and with `options.keys` what is attached to it.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_lease_ttl_response_free`; NULL
/// when it isn't wanted. Any thread.
///
/// A lease that is gone is `ETCDGW_OK` with `ttl` -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_ttl(
    client: *mut etcdgw_client,
    id: i64,
    options: *const etcdgw_lease_ttl_options,
    response: *mut *mut etcdgw_lease_ttl_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let options = options::read(options)?;
            let keys = flag(options.keys, "options.keys")?;
            let answer = client.lease_time_to_live(id, keys, &options.call()?)?;
            response.set_with(|| new_ttl(answer));
            Ok(())
        })
    }
}

fn new_ttl(answer: Response<LeaseTimeToLiveResponse>) -> *mut etcdgw_lease_ttl_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    let keys = answer.keys.iter().map(|key| kept.bytes(*key)).collect();
    let (keys, keys_len) = kept.array(keys);
    let LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, .. } = answer;
    response::new(etcdgw_lease_ttl_response { header: header.into(), id, ttl, granted_ttl, keys, keys_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_ttl_response_free(response: *mut etcdgw_lease_ttl_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Every lease there is.
#[repr(C)]
pub struct etcdgw_lease_list_response {
    /// The header.
    pub header: etcdgw_header,
    /// Their IDs; NULL when there are none.
    pub ids: *const i64,
    /// How many IDs are here.
    pub ids_len: usize,
}

/// Lists all leases.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_lease_list_response_free`; NULL
/// when it isn't wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_list(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_lease_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let answer = client.lease_list(&options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

fn new_list(answer: Response<LeaseLeasesResponse>) -> *mut etcdgw_lease_list_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (ids, ids_len) = kept.array(answer.ids);
    response::new(etcdgw_lease_list_response { header: answer.header.into(), ids, ids_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_lease_list_response_free(response: *mut etcdgw_lease_list_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
