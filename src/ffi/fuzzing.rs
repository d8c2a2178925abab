//! Arbitrary texts as a client's options.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::options::OptionStruct;
use super::{
    ETCDGW_INVALID_ARGUMENT, ETCDGW_IO, ETCDGW_OK, ETCDGW_TLS_FAILED, etcdgw_bytes, etcdgw_client,
    etcdgw_client_base_url, etcdgw_client_free, etcdgw_client_new, etcdgw_client_options,
    etcdgw_client_set_credentials, etcdgw_client_set_endpoints, etcdgw_error, etcdgw_error_free, etcdgw_error_message,
    etcdgw_error_status, etcdgw_status, etcdgw_string_free,
};
use crate::fuzzing::Choices;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// What every secret begins with, so that it stands in no message by chance.
const HUSH: &str = "hush-8d1f";

/// One of them stands in every error of an option.
const NAMES: &[&str] = &["options.", "endpoint", "user", "token", "api_path", "certificate", "key", "CA", "TLS"];

/// A client, or an error that says which option is wrong and gives no secret away; and what a client says of its
/// endpoint is read as that endpoint again.
///
/// The input: `key_prefix`, `endpoints`, `user`, `password`, `token`, `api_path`, `tls_server_name`, `ca_cert_pem`,
/// `cert_pem`, `key_pem`, each ended by a NUL; then numbers. A text of one byte 1 is empty, one of no byte isn't given.
/// Files are left out: what is in one is no matter of its name.
pub fn endpoints(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let prefix = choices.field(0).unwrap_or_default();
    let [endpoints, user, password, token, api_path, server_name, ca_cert, cert, key] = std::array::from_fn(|place| {
        let text = choices.field(0).filter(|text| !text.is_empty())?;
        let is_secret = place == 2 || place == 3;
        match text {
            [1] => Some(CString::default()),
            _ if is_secret => CString::new([HUSH.as_bytes(), text].concat()).ok(),
            _ => CString::new(text).ok(),
        }
    });
    let options = etcdgw_client_options {
        struct_size: size_of::<etcdgw_client_options>(),
        key_prefix: lend(Some(prefix)),
        endpoints: pointer(&endpoints),
        user: pointer(&user),
        password: pointer(&password),
        token: pointer(&token),
        api_path: pointer(&api_path),
        tls_server_name: pointer(&server_name),
        ca_cert_pem: lend(ca_cert.as_ref().map(|text| text.to_bytes())),
        cert_pem: lend(cert.as_ref().map(|text| text.to_bytes())),
        key_pem: lend(key.as_ref().map(|text| text.to_bytes())),
        tls_insecure_skip_verify: choices.byte().into(),
        websocket: choices.byte().into(),
        log_level: choices.byte().into(),
        max_retries: number(&mut choices) as i32,
        max_idle_connections: number(&mut choices) as i32,
        timeout_ms: number(&mut choices),
        connect_timeout_ms: number(&mut choices),
        auto_sync_ms: number(&mut choices),
        watch_buffer_bytes: number(&mut choices),
        watch_buffer_total_bytes: number(&mut choices),
        watch_liveness_ms: number(&mut choices),
        max_response_bytes: number(&mut choices),
        ..OptionStruct::ZERO
    };
    // Where something else is called the same.
    let is_told = bytes.windows(HUSH.len()).any(|part| part == HUSH.as_bytes());
    let (mut client, mut error): (*mut etcdgw_client, *mut etcdgw_error) = (ptr::dangling_mut(), ptr::dangling_mut());
    // SAFETY: every text is NUL-terminated and outlives the call, and both outputs are writable.
    let status = unsafe { etcdgw_client_new(&raw const options, &raw mut client, &raw mut error) };
    check(status, error, is_told);
    assert_eq!(status == ETCDGW_OK, !client.is_null());
    if !client.is_null() {
        ask(client, &options, is_told);
        // SAFETY: a client that nobody uses any more.
        unsafe { etcdgw_client_free(client) };
    }
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

fn lend(bytes: Option<&[u8]>) -> etcdgw_bytes {
    bytes.map_or(etcdgw_bytes::EMPTY, |bytes| etcdgw_bytes { data: bytes.as_ptr(), len: bytes.len() })
}

/// Mostly small numbers, of both signs, and their bounds.
fn number(choices: &mut Choices<'_>) -> i64 {
    match choices.byte() {
        128 => i64::MIN,
        127 => i64::MAX,
        126 => choices.int64(),
        small => i64::from(small as i8),
    }
}

/// Checks and frees what came back from a call. `is_told`: a message may say what secrets begin with.
fn check(status: etcdgw_status, error: *mut etcdgw_error, is_told: bool) {
    assert_eq!(status == ETCDGW_OK, error.is_null());
    if error.is_null() {
        return;
    }
    assert!([ETCDGW_INVALID_ARGUMENT, ETCDGW_IO, ETCDGW_TLS_FAILED].contains(&status), "{status}");
    // SAFETY: an error that nobody else knows, freed once its message isn't read any more.
    unsafe {
        assert_eq!(etcdgw_error_status(error), status);
        let message = CStr::from_ptr(etcdgw_error_message(error)).to_str().unwrap();
        assert!(NAMES.iter().any(|name| message.contains(name)), "it names no option: {message}");
        assert!(is_told || !message.contains(HUSH), "it gives a secret away: {message}");
        etcdgw_error_free(error);
    }
}

/// The URL of the endpoint in use.
fn base_url(client: *mut etcdgw_client) -> CString {
    let (mut url, mut error) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a client, and outputs that are writable; the string is freed once.
    unsafe {
        assert_eq!(etcdgw_client_base_url(client, ptr::null(), &raw mut url, &raw mut error), ETCDGW_OK);
        let copy = CStr::from_ptr(url).to_owned();
        etcdgw_string_free(url);
        copy
    }
}

fn ask(client: *mut etcdgw_client, options: &etcdgw_client_options, is_told: bool) {
    let url = base_url(client);
    let text = url.to_str().unwrap();
    assert!(["http://", "https://", "unix://"].iter().any(|scheme| text.starts_with(scheme)), "{text}");
    let mut error = ptr::null_mut();
    // SAFETY: a client, texts that the caller has made sure of, and an output that is writable.
    unsafe {
        assert_eq!(etcdgw_client_set_endpoints(client, url.as_ptr(), &raw mut error), ETCDGW_OK, "{text}");
        assert_eq!(base_url(client), url);
        let status = etcdgw_client_set_credentials(client, options.user, options.password, &raw mut error);
        check(status, error, is_told);
        let status = etcdgw_client_set_endpoints(client, options.tls_server_name, &raw mut error);
        check(status, error, is_told);
    }
}
