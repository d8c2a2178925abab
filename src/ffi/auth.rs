//! Authentication as a whole.

use super::boundary::{fallible, infallible};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::auth::AuthStatusResponse;

/// Enables authentication: from then on every request needs a user, this client's next one too
/// (`etcdgw_client_set_credentials`).
///
/// It takes a user `root` with the role `root`. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` without such a user.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_auth_enable(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.auth_enable(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Disables authentication; users, roles and permissions stay. The client must be a user with the role `root`.
///
/// `options` may be NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_auth_disable(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.auth_disable(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Whether authentication is enabled.
#[repr(C)]
pub struct etcdgw_auth_status_response {
    /// The header.
    pub header: etcdgw_header,
    /// Raised by every change of users, roles and permissions.
    pub auth_revision: u64,
    /// 1: it is.
    pub enabled: i32,
    /// 0.
    pub reserved0: i32,
}

/// Asks whether authentication is enabled. etcd 3.5 and 3.6 tell nobody but a user with the role `root`, once it is.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_auth_status_response_free`; NULL
/// when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_UNIMPLEMENTED` from etcd 3.4.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_auth_status(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_auth_status_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let answer = client.auth_status(&options::read(options)?.call()?)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

fn new(answer: Response<AuthStatusResponse>) -> *mut etcdgw_auth_status_response {
    let (_, answer) = answer.into_parts();
    let response = etcdgw_auth_status_response {
        header: answer.header.into(),
        auth_revision: answer.auth_revision,
        enabled: answer.enabled.into(),
        reserved0: 0,
    };
    response::new(response, Kept::default())
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_auth_status_response_free(response: *mut etcdgw_auth_status_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
