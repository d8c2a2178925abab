//! What ends a call early: its deadline, its cancel token, or its client.

use super::EventFd;
use crate::deadline::Deadline;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends every call that holds it, once triggered.
#[derive(Debug)]
pub struct CancelToken {
    triggered: AtomicBool,
    event: EventFd,
}

impl CancelToken {
    /// A token, not triggered.
    pub fn new() -> io::Result<CancelToken> {
        Ok(CancelToken { triggered: AtomicBool::new(false), event: EventFd::new()? })
    }

    /// Ends the calls under way that hold it, and later ones at once. Async-signal-safe.
    pub fn trigger(&self) {
        self.triggered.store(true, Ordering::SeqCst);
        self.event.signal();
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        self.triggered.load(Ordering::SeqCst)
    }
}

impl AsRawFd for CancelToken {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

/// The bounds of one call.
#[derive(Clone, Debug)]
pub struct Control {
    /// When it must have ended.
    pub deadline: Deadline,
    /// What else may end it.
    pub cancel: Option<Arc<CancelToken>>,
}

/// Why a wait ended without what was waited for; travels inside an [`io::Error`], through TLS too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the time limit passed")]
    Deadline,
    #[error("cancelled")]
    Cancelled,
    #[error("the client was closed")]
    Closed,
}

impl Stop {
    /// What stopped the operation that gave this error, if something did.
    pub(crate) fn of(error: &io::Error) -> Option<Stop> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()).copied()
    }
}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> io::Error {
        io::Error::other(stop)
    }
}

impl Control {
    /// No bounds.
    pub(crate) const UNBOUNDED: Control = Control { deadline: Deadline::NEVER, cancel: None };

    /// The reason to stop that already holds.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.cancel.as_ref().is_some_and(|token| token.is_triggered()) {
            return Err(Stop::Cancelled);
        }
        if self.deadline.has_passed() {
            return Err(Stop::Deadline);
        }
        Ok(())
    }

    /// The same with an earlier deadline.
    pub(crate) fn at_most(&self, limit: std::time::Duration) -> Control {
        Control { deadline: self.deadline.at_most(limit), cancel: self.cancel.clone() }
    }
}
