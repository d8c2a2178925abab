//! The client as C sees it.

use super::boundary::{fallible, infallible};
use super::bytes::{borrow_text, c_string};
use super::client_options::{config, etcdgw_client_options, user_credentials};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::handle::{self, Handle, Native};
use super::options::{self, OptionStruct, etcdgw_call_options};
use super::output::Output;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::rpc::raw::check_path;
use std::ffi::{CString, c_char};

/// A client of one cluster, for any number of threads at the same time.
pub struct etcdgw_client {
    _private: (),
}

impl Handle for etcdgw_client {
    type Value = Client;
    type Shell = Native<Client>;
}

/// The client behind a handle.
///
/// # Safety
/// `client` is NULL or a client that is not freed while the borrow lasts.
pub(super) unsafe fn borrow<'a>(client: *const etcdgw_client) -> Result<&'a Client> {
    // SAFETY: the caller's promise.
    unsafe { handle::borrow(client, "client") }
}

/// Makes a client. It connects on first use, so that a cluster that is down is no error here.
///
/// `options`: NULL is a client of `http://127.0.0.1:2379`. `out`: receives the client, owned by the caller:
/// `etcdgw_client_free`. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for an option that can't be right, which certificates and a key are that don't fit
/// together, and `ETCDGW_IO` for a file of them that can't be read or holds none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_new(
    options: *const etcdgw_client_options,
    out: *mut *mut etcdgw_client,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out);
            // First, so that log_user_data_free runs whatever else is wrong.
            let config = config(options);
            let out = out.required("out")?;
            out.set(handle::new(Client::new(config?)?));
            Ok(())
        })
    }
}

/// Frees a client; NULL is fine. Its watches go on; with the last of them, or with the client, connections and threads
/// end.
///
/// Once, when no other thread is inside a call with this client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_free(client: *mut etcdgw_client) {
    // SAFETY: NULL or a client that the caller owns, says the header.
    infallible((), || unsafe { handle::free(client) });
}

/// Ends everything of a client: calls under way, later ones, and watches answer `ETCDGW_CLOSED`. What only makes or reads
/// an object in memory still works: the base URL, statistics, a new transaction or lock. NULL does nothing.
///
/// Any thread, any number of times, until the client is freed. Not async-signal-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_close(client: *mut etcdgw_client) {
    infallible((), || {
        // SAFETY: NULL or a client, says the header.
        if let Some(client) = unsafe { handle::peek(client) } {
            client.close();
        }
    });
}

/// Uses these endpoints from the next call on; watches stay where they are until they lose their connection.
///
/// They may be of another cluster, where the caller wants that: watches of the first one end with
/// `ETCDGW_CLUSTER_MISMATCH` then. Calls that are under way may end at the endpoints before. `endpoints`: as in
/// `etcdgw_client_options`, not NULL. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for a list that can't be read or doesn't fit the client's options of TLS; the
/// endpoints are then as they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_set_endpoints(
    client: *mut etcdgw_client,
    endpoints: *const c_char,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.set_endpoints(required_text(endpoints, "endpoints")?)?;
            Ok(())
        })
    }
}

/// Logs in as this user from the next call on; watches go on, and use it when they are created anew.
///
/// `user`: NULL is nobody. `password`: not NULL where `user` isn't; the library keeps a copy, which it wipes from memory
/// when it is replaced or the client is gone. They take the place of a token, too. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` where only one of them is given; the credentials are then as they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_set_credentials(
    client: *mut etcdgw_client,
    user: *const c_char,
    password: *const c_char,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.set_credentials(user_credentials(user, "user", password, "password")?)?;
            Ok(())
        })
    }
}

/// Asks the cluster for its members, and uses the endpoints that they advertise as far as a gateway answers there, and
/// not one of another cluster, with the configured ones behind them. Endpoints that are set meanwhile stay. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_sync_endpoints(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            client.sync_endpoints(&options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// The API path, such as `"/v3/"`; asks the server for its version where the path isn't known yet.
///
/// `api_path`: receives the string, owned by the caller: `etcdgw_string_free`. Any thread.
///
/// Returns `ETCDGW_VERSION_DISCOVERY_FAILED` when the server doesn't tell its version.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_api_path(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    api_path: *mut *mut c_char,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(api_path).required("api_path")?;
            let client = borrow(client)?;
            let path = client.api_path(&options::read(options)?.call()?)?;
            out.set(into_c(path.to_string()));
            Ok(())
        })
    }
}

/// The URL of the endpoint in use, such as `"http://[::1]:2379"`, without a slash at its end.
///
/// `base_url`: receives the string, owned by the caller: `etcdgw_string_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_base_url(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    base_url: *mut *mut c_char,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(base_url).required("base_url")?;
            let client = borrow(client)?;
            options::read(options)?.call()?.check()?;
            out.set(into_c(client.base_url().to_string()));
            Ok(())
        })
    }
}

/// The full URL of a method of the gateway: base URL, API path and `path`.
///
/// `path`: what follows the API path, such as `"/kv/range"`; the first slash may be left out. `url`: receives the
/// string, owned by the caller: `etcdgw_string_free`. Any thread.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` for a path that can't stand in a URL; else as `etcdgw_client_api_path`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_url(
    client: *mut etcdgw_client,
    path: *const c_char,
    options: *const etcdgw_call_options,
    url: *mut *mut c_char,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(url).required("url")?;
            let client = borrow(client)?;
            let path = check_path(required_text(path, "path")?)?;
            // Before the base URL: asking for it may move on to another endpoint.
            let api_path = client.api_path(&options::read(options)?.call()?)?;
            out.set(into_c(format!("{}{api_path}{path}", client.base_url())));
            Ok(())
        })
    }
}

/// Frees a string that a function handed out through a `char **`; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_string_free(string: *mut c_char) {
    infallible((), || {
        if !string.is_null() {
            // SAFETY: `into_c` made it, and the caller owns it, says the header.
            drop(unsafe { CString::from_raw(string) });
        }
    });
}

/// A string that the caller of the library owns.
fn into_c(text: String) -> *mut c_char {
    c_string(text).into_raw()
}

/// A string that must be there.
///
/// # Safety
/// As [`borrow_text`].
pub(super) unsafe fn required_text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    unsafe { borrow_text(text, name)? }.ok_or_else(|| Error::invalid(format!("{name} is NULL")))
}
