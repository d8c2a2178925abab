//! How much of what was not consumed yet a client's watches may hold, and its mirrors.

use crate::stats::Stats;
use crate::sync::AtomicUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The bounds of a client's backlogs, and what they hold together.
pub(crate) struct Buffers {
    /// Of one watch, and of all together.
    watch_bytes: usize,
    total_bytes: usize,
    held: AtomicUsize,
    pub(super) stats: Arc<Stats>,
}

impl Buffers {
    pub(crate) fn new(watch_bytes: usize, total_bytes: usize, stats: Arc<Stats>) -> Buffers {
        Buffers { watch_bytes, total_bytes, held: AtomicUsize::new(0), stats }
    }

    /// Counts what a watch has more of. It then holds `now`, and held `before`; answers whether that is all it may: one
    /// that held nothing never suffers from what the others hold.
    pub(crate) fn hold(&self, before: usize, now: usize) -> bool {
        let added = now.saturating_sub(before);
        let held = self.held.fetch_add(added, Ordering::Relaxed).saturating_add(added);
        now >= self.watch_bytes || (before > 0 && held >= self.total_bytes)
    }

    pub(crate) fn let_go(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}
