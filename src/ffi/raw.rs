//! The gateway itself, for what has no function here.

use super::boundary::{fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept};
use crate::rpc::raw::RawResponse;
use std::ffi::c_char;

/// An answer of the gateway as it came.
#[repr(C)]
pub struct etcdgw_raw_response {
    /// The HTTP status.
    pub http_status: i32,
    /// 0.
    pub reserved0: i32,
    /// The body.
    pub body: etcdgw_bytes,
}

fn new(answer: RawResponse) -> *mut etcdgw_raw_response {
    let mut kept = Kept::default();
    let (data, len) = kept.array(answer.body);
    let body = if len == 0 { etcdgw_bytes::lend(&[]) } else { etcdgw_bytes { data, len } };
    response::new(etcdgw_raw_response { http_status: answer.http_status.into(), reserved0: 0, body }, kept)
}

/// Posts JSON to any method of the gateway, and gives its answer as it came. `options.key_prefix` of the client is not
/// applied.
///
/// `path`: what follows the API path, such as `"/kv/range"`; the first slash may be left out. `json`: the request;
/// empty where there is none. `options` may be NULL. `response`: receives the answer, owned by the caller:
/// `etcdgw_raw_response_free`; NULL when it isn't wanted. Any thread.
///
/// An error answer is an error, as everywhere. A method that streams answers when its stream ends. Returns
/// `ETCDGW_INVALID_ARGUMENT` for a path that can't stand in a URL and for malformed JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_post(
    client: *mut etcdgw_client,
    path: *const c_char,
    json: etcdgw_bytes,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_raw_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let (path, json) = (required_text(path, "path")?, json.borrow("json")?);
            let answer = client.post(path, json, &options::read(options)?.call()?)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

/// Runs a transaction given in the gateway's own JSON, keys and values in base64:
/// `{"compare": [...], "success": [...], "failure": [...]}`. `options.key_prefix` of the client is not applied.
///
/// Else as `etcdgw_post` with the path `"/kv/txn"`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_txn_json(
    client: *mut etcdgw_client,
    json: etcdgw_bytes,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_raw_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let answer = client.txn_json(json.borrow("json")?, &options::read(options)?.call()?)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_raw_response_free(response: *mut etcdgw_raw_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
