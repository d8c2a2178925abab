//! The limits of a call that waits for others, and the waiting itself.

use super::session::SessionState;
use crate::client::{CallOptions, Client, TimeLimit};
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::limits;
use crate::net::{self, CancelToken};
use crate::rpc::Keys;
use crate::rpc::watch::{EventType, WatchRequest};
use crate::watch::WatchOptions;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// The limits of a call that waits.
pub(super) struct Bounds<'a> {
    client: &'a Client,
    /// When the wait is over; `None`: there is to be none.
    wait: Option<Deadline>,
    /// When the call is to have ended: with the wait, and without one by its own limit.
    end: Deadline,
    call: CallOptions,
    /// What is waited for had not happened when it was last looked at.
    has_waited: Cell<bool>,
    /// When what it gives back is to be given back, once it does that.
    tidying: Cell<Option<Deadline>>,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// It has happened.
    Event,
    /// It may have happened: look.
    Perhaps,
    /// By its time.
    InVain,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(client: &'a Client, wait: Option<Duration>, call: &CallOptions) -> Bounds<'a> {
        let wait = match wait {
            Some(Duration::ZERO) => None,
            Some(limit) => Some(Deadline::after(limit)),
            None => Some(Deadline::NEVER),
        };
        let end = wait.unwrap_or_else(|| client.deadline(call.timeout));
        Bounds { client, wait, end, call: call.clone(), has_waited: Cell::new(false), tidying: Cell::new(None) }
    }

    /// Those of a call that ends with the session, too.
    pub(super) fn of_session(
        session: &'a SessionState,
        wait: Option<Duration>,
        call: &CallOptions,
    ) -> Result<Bounds<'a>> {
        let cancel = match &call.cancel {
            None => session.over.clone(),
            Some(own) => {
                let both = CancelToken::with(vec![session.over.clone(), own.clone()]).map_err(net::no_descriptor)?;
                Arc::new(both)
            }
        };
        let call = CallOptions { timeout: call.timeout, cancel: Some(cancel) };
        Ok(Bounds::new(&session.client, wait, &call))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.wait.is_none_or(Deadline::has_passed)
    }

    /// For one request: within its own limit, and within the call's.
    pub(super) fn request(&self) -> CallOptions {
        until(&self.call, self.client.deadline(self.call.timeout).earlier(self.end))
    }

    /// For what may take as long as the call.
    pub(super) fn whole(&self) -> CallOptions {
        until(&self.call, self.end)
    }

    /// For giving back what the call has taken, all of it together: as long as the call may take, and where that is
    /// over, or the call was cancelled, a little longer.
    pub(super) fn tidying(&self) -> CallOptions {
        let is_cancelled = self.call.is_cancelled();
        let deadline = self.tidying.get().unwrap_or_else(|| {
            let left = self.end.remaining().unwrap_or(Duration::MAX);
            Deadline::after(left.clamp(limits::TIDYING_TIMEOUT, limits::TIDYING_LONGEST))
        });
        // Also where it was cancelled only since that began.
        let deadline = if is_cancelled { deadline.earlier(Deadline::after(limits::TIDYING_TIMEOUT)) } else { deadline };
        self.tidying.set(Some(deadline));
        let call = until(&self.call, deadline);
        if is_cancelled { CallOptions { cancel: None, ..call } } else { call }
    }

    /// For what lasts as long as the wait.
    pub(super) fn wait(&self) -> CallOptions {
        until(&self.call, self.wait.unwrap_or(Deadline::NEVER))
    }

    /// Asks until there is an answer, as long as the wait lasts: a cluster that is away for a while is no reason to
    /// give up. None: the wait is over.
    pub(super) fn persist<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<Option<T>> {
        loop {
            match ask() {
                Err(error) if self.is_in_vain(&error) => return Ok(None),
                Err(error) => self.outlast(error)?,
                Ok(answer) => return Ok(Some(answer)),
            }
        }
    }

    /// Goes on after a pause where the error may pass while the wait lasts.
    pub(super) fn outlast(&self, error: Error) -> Result<()> {
        if passes(self.client, &error) && !self.has_ended() { self.pause() } else { Err(error) }
    }

    /// Whether an error means no more than that the wait is over: by its time, whatever was asked just then, or while
    /// nobody could be asked whether what was waited for has happened meanwhile. Where there is to be no wait there is
    /// none that could be over.
    pub(super) fn is_in_vain(&self, error: &Error) -> bool {
        let is_over = self.wait.is_some() && self.has_ended();
        is_over && (matches!(error, Error::Deadline { .. }) || self.has_waited.get() && passes(self.client, error))
    }

    /// How a call ended that waits: in vain where an error means no more than that.
    pub(super) fn or_in_vain(&self, ended: Result<bool>) -> Result<bool> {
        match ended {
            Err(error) if self.is_in_vain(&error) => Ok(false),
            ended => ended,
        }
    }

    /// Waits until one of these keys is written or deleted, after this revision.
    pub(super) fn wait_for(&self, keys: Keys<'_>, event: EventType, after: i64) -> Result<Woken> {
        self.wait_sparing(Duration::ZERO, keys, event, after)
    }

    /// The same, but that so much of the time is left for something else.
    pub(super) fn wait_sparing(&self, time: Duration, keys: Keys<'_>, event: EventType, after: i64) -> Result<Woken> {
        let wait = self.wait.map(|wait| wait.sooner_by(time));
        let has_ended = || wait.is_none_or(Deadline::has_passed);
        if has_ended() {
            return Ok(Woken::InVain);
        }
        self.has_waited.set(true);
        let request = WatchRequest {
            start_revision: after.saturating_add(1),
            no_put: event == EventType::Delete,
            no_delete: event == EventType::Put,
            ..WatchRequest::new(keys.into_owned())
        };
        let call = until(&self.call, wait.unwrap_or(Deadline::NEVER));
        match self.client.watch_once(WatchOptions { follows_read: true, call, ..WatchOptions::new(request) }) {
            Ok(_) => Ok(Woken::Event),
            Err(error) if lacks_history(&error) => Ok(Woken::Perhaps),
            Err(Error::Deadline { .. }) if has_ended() => Ok(Woken::InVain),
            Err(error) if passes(self.client, &error) => self.pause().map(|()| Woken::Perhaps),
            Err(error) => Err(error),
        }
    }

    pub(super) fn pause(&self) -> Result<()> {
        let control = self.client.control(&self.wait());
        match self.client.shared.channel.pause(limits::RETRY_PAUSE_LONGEST, &control) {
            Err(Error::Deadline { .. }) => Ok(()),
            paused => paused,
        }
    }
}

/// Whether a watch can't go on from where it was, but another one can from now on.
pub(super) fn lacks_history(error: &Error) -> bool {
    matches!(error, Error::Compacted { .. } | Error::RevisionRegressed { .. })
}

/// Whether who waits goes on waiting after an error: where it passes by itself, as it does, too, that users and roles
/// change so often that every token is outdated before it is used.
pub(super) fn passes(client: &Client, error: &Error) -> bool {
    error.is_retryable() || error.reason() == Reason::OldAuthRevision && client.shared.channel.logs_in()
}

/// The same call, bounded by this moment.
pub(super) fn until(call: &CallOptions, deadline: Deadline) -> CallOptions {
    let timeout = deadline.remaining().map_or(TimeLimit::Never, TimeLimit::After);
    CallOptions { timeout, cancel: call.cancel.clone() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_given_back_takes_no_longer_once_the_call_is_cancelled() {
        let (client, token) = (Client::new(Config::default()).unwrap(), Arc::new(CancelToken::new().unwrap()));
        let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
        let bounds = Bounds::new(&client, None, &call);
        let before = bounds.tidying();
        assert!(matches!(before.timeout, TimeLimit::After(limit) if limit > limits::TIDYING_TIMEOUT));
        token.trigger();
        let after = bounds.tidying();
        assert!(matches!(after.timeout, TimeLimit::After(limit) if limit <= limits::TIDYING_TIMEOUT));
        assert!(after.cancel.is_none());
    }
}
