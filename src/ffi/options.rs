//! Option structs that grow: `struct_size` first, zero is the default, fields are only appended, no padding.

use super::error::etcdgw_cancel;
use super::handle;
use crate::client::{CallOptions, TimeLimit};
use crate::error::{Error, Result};
use std::time::Duration;

/// A C struct whose first field is its size as its user was compiled with.
///
/// # Safety
/// A `repr(C)` struct without padding, for which all-zero bytes are a value, beginning with a `usize`.
/// [`option_struct`] sees to it.
pub(super) unsafe trait OptionStruct: Copy + 'static {
    /// Everything at its default.
    const ZERO: Self;
    /// The size it had in the first release that had it.
    const FIRST_SIZE: usize;
    /// `timeout_ms` and `cancel`.
    fn common(&self) -> (i64, *mut etcdgw_cancel);
    /// `reserved0`, where the struct has it.
    fn reserved(&self) -> i32;

    /// What holds for every call. To be used within the call whose options these are.
    fn call(&self) -> Result<CallOptions> {
        let (timeout_ms, cancel) = self.common();
        // SAFETY: `read` was promised that the token lives as long as the call.
        let cancel = unsafe { handle::borrow_optional(cancel, "options.cancel")? };
        Ok(CallOptions { timeout: time_limit(timeout_ms), cancel: cancel.cloned() })
    }
}

/// Makes a C struct an [`OptionStruct`]: its fields, all of them and in order, then the one that its first release
/// ended with, then `reserved0` if it has it.
macro_rules! option_struct {
    ($name:ident { $($field:ident),+ } first_release_ended_with $last:ident $($reserved:ident)?) => {
        const _: () = {
            const fn sum_of_fields(options: &$name) -> usize {
                let $name { $($field),+ } = options;
                0 $(+ size_of_val($field))+
            }
            let zero = <$name as $crate::ffi::options::OptionStruct>::ZERO;
            // Padding of an old caller would be read as an option that is appended later.
            assert!(size_of::<$name>() == sum_of_fields(&zero), "the struct has padding");
            assert!(std::mem::offset_of!($name, struct_size) == 0);
        };

        // SAFETY: checked above, but for zeros being a value: the fields are integers, pointers and nullable functions.
        unsafe impl $crate::ffi::options::OptionStruct for $name {
            // SAFETY: see above.
            const ZERO: $name = unsafe { std::mem::zeroed() };
            const FIRST_SIZE: usize = std::mem::offset_of!($name, $last) + size_of_val(&Self::ZERO.$last);
            fn common(&self) -> (i64, *mut $crate::ffi::error::etcdgw_cancel) {
                (self.timeout_ms, self.cancel)
            }
            fn reserved(&self) -> i32 {
                0 $(+ self.$reserved)?
            }
        }
    };
}
pub(super) use option_struct;

/// Reads the caller's options; NULL is every default. What the caller's struct is too short for is zero.
///
/// # Safety
/// `options` is NULL, or points to as many bytes as its `struct_size` says; what these point to lives as long as the
/// call.
pub(super) unsafe fn read<T: OptionStruct>(options: *const T) -> Result<T> {
    let mut read = T::ZERO;
    if options.is_null() {
        return Ok(read);
    }
    // SAFETY: not NULL, and every option struct begins with its size.
    let size = unsafe { options.cast::<usize>().read() };
    if size < T::FIRST_SIZE {
        let least = T::FIRST_SIZE;
        let what =
            format!("options.struct_size is {size}, but {least} at least is needed: set it to sizeof the struct");
        return Err(Error::invalid(what));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's struct has `size` bytes, ours is as long as `known` at least, and any bytes are a value.
    unsafe { options.cast::<u8>().copy_to_nonoverlapping((&raw mut read).cast::<u8>(), known) };
    match read.reserved() {
        0 => Ok(read),
        other => Err(Error::invalid(format!("options.reserved0 is {other}, but must be 0"))),
    }
}

/// The same for what is done within something else, whose time limit and token count.
///
/// # Safety
/// As [`read`].
pub(super) unsafe fn read_without_limits<T: OptionStruct>(options: *const T, counts: &str) -> Result<T> {
    // SAFETY: the caller's promise.
    let options = unsafe { read(options)? };
    let (timeout_ms, cancel) = options.common();
    refuse(timeout_ms != 0, "options.timeout_ms", counts)?;
    refuse(!cancel.is_null(), "options.cancel", counts)?;
    Ok(options)
}

/// A flag: 0 or 1. Anything else is refused, so that a struct that was never set is noticed.
pub(super) fn flag(value: i32, name: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::invalid(format!("{name} is {other}, but must be 0 or 1"))),
    }
}

/// One of the constants that are numbered from 0 on in the order of `choices`.
pub(super) fn choice<T: Copy>(value: i32, name: &str, choices: &[T]) -> Result<T> {
    let chosen = usize::try_from(value).ok().and_then(|index| choices.get(index));
    chosen.copied().ok_or_else(|| Error::invalid(format!("{name} is {value}, which is none of its constants")))
}

/// Refuses what was set although it has no meaning here.
pub(super) fn refuse(is_set: bool, name: &str, why: &str) -> Result<()> {
    if is_set { Err(Error::invalid(format!("{name} {why}"))) } else { Ok(()) }
}

/// Servers take less than 0 for 0, and so give an answer that was not asked for.
pub(super) fn not_negative(value: i64, name: &str) -> Result<i64> {
    if value < 0 { Err(Error::invalid(format!("{name} is negative: {value}"))) } else { Ok(value) }
}

/// The same of what 0 stands for a default of.
pub(super) fn not_negative_or(default: i64, value: i64, name: &str) -> Result<i64> {
    not_negative(value, name).map(|value| if value == 0 { default } else { value })
}

pub(super) fn time_limit(timeout_ms: i64) -> TimeLimit {
    match u64::try_from(timeout_ms) {
        Ok(0) => TimeLimit::Default,
        Ok(timeout) => TimeLimit::After(Duration::from_millis(timeout)),
        Err(_) => TimeLimit::Never,
    }
}

/// The time that a function may wait for something to happen: 0 doesn't wait, less waits as long as it takes.
pub(super) fn wait_limit(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

/// The options of every call that has none of its own.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_call_options {
    /// `sizeof(etcdgw_call_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
}
option_struct!(etcdgw_call_options { struct_size, timeout_ms, cancel } first_release_ended_with cancel);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::ptr;

    /// A struct of a later release than `etcdgw_call_options`.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Grown {
        struct_size: usize,
        timeout_ms: i64,
        cancel: *mut etcdgw_cancel,
        added: i64,
    }
    option_struct!(Grown { struct_size, timeout_ms, cancel, added } first_release_ended_with cancel);

    #[test]
    fn an_option_that_the_caller_does_not_know_is_zero() {
        let old = etcdgw_call_options { struct_size: 24, timeout_ms: 7, cancel: ptr::null_mut() };
        // SAFETY: as many bytes as the size says.
        let read = unsafe { read((&raw const old).cast::<Grown>()) }.unwrap();
        assert_eq!((read.timeout_ms, read.added), (7, 0));
    }

    #[test]
    fn an_option_that_the_library_does_not_know_is_not_read() {
        let new = Grown { struct_size: 32, timeout_ms: 7, cancel: ptr::null_mut(), added: 8 };
        // SAFETY: as many bytes as the size says.
        let read = unsafe { read((&raw const new).cast::<etcdgw_call_options>()) }.unwrap();
        assert_eq!(read.timeout_ms, 7);
    }

    #[test]
    fn a_struct_smaller_than_its_first_release_is_refused() {
        for struct_size in [0, 1, 23] {
            let options = etcdgw_call_options { struct_size, timeout_ms: 0, cancel: ptr::null_mut() };
            // SAFETY: more bytes than the size says.
            let error = unsafe { read(&raw const options) }.err().unwrap();
            assert!(error.to_string().contains("options.struct_size"), "{error}");
        }
    }

    #[test]
    fn times_mean_what_the_header_says() {
        assert_eq!(time_limit(0), TimeLimit::Default);
        assert_eq!(time_limit(-1), TimeLimit::Never);
        assert_eq!(time_limit(5), TimeLimit::After(Duration::from_millis(5)));
        assert_eq!(wait_limit(0), Some(Duration::ZERO));
        assert_eq!(wait_limit(-1), None);
        assert_eq!(wait_limit(5), Some(Duration::from_millis(5)));
    }
}
