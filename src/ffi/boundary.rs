//! The one way into the library from C and out of it again: every exported function has its body inside.

use super::constants::{ETCDGW_DEADLINE_EXCEEDED, ETCDGW_OK, etcdgw_status};
use super::error::{etcdgw_error, report};
use super::output::Output;
use crate::error::Error;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a function gives another status than OK.
#[derive(Debug)]
pub(super) enum Failure {
    /// With an `etcdgw_error`.
    Error(Error),
    /// A wait was over before anything happened; that is no error.
    Expired,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// Runs a function that may fail. `*err` is NULL while it runs and tells afterwards why it failed.
///
/// # Safety
/// `err` is NULL or can be written.
pub(super) unsafe fn fallible(
    err: *mut *mut etcdgw_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> etcdgw_status {
    // SAFETY: the caller's promise.
    let err = unsafe { Output::cleared(err) };
    match catch(body) {
        Ok(Ok(())) => ETCDGW_OK,
        Ok(Err(Failure::Expired)) => ETCDGW_DEADLINE_EXCEEDED,
        Ok(Err(Failure::Error(error))) | Err(error) => report(error, err),
    }
}

/// Runs a function that can't fail; `fallback` is its answer should it panic.
pub(super) fn infallible<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch(body).unwrap_or(fallback)
}

fn catch<T>(body: impl FnOnce() -> T) -> Result<T, Error> {
    let _errno = Errno::kept();
    let _cancellation = Cancellation::put_off();
    // What a panic leaves half-done is not looked at again: requests are dropped, and shared state is changed in
    // steps that can't panic.
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| Error::Panic(text_of(payload.as_ref())))
}

/// The caller's `errno`, which stays as it was: it is the caller's, and a signal handler must not change it at all.
struct Errno(libc::c_int);

impl Errno {
    fn kept() -> Errno {
        // SAFETY: its place is valid as long as the thread.
        Errno(unsafe { *libc::__errno_location() })
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// `pthread_cancel` of the caller's thread, which is to take effect behind the call: it unwinds the stack at a system call
/// that waits, and in here that would end the whole process, since nothing of the kind may pass through Rust.
struct Cancellation {
    before: libc::c_int,
}

unsafe extern "C" {
    /// Async-signal-safe in glibc, and fails for no state that is one.
    fn pthread_setcancelstate(state: libc::c_int, before: *mut libc::c_int) -> libc::c_int;
}

const PTHREAD_CANCEL_DISABLE: libc::c_int = 1;

impl Cancellation {
    fn put_off() -> Cancellation {
        let mut before = PTHREAD_CANCEL_DISABLE;
        // SAFETY: writes to a live integer.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
        Cancellation { before }
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        let mut put_off = PTHREAD_CANCEL_DISABLE;
        // SAFETY: as above. No cancellation of the usual, deferred kind takes effect in this.
        unsafe { pthread_setcancelstate(self.before, &raw mut put_off) };
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ffi::{
        ETCDGW_INTERNAL_PANIC, etcdgw_error_free, etcdgw_error_may_have_applied, etcdgw_error_message,
        etcdgw_error_status,
    };
    use std::ffi::CStr;
    use std::ptr;

    #[test]
    fn a_panic_becomes_a_status_and_an_error_with_its_text() {
        let mut err = ptr::null_mut();
        // SAFETY: a local variable.
        let status = unsafe { fallible(&raw mut err, || panic!("the answer is {}", 42)) };
        assert_eq!(status, ETCDGW_INTERNAL_PANIC);
        // SAFETY: the error was just made.
        unsafe {
            assert_eq!(etcdgw_error_status(err), ETCDGW_INTERNAL_PANIC);
            let message = CStr::from_ptr(etcdgw_error_message(err)).to_str().unwrap();
            assert!(message.contains("the answer is 42"), "{message}");
            assert_eq!(etcdgw_error_may_have_applied(err), 1, "nobody knows how far it had come");
            etcdgw_error_free(err);
        }
    }

    #[test]
    fn a_panic_without_a_place_for_its_error_is_still_a_status() {
        // SAFETY: NULL is allowed.
        let status = unsafe { fallible(ptr::null_mut(), || panic!("nobody listens")) };
        assert_eq!(status, ETCDGW_INTERNAL_PANIC);
    }

    #[test]
    fn a_panic_where_nothing_can_fail_gives_the_fallback() {
        assert_eq!(infallible(-1, || panic!("no text")), -1);
        assert_eq!(infallible(-1, || std::panic::panic_any(7_u8)), -1);
    }

    #[test]
    fn an_expired_wait_has_a_status_and_no_error() {
        let mut err = ptr::NonNull::dangling().as_ptr();
        // SAFETY: a local variable; what it held is overwritten, not freed.
        let status = unsafe { fallible(&raw mut err, || Err(Failure::Expired)) };
        assert_eq!(status, ETCDGW_DEADLINE_EXCEEDED);
        assert!(err.is_null());
    }
}
