//! Every option and field of the C interface, on its way in and on its way out, against a gateway that keeps what it
//! was asked and answers what it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "calls the C interface")]
#![allow(clippy::not_unsafe_ptr_arg_deref, reason = "what is read is what the library gave")]

mod administration;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod coordination;
mod ends;
mod errors;
mod mirrors;
mod recipes;
mod requests;
mod responses;
#[allow(dead_code)]
#[path = "../snapshot/support.rs"]
mod snapshot_gateway;
mod snapshots;
mod stats;
mod watches;

use etcdgw::ffi::*;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// Bytes for a call.
pub fn bytes(bytes: &[u8]) -> etcdgw_bytes {
    etcdgw_bytes { data: bytes.as_ptr(), len: bytes.len() }
}

/// Bytes of a response.
pub fn read(bytes: etcdgw_bytes) -> Vec<u8> {
    assert!(!bytes.data.is_null(), "what is handed out has an address, empty or not");
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }.to_vec()
}

/// Text of a response.
pub fn text(text: *const c_char) -> String {
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

/// An array of a response.
pub fn array<'a, T>(first: *const T, len: usize) -> &'a [T] {
    assert_eq!(first.is_null(), len == 0, "an array without elements has no address");
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, len) } }
}

/// Options at their defaults.
pub fn defaults<T>() -> T {
    unsafe {
        let mut options: T = std::mem::zeroed();
        (&raw mut options).cast::<usize>().write(size_of::<T>());
        options
    }
}

/// A client of one gateway that doesn't ask for its version.
pub struct TestClient(pub *mut etcdgw_client);

impl TestClient {
    /// With every other option at its default.
    pub fn of(url: &str) -> TestClient {
        TestClient::with(url, defaults())
    }

    /// With these options.
    pub fn with(url: &str, options: etcdgw_client_options) -> TestClient {
        let url = CString::new(url).unwrap();
        let options = etcdgw_client_options { endpoints: url.as_ptr(), api_path: c"/v3/".as_ptr(), ..options };
        let mut client = ptr::null_mut();
        ok(|err| unsafe { etcdgw_client_new(&options, &mut client, err) });
        TestClient(client)
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        unsafe { etcdgw_client_free(self.0) };
    }
}

/// Runs a call that must succeed.
#[track_caller]
pub fn ok(call: impl FnOnce(*mut *mut etcdgw_error) -> etcdgw_status) {
    let mut err = ptr::null_mut();
    let status = call(&mut err);
    assert_eq!(status, ETCDGW_OK, "{}", unsafe { text(etcdgw_error_message(err)) });
    assert!(err.is_null());
}

/// Runs a call that must give a response.
#[track_caller]
pub fn response<T>(call: impl FnOnce(*mut *mut T, *mut *mut etcdgw_error) -> etcdgw_status) -> *mut T {
    let mut response = ptr::null_mut();
    ok(|err| call(&mut response, err));
    assert!(!response.is_null());
    response
}
