//! The forks of this process, counted.
//!
//! `fork` copies the descriptors first and the memory after them, while the other threads go on. What one of these opens
//! in between is there in the child's memory and not among its descriptors, where the number may soon be another file's.
//! Nothing here takes a lock, which another thread might have held at the fork.

use super::descriptor::forget_opened_since;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static BEGUN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The number of the fork that this thread has begun last.
    static LATEST: Cell<u32> = const { Cell::new(0) };
}

/// Has forks counted from here on. Where that can't be had, or a child is made by other means, it may close what is not
/// its parent's.
pub(super) fn count() {
    static IS_COUNTED: AtomicBool = AtomicBool::new(false);
    if !IS_COUNTED.load(Ordering::Relaxed) && !IS_COUNTED.swap(true, Ordering::Relaxed) {
        // SAFETY: functions that stay, since the library is never unloaded.
        unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
    }
}

/// How many forks have begun.
pub(super) fn begun() -> u32 {
    BEGUN.load(Ordering::SeqCst)
}

unsafe extern "C" fn before() {
    LATEST.set(BEGUN.fetch_add(1, Ordering::SeqCst).wrapping_add(1));
}

unsafe extern "C" fn in_child() {
    forget_opened_since(LATEST.get());
}
