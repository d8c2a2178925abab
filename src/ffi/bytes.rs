//! Bytes and strings from C, checked, and bytes to C.

use super::boundary;
use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// Bytes of any kind: `data` NULL with `len` 0 is the empty string.
///
/// Given to the library, they are read during the call only. Read from a response or an event they belong to that, and
/// `data` is never NULL. No NUL stands behind them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct etcdgw_bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

const _: () = assert!(size_of::<etcdgw_bytes>() == 16 && std::mem::offset_of!(etcdgw_bytes, len) == 8);

impl etcdgw_bytes {
    pub(super) const EMPTY: etcdgw_bytes = etcdgw_bytes { data: ptr::null(), len: 0 };

    /// Bytes for C to read. Empty ones point to a real byte: Go's runtime takes the address that an empty slice has in
    /// Rust for a corrupted pointer.
    pub(super) fn lend(bytes: &[u8]) -> etcdgw_bytes {
        let data = if bytes.is_empty() { c"".as_ptr().cast() } else { bytes.as_ptr() };
        etcdgw_bytes { data, len: bytes.len() }
    }

    /// The caller's bytes, for one call.
    ///
    /// # Safety
    /// `data` is NULL or points to `len` bytes, which nobody writes while the borrow lasts.
    pub(super) unsafe fn borrow<'a>(self, name: &str) -> Result<&'a [u8]> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.data.is_null() {
            return Err(Error::invalid(format!("{name}: data is NULL, but len is {}", self.len)));
        }
        if isize::try_from(self.len).is_err() {
            return Err(Error::invalid(format!("{name}: len is {}, more than memory can hold", self.len)));
        }
        // SAFETY: not NULL and not longer than an object can be; the rest is the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts(self.data, self.len) })
    }
}

/// The bytes of a NUL-terminated string, without the NUL; NULL gives the empty string.
///
/// They stay the caller's, and live as long as the string does. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_str(nul_terminated: *const c_char) -> etcdgw_bytes {
    boundary::infallible(etcdgw_bytes::EMPTY, || {
        if nul_terminated.is_null() {
            return etcdgw_bytes::EMPTY;
        }
        // SAFETY: the caller gives a NUL-terminated string.
        let len = unsafe { CStr::from_ptr(nul_terminated) }.count_bytes();
        etcdgw_bytes { data: nul_terminated.cast(), len }
    })
}

/// A string of the caller, for one call; NULL is none.
///
/// # Safety
/// `text` is NULL or NUL-terminated, and nobody writes to it while the borrow lasts.
pub(super) unsafe fn borrow_text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller gives a NUL-terminated string.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(Some).map_err(|_| Error::invalid(format!("{name} is not UTF-8")))
}

/// A string for C; a NUL inside, which would cut it short, becomes U+FFFD.
pub(super) fn c_string(text: impl Into<String>) -> CString {
    let text = text.into();
    CString::new(text).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\u{fffd}");
        CString::new(text).unwrap_or_default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn empty_bytes_come_in_with_and_without_an_address_and_go_out_with_one() {
        // SAFETY: nothing is read.
        unsafe {
            assert_eq!(etcdgw_bytes::EMPTY.borrow("key").unwrap(), b"");
            assert_eq!(etcdgw_bytes { data: ptr::dangling(), len: 0 }.borrow("key").unwrap(), b"");
        }
        assert!(!etcdgw_bytes::lend(b"").data.is_null());
    }

    #[test]
    fn a_nul_inside_a_text_does_not_cut_it_short() {
        assert_eq!(c_string("a\0b").to_str().unwrap(), "a\u{fffd}b");
    }
}
