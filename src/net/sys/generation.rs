//! Which process this is. A child of `fork` has its parent's memory but none of its threads, and shares its
//! descriptors: what the parent made is of no use there, and must not be disturbed.
//!
//! Processes are told apart by a number that the kernel sets to zero in a child (`MADV_WIPEONFORK`), so that looking
//! costs a load and no system call. Nothing here takes a lock, which another thread might have held at the fork.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A process, as its descendants can tell it from themselves. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

/// Where this process has its number, in a page that is empty in a child; NULL until it is mapped.
static MARK: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

/// The latest number given to this process or to one that it descends from.
static LATEST: AtomicU32 = AtomicU32::new(0);

impl Generation {
    /// That of the calling process.
    pub(crate) fn current() -> Generation {
        let mark = MARK.load(Ordering::Acquire);
        if !mark.is_null() {
            // SAFETY: a page that was mapped for it, and is never unmapped.
            let number = unsafe { (*mark).load(Ordering::Relaxed) };
            if number != 0 {
                return Generation(number);
            }
        }
        Generation::begin(mark)
    }

    /// Whether this is the calling process.
    pub(crate) fn is_current(self) -> bool {
        self == Generation::current()
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The first look in a process.
    #[cold]
    fn begin(mark: *mut AtomicU32) -> Generation {
        let mark = if mark.is_null() { map_mark() } else { mark };
        if mark.is_null() {
            return by_process_id();
        }
        // SAFETY: as in `current`.
        let number = unsafe { &*mark };
        let new = next();
        // Another thread may have been faster.
        number
            .compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(Generation, |_| Generation(new))
    }
}

fn next() -> u32 {
    LATEST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// Maps the page; NULL where the kernel can't empty it in a child.
fn map_mark() -> *mut AtomicU32 {
    let Some(page) = wiped_page() else { return ptr::null_mut() };
    match MARK.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => page,
        Err(other) => {
            // SAFETY: mapped just now, and nobody else knows it.
            unsafe { libc::munmap(page.cast(), size_of::<AtomicU32>()) };
            other
        }
    }
}

fn wiped_page() -> Option<*mut AtomicU32> {
    // Linux before 4.14 and some emulators lack it; once is enough to find out.
    static IS_LACKING: AtomicU32 = AtomicU32::new(0);
    if IS_LACKING.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let (length, access, kind) =
        (size_of::<AtomicU32>(), libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address that the kernel picks.
    let page = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // An emulator that takes the advice that doesn't exist (-1) takes everything, and does nothing.
    // SAFETY: advice on the mapping above.
    let is_wiped =
        unsafe { libc::madvise(page, length, -1) != 0 && libc::madvise(page, length, libc::MADV_WIPEONFORK) == 0 };
    if is_wiped {
        return Some(page.cast());
    }
    IS_LACKING.store(1, Ordering::Relaxed);
    // SAFETY: mapped above, and nobody else knows it.
    unsafe { libc::munmap(page, length) };
    None
}

/// By a system call per look, where the kernel can't empty a page.
fn by_process_id() -> Generation {
    /// The process that looked last, and its number below it.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    // SAFETY: takes no pointers.
    let pid = unsafe { libc::getpid() };
    loop {
        let known = KNOWN.load(Ordering::Acquire);
        if known >> 32 == u64::from(pid.unsigned_abs()) {
            return Generation(known as u32);
        }
        let new = u64::from(pid.unsigned_abs()) << 32 | u64::from(next());
        let _ = KNOWN.compare_exchange(known, new, Ordering::AcqRel, Ordering::Acquire);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What a child of `fork` says of a claim.
    fn in_a_child(claim: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child does nothing but the claim, which takes no lock, and ends without cleaning up.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(!claim()));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }

    #[test]
    fn a_process_keeps_its_number_and_its_children_have_others() {
        let parent = Generation::current();
        assert!(parent.is_current() && parent.number() != 0);
        assert!(in_a_child(|| {
            let child = Generation::current();
            let differs = child != parent && child == Generation::current() && !parent.is_current();
            differs && in_a_child(|| ![parent, child].contains(&Generation::current()))
        }));
        assert!(parent.is_current());
    }

    #[test]
    fn without_help_of_the_kernel_processes_are_told_apart_as_well() {
        let parent = by_process_id();
        assert_eq!(parent, by_process_id());
        assert!(in_a_child(|| {
            let child = by_process_id();
            child != parent && child == by_process_id() && in_a_child(|| by_process_id() != child)
        }));
        assert_eq!(parent, by_process_id());
    }
}
