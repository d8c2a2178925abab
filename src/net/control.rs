//! What ends a call early: its deadline, its cancel token, or its client.

use super::EventFd;
use super::sys::AnyOf;
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
    others: Option<Others>,
}

/// Tokens that trigger another one, whose descriptor stands for theirs and its own.
#[derive(Debug)]
struct Others {
    any: AnyOf,
    tokens: Vec<Arc<CancelToken>>,
}

impl CancelToken {
    /// A token, not triggered.
    pub fn new() -> io::Result<CancelToken> {
        Ok(CancelToken { triggered: AtomicBool::new(false), event: EventFd::new()?, others: None })
    }

    /// A token that is triggered with each of these, too.
    pub(crate) fn with(tokens: Vec<Arc<CancelToken>>) -> io::Result<CancelToken> {
        let own = CancelToken::new()?;
        let fds: Vec<RawFd> = tokens.iter().map(|token| token.as_raw_fd()).chain([own.as_raw_fd()]).collect();
        let any = AnyOf::new(&fds)?;
        Ok(CancelToken { others: Some(Others { any, tokens }), ..own })
    }

    /// Ends the calls under way that hold it, and later ones at once. Async-signal-safe.
    pub fn trigger(&self) {
        self.triggered.store(true, Ordering::SeqCst);
        self.event.signal();
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        let others = self.others.iter().flat_map(|others| &others.tokens);
        self.triggered.load(Ordering::SeqCst) || others.into_iter().any(|token| token.is_triggered())
    }
}

impl AsRawFd for CancelToken {
    fn as_raw_fd(&self) -> RawFd {
        self.others.as_ref().map_or(self.event.as_raw_fd(), |others| others.any.as_raw_fd())
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::sys::{Ready, wait};
    use super::*;
    use std::time::Duration;

    fn is_signalled(token: &CancelToken) -> bool {
        wait([(token.as_raw_fd(), Ready::Read)], Deadline::after(Duration::ZERO)).unwrap().contains(&true)
    }

    #[test]
    fn a_token_with_others_is_triggered_by_each_of_them_and_triggers_none() {
        let [one, other] = [(); 2].map(|()| Arc::new(CancelToken::new().unwrap()));
        let both = CancelToken::with(vec![one.clone(), other.clone()]).unwrap();
        let own = CancelToken::with(vec![one.clone()]).unwrap();
        assert!(!both.is_triggered() && !is_signalled(&both));
        own.trigger();
        assert!(own.is_triggered() && is_signalled(&own) && !one.is_triggered() && !is_signalled(&both));
        other.trigger();
        assert!(both.is_triggered() && is_signalled(&both) && !one.is_triggered());
    }
}
