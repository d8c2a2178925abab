//! What a caller gives along with a callback or a queue.

use crate::net::Generation;
use std::ffi::c_void;
use std::mem::ManuallyDrop;

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
