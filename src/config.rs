//! What a client is made from.

use crate::client::TimeLimit;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::LogSink;
use crate::secret::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of a client; [`Config::default`] is a client of `http://127.0.0.1:2379`.
#[derive(Clone)]
pub struct Config {
    /// Comma-separated: `http://`, `https://` or `unix://`; port 2379 where none is given.
    pub endpoints: String,
    /// Who the client is.
    pub credentials: Credentials,
    /// `/v3/`; `None`: from `GET /version`.
    pub api_path: Option<String>,
    /// Goes on every key and comes off it.
    pub key_prefix: Vec<u8>,
    /// The limit of calls that give none.
    pub timeout: TimeLimit,
    /// For one connection attempt.
    pub connect_timeout: Duration,
    /// How often the endpoints are refreshed from the member list; `None`: never.
    pub auto_sync: Option<Duration>,
    /// What one watch may hold that was not consumed yet: past it no more is read for that watch until half of it has been
    /// consumed. One response may go beyond it.
    pub watch_buffer_bytes: usize,
    /// The same for all watches of the client together; one that holds nothing never suffers from what the others hold.
    pub watch_buffer_total_bytes: usize,
    /// Whether watches may share a WebSocket.
    pub websocket: WebSocketUse,
    /// How long a member may be silent before its watches leave it.
    pub watch_liveness: Duration,
    /// How often a server is asked how far the watches of a connection have come, so that what is compacted is not what
    /// a quiet one would go on from.
    pub watch_progress: Duration,
    /// The largest answer taken.
    pub max_response_bytes: usize,
    /// How many further attempts a call may make; `None`: on each endpoint one, and as long as time is left where the
    /// trouble is one that passes.
    pub max_retries: Option<u32>,
    /// Connections kept per endpoint.
    pub max_idle_connections: usize,
    /// For `https://` endpoints.
    pub tls: TlsConfig,
    /// Where lines go, and how many.
    pub log: Option<Arc<dyn LogSink>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            endpoints: "http://127.0.0.1:2379".to_owned(),
            credentials: Credentials::Nobody,
            api_path: None,
            key_prefix: Vec::new(),
            timeout: TimeLimit::After(limits::DEFAULT_TIMEOUT),
            connect_timeout: limits::DEFAULT_CONNECT_TIMEOUT,
            auto_sync: None,
            watch_buffer_bytes: limits::DEFAULT_WATCH_BUFFER_BYTES,
            watch_buffer_total_bytes: limits::DEFAULT_WATCH_BUFFER_TOTAL_BYTES,
            websocket: WebSocketUse::Auto,
            watch_liveness: limits::DEFAULT_WATCH_LIVENESS,
            watch_progress: limits::DEFAULT_WATCH_PROGRESS,
            max_response_bytes: limits::DEFAULT_MAX_RESPONSE_BYTES,
            max_retries: None,
            max_idle_connections: limits::DEFAULT_MAX_IDLE_CONNECTIONS,
            tls: TlsConfig::default(),
            log: None,
        }
    }
}

/// Whether a client's watches share a WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSocketUse {
    /// Where that is known to be safe.
    #[default]
    Auto,
    /// Each watch has an HTTP stream.
    Never,
    /// Also where a server is known to leave watches behind when the connection breaks; but not where an upgrade would
    /// end the server.
    Always,
}

/// In whose name a client's requests are made.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Nobody's.
    #[default]
    Nobody,
    /// A user's, who logs in on first use and again whenever a server wants it.
    User {
        /// The user's name.
        name: String,
        /// The user's password.
        password: Secret,
    },
    /// Those of whoever a token was issued to, elsewhere. It is used as it is and never refreshed.
    Token(Secret),
}

impl Credentials {
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Credentials::User { name, .. } if name.is_empty() => Err(Error::invalid("user is empty")),
            Credentials::Token(token) if !is_token(token) => Err(Error::invalid(
                "token can't stand in a header: it is empty or has other characters than visible ASCII",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether it can stand in a header's line.
pub(crate) fn is_token(text: &Secret) -> bool {
    let text = text.expose();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whom to trust, and who to be.
#[derive(Clone, Default)]
pub struct TlsConfig {
    /// The authorities trusted; `None`: the system's.
    pub ca_cert: Option<Pem>,
    /// The client's certificate chain.
    pub cert: Option<Pem>,
    /// Its key.
    pub key: Option<Pem>,
    /// The name that the server's certificate must have; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// Takes any certificate of the server.
    pub insecure_skip_verify: bool,
}

impl TlsConfig {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        self.ca_cert.is_none()
            && self.cert.is_none()
            && self.key.is_none()
            && self.server_name.is_none()
            && !self.insecure_skip_verify
    }
}

/// PEM, in a file or in memory.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Pem {
    File(PathBuf),
    Memory(Vec<u8>),
}
