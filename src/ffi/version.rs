//! Which version of the library this is.

use super::boundary::infallible;
use std::ffi::c_char;

const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => 0,
    }
}

/// The version of the library that runs, such as `"0.1.0"`; `ETCDGW_VERSION` is the one that was compiled against.
///
/// The string is static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn etcdgw_version() -> *const c_char {
    infallible(c"".as_ptr(), || concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast())
}

/// The version of the library that runs as a number that grows: `major << 16 | minor << 8 | patch`, as
/// `ETCDGW_VERSION_NUMBER`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn etcdgw_version_number() -> u32 {
    infallible(0, || MAJOR << 16 | MINOR << 8 | PATCH)
}
