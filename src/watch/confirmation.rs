//! The wait of whoever starts a watch until the server has confirmed it.

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Phase, Result};
use crate::net::Control;
use crate::sync::{Mutex, Waiters, lock};
use std::time::Duration;

/// Told once, waited for by one thread.
pub(super) struct Confirmation {
    told: Mutex<Option<Result<()>>>,
    changed: Waiters,
    deadline: Deadline,
}

impl Confirmation {
    /// To be waited for until then.
    pub(super) fn new(deadline: Deadline) -> Confirmation {
        Confirmation { told: Mutex::new(None), changed: Waiters::default(), deadline }
    }

    /// When nobody will wait any more.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    pub(super) fn tell(&self, result: Result<()>) {
        let mut told = lock(&self.told);
        *told = Some(result);
        self.changed.wake_all(told);
    }

    pub(super) fn wait(&self, channel: &Channel, control: &Control) -> Result<()> {
        let mut told = lock(&self.told);
        loop {
            if let Some(result) = told.take() {
                return result;
            }
            check(channel, control)?;
            told = self.changed.wait(told, until_next_look(control));
        }
    }
}

/// Fails where a call must end.
pub(super) fn check(channel: &Channel, control: &Control) -> Result<()> {
    let outcome = Outcome::NotApplied;
    if control.cancel.as_ref().is_some_and(|token| token.is_triggered()) {
        return Err(Error::Cancelled { outcome });
    }
    if control.deadline.has_passed() {
        return Err(Error::Deadline { endpoint: Some(channel.base_url()), phase: Phase::Receiving, outcome });
    }
    Ok(())
}

/// How long to wait for another thread before the next [`check`]. A cancel token may be triggered by a signal handler,
/// which can wake no thread that waits for another: so it is looked at often enough for its promise to hold.
pub(super) fn until_next_look(control: &Control) -> Deadline {
    const LOOK: Duration = Duration::from_millis(40);
    if control.cancel.is_some() { control.deadline.at_most(LOOK) } else { control.deadline }
}
