//! A lease that is kept, as far as that is known without asking.

use super::Listener;
use crate::error::Error;
use crate::net::BootTime;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A lease as its owner and the keeper share it.
pub(crate) struct Kept {
    pub(super) lease: i64,
    /// Nanoseconds by the boot clock.
    deadline: AtomicU64,
    /// Told, or about to be.
    is_lost: AtomicBool,
    pub(super) listener: Box<dyn Listener>,
}

impl Kept {
    pub(super) fn new(lease: i64, sent: BootTime, ttl: i64, listener: Box<dyn Listener>) -> Kept {
        let kept = Kept { lease, deadline: AtomicU64::new(0), is_lost: AtomicBool::new(false), listener };
        kept.lives_until(sent + seconds(ttl));
        kept
    }

    /// Also where the keeper has not come to say so.
    pub(super) fn is_lost(&self) -> bool {
        self.remaining().is_zero()
    }

    pub(super) fn remaining(&self) -> Duration {
        if self.is_lost.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        self.deadline().left(BootTime::now())
    }

    pub(super) fn deadline(&self) -> BootTime {
        BootTime::since_boot(Duration::from_nanos(self.deadline.load(Ordering::SeqCst)))
    }

    pub(super) fn lives_until(&self, deadline: BootTime) {
        let nanos = u64::try_from(deadline.get().as_nanos()).unwrap_or(u64::MAX);
        self.deadline.store(nanos, Ordering::SeqCst);
    }

    pub(super) fn give_up(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }

    pub(super) fn lose(&self, error: Error) {
        if !self.is_lost.swap(true, Ordering::SeqCst) {
            self.listener.lost(self.lease, error);
        }
    }
}

pub(super) fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}
