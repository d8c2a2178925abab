//! Errors as C sees them, and the token that ends calls.

use super::boundary::{fallible, infallible};
use super::bytes::c_string;
use super::constants::*;
use super::handle::{self, Handle, Memory, Native};
use super::output::Output;
use crate::error::Error;
use crate::net::{self, CancelToken};
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

/// Why a call failed. It stays as it is until it is freed; any number of threads may read it.
pub struct etcdgw_error {
    _private: (),
}

/// What is behind an [`etcdgw_error`].
pub(super) struct ErrorValue {
    error: Error,
    message: CString,
    endpoint: Option<CString>,
}

impl Handle for etcdgw_error {
    type Value = ErrorValue;
    type Shell = Memory<ErrorValue>;
}

impl ErrorValue {
    pub(super) fn new(error: Error) -> ErrorValue {
        let message = c_string(error.full_message());
        let endpoint = error.endpoint().map(|url| c_string(&**url));
        ErrorValue { error, message, endpoint }
    }
}

/// Hands an error to the caller, if the caller wants it, and gives its status.
pub(super) fn report(error: Error, err: Output<*mut etcdgw_error>) -> etcdgw_status {
    let status = status_of(&error);
    if err.is_wanted() {
        err.set(handle::new(ErrorValue::new(error)));
    }
    status
}

pub(super) fn status_of(error: &Error) -> etcdgw_status {
    match error {
        Error::InvalidArgument { .. } => ETCDGW_INVALID_ARGUMENT,
        Error::Server { code, .. } => *code as etcdgw_status,
        Error::Connect { .. } => ETCDGW_CONNECTION_FAILED,
        Error::Tls { .. } => ETCDGW_TLS_FAILED,
        Error::Lost { .. } => ETCDGW_CONNECTION_LOST,
        Error::Protocol { .. } | Error::TooLarge { .. } => ETCDGW_PROTOCOL_ERROR,
        Error::Deadline { .. } => ETCDGW_DEADLINE_EXCEEDED,
        Error::Cancelled { .. } => ETCDGW_CANCELLED,
        Error::Closed { .. } => ETCDGW_CLOSED,
        Error::ClusterMismatch { .. } => ETCDGW_CLUSTER_MISMATCH,
        Error::VersionDiscovery { .. } => ETCDGW_VERSION_DISCOVERY_FAILED,
        Error::Compacted { .. } => ETCDGW_COMPACTED,
        Error::RevisionRegressed { .. } => ETCDGW_REVISION_REGRESSED,
        Error::LeaseExpired { .. } => ETCDGW_LEASE_EXPIRED,
        Error::FailedPrecondition { .. } => ETCDGW_FAILED_PRECONDITION,
        Error::Conflict { .. } => ETCDGW_ABORTED,
        Error::GivenUp { status } => *status,
        Error::Unimplemented { .. } => ETCDGW_UNIMPLEMENTED,
        Error::File { .. } => ETCDGW_IO,
        Error::System { .. } => ETCDGW_RESOURCE_EXHAUSTED,
        Error::Forked { .. } => ETCDGW_FORKED,
        Error::Panic(_) => ETCDGW_INTERNAL_PANIC,
    }
}

/// Reads something of an error; `of_null` is what a NULL error gives.
///
/// # Safety
/// `error` is NULL or an error that is not freed meanwhile.
unsafe fn read<T: Copy>(error: *const etcdgw_error, of_null: T, get: impl FnOnce(&ErrorValue) -> T) -> T {
    // SAFETY: the caller's promise.
    unsafe { handle::peek(error) }.map_or(of_null, get)
}

/// The status that came with the error; `ETCDGW_OK` of NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_status(error: *const etcdgw_error) -> etcdgw_status {
    // SAFETY: NULL or an error, says the header.
    infallible(ETCDGW_OK, || unsafe { read(error, ETCDGW_OK, |value| status_of(&value.error)) })
}

/// What went wrong, in one sentence: what, at which endpoint, what the server said, what the system said. Never NULL;
/// empty of NULL. Not meant to be parsed.
///
/// The string belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_message(error: *const etcdgw_error) -> *const c_char {
    // SAFETY: NULL or an error, says the header.
    infallible(c"".as_ptr(), || unsafe { read(error, c"".as_ptr(), |value| value.message.as_ptr()) })
}

/// The server's gRPC code, 1 to 16; -1 where no server answered with one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_grpc_code(error: *const etcdgw_error) -> i32 {
    let code = |value: &ErrorValue| match &value.error {
        Error::Server { code, .. } => *code as i32,
        _ => -1,
    };
    // SAFETY: NULL or an error, says the header.
    infallible(-1, || unsafe { read(error, -1, code) })
}

/// The HTTP status of the answer; 0 where there was no answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_http_status(error: *const etcdgw_error) -> i32 {
    // SAFETY: NULL or an error, says the header.
    infallible(0, || unsafe { read(error, 0, |value| i32::from(value.error.http_status())) })
}

/// The URL of the endpoint concerned; NULL where it concerns none.
///
/// The string belongs to the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_endpoint(error: *const etcdgw_error) -> *const c_char {
    let endpoint = |value: &ErrorValue| value.endpoint.as_ref().map_or(ptr::null(), |url| url.as_ptr());
    // SAFETY: NULL or an error, says the header.
    infallible(ptr::null(), || unsafe { read(error, ptr::null(), endpoint) })
}

/// What the server's message means, one of `ETCDGW_REASON_...`: finer than the status, and the same in all versions of
/// etcd.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_reason(error: *const etcdgw_error) -> i32 {
    // SAFETY: NULL or an error, says the header.
    infallible(ETCDGW_REASON_OTHER, || unsafe { read(error, ETCDGW_REASON_OTHER, |value| value.error.reason() as i32) })
}

/// 1: the same call, made again later, may well succeed, and making it again does no harm. 0: it would fail again, or
/// it may have been done already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_is_retryable(error: *const etcdgw_error) -> i32 {
    // SAFETY: NULL or an error, says the header.
    infallible(0, || unsafe { read(error, 0, |value| i32::from(value.error.is_retryable())) })
}

/// 1: the write may have been done although the call failed; only a look at the keys can tell. 0: it was not done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_may_have_applied(error: *const etcdgw_error) -> i32 {
    // SAFETY: NULL or an error, says the header.
    infallible(0, || unsafe { read(error, 0, |value| i32::from(value.error.may_have_applied())) })
}

/// Frees an error; NULL is fine. Never to be called on an error that belongs to a response.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_error_free(error: *mut etcdgw_error) {
    // SAFETY: NULL or an error that the caller owns, says the header.
    infallible((), || unsafe { handle::free(error) });
}

/// Ends the calls that it is given to, from another thread or from a signal handler.
pub struct etcdgw_cancel {
    _private: (),
}

impl Handle for etcdgw_cancel {
    /// Calls under way may hold the token longer than the handle's owner.
    type Value = Arc<CancelToken>;
    type Shell = Native<Arc<CancelToken>>;
}

/// Makes a cancel token. One token may serve any number of calls, and it stays triggered.
///
/// `out`: receives the token, owned by the caller: `etcdgw_cancel_free`. Any thread.
///
/// Returns `ETCDGW_RESOURCE_EXHAUSTED` when the process has no descriptor left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_cancel_new(out: *mut *mut etcdgw_cancel, err: *mut *mut etcdgw_error) -> etcdgw_status {
    // SAFETY: outputs are NULL or writable, says the header.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let token = CancelToken::new().map_err(net::no_descriptor)?;
            out.set(handle::new(Arc::new(token)));
            Ok(())
        })
    }
}

/// Ends every call that holds the token within 100 ms with `ETCDGW_CANCELLED`, and every later one at once. NULL does
/// nothing.
///
/// Any thread, any number of times, until the token is freed. Async-signal-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_cancel_trigger(cancel: *mut etcdgw_cancel) {
    infallible((), || {
        // SAFETY: NULL or a token, says the header.
        if let Some(token) = unsafe { handle::peek(cancel) } {
            token.trigger();
        }
    });
}

/// Frees a token; NULL is fine. Calls and watches that hold it go on, and can no longer be ended by it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_cancel_free(cancel: *mut etcdgw_cancel) {
    // SAFETY: NULL or a token that the caller owns, says the header.
    infallible((), || unsafe { handle::free(cancel) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_went_back_in_time_has_its_status_and_says_so() {
        let error = Error::RevisionRegressed { endpoint: Arc::from("http://a:2379"), seen: 20, found: 19 };
        assert_eq!(status_of(&error), ETCDGW_REVISION_REGRESSED);
        let value = ErrorValue::new(error);
        let message = c"http://a:2379: the cluster lost what it had at revision 20 and is now at 19: it was restored from a backup";
        assert_eq!(value.message.as_c_str(), message);
        assert_eq!(value.endpoint.as_deref(), Some(c"http://a:2379"));
    }
}
