//! Going back to an older version of etcd.

use super::boundary::{fallible, infallible};
use super::bytes::borrow_text;
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, choice, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::downgrade::{DowngradeAction, DowngradeResponse};
use std::ffi::c_char;

/// In the order of the constants.
const ACTIONS: &[DowngradeAction] = &[DowngradeAction::Validate, DowngradeAction::Enable, DowngradeAction::Cancel];

/// The answer to a downgrade.
#[repr(C)]
pub struct etcdgw_maintenance_downgrade_response {
    /// The header.
    pub header: etcdgw_header,
    /// The cluster's version now.
    pub version: *const c_char,
}

/// Asks whether the cluster may go back to an older version of etcd, prepares that, or gives it up. Once it is prepared the
/// members are replaced one by one.
///
/// `action`: `ETCDGW_DOWNGRADE_VALIDATE`, `_ENABLE` or `_CANCEL`. `version`: the older one, such as `"3.5"`; may be NULL to
/// cancel. `options` may be NULL. `response`: receives the answer, owned by the caller:
/// `etcdgw_maintenance_downgrade_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for a version that is none or not the one before, `ETCDGW_FAILED_PRECONDITION` where a
/// downgrade is under way already (and in 3.5 where none is that could be given up), `ETCDGW_UNIMPLEMENTED` from etcd 3.4.
/// etcd 3.5 begins a downgrade, or gives it up, and answers after 7 s that the request timed out: `ETCDGW_UNAVAILABLE`, and
/// it may have applied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_downgrade(
    client: *mut etcdgw_client,
    action: i32,
    version: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_maintenance_downgrade_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let action = choice(action, "action", ACTIONS)?;
            let version = match action {
                DowngradeAction::Cancel => borrow_text(version, "version")?.unwrap_or_default(),
                DowngradeAction::Validate | DowngradeAction::Enable => required_text(version, "version")?,
            };
            let answer = client.downgrade(action, version, &options::read(options)?.call()?)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

fn new(answer: Response<DowngradeResponse>) -> *mut etcdgw_maintenance_downgrade_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let version = kept.text(answer.version);
    response::new(etcdgw_maintenance_downgrade_response { header: answer.header.into(), version }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_maintenance_downgrade_response_free(
    response: *mut etcdgw_maintenance_downgrade_response,
) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
