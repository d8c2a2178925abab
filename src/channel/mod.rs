//! Which member a call goes to, and what becomes of it when that one fails.

mod attempt;
mod endpoints;
mod retry;

pub(crate) use attempt::stream_error;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::gateway::frames::MessageStream;
use crate::gateway::json::{Decode, Encode};
use crate::gateway::path;
use crate::log::{Level, Logger};
use crate::net::{self, Connector, Control, Lifeline, Pool, Resolver, Tls, lock};
use crate::rpc::Response;
use crate::rpc::raw::RawResponse;
use attempt::Attempt;
use endpoints::Endpoints;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One of etcd's methods, as far as the way to it matters.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    path: &'a str,
    kind: Kind,
    size: Size,
    streamed: bool,
}

/// What a request does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Read,
    /// The same whether it is done once or twice.
    Idempotent,
    /// Something that must not be done twice.
    Write,
}

/// How large an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It carries no keys and no values.
    Plain,
    /// It does.
    Values,
}

impl<'a> Method<'a> {
    /// The method at a path below the API path.
    pub const fn new(path: &'a str, kind: Kind, size: Size) -> Method<'a> {
        Method { path, kind, size, streamed: false }
    }

    /// One that answers in a stream.
    pub const fn streamed(self) -> Method<'a> {
        Method { streamed: true, ..self }
    }
}

/// The way to a cluster.
pub struct Channel {
    connector: Connector,
    pool: Pool,
    endpoints: Endpoints,
    /// `/v3/`, once it is known.
    api_path: Mutex<Option<Arc<str>>>,
    /// Given by the caller: it is never asked for.
    api_path_is_given: bool,
    max_response_bytes: usize,
    max_retries: Option<u32>,
    logger: Logger,
}

impl Channel {
    pub(crate) fn new(config: Config) -> Result<Channel> {
        let uses_tls = !config.tls.is_default();
        let tls = Tls::new(config.tls);
        let list = Endpoints::parse(&config.endpoints)?;
        Endpoints::check_tls(&list, uses_tls)?;
        if uses_tls || list.iter().any(|endpoint| endpoint.is_tls()) {
            tls.prepare()?;
        }
        let given = config.api_path.as_deref().map(|given| {
            path::normalize(given).ok_or_else(|| Error::invalid(format!("api_path can't stand in a URL: {given:?}")))
        });
        let api_path = given.transpose()?.map(Arc::from);
        let lifeline = Lifeline::new()
            .map_err(|source| Error::System { what: "an event descriptor", source: Arc::new(source) })?;
        Ok(Channel {
            connector: Connector {
                lifeline: Arc::new(lifeline),
                tls,
                connect_timeout: config.connect_timeout,
                resolver: Resolver::default(),
            },
            pool: Pool::new(config.max_idle_connections),
            endpoints: Endpoints::new(list, uses_tls)?,
            api_path_is_given: api_path.is_some(),
            api_path: Mutex::new(api_path),
            max_response_bytes: config.max_response_bytes,
            max_retries: config.max_retries,
            logger: Logger::new(config.log),
        })
    }

    pub(crate) fn close(&self) {
        self.connector.lifeline.close();
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    pub(crate) fn max_response_bytes(&self) -> usize {
        self.max_response_bytes
    }

    pub(crate) fn set_endpoints(&self, endpoints: &str) -> Result<()> {
        self.endpoints.set(endpoints)?;
        self.pool.retain(|url| self.endpoints.has(url));
        self.forget_api_path();
        Ok(())
    }

    pub(crate) fn base_url(&self) -> Arc<str> {
        self.endpoints.current().url.clone()
    }

    /// The next call goes to another endpoint than this one.
    pub(crate) fn avoid(&self, endpoint: &Arc<str>) {
        self.endpoints.leave(endpoint);
    }

    /// The API path, asked for where it isn't known.
    pub(crate) fn api_path(&self, control: &Control) -> Result<Arc<str>> {
        self.on_some_endpoint(Kind::Read, control, |attempt| attempt.api_path())
    }

    /// Calls a method and decodes its answer.
    pub(crate) fn call<T: Decode>(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<Response<T>> {
        self.on_some_endpoint(method.kind, control, |attempt| attempt.call(method, request))
    }

    /// Calls a method of the member at this URL and no other.
    pub(crate) fn call_at<T: Decode>(
        &self,
        url: &str,
        method: Method<'_>,
        request: &impl Encode,
        control: &Control,
    ) -> Result<Response<T>> {
        let endpoint = self.endpoints.single(url)?;
        let attempt = Attempt { channel: self, endpoint: &endpoint, control, share: None };
        attempt.call(method, request).map_err(|error| for_kind(error, method.kind))
    }

    /// Calls a method with a body that is JSON already, and leaves its answer as it is.
    pub(crate) fn call_raw(&self, method: Method<'_>, json: &[u8], control: &Control) -> Result<RawResponse> {
        self.on_some_endpoint(method.kind, control, |attempt| {
            let (http_status, body) = attempt.exchange(method, &mut |out| out.extend_from_slice(json))?;
            Ok(RawResponse { http_status, body })
        })
    }

    /// Opens a stream, and waits for its head: gateways send that with the first message.
    pub(crate) fn open_stream(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        require_leader: bool,
        control: &Control,
    ) -> Result<MessageStream> {
        self.on_some_endpoint(method.kind, control, |attempt| attempt.open_stream(method, request, require_leader))
    }

    /// Lets time pass, unless the call must end.
    pub(crate) fn pause(&self, time: Duration, control: &Control) -> Result<()> {
        net::pause(time, &self.connector.lifeline, control).map_err(attempt::stopped_pause)
    }

    /// Uses the endpoints that answer `GET /version` among these, and keeps the configured ones behind them.
    pub(crate) fn adopt(&self, urls: &[String], control: &Control) -> Result<()> {
        let mut alive = Vec::new();
        for endpoint in self.endpoints.fitting(urls) {
            match (Attempt { channel: self, endpoint: &endpoint, control, share: None }).version() {
                Ok(_) => alive.push(endpoint),
                Err(error @ (Error::Cancelled { .. } | Error::Closed { .. })) => return Err(error),
                Err(error) => {
                    let url = &endpoint.url;
                    self.logger
                        .log(Level::Warn, format_args!("{url} is in the member list, but: {}", error.full_message()));
                }
            }
        }
        self.endpoints.adopt(alive);
        Ok(())
    }

    /// Tries endpoints one after another, from the one in use on, as far as the error and the kind of call allow.
    fn on_some_endpoint<T>(&self, kind: Kind, control: &Control, run: impl Fn(&Attempt<'_>) -> Result<T>) -> Result<T> {
        let count = u32::try_from(self.endpoints.count()).unwrap_or(u32::MAX);
        let most = self.max_retries.map_or(count, |retries| retries.saturating_add(1));
        let mut left = most;
        loop {
            let endpoint = self.endpoints.current();
            let share = control.deadline.remaining().map(|remaining| remaining / left.clamp(1, count.max(1)));
            let attempt = Attempt { channel: self, endpoint: &endpoint, control, share };
            let error = match run(&attempt) {
                Ok(answer) => return Ok(answer),
                Err(error) => for_kind(error, kind),
            };
            if retry::leaves_endpoint(&error) {
                self.endpoints.leave(&endpoint.url);
            }
            left = left.saturating_sub(1);
            if left == 0 || !retry::goes_on(&error, kind) || control.check().is_err() {
                return Err(error);
            }
            self.logger.log(Level::Warn, format_args!("trying another endpoint: {}", error.full_message()));
        }
    }

    fn forget_api_path(&self) {
        if !self.api_path_is_given {
            *lock(&self.api_path) = None;
        }
    }
}

/// A read can't have changed anything, whatever happened to it.
fn for_kind(error: Error, kind: Kind) -> Error {
    if kind == Kind::Read { error.of_a_read() } else { error }
}
