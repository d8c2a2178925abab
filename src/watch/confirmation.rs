//! The wait of whoever starts a watch until the server has confirmed it.

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Phase, Result};
use crate::net::{Control, EventFd, lock, no_descriptor};
use std::sync::{Condvar, Mutex, PoisonError};

/// Told once, waited for by one thread.
pub(super) struct Confirmation {
    told: Mutex<Option<Result<()>>>,
    changed: Condvar,
    /// Where a cancel token may end the wait: the two are waited for together.
    event: Option<EventFd>,
    deadline: Deadline,
}

impl Confirmation {
    /// To be waited for within these bounds.
    pub(super) fn new(control: &Control) -> Result<Confirmation> {
        let event = control.cancel.is_some().then(EventFd::new).transpose().map_err(no_descriptor)?;
        Ok(Confirmation { told: Mutex::default(), changed: Condvar::new(), event, deadline: control.deadline })
    }

    /// When nobody will wait any more.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    pub(super) fn tell(&self, result: Result<()>) {
        *lock(&self.told) = Some(result);
        self.changed.notify_one();
        if let Some(event) = &self.event {
            event.signal();
        }
    }

    pub(super) fn wait(&self, channel: &Channel, control: &Control) -> Result<()> {
        if let Some(event) = &self.event {
            let waited = channel.wait_for(event, control);
            // What was told in the meantime counts.
            return lock(&self.told).take().unwrap_or(waited);
        }
        let mut told = lock(&self.told);
        loop {
            if let Some(result) = told.take() {
                return result;
            }
            told = match self.deadline.remaining() {
                None => self.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    let (phase, outcome) = (Phase::Receiving, Outcome::NotApplied);
                    return Err(Error::Deadline { endpoint: Some(channel.base_url()), phase, outcome });
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(told, left);
                    waited.map_or_else(|poisoned| poisoned.into_inner().0, |(told, _)| told)
                }
            };
        }
    }
}
