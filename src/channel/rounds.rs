//! A call's way through the endpoints: each of them once, and then again while time is left, if the trouble is one
//! that passes.

use super::attempt::Attempt;
use super::endpoints::Choice;
use super::retry::{self, Next};
use super::{Channel, Kind, failure};
use crate::error::{Error, Outcome, Phase, Result};
use crate::gateway::Header;
use crate::limits;
use crate::log::Level;
use crate::net::{self, Control};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// What a call is, as far as its way matters.
pub(super) struct Call<'a> {
    pub kind: Kind,
    pub control: &'a Control,
    /// It goes where the caller says and not to one of the client's endpoints: the token is none of its business.
    pub is_for_stranger: bool,
    /// It only asks whether a member is there.
    pub is_probe: bool,
    /// What became of the last request that may have been executed, whether or not another one followed it.
    pub doubt: RefCell<Option<Error>>,
}

/// The answer to one attempt.
pub(super) struct Answer<T> {
    pub value: T,
    /// What it says of a member that is behind what the client has seen.
    pub behind: Option<Header>,
}

impl<T> Answer<T> {
    /// One that says nothing of the member.
    pub(super) fn plain(value: T) -> Answer<T> {
        Answer { value, behind: None }
    }
}

impl<'a> Call<'a> {
    pub(super) fn new(kind: Kind, control: &'a Control) -> Call<'a> {
        Call { kind, control, is_for_stranger: false, is_probe: false, doubt: RefCell::default() }
    }

    pub(super) fn for_stranger(self, is_for_stranger: bool) -> Call<'a> {
        Call { is_for_stranger, ..self }
    }

    pub(super) fn probe(control: &'a Control) -> Call<'a> {
        Call { is_probe: true, ..Call::new(Kind::Read, control) }
    }
}

impl Channel {
    /// Tries endpoints one after another, from the one in use on, as far as the errors and the kind of call allow.
    pub(super) fn on_some_endpoint<T>(
        &self,
        call: &Call<'_>,
        run: &dyn Fn(&Attempt<'_>) -> Result<Answer<T>>,
    ) -> Result<T> {
        self.go_round(call, run).inspect_err(|error| self.stats.fail(error))
    }

    fn go_round<T>(&self, call: &Call<'_>, run: &dyn Fn(&Attempt<'_>) -> Result<Answer<T>>) -> Result<T> {
        let mut way = Way::default();
        let mut lagging: Option<Lagging<T>> = None;
        loop {
            let choice = self.endpoints.choose(&way.tried);
            let (endpoint, guard, url) = (&choice.endpoint, &choice.guard, &choice.endpoint.url);
            let share = way.share(choice.count, self, call);
            let attempt = Attempt { channel: self, endpoint, guard, call, endpoints: choice.count, share };
            let is_met = if choice.is_foreign { attempt.reclaim() } else { Ok(()) };
            let next = match is_met.and_then(|()| run(&attempt)) {
                Ok(Answer { value, behind: None }) => {
                    if choice.is_trial {
                        self.endpoints.recover(endpoint);
                    }
                    return Ok(value);
                }
                Ok(Answer { value, behind: Some(header) }) => {
                    self.logger.log(Level::Warn, format_args!("{url} is behind what was seen of its cluster"));
                    self.endpoints.fail(url);
                    way.tried.push(url.clone());
                    lagging = Some(Lagging { value, header, choice });
                    Next::Elsewhere
                }
                Err(error) => {
                    endpoint.counters.errors.add(1);
                    way.take(self, call, url, retry::for_kind(error, call.kind))
                }
            };
            let is_enough = |lagging: &mut Lagging<T>| {
                let is_best = next != Next::Nowhere && self.believes(lagging, &way.tried);
                is_best || call.kind != Kind::Read
            };
            if let Some(lagging) = lagging.take_if(is_enough) {
                return Ok(lagging.value);
            }
            if let Err(error) = way.go_on(self, call, next) {
                return match (error, lagging) {
                    (error @ (Error::Cancelled { .. } | Error::Closed { .. }), _) => Err(error),
                    (error @ Error::Server { .. }, _) if next == Next::Nowhere => Err(error),
                    (error, None) => Err(error),
                    // An answer from a member that is behind is better than none.
                    (_, Some(lagging)) => {
                        self.believes(&lagging, &way.tried);
                        Ok(lagging.value)
                    }
                };
            }
        }
    }

    /// Whether an answer from a member that is behind is taken for the best that there is: the cluster was restored then,
    /// for all that can be found out without waiting for members that have failed to answer.
    fn believes<T>(&self, lagging: &Lagging<T>, tried: &[Arc<str>]) -> bool {
        let Lagging { header, choice: Choice { endpoint, guard, .. }, .. } = lagging;
        let believes = guard.believe_restored(header, |behind| self.endpoints.may_be_ahead(behind, tried));
        if believes {
            let url = &endpoint.url;
            self.logger.log(Level::Warn, format_args!("all members that answer are as far behind as {url}"));
            self.endpoints.recover(endpoint);
        }
        believes
    }
}

/// The answer of a member that is behind.
struct Lagging<T> {
    value: T,
    header: Header,
    choice: Choice,
}

/// How far a call has come.
#[derive(Default)]
struct Way {
    attempts: u32,
    pauses: u32,
    /// The endpoints tried in this round.
    tried: Vec<Arc<str>>,
    /// Something in this round may be over in the next.
    may_pass: bool,
    /// The error to end with.
    error: Option<Error>,
}

impl Way {
    /// The time that connecting may take, so that some is left for the endpoints not tried yet.
    fn share(&self, endpoints: usize, channel: &Channel, call: &Call<'_>) -> Option<Duration> {
        let others = endpoints.saturating_sub(self.tried.len());
        let left =
            u32::try_from(others).unwrap_or(u32::MAX).min(self.most(channel).saturating_sub(self.attempts)).max(1);
        call.control.deadline.remaining().map(|remaining| remaining / left)
    }

    fn most(&self, channel: &Channel) -> u32 {
        channel.max_retries.map_or(limits::MAX_ATTEMPTS, |retries| retries.saturating_add(1))
    }

    /// Takes in an attempt's error.
    fn take(&mut self, channel: &Channel, call: &Call<'_>, url: &Arc<str>, error: Error) -> Next {
        self.tried.push(url.clone());
        if matches!(error, Error::ClusterMismatch { .. }) || retry::leaves_endpoint(&error) {
            channel.leave(url, &error);
        }
        let next = retry::next(&error, call.kind);
        if error.may_have_applied() {
            *call.doubt.borrow_mut() = Some(error.clone());
        }
        // Of what is done once only, the second refusal tells what became of the first request.
        let tells = call.kind == Kind::Once && retry::tells_that_it_was_done(&error);
        self.error = Some(if tells { error } else { self.end(error) });
        next
    }

    fn end(&mut self, error: Error) -> Error {
        retry::end(self.error.take(), error)
    }

    /// The error to end with where the call must stop between two attempts. When its time is over, what failed last says
    /// more than that.
    fn stopped(&mut self, stop: Error) -> Error {
        match stop {
            Error::Deadline { .. } if self.error.is_some() => self.last(),
            stop => self.end(stop),
        }
    }

    /// Goes on to another attempt, after a pause where every endpoint has been tried.
    fn go_on(&mut self, channel: &Channel, call: &Call<'_>, next: Next) -> Result<()> {
        self.attempts += 1;
        self.may_pass |= next == Next::Later || channel.max_retries.is_some();
        let control = call.control;
        let is_round = channel.endpoints.are_all_in(&self.tried);
        if next == Next::Nowhere || self.attempts >= self.most(channel) || is_round && !self.may_pass {
            return Err(self.last());
        }
        control.check().map_err(|stop| self.stopped(failure::stopped_pause(stop.into())))?;
        if is_round {
            let pause = retry::pause(self.pauses, net::jitter());
            if control.deadline.remaining().is_some_and(|left| left <= pause) {
                return Err(self.last());
            }
            channel.pause(pause, control).map_err(|stop| self.stopped(stop))?;
            self.pauses += 1;
            self.tried.clear();
            self.may_pass = false;
        }
        channel.stats.retries.add(1);
        if let Some(error) = &self.error {
            // The first one tells the trouble.
            let level = if self.attempts == 1 { Level::Warn } else { Level::Debug };
            channel.logger.log(level, format_args!("trying again: {}", error.full_message()));
        }
        Ok(())
    }

    /// Only a member that was behind leaves no error; its answer is used then.
    fn last(&mut self) -> Error {
        let outcome = Outcome::NotApplied;
        self.error.take().unwrap_or(Error::Deadline { endpoint: None, phase: Phase::Receiving, outcome })
    }
}
