//! Ranges of any size in pages.

use super::boundary::{fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::handle::{self, Handle, Native};
use super::kv_response::{etcdgw_get_response, new_get};
use super::options::{self, OptionStruct, etcdgw_call_options, flag, not_negative, option_struct};
use super::output::Output;
use crate::client::CallOptions;
use crate::error::Result;
use crate::rpc::Keys;
use crate::rpc::scan::{Scan, ScanRequest};
use std::borrow::Cow;

/// A scan, for one thread at a time.
pub struct etcdgw_scan {
    _private: (),
}

/// What is behind an [`etcdgw_scan`].
pub(super) struct ScanValue {
    scan: Scan,
    /// Of pages that are asked for without options.
    call: CallOptions,
}

impl Handle for etcdgw_scan {
    type Value = ScanValue;
    type Shell = Native<ScanValue>;
}

/// Options of `etcdgw_scan_open`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_scan_options {
    /// `sizeof(etcdgw_scan_options)`.
    pub struct_size: usize,
    /// Bounds each `etcdgw_scan_next` that is given no options; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends each `etcdgw_scan_next` that is given no options when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// At most so many keys in a page. 0: as many as weigh a few megabytes, at most 10,000, found out from the pages
    /// before.
    pub page_size: i64,
    /// As the keys were at this revision; 0: as they are when the first page is read.
    pub revision: i64,
    /// The first key that no longer belongs to the range, which then begins at the key given as `prefix`;
    /// `ETCDGW_FROM_KEY`: every key from that one on; empty: every key that starts with `prefix`.
    pub range_end: etcdgw_bytes,
    /// 1: without values.
    pub keys_only: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_scan_options {
    struct_size, timeout_ms, cancel, page_size, revision, range_end, keys_only, reserved0
} first_release_ended_with reserved0 reserved0);

impl etcdgw_scan_options {
    /// # Safety
    /// `prefix` and `range_end` can be read during the call.
    unsafe fn request(&self, prefix: etcdgw_bytes) -> Result<ScanRequest> {
        // SAFETY: the caller's promise.
        let (prefix, end) = unsafe { (prefix.borrow("prefix")?, self.range_end.borrow("options.range_end")?) };
        let keys = match end {
            [] => Keys::Prefix(Cow::Borrowed(prefix)),
            _ => Keys::from_wire(Cow::Borrowed(prefix), Cow::Borrowed(end)),
        };
        let page_size = Some(not_negative(self.page_size, "options.page_size")?).filter(|size| *size != 0);
        let keys_only = flag(self.keys_only, "options.keys_only")?;
        Ok(ScanRequest { keys: keys.into_owned(), revision: self.revision, page_size, keys_only })
    }
}

/// Begins to read the keys that start with `prefix`, or with `options.range_end` a range of keys, of any number, page by
/// page: ascending, all of one revision, and never more than a page in memory. Of an empty prefix: every key.
///
/// Nothing is sent yet. `options` may be NULL. `out`: receives the scan, owned by the caller, who may free it before its
/// end: `etcdgw_scan_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_scan_open(
    client: *mut etcdgw_client,
    prefix: etcdgw_bytes,
    options: *const etcdgw_scan_options,
    out: *mut *mut etcdgw_scan,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let out = Output::cleared(out).required("out")?;
            let client = borrow(client)?;
            let options = options::read(options)?;
            let scan = client.scan(options.request(prefix)?)?;
            out.set(handle::new(ScanValue { scan, call: options.call()? }));
            Ok(())
        })
    }
}

/// Reads the next page of a scan.
///
/// `options` may be NULL: then those of `etcdgw_scan_open` hold. `response`: receives the page, owned by the caller:
/// `etcdgw_get_response_free`; NULL throws it away. Its `count` is how many keys were left with this page, its `more` 1
/// unless it is the last one; the revision in the header of the first one is that of all pages. One thread at a time.
///
/// At the end it is `ETCDGW_OK` with `kvs_len` 0, however often. Returns `ETCDGW_COMPACTED` when the scan's revision has
/// been compacted away: then only a new scan helps. After another failure the same page may be asked for again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_scan_next(
    scan: *mut etcdgw_scan,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let ScanValue { scan, call } = handle::borrow_mut(scan, "scan")?;
            let call = if options.is_null() { call.clone() } else { options::read(options)?.call()? };
            let page = scan.next_page(&call)?;
            response.set_with(|| new_get(page));
            Ok(())
        })
    }
}

/// Frees a scan, at its end or before; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_scan_free(scan: *mut etcdgw_scan) {
    // SAFETY: NULL or a scan that the caller owns, says the header.
    infallible((), || unsafe { handle::free(scan) });
}
