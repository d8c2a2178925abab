//! What a caller gives along with a callback or a queue.

use crate::net::Generation;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A callback with what goes with it.
pub(super) struct Callback<E> {
    function: unsafe extern "C" fn(*const E, *mut c_void),
    user_data: UserData,
    calls: Calls,
}

impl<E> Callback<E> {
    /// # Safety
    /// The function may be called with the user data, on any thread, until that is dropped.
    pub(super) unsafe fn new(
        function: unsafe extern "C" fn(*const E, *mut c_void),
        user_data: UserData,
        calls: &Calls,
    ) -> Callback<E> {
        Callback { function, user_data, calls: calls.clone() }
    }

    /// Calls it, unless its owner wants no calls any more. That is asked here, once the event is all made, which may take a
    /// while: after `_cancel` or `_free` has returned no call is to start.
    ///
    /// # Safety
    /// The event and what it points to live until this returns.
    pub(super) unsafe fn call(&self, event: *const E) {
        if !self.calls.are_over.load(Ordering::SeqCst) {
            // SAFETY: promised to `new` and to this.
            unsafe { (self.function)(event, self.user_data.get()) }
        }
    }
}

/// Whether the owner of a callback still wants its calls.
#[derive(Clone, Default)]
pub(super) struct Calls {
    are_over: Arc<AtomicBool>,
}

impl Calls {
    /// The value of a handle whose callback this is about: with it the calls end.
    pub(super) fn end_with<T>(self, value: T) -> Calling<T> {
        Calling { calls: self, value }
    }
}

/// The value of a handle that may have a callback.
pub(super) struct Calling<T> {
    calls: Calls,
    value: T,
}

impl<T> Calling<T> {
    /// From here on no call starts.
    pub(super) fn end_calls(&self) {
        self.calls.are_over.store(true, Ordering::SeqCst);
    }
}

impl<T> Deref for Calling<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Calling<T> {
    fn drop(&mut self) {
        self.end_calls();
    }
}

/// The `user_data` of a callback or of a queue's events. Its destructor runs when this is dropped: exactly once, after the last call when it lives
/// beside the callback, and at once when the registration fails.
pub(super) struct UserData {
    data: *mut c_void,
    free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

// SAFETY: the library only carries the pointer; the header demands that what is behind it may be used on the thread
// that calls back.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    /// To be made before anything of the registering call can fail.
    ///
    /// # Safety
    /// `free` is NULL or may be called once with `data`, on any thread.
    pub(super) unsafe fn new(data: *mut c_void, free: Option<unsafe extern "C" fn(*mut c_void)>) -> UserData {
        UserData { data, free }
    }

    pub(super) fn get(&self) -> *mut c_void {
        self.data
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: promised to `new`, and a value is dropped once.
            unsafe { free(self.data) }
        }
    }
}

/// A value that is dropped in the process that made it, and left alone in a child of `fork`: there nothing of the caller's
/// is called, and no lock is taken.
pub(super) struct InProcess<T> {
    generation: Generation,
    value: ManuallyDrop<T>,
}

impl<T> InProcess<T> {
    pub(super) fn new(value: T) -> InProcess<T> {
        InProcess { generation: Generation::current(), value: ManuallyDrop::new(value) }
    }
}

impl<T> Drop for InProcess<T> {
    fn drop(&mut self) {
        if self.generation.is_current() {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    unsafe extern "C" fn count(event: *const u32, calls: *mut c_void) {
        // SAFETY: the test gives both.
        unsafe { *calls.cast::<u32>() += *event }
    }

    #[test]
    fn a_callback_is_not_called_any_more_once_its_handle_says_so_or_is_gone() {
        for is_freed in [false, true] {
            let mut called = 0;
            let (calls, data) = (Calls::default(), ptr::from_mut(&mut called).cast());
            // SAFETY: `called` outlives the callback.
            let callback = unsafe { Callback::new(count, UserData::new(data, None), &calls) };
            let handle = calls.end_with(());
            // SAFETY: the event is static.
            unsafe { callback.call(&1) }
            let _kept = if is_freed {
                drop(handle);
                None
            } else {
                handle.end_calls();
                Some(handle)
            };
            // SAFETY: as above.
            unsafe { callback.call(&1) }
            assert_eq!(called, 1, "is_freed: {is_freed}");
        }
    }
}
