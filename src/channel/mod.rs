//! Which member a call goes to, and what becomes of it when that one fails.

mod adoption;
mod attempt;
mod auth;
mod discovery;
mod endpoint;
mod endpoints;
mod failure;
mod guard;
mod health;
mod identity;
mod login;
mod method;
mod patience;
mod probe;
mod retry;
mod rounds;
mod several;
mod streams;
mod upgrade;

pub(crate) use auth::Grant;
pub(crate) use failure::stream_error;
pub use method::{Kind, Method, Size};
pub(crate) use probe::{MemberState, leaderless};
pub(crate) use streams::OpeningStream;
pub(crate) use upgrade::{OpenSocket, Upgrade};

use crate::config::{Config, Credentials};
use crate::error::{Error, Reason, Result};
use crate::gateway::frames::MessageStream;
use crate::gateway::json::{Decode, Encode};
use crate::gateway::path;
use crate::gateway::{Headed, Header, Response};
use crate::log::{Level, Logger};
use crate::net::{self, Connector, Control, Lifeline, Pool, Resolver, Timer, Tls};
use crate::stats::{ClientStats, Stats};
use attempt::{Attempt, ReadMessage, WriteMessage, encode};
use auth::{Auth, Renewal};
use endpoints::Endpoints;
use rounds::{Answer, Call};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The way to a cluster.
pub struct Channel {
    connector: Connector,
    pool: Pool,
    endpoints: Endpoints,
    auth: Auth,
    /// `/v3/`, once it is known.
    api_path: Mutex<Option<Arc<str>>>,
    /// Given by the caller: it is never asked for.
    api_path_is_given: bool,
    /// What the member says of it that told its version last; see [`Channel::loses_deletions`].
    loses_deletions: AtomicBool,
    max_response_bytes: usize,
    max_retries: Option<u32>,
    logger: Logger,
    stats: Arc<Stats>,
}

impl Channel {
    pub(crate) fn new(config: Config) -> Result<Channel> {
        let uses_tls = !config.tls.is_default();
        let logger = Logger::new(config.log);
        let tls = Tls::new(config.tls, logger.clone())?;
        let list = Endpoints::parse(&config.endpoints)?;
        Endpoints::check_tls(&list, uses_tls)?;
        if uses_tls || list.iter().any(|endpoint| endpoint.is_tls()) {
            tls.prepare()?;
        }
        let stats = Arc::<Stats>::default();
        let given = config.api_path.as_deref().map(|given| {
            path::normalize(given).ok_or_else(|| Error::invalid(format!("api_path can't stand in a URL: {given:?}")))
        });
        let api_path = given.transpose()?.map(Arc::from);
        let lifeline = Lifeline::new().map_err(net::no_descriptor)?;
        let endpoints = Endpoints::new(list, uses_tls)?;
        Ok(Channel {
            connector: Connector {
                lifeline: Arc::new(lifeline),
                tls,
                connect_timeout: config.connect_timeout,
                stats: stats.clone(),
                resolver: Resolver::of_the_system(),
            },
            pool: Pool::new(config.max_idle_connections),
            auth: Auth::new(config.credentials, endpoints.guard())?,
            endpoints,
            api_path_is_given: api_path.is_some(),
            api_path: Mutex::new(api_path),
            loses_deletions: AtomicBool::new(false),
            max_response_bytes: config.max_response_bytes,
            max_retries: config.max_retries,
            logger,
            stats,
        })
    }

    pub(crate) fn close(&self) {
        self.connector.lifeline.close();
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    pub(crate) fn counters(&self) -> &Arc<Stats> {
        &self.stats
    }

    pub(crate) fn stats(&self) -> ClientStats {
        self.stats.read(self.endpoints.stats())
    }

    pub(crate) fn max_response_bytes(&self) -> usize {
        self.max_response_bytes
    }

    pub(crate) fn set_endpoints(&self, endpoints: &str) -> Result<()> {
        self.endpoints.set(endpoints)?;
        self.auth.forget(&self.endpoints);
        self.pool.retain(|url| self.endpoints.has(url));
        self.forget_api_path();
        Ok(())
    }

    pub(crate) fn set_credentials(&self, credentials: Credentials) -> Result<()> {
        self.auth.set(credentials)
    }

    pub(crate) fn base_url(&self) -> Arc<str> {
        self.endpoints.current().url.clone()
    }

    /// The next call goes to another endpoint than this one, where a call or a stream ended so.
    pub(crate) fn leave(&self, endpoint: &Arc<str>, error: &Error) {
        let next = match error {
            Error::ClusterMismatch { ours, .. } => self.endpoints.be_foreign(endpoint, *ours),
            _ => self.endpoints.fail(endpoint),
        };
        if let Some(next) = next {
            let why = error.full_message();
            self.logger.log(Level::Warn, format_args!("calls go to {next} and no longer to {endpoint}: {why}"));
        }
    }

    /// Whether a connection to this endpoint, opened with this token, is what a new one would be.
    pub(crate) fn still_uses(&self, endpoint: &str, grant: &Grant) -> bool {
        self.endpoints.has(endpoint) && self.auth.is_current(grant)
    }

    /// Whether there is another endpoint to go to than the one in use.
    pub(crate) fn has_several_endpoints(&self) -> bool {
        self.endpoints.urls().len() > 1
    }

    /// Whether, for all that is known, a compaction takes the deletions of its own revision out of what watches are told.
    pub(crate) fn loses_deletions(&self) -> bool {
        self.loses_deletions.load(Ordering::Relaxed)
    }

    /// The cluster that the client is of; 0: that isn't known yet.
    pub(crate) fn cluster_id(&self) -> u64 {
        self.endpoints.guard().cluster_id()
    }

    /// The latest revision that an answer has told; 0: none has.
    pub(crate) fn seen_revision(&self) -> i64 {
        self.endpoints.guard().seen().revision
    }

    /// An endpoint has told its cluster in a stream. Without that a client of nothing but watches would take the cluster
    /// that it meets next for its own.
    pub(crate) fn learn_cluster(&self, endpoint: &str, cluster_id: u64) {
        let (guard, is_named) = self.endpoints.guard_with(endpoint);
        if is_named {
            guard.cluster_or_first(cluster_id);
        }
    }

    /// Whether it is the client that is of the other one of two clusters, so that no member of the first will be met.
    pub(crate) fn is_of_the_other(&self, error: &Error) -> bool {
        let Error::ClusterMismatch { endpoint, theirs, .. } = error else { return false };
        let (guard, is_named) = self.endpoints.guard_with(endpoint);
        // An endpoint that the client has left says nothing of the cluster that it is of now.
        let ours = if is_named { guard.cluster_or_first(*theirs) } else { guard.cluster_id() };
        ours == *theirs
    }

    /// The API path, asked for where it isn't known.
    pub(crate) fn api_path(&self, control: &Control) -> Result<Arc<str>> {
        self.on_some_endpoint(&Call::new(Kind::Read, control), &|attempt| attempt.api_path().map(Answer::plain))
    }

    /// Calls a method and decodes its answer.
    pub(crate) fn call<T: Decode + Headed>(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<Response<T>> {
        self.call_once(method, request, control).0
    }

    /// The same, and what became of the last attempt that may have been executed, where one was not answered.
    pub(crate) fn call_once<T: Decode + Headed>(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> (Result<Response<T>>, Option<Error>) {
        let call = Call::new(method.kind, control);
        let answer = with_decoded(T::header, |read| self.exchange(&call, method, &|out| encode(request, out), read));
        (answer, call.doubt.into_inner())
    }

    fn exchange(
        &self,
        call: &Call<'_>,
        method: Method<'_>,
        write: &WriteMessage<'_>,
        read: &ReadMessage<'_>,
    ) -> Result<Vec<u8>> {
        self.on_some_endpoint(call, &|attempt| attempt.call(method, write, read))
    }

    /// Calls a method of the member at this URL and no other.
    pub(crate) fn call_at<T: Decode + Headed>(
        &self,
        url: &str,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<Response<T>> {
        with_decoded(T::header, |read| {
            let write: &WriteMessage<'_> = &|out| encode(request, out);
            self.at(url, method.kind, control, &|attempt| Ok(attempt.decoded_answer(method, write, read)?.1))
        })
    }

    /// Makes one attempt at this URL.
    fn at<T>(&self, url: &str, kind: Kind, control: &Control, run: &dyn Fn(&Attempt<'_>) -> Result<T>) -> Result<T> {
        let endpoint = self.endpoints.single(url)?;
        // Both at a time: the token of endpoints that are named meanwhile is none of this one's business.
        let (guard, is_named) = self.endpoints.guard_with(&endpoint.url);
        let call = Call::new(kind, control).for_stranger(!is_named);
        let attempt = Attempt::alone(self, &endpoint, &guard, &call);
        let mut done = run(&attempt);
        // A member that only learns issues no token, and takes those of the others.
        if matches!(&done, Err(error) if error.reason() == Reason::Learner) && self.auth.lacks_token() {
            self.on_some_endpoint(&Call::new(Kind::Read, control), &|attempt| {
                attempt.log_in().map(|()| Answer::plain(Vec::<u8>::new()))
            })?;
            done = run(&attempt);
        }
        done.map_err(|error| retry::for_kind(error, kind))
    }

    /// Calls a method with a body that is JSON already, and gives the HTTP status and the answer as it is.
    pub(crate) fn call_raw(&self, method: Method<'_>, json: &[u8], control: &Control) -> Result<(u16, Vec<u8>)> {
        self.on_some_endpoint(&Call::new(method.kind, control), &|attempt| {
            attempt.exchange(method, &mut |out| out.extend_from_slice(json)).map(Answer::plain)
        })
    }

    /// Opens a stream, and waits for its head: gateways send that with the first message.
    pub(crate) fn open_stream(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<(MessageStream, Grant)> {
        self.on_some_endpoint(&Call::new(method.kind, control), &|attempt| {
            attempt.open_stream(method, request).map(Answer::plain)
        })
    }

    /// Opens a stream of the member at this URL and no other.
    pub(crate) fn open_stream_at(
        &self,
        url: &str,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<MessageStream> {
        self.at(url, method.kind, control, &|attempt| attempt.open_stream(method, request)).map(|(stream, _)| stream)
    }

    /// Takes note that a call was lost with its stream, which had been opened well.
    pub(crate) fn lose_stream(&self, endpoint: &Arc<str>, error: &Error) {
        self.stats.fail(error);
        if retry::leaves_endpoint(error) && self.endpoints.has(endpoint) {
            self.leave(endpoint, error);
        }
    }

    /// Whether a call may go on that does something else than waiting for an answer.
    pub(crate) fn check(&self, control: &Control) -> Result<()> {
        let checked = self.connector.lifeline.check().and_then(|()| control.check());
        checked.map_err(|stop| failure::stopped_pause(stop.into()))
    }

    /// Takes note that a server refused the token that a request carried. False: there will be no other one.
    pub(crate) fn renews_token(&self, refused: &Grant, error: &Error) -> bool {
        let renewal = self.auth.withdraw(refused);
        if renewal == Renewal::Begun {
            self.logger.log(Level::Info, format_args!("a new token is needed: {}", error.full_message()));
        }
        renewal != Renewal::None
    }

    /// Takes note that a request with this token was left without an answer: it may be the token that is waited for.
    pub(crate) fn doubt_token(&self, unanswered: &Grant) {
        if self.auth.doubt(unanswered, Instant::now()) {
            self.logger.log(Level::Info, format_args!("a new token is needed: there was no answer to the one in use"));
        }
    }

    /// Whether a token that is refused can be replaced.
    pub(crate) fn logs_in(&self) -> bool {
        self.auth.logs_in()
    }

    /// Lets time pass, unless the call must end.
    pub(crate) fn pause(&self, time: Duration, control: &Control) -> Result<()> {
        net::pause(time, &self.connector.lifeline, control).map_err(failure::stopped_pause)
    }

    /// Waits until a timer's moment has come, unless the call must end.
    pub(crate) fn wait_for_timer(&self, timer: &Timer, control: &Control) -> Result<()> {
        net::wait_for_timer(timer, &self.connector.lifeline, control).map_err(failure::stopped_pause)
    }
}

/// Lets an answer be decoded by what doesn't know its type. The last one that was decoded counts.
fn with_decoded<T: Decode>(
    header: impl Fn(&T) -> Header,
    answer: impl FnOnce(&ReadMessage<'_>) -> Result<Vec<u8>>,
) -> Result<Response<T>> {
    let decoded = RefCell::new(None);
    let body = answer(&|reader| {
        let message = T::decode(reader)?;
        let header = header(&message);
        *decoded.borrow_mut() = Some(message);
        Ok(header)
    })?;
    let message = decoded.into_inner().ok_or_else(|| Error::Panic("an answer was not decoded".to_owned()))?;
    Ok(Response::new(body, message))
}
