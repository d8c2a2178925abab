//! TLS for the connections of one client, with certificates that may be replaced while it runs.

mod pem;
mod problem;
mod settings;

use super::{lock, without_zone};
use crate::config::{Pem, TlsConfig};
use crate::error::{Error, Result};
use crate::log::{Level, Logger};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use zeroize::Zeroize;

/// Whom a client trusts and who it is. The files are looked at before each connection.
pub(crate) struct Tls {
    config: TlsConfig,
    /// The name that a server's certificate is to be of, where it is not that of its host.
    server_name: Option<ServerName<'static>>,
    logger: Logger,
    /// Held for no longer than it takes to copy something: reading files takes as long as the file system likes.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Made when it is first needed: reading the system's certificates takes milliseconds.
    usable: Option<Arc<ClientConfig>>,
    /// The files as they were when they were last read, of use or not.
    read: Vec<Stamp>,
    /// A handshake has failed since: they may have changed in a way that doesn't show.
    is_doubted: bool,
}

/// What changes with a file; none: it can't be looked at.
type Stamp = Option<[i64; 7]>;

impl Tls {
    pub(crate) fn new(config: TlsConfig, logger: Logger) -> Result<Tls> {
        let server_name = config.server_name.as_deref().map(read_server_name).transpose()?;
        Ok(Tls { config, server_name, logger, state: Mutex::default() })
    }

    /// Reads and checks the certificates where they have changed since. Those that were good stay in use as long as the
    /// new ones are not: a pair of files is not replaced at once.
    pub(crate) fn prepare(&self) -> Result<Arc<ClientConfig>> {
        let stamps = self.stamps();
        let state = lock(&self.state);
        if let Some(usable) = state.usable.as_ref().filter(|_| state.read == stamps && !state.is_doubted) {
            return Ok(usable.clone());
        }
        let has_changed = state.usable.is_some() && state.read != stamps;
        drop(state);
        let built = settings::build(&self.config).map(Arc::new);
        let mut state = lock(&self.state);
        (state.read, state.is_doubted) = (stamps, false);
        match (built, state.usable.clone()) {
            (Ok(new), _) => {
                state.usable = Some(new.clone());
                drop(state);
                if has_changed {
                    self.logger
                        .log(Level::Info, format_args!("the certificate files have changed: using the new ones"));
                }
                Ok(new)
            }
            (Err(error), Some(earlier)) => {
                drop(state);
                let why = error.full_message();
                self.logger.log(Level::Warn, format_args!("going on with the certificates read before: {why}"));
                Ok(earlier)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        let files = [&self.config.ca_cert, &self.config.cert, &self.config.key].into_iter().flatten();
        let stamp = |pem: &Pem| match pem {
            Pem::File(path) => std::fs::metadata(path).ok().map(|file| {
                let size = i64::try_from(file.size()).unwrap_or(i64::MAX);
                let (mtime, ctime) = ([file.mtime(), file.mtime_nsec()], [file.ctime(), file.ctime_nsec()]);
                [file.dev() as i64, file.ino() as i64, size, mtime[0], mtime[1], ctime[0], ctime[1]]
            }),
            Pem::Memory(_) => None,
        };
        files.map(stamp).collect()
    }

    /// A TLS session with a host, not begun.
    pub(crate) fn session(&self, host: &str) -> io::Result<ClientConnection> {
        let config = self.prepare().map_err(io::Error::other)?;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(without_zone(host).to_owned()).map_err(io::Error::other)?,
        };
        ClientConnection::new(config, name).map_err(io::Error::other)
    }

    /// Takes note of a session that failed, and tells of its error what a person can act on.
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        lock(&self.state).is_doubted = true;
        problem::explain(error, &self.config)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if let Some(Pem::Memory(key)) = &mut self.config.key {
            key.zeroize();
        }
    }
}

fn read_server_name(name: &str) -> Result<ServerName<'static>> {
    let unfit = |_| Error::invalid(format!("tls_server_name is neither a host name nor an address: {name:?}"));
    ServerName::try_from(name.to_owned()).map_err(unfit)
}

fn name_of(pem: &Pem, in_memory: &str) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Memory(_) => in_memory.to_owned(),
    }
}
