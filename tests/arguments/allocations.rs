//! How many bytes this thread has allocated and not freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted per thread: other tests run meanwhile.
pub struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Allocated minus freed on this thread. What is handed from one thread to another counts on both.
pub fn live_bytes() -> isize {
    LIVE.with(Cell::get)
}

fn count(bytes: usize, sign: isize) {
    // Not there any more while a thread ends.
    let _ = LIVE.try_with(|live| live.set(live.get() + sign * bytes as isize));
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(address, layout) }
    }
}
