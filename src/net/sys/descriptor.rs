//! Descriptors of the library: each is listed while it is open, so that a child of `fork` can close those that it
//! inherited without a look at what owns them, which may be locked or half-changed for ever there.

use super::{Generation, forks};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// An open descriptor; closed with this value, in the process that opened it.
#[derive(Debug)]
pub(crate) struct Descriptor {
    fd: RawFd,
    entry: u64,
    slot: &'static Slot,
}

impl Descriptor {
    /// Takes over what a system call has opened, or its error.
    pub(super) fn opened(result: libc::c_int) -> io::Result<Descriptor> {
        let Ok(number) = u32::try_from(result) else { return Err(io::Error::last_os_error()) };
        forks::count();
        let entry = u64::from(Generation::current().number()) << 32 | u64::from(number);
        Ok(Descriptor { fd: result, entry, slot: LIST.put(entry) })
    }

    /// Whether this process has opened it.
    pub(crate) fn is_own(&self) -> bool {
        generation_of(self.entry) == Generation::current().number()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // Taken off the list before it is closed: a fork between the two leaves the child a descriptor too many, and
        // the other way round the child would close what is another file's by then.
        if self.slot.leaves(self.entry) {
            close(self.entry);
        }
    }
}

/// Closes every descriptor that the calling process has inherited. Async-signal-safe.
pub(crate) fn close_inherited_descriptors() {
    let current = Generation::current().number();
    LIST.for_each(|slot| {
        let entry = slot.entry.load(Ordering::Acquire);
        let is_inherited = entry != FREE && entry != TAKEN && generation_of(entry) != current;
        if is_inherited && slot.leaves(entry) {
            close(entry);
        }
    });
}

/// Forgets, in a child, what was opened since its fork had begun: the child may not have it. Where it does, it has a
/// descriptor too many. Async-signal-safe.
pub(super) fn forget_opened_since(fork: u32) {
    LIST.for_each(|slot| {
        let is_since = slot.forks.load(Ordering::Acquire).wrapping_sub(fork) <= u32::MAX / 2;
        if is_since || slot.entry.load(Ordering::Acquire) == TAKEN {
            slot.entry.store(FREE, Ordering::Release);
        }
    });
}

fn close(entry: u64) {
    // SAFETY: the descriptor of the entry is open: whoever took the entry off the list closes it, and nobody else.
    unsafe { libc::close(entry as u32 as RawFd) };
}

fn generation_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

const FREE: u64 = 0;

/// What a place has while it is being filled: it is no generation's.
const TAKEN: u64 = u64::MAX;

#[derive(Debug)]
struct Slot {
    /// A generation, which is never 0, and below it the descriptor; or one of the above.
    entry: AtomicU64,
    /// How many forks had begun when it was listed.
    forks: AtomicU32,
}

impl Slot {
    const fn new() -> Slot {
        Slot { entry: AtomicU64::new(FREE), forks: AtomicU32::new(0) }
    }

    /// Takes what has been opened, if nothing else is there.
    fn takes(&self, entry: u64) -> bool {
        let is_free = self.entry.compare_exchange(FREE, TAKEN, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_free {
            // Counted after it was opened: a fork that has copied the descriptors before that has begun by now.
            self.forks.store(forks::begun(), Ordering::Release);
            self.entry.store(entry, Ordering::Release);
        }
        is_free
    }

    /// Whether it had this entry, which it no longer has.
    fn leaves(&self, entry: u64) -> bool {
        self.entry.compare_exchange(entry, FREE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// All that are open. It grows and never shrinks.
static LIST: Chunk = Chunk::new();

struct Chunk {
    slots: [Slot; 128],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn new() -> Chunk {
        Chunk { slots: [const { Slot::new() }; 128], next: AtomicPtr::new(ptr::null_mut()) }
    }

    fn put(&'static self, entry: u64) -> &'static Slot {
        let mut chunk = self;
        loop {
            if let Some(slot) = chunk.slots.iter().find(|slot| slot.takes(entry)) {
                return slot;
            }
            chunk = chunk.next().unwrap_or_else(|| chunk.grow());
        }
    }

    fn for_each(&'static self, visit: impl Fn(&Slot)) {
        let chunks = std::iter::successors(Some(self), |chunk| chunk.next());
        chunks.flat_map(|chunk| &chunk.slots).for_each(visit);
    }

    fn next(&self) -> Option<&'static Chunk> {
        // SAFETY: NULL, or a chunk that is never freed.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    fn grow(&self) -> &'static Chunk {
        let new = Box::into_raw(Box::new(Chunk::new()));
        match self.next.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: made just now, and never freed.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: made just now, and nobody else knows it; the other one is never freed.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn open_one() -> Descriptor {
        // SAFETY: takes no pointers.
        Descriptor::opened(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }).unwrap()
    }

    fn is_open(fd: RawFd) -> bool {
        // SAFETY: takes no pointers.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn a_child_closes_what_it_inherited_and_nothing_of_its_own() {
        // More than one chunk holds.
        let inherited: Vec<Descriptor> = (0..200).map(|_| open_one()).collect();
        // SAFETY: the child takes no lock that another thread may hold, and ends without cleaning up.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let own = open_one();
                close_inherited_descriptors();
                let closed = inherited.iter().all(|descriptor| !is_open(descriptor.as_raw_fd()));
                let reused = open_one();
                // What is dropped there after all closes nothing.
                drop(inherited);
                let good = closed && is_open(own.as_raw_fd()) && own.is_own() && is_open(reused.as_raw_fd());
                libc::_exit(i32::from(!good));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(status, 0);
        }
        assert!(inherited.iter().all(|descriptor| is_open(descriptor.as_raw_fd()) && descriptor.is_own()));
    }
}
