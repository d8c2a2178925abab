//! The client: what every service's methods hang on.

use crate::auto_sync::AutoSync;
use crate::channel::{Channel, Method};
use crate::concurrency::keepalive::Keeper;
use crate::config::{Config, Credentials};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::gateway::json::{Decode, Encode};
use crate::net::{CancelToken, Control};
use crate::rpc::{Headed, Namespace, Response};
use crate::stats::ClientStats;
use crate::watch::{Buffers, Hub, WatchSettings};
use std::sync::Arc;
use std::time::Duration;

/// A client of one cluster, for any number of threads. Clones are the same client; it ends with the last of them and
/// of its watches.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What the clones of a client have in common.
pub(crate) struct Shared {
    /// Before the channel, which it uses.
    auto_sync: AutoSync,
    pub channel: Arc<Channel>,
    pub hub: Hub,
    pub keeper: Keeper,
    namespace: Namespace,
    timeout: TimeLimit,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeLimit {
    /// As long as the client's own limit says.
    #[default]
    Default,
    /// At most so long.
    After(Duration),
    /// As long as it takes.
    Never,
}

/// What a caller may say about any call.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Bounds the whole call, from looking up a name to the last byte of the answer.
    pub timeout: TimeLimit,
    /// Ends the call when triggered.
    pub cancel: Option<Arc<CancelToken>>,
}

impl CallOptions {
    /// Bounds the call by this time and nothing else.
    pub fn within(limit: Duration) -> CallOptions {
        CallOptions { timeout: TimeLimit::After(limit), cancel: None }
    }

    /// Whether its token has been triggered.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|token| token.is_triggered())
    }

    /// Whether a call may begin that waits for nothing, where it would hear of its token.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled { outcome: Outcome::NotApplied }) } else { Ok(()) }
    }
}

impl Client {
    /// A client; it connects on first use.
    pub fn new(config: Config) -> Result<Client> {
        let namespace = Namespace::new(config.key_prefix.clone());
        let timeout = config.timeout;
        let auto_sync = AutoSync::new(config.auto_sync);
        let (watch_bytes, total_bytes) = (config.watch_buffer_bytes, config.watch_buffer_total_bytes);
        let watch_settings = WatchSettings::new(&config, namespace.clone());
        let channel = Arc::new(Channel::new(config)?);
        let buffers = Buffers::new(watch_bytes, total_bytes, channel.counters().clone());
        let hub = Hub::new(channel.clone(), watch_settings, buffers);
        let keeper = Keeper::default();
        Ok(Client { shared: Arc::new(Shared { auto_sync, channel, hub, keeper, namespace, timeout }) })
    }

    /// Ends everything of this client: calls under way, later ones and watches. What only makes or reads something in
    /// memory still works.
    pub fn close(&self) {
        self.shared.channel.close();
        self.shared.hub.close();
    }

    /// Uses these endpoints from now on; comma-separated, as in [`Config::endpoints`].
    pub fn set_endpoints(&self, endpoints: &str) -> Result<()> {
        self.check_open()?;
        self.shared.channel.set_endpoints(endpoints)
    }

    /// Makes requests in this name from now on; watches that run go on, and use it when they are created anew.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<()> {
        self.check_open()?;
        self.shared.channel.set_credentials(credentials)
    }

    /// What it has done so far.
    pub fn stats(&self) -> ClientStats {
        self.shared.channel.stats()
    }

    /// The URL of the endpoint in use: `http://[::1]:2379`.
    pub fn base_url(&self) -> Arc<str> {
        self.shared.channel.base_url()
    }

    /// The API path: `/v3/`. Asks the server where it isn't known yet.
    pub fn api_path(&self, options: &CallOptions) -> Result<Arc<str>> {
        options.check()?;
        self.shared.channel.api_path(&self.control(options))
    }

    /// A lease ID that nobody else picks: random, positive.
    pub fn new_lease_id() -> Result<i64> {
        crate::net::random_id()
    }

    /// Whether it was not closed: for what has nothing to wait for, where that would be heard of.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.shared.channel.check(&Control::UNBOUNDED)
    }

    /// Begins to refresh the endpoints, where that was asked for and has not begun.
    pub(crate) fn keep_in_sync(&self) {
        self.shared.auto_sync.begin(&self.shared.channel);
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// The bounds of a call, which begins with this.
    pub(crate) fn control(&self, options: &CallOptions) -> Control {
        self.keep_in_sync();
        Control { deadline: self.deadline(options.timeout), cancel: options.cancel.clone() }
    }

    /// When a call of this limit must have ended that begins now.
    pub(crate) fn deadline(&self, timeout: TimeLimit) -> Deadline {
        let limit = if timeout == TimeLimit::Default { self.shared.timeout } else { timeout };
        match limit {
            TimeLimit::After(limit) => Deadline::after(limit),
            TimeLimit::Never | TimeLimit::Default => Deadline::NEVER,
        }
    }

    pub(crate) fn call<T: Decode + Headed>(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        options: &CallOptions,
    ) -> Result<Response<T>> {
        self.shared.channel.call(method, request, &self.control(options))
    }

    pub(crate) fn call_at<T: Decode + Headed>(
        &self,
        url: &str,
        method: Method<'_>,
        request: &impl Encode,
        options: &CallOptions,
    ) -> Result<Response<T>> {
        self.shared.channel.call_at(url, method, request, &self.control(options))
    }

    /// Gives the HTTP status and the body.
    pub(crate) fn call_raw(&self, method: Method<'_>, json: &[u8], options: &CallOptions) -> Result<(u16, Vec<u8>)> {
        self.shared.channel.call_raw(method, json, &self.control(options))
    }
}
