//! What a client is made from, as C says it.

use super::bytes::{borrow_text, c_string, etcdgw_bytes};
use super::callback::UserData;
use super::constants::{
    ETCDGW_LOG_INFO, ETCDGW_LOG_TRACE, ETCDGW_WEBSOCKET_ALWAYS, ETCDGW_WEBSOCKET_AUTO, ETCDGW_WEBSOCKET_NEVER,
};
use super::error::etcdgw_cancel;
use super::options::{self, flag, not_negative, option_struct, refuse, time_limit};
use crate::client::TimeLimit;
use crate::config::{Config, Credentials, Pem, TlsConfig, WebSocketUse};
use crate::error::{Error, Result};
use crate::gateway::path;
use crate::log::{Level, LogSink};
use crate::secret::Secret;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

/// Takes a line of the log: `level` is one of `ETCDGW_LOG_...`, `line` is valid during the call only.
///
/// Called on whichever thread does the work, that of a call included, and on several at once. It must not call the
/// library, nor throw.
pub type etcdgw_log_callback = Option<unsafe extern "C" fn(level: i32, line: *const c_char, user_data: *mut c_void)>;

/// Settings of a client. All are read by `etcdgw_client_new`, and nothing that they point to is used after it but
/// `log_user_data`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_client_options {
    /// `sizeof(etcdgw_client_options)`.
    pub struct_size: usize,
    /// The limit of calls that give none; 0: 10,000, less than 0: none.
    pub timeout_ms: i64,
    /// Not used here.
    pub cancel: *mut etcdgw_cancel,
    /// Where to find the cluster, comma-separated: `http://127.0.0.1:2379` (which NULL means), `https://host`,
    /// `unix:///path`; `[::1]` for IPv6; port 2379 and `http` where none is given. They are tried in turn.
    pub endpoints: *const c_char,
    /// The user to log in as, on first use and whenever a server wants it again; NULL: nobody.
    pub user: *const c_char,
    /// The user's password; not NULL where `user` isn't.
    pub password: *const c_char,
    /// A token issued elsewhere, in place of user and password: not together with them. It is used as it is and never
    /// refreshed.
    pub token: *const c_char,
    /// PEM file with the authorities to trust for `https`; NULL: the system's. Keys on P-256 and P-384, RSA and Ed25519 are
    /// known, those on P-521 are not. All that is about TLS is refused together with an `http` endpoint.
    pub ca_cert_file: *const c_char,
    /// PEM file with the client's certificate chain.
    pub cert_file: *const c_char,
    /// PEM file with its key.
    pub key_file: *const c_char,
    /// The same as `ca_cert_file`, in memory; not both.
    pub ca_cert_pem: etcdgw_bytes,
    /// The same as `cert_file`, in memory; not both.
    pub cert_pem: etcdgw_bytes,
    /// The same as `key_file`, in memory; not both.
    pub key_pem: etcdgw_bytes,
    /// The name that the server's certificate must have; NULL: the host of the endpoint.
    pub tls_server_name: *const c_char,
    /// The API path, `"/v3/"`; NULL: the environment variable `ETCDGW_API_PATH`, else by the server's version.
    pub api_path: *const c_char,
    /// Every key goes to the server with this before it, and comes back without it. It doesn't touch
    /// `etcdgw_post` and `etcdgw_txn_json`.
    pub key_prefix: etcdgw_bytes,
    /// For one connection attempt, within the call's limit; 0: 5,000, less than 0: none.
    pub connect_timeout_ms: i64,
    /// Every so often the endpoints are refreshed from the member list, as by `etcdgw_client_sync_endpoints`, on a
    /// thread that begins with the first call; 0: never.
    pub auto_sync_ms: i64,
    /// What one watch may hold that was not consumed yet: past it no more is read for that watch until half of it has
    /// been consumed. One whole revision may go beyond it. Of what a mirror has not told so much is kept. 0: 16 MiB.
    pub watch_buffer_bytes: i64,
    /// The same for all watches and mirrors of the client together; one that holds nothing never suffers from what the
    /// others hold. 0: 64 MiB.
    pub watch_buffer_total_bytes: i64,
    /// How long a member may give no sign of itself before the watches at it go on at another; 0: 10,000; less than 0: for
    /// ever.
    pub watch_liveness_ms: i64,
    /// The largest answer taken; 0: 1 GiB. What is larger is `ETCDGW_PROTOCOL_ERROR`, and ends a watch.
    pub max_response_bytes: i64,
    /// 1: takes any certificate of the server, that of `etcd --auto-tls` too. For tests.
    pub tls_insecure_skip_verify: i32,
    /// How often a call may be tried again; -1: never. 0: on each endpoint once, and as long as time is left where the
    /// trouble is one that passes. A write that may have been done is never sent again.
    pub max_retries: i32,
    /// Connections kept for later calls, per endpoint; 0: 32.
    pub max_idle_connections: i32,
    /// Whether watches share a WebSocket: one of `ETCDGW_WEBSOCKET_...`. `AUTO`: where that is safe, etcd 3.5 or newer
    /// mostly; elsewhere each watch has an HTTP stream, as for a minute has one there that would be a burden to the others:
    /// whose consumer can't take all that it is owed, or that begins in the future. `ALWAYS`: also where a server is
    /// known to leave watches behind when a connection breaks, but never where an upgrade would end it; no watch starts
    /// where there is none.
    pub websocket: i32,
    /// Takes lines of the log; NULL: nobody does.
    pub log: etcdgw_log_callback,
    /// Given to `log`, on any thread.
    pub log_user_data: *mut c_void,
    /// Runs once with `log_user_data` when the client and all its watches are gone, or when `etcdgw_client_new` fails;
    /// NULL: nothing to do. Only where `struct_size` is too small to be true it doesn't run.
    pub log_user_data_free: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// The least important level wanted, one of `ETCDGW_LOG_...`; 0: `ETCDGW_LOG_INFO`.
    pub log_level: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_client_options {
    struct_size, timeout_ms, cancel, endpoints, user, password, token, ca_cert_file, cert_file, key_file, ca_cert_pem,
    cert_pem, key_pem, tls_server_name, api_path, key_prefix, connect_timeout_ms, auto_sync_ms, watch_buffer_bytes,
    watch_buffer_total_bytes, watch_liveness_ms, max_response_bytes, tls_insecure_skip_verify, max_retries,
    max_idle_connections, websocket, log, log_user_data, log_user_data_free, log_level, reserved0
} first_release_ended_with reserved0 reserved0);

/// Reads the caller's options into the core's.
///
/// # Safety
/// As [`options::read`].
pub(super) unsafe fn config(given: *const etcdgw_client_options) -> Result<Config> {
    // SAFETY: the caller's promise.
    let (options, log_user_data) = unsafe { read(given) };
    let options = options?;
    let log = log_sink(&options, log_user_data)?;
    // SAFETY: what the options point to lives as long as the call.
    let (endpoints, credentials, api_path, key_prefix, tls) = unsafe {
        (
            borrow_text(options.endpoints, "options.endpoints")?,
            credentials(&options)?,
            borrow_text(options.api_path, "options.api_path")?,
            options.key_prefix.borrow("options.key_prefix")?.to_vec(),
            tls_config(&options)?,
        )
    };
    let defaults = Config::default();
    Ok(Config {
        endpoints: endpoints.map_or(defaults.endpoints, str::to_owned),
        credentials,
        api_path: match api_path {
            Some(given) => Some(given.to_owned()),
            None => api_path_of_the_environment()?,
        },
        key_prefix,
        timeout: match time_limit(options.timeout_ms) {
            TimeLimit::Default => defaults.timeout,
            given => given,
        },
        connect_timeout: match u64::try_from(options.connect_timeout_ms) {
            Ok(0) => defaults.connect_timeout,
            Ok(limit) => Duration::from_millis(limit),
            Err(_) => Duration::MAX,
        },
        auto_sync: match not_negative(options.auto_sync_ms, "options.auto_sync_ms")? {
            0 => None,
            interval => Some(Duration::from_millis(interval.unsigned_abs())),
        },
        watch_buffer_bytes: bound(
            options.watch_buffer_bytes,
            "options.watch_buffer_bytes",
            defaults.watch_buffer_bytes,
        )?,
        watch_buffer_total_bytes: bound(
            options.watch_buffer_total_bytes,
            "options.watch_buffer_total_bytes",
            defaults.watch_buffer_total_bytes,
        )?,
        websocket: websocket_use(options.websocket)?,
        watch_progress: defaults.watch_progress,
        watch_liveness: match u64::try_from(options.watch_liveness_ms) {
            Ok(0) => defaults.watch_liveness,
            Ok(limit) => Duration::from_millis(limit),
            Err(_) => Duration::MAX,
        },
        max_response_bytes: bound(
            options.max_response_bytes,
            "options.max_response_bytes",
            defaults.max_response_bytes,
        )?,
        max_retries: match options.max_retries {
            0 => None,
            -1 => Some(0),
            retries => {
                Some(u32::try_from(retries).map_err(|_| {
                    Error::invalid(format!("options.max_retries is {retries}, but must be -1 at least"))
                })?)
            }
        },
        max_idle_connections: bound(
            options.max_idle_connections.into(),
            "options.max_idle_connections",
            defaults.max_idle_connections,
        )?,
        tls,
        log,
    })
}

/// Reads the struct, and takes over `log_user_data` wherever that can be read, so that its destructor runs although
/// another option is refused.
unsafe fn read(given: *const etcdgw_client_options) -> (Result<etcdgw_client_options>, Option<UserData>) {
    // SAFETY: the caller's promise.
    let options = unsafe { options::read(given) };
    let readable = match &options {
        Ok(options) => Some((options.log_user_data, options.log_user_data_free)),
        // SAFETY: not NULL, or reading could not have failed; the size says that the fields are there.
        Err(_) => unsafe {
            ((*given).struct_size >= size_of::<etcdgw_client_options>())
                .then(|| ((*given).log_user_data, (*given).log_user_data_free))
        },
    };
    // SAFETY: the caller vouches for the destructor.
    let user_data = readable.map(|(data, free)| unsafe { UserData::new(data, free) });
    (options, user_data)
}

fn websocket_use(websocket: i32) -> Result<WebSocketUse> {
    match websocket {
        ETCDGW_WEBSOCKET_AUTO => Ok(WebSocketUse::Auto),
        ETCDGW_WEBSOCKET_NEVER => Ok(WebSocketUse::Never),
        ETCDGW_WEBSOCKET_ALWAYS => Ok(WebSocketUse::Always),
        _ => Err(Error::invalid("options.websocket is none of ETCDGW_WEBSOCKET_…")),
    }
}

/// # Safety
/// What the options point to lives as long as the call.
unsafe fn credentials(options: &etcdgw_client_options) -> Result<Credentials> {
    // SAFETY: the caller's promise.
    let (user, token) = unsafe {
        (
            user_credentials(options.user, "options.user", options.password, "options.password")?,
            borrow_text(options.token, "options.token")?,
        )
    };
    refuse(token.is_some() && !options.user.is_null(), "options.token", "is given together with options.user")?;
    let Some(token) = token else { return Ok(user) };
    let token = Credentials::Token(Secret::from(token));
    token.check().map(|()| token)
}

/// A user with a password, or nobody.
///
/// # Safety
/// As [`borrow_text`].
pub(super) unsafe fn user_credentials(
    user: *const c_char,
    user_name: &str,
    password: *const c_char,
    password_name: &str,
) -> Result<Credentials> {
    // SAFETY: the caller's promise.
    let (user, password) = unsafe { (borrow_text(user, user_name)?, borrow_text(password, password_name)?) };
    match (user, password) {
        (None, None) => Ok(Credentials::Nobody),
        (Some(""), _) => Err(Error::invalid(format!("{user_name} is empty"))),
        (Some(name), Some(password)) => {
            Ok(Credentials::User { name: name.to_owned(), password: Secret::from(password) })
        }
        (Some(_), None) => Err(Error::invalid(format!("{password_name} is NULL, but {user_name} is given"))),
        (None, Some(_)) => Err(Error::invalid(format!("{password_name} is given without {user_name}"))),
    }
}

/// A bound on something countable; 0: the default.
fn bound(value: i64, name: &str, default: usize) -> Result<usize> {
    match not_negative(value, name)? {
        0 => Ok(default),
        bound => Ok(usize::try_from(bound).unwrap_or(usize::MAX)),
    }
}

/// Who has set it should hear its name, and not that of an option.
fn api_path_of_the_environment() -> Result<Option<String>> {
    let found = crate::net::env_api_path();
    match &found {
        Some(path) if path::normalize(path).is_none() => {
            Err(Error::invalid(format!("$ETCDGW_API_PATH can't stand in a URL: {path:?}")))
        }
        _ => Ok(found),
    }
}

/// # Safety
/// What the options point to lives as long as the call.
unsafe fn tls_config(options: &etcdgw_client_options) -> Result<TlsConfig> {
    // SAFETY: the caller's promise.
    let (ca_cert, cert, key, server_name) = unsafe {
        (
            pem(options.ca_cert_file, options.ca_cert_pem, "options.ca_cert_file", "options.ca_cert_pem")?,
            pem(options.cert_file, options.cert_pem, "options.cert_file", "options.cert_pem")?,
            pem(options.key_file, options.key_pem, "options.key_file", "options.key_pem")?,
            borrow_text(options.tls_server_name, "options.tls_server_name")?,
        )
    };
    Ok(TlsConfig {
        ca_cert,
        cert,
        key,
        server_name: server_name.map(str::to_owned),
        insecure_skip_verify: flag(options.tls_insecure_skip_verify, "options.tls_insecure_skip_verify")?,
    })
}

/// # Safety
/// `file` and `memory` live as long as the call.
unsafe fn pem(file: *const c_char, memory: etcdgw_bytes, file_name: &str, memory_name: &str) -> Result<Option<Pem>> {
    // SAFETY: the caller's promise.
    let (file, memory) = unsafe { (borrow_text(file, file_name)?, memory.borrow(memory_name)?) };
    refuse(file == Some(""), file_name, "is empty")?;
    // An error tells the path, and must not tell a key.
    let is_pem = file.is_some_and(|path| path.contains("-----BEGIN"));
    refuse(is_pem, file_name, &format!("is no path but PEM, for which there is {memory_name}"))?;
    refuse(file.is_some() && !memory.is_empty(), memory_name, "is given together with the file for the same")?;
    let memory = (!memory.is_empty()).then(|| Pem::Memory(memory.to_vec()));
    Ok(file.map(|path| Pem::File(path.into())).or(memory))
}

/// A log callback with what goes with it.
struct CallbackSink {
    callback: unsafe extern "C" fn(i32, *const c_char, *mut c_void),
    user_data: UserData,
    least: i32,
}

impl LogSink for CallbackSink {
    fn wants(&self, level: Level) -> bool {
        level as i32 <= self.least
    }

    fn log(&self, level: Level, line: &str) {
        let line = c_string(line);
        // SAFETY: the caller vouches for the callback on any thread, until the destructor has run.
        unsafe { (self.callback)(level as i32, line.as_ptr(), self.user_data.get()) }
    }
}

fn log_sink(options: &etcdgw_client_options, user_data: Option<UserData>) -> Result<Option<Arc<dyn LogSink>>> {
    let least = if options.log_level == 0 { ETCDGW_LOG_INFO } else { options.log_level };
    refuse(!(1..=ETCDGW_LOG_TRACE).contains(&least), "options.log_level", "is none of ETCDGW_LOG_…")?;
    let sink = options.log.zip(user_data).map(|(callback, user_data)| CallbackSink { callback, user_data, least });
    Ok(sink.map(|sink| Arc::new(sink) as Arc<dyn LogSink>))
}
