//! An attempt's way to its token.

use super::attempt::{Attempt, encode};
use super::auth::Grant;
use super::failure::stopped_pause;
use super::{Kind, Method, Size};
use crate::config;
use crate::error::{Error, Outcome, Phase, Reason, Result};
use crate::gateway::authenticate::{AuthenticateRequest, AuthenticateResponse};
use crate::gateway::json::{Decode, Reader};
use crate::limits;
use crate::log::Level;
use crate::net::{self, EventFd};
use crate::secret::Secret;
use zeroize::Zeroizing;

/// Done twice it gives two tokens. It is a proposal (server/auth), which a member without a leader holds for seconds.
pub(super) const AUTHENTICATE: Method =
    Method::new("auth/authenticate", Kind::Idempotent, Size::Plain).with_leader().secret(true);

impl Attempt<'_> {
    /// Does something with the client's token, and once more with a new one when that is refused: a server that
    /// refuses a token has not looked at the request.
    pub(super) fn with_token<T>(&self, method: Method<'_>, mut run: impl FnMut(&Grant) -> Result<T>) -> Result<T> {
        if self.call.is_for_stranger || method.is_login() {
            return run(&Grant::NONE);
        }
        let mut refusals = 0;
        loop {
            let grant = self.grant()?;
            let error = match run(&grant) {
                Err(error) if grant.is_refused_by(&error) => error,
                done => {
                    if matches!(done, Err(Error::Deadline { phase: Phase::Receiving, .. })) {
                        self.channel.doubt_token(&grant);
                    }
                    return done;
                }
            };
            refusals += 1;
            let may_repeat = method.kind != Kind::Write || !error.may_have_applied();
            if !self.channel.renews_token(&grant, &error) || refusals > limits::MAX_TOKEN_REFUSALS || !may_repeat {
                return Err(error);
            }
        }
    }

    /// Fetches a token, where there is none yet.
    pub(super) fn log_in(&self) -> Result<()> {
        self.grant().map(drop)
    }

    fn grant(&self) -> Result<Grant> {
        let (url, channel) = (&self.endpoint.url, self.channel);
        let wait = |done: &EventFd| {
            net::wait_for_event(done, &channel.connector.lifeline, self.call.control).map_err(stopped_pause)
        };
        let fetch = |name: &str, password: &Secret| self.authenticate(name, password).map_err(Error::of_a_read);
        channel.auth.grant(url, self.guard, wait, fetch)
    }

    /// Asks for a token; none: authentication is not enabled. What the answer says is quoted nowhere.
    fn authenticate(&self, name: &str, password: &Secret) -> Result<Option<Secret>> {
        let (url, request) = (&self.endpoint.url, AuthenticateRequest { name, password });
        let answered =
            self.exchange_with(&Grant::NONE, AUTHENTICATE.with_password(password), &mut |out| encode(&request, out));
        let mut body = match answered {
            Ok((_, body)) => Zeroizing::new(body),
            Err(error) if error.reason() == Reason::AuthNotEnabled => {
                let logger = &self.channel.logger;
                logger.log(Level::Info, format_args!("{url} has authentication not enabled: going on without a token"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let malformed = |what: String| {
            let (endpoint, what) = (url.clone(), format!("it gives no token: {what}"));
            Error::Protocol { endpoint, http_status: 200, what, outcome: Outcome::NotApplied }
        };
        let response = AuthenticateResponse::decode(&mut Reader::new(&mut body));
        let token = response.map_err(|error| malformed(error.to_string()))?.token;
        if !config::is_token(&token) {
            return Err(malformed("it is empty or has other characters than visible ASCII".to_owned()));
        }
        self.channel.stats.token_refreshes.add(1);
        self.channel.logger.log(Level::Info, format_args!("{url} gave a token to user {name:?}"));
        Ok(Some(token))
    }
}
