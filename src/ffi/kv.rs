//! Keys and values.

use super::boundary::{Failure, fallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::kv_options::{etcdgw_delete_options, etcdgw_get_options, etcdgw_put_options};
use super::kv_response::{
    etcdgw_delete_response, etcdgw_get_response, etcdgw_put_response, new_delete, new_get, new_put,
};
use super::options::{self, OptionStruct, flag, not_negative, option_struct};
use super::output::Output;
use crate::error::{Error, Result};
use crate::rpc::kv::{DeleteRangeRequest, RangeRequest};
use crate::rpc::prefix_range_end;

/// Writes a key.
///
/// `value` may be empty. `options` may be NULL. `response`: receives the answer, owned by the caller:
/// `etcdgw_put_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_NOT_FOUND` when `options.lease` doesn't exist; `ETCDGW_INVALID_ARGUMENT` with reason
/// `ETCDGW_REASON_KEY_NOT_FOUND` when `ignore_value` or `ignore_lease` finds no key. After a failure
/// `etcdgw_error_may_have_applied` tells whether the key may have been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_put(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    response: *mut *mut etcdgw_put_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let options = options::read(options)?;
            let request = options.request(key.borrow("key")?, value.borrow("value")?)?;
            let answer = client.put(&request, &options.call()?)?;
            response.set_with(|| new_put(answer));
            Ok(())
        })
    }
}

/// Reads a key, or with `options.prefix` or `options.range_end` a range of keys.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_get_response_free`; NULL when
/// it isn't wanted. Any thread.
///
/// A key that doesn't exist is `ETCDGW_OK` with `kvs_len` 0. Returns `ETCDGW_OUT_OF_RANGE` for a revision that is
/// compacted away or still to come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_get(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    options: *const etcdgw_get_options,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || get(client, options, response, |options| options.request(key.borrow("key")?))) }
}

/// Reads every key that starts with `prefix`; of an empty prefix: every key.
///
/// `options.range_end` must be empty; else as `etcdgw_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_get_prefix(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_get_options,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || get(client, options, response, |options| options.prefix_request(prefix.borrow("prefix")?)))
    }
}

/// Reads every key there is.
///
/// `options.range_end` must be empty; else as `etcdgw_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_get_all(
    client: *mut etcdgw_client,
    options: *const etcdgw_get_options,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || get(client, options, response, |options| options.prefix_request(&[]))) }
}

/// # Safety
/// As every exported function.
unsafe fn get<'a>(
    client: *mut etcdgw_client,
    options: *const etcdgw_get_options,
    response: *mut *mut etcdgw_get_response,
    request: impl FnOnce(&etcdgw_get_options) -> Result<RangeRequest<'a>>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (response, client, options) = unsafe { (Output::cleared(response), borrow(client)?, options::read(options)?) };
    let answer = client.range(&request(&options)?, &options.call()?)?;
    response.set_with(|| new_get(answer));
    Ok(())
}

/// Deletes a key, or with `options.prefix` or `options.range_end` a range of keys.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_delete_response_free`; NULL
/// when it isn't wanted. Any thread.
///
/// A key that doesn't exist is `ETCDGW_OK` with `deleted` 0. Returns `ETCDGW_INVALID_ARGUMENT` for a range of every
/// key unless `options.all` is 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_delete(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    options: *const etcdgw_delete_options,
    response: *mut *mut etcdgw_delete_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe { fallible(err, || delete(client, options, response, |options| options.request(key.borrow("key")?))) }
}

/// Deletes every key that starts with `prefix`. An empty prefix is refused unless `options.all` is 1.
///
/// `options.range_end` must be empty; else as `etcdgw_delete`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_delete_prefix(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_delete_options,
    response: *mut *mut etcdgw_delete_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || delete(client, options, response, |options| options.prefix_request(prefix.borrow("prefix")?)))
    }
}

/// # Safety
/// As every exported function.
unsafe fn delete<'a>(
    client: *mut etcdgw_client,
    options: *const etcdgw_delete_options,
    response: *mut *mut etcdgw_delete_response,
    request: impl FnOnce(&etcdgw_delete_options) -> Result<DeleteRangeRequest<'a>>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let (response, client, options) = unsafe { (Output::cleared(response), borrow(client)?, options::read(options)?) };
    let answer = client.delete_range(&request(&options)?, &options.call()?)?;
    response.set_with(|| new_delete(answer));
    Ok(())
}

/// Writes a key only if it doesn't exist, in one transaction.
///
/// `options`: of these only `lease` and the common ones; may be NULL. `created`: receives 1 if the key was written, 0
/// if it existed. `revision`: receives the store's revision then, which is the key's if it was written; may be NULL.
/// Any thread.
///
/// That the key existed is `ETCDGW_OK`. After a failure `etcdgw_error_may_have_applied` tells whether the key may have
/// been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_create(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    created: *mut i32,
    revision: *mut i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let (created, revision) = (Output::cleared(created), Output::cleared(revision));
            let created = created.required("created")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let request = options.conditional_request(key.borrow("key")?, value.borrow("value")?)?;
            let (was_created, at) = client.create(request, &options.call()?)?;
            created.set(was_created.into());
            revision.set(at);
            Ok(())
        })
    }
}

/// Writes a key only if its value is `expected`, in one transaction.
///
/// The lease of the key becomes `options.lease`, hence none by default. `replaced`: receives 1 if the key was written,
/// 0 if its value was another or it didn't exist. Else as `etcdgw_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_replace(
    client: *mut etcdgw_client,
    key: etcdgw_bytes,
    expected: etcdgw_bytes,
    value: etcdgw_bytes,
    options: *const etcdgw_put_options,
    replaced: *mut i32,
    revision: *mut i64,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let (replaced, revision) = (Output::cleared(replaced), Output::cleared(revision));
            let replaced = replaced.required("replaced")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let request = options.conditional_request(key.borrow("key")?, value.borrow("value")?)?;
            let (was_replaced, at) = client.replace(request, expected.borrow("expected")?, &options.call()?)?;
            replaced.set(was_replaced.into());
            revision.set(at);
            Ok(())
        })
    }
}

/// Options of `etcdgw_compact`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_compact_options {
    /// `sizeof(etcdgw_compact_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// 1: returns when the old revisions are gone from the database.
    pub physical: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_compact_options {
    struct_size, timeout_ms, cancel, physical, reserved0
} first_release_ended_with reserved0 reserved0);

/// Forgets what keys were before `revision`. Any thread.
///
/// Returns `ETCDGW_OUT_OF_RANGE` for a revision that is compacted already or still to come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_compact(
    client: *mut etcdgw_client,
    revision: i64,
    options: *const etcdgw_compact_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let options = options::read(options)?;
            let revision = not_negative(revision, "revision")?;
            client.compact(revision, flag(options.physical, "options.physical")?, &options.call()?)?;
            Ok(())
        })
    }
}

/// The `range_end` that makes a range of a prefix: the first key after all that start with it. `"a"` gives `"b"`,
/// `"a\xff"` gives `"b"`; where no key comes after them, as of `""` and `"\xff"`, it is `ETCDGW_FROM_KEY`.
///
/// `buf`: receives it, `buf_len` bytes at most; the prefix's length, and 1 of an empty one, is always enough. `len`:
/// receives its length, when `buf` is too small too. Any thread; nothing is sent.
///
/// Returns `ETCDGW_INVALID_ARGUMENT` when `buf` is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_prefix_range_end(
    prefix: etcdgw_bytes,
    buf: *mut u8,
    buf_len: usize,
    len: *mut usize,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let len = Output::cleared(len).required("len")?;
            let end = prefix_range_end(prefix.borrow("prefix")?);
            if buf.is_null() && buf_len > 0 {
                return Err(Error::invalid("buf is NULL").into());
            }
            len.set(end.len());
            if buf_len < end.len() {
                return Err(Error::invalid(format!("buf_len is {buf_len}, but {} is needed", end.len())).into());
            }
            end.as_ptr().copy_to_nonoverlapping(buf, end.len());
            Ok(())
        })
    }
}
