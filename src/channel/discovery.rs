//! The version that a member tells, and the API path that comes of it.

use super::Channel;
use super::attempt::Attempt;
use crate::error::{Error, Result};
use crate::gateway::http;
use crate::gateway::version::ServerVersion;
use crate::log::Level;
use crate::net::lock;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Attempt<'_> {
    /// The API path, asked for where it isn't known.
    pub(super) fn api_path(&self) -> Result<Arc<str>> {
        if let Some(known) = &*lock(&self.channel.api_path) {
            return Ok(known.clone());
        }
        let found: Arc<str> = Arc::from(self.version()?.api_path);
        *lock(&self.channel.api_path) = Some(found.clone());
        Ok(found)
    }

    /// The version that the member gives.
    pub(super) fn version(&self) -> Result<ServerVersion> {
        let (http_status, mut body) = self.get("/version")?;
        self.version_of(http_status, &mut body)
    }

    pub(super) fn version_of(&self, http_status: u16, body: &mut [u8]) -> Result<ServerVersion> {
        let url = &self.endpoint.url;
        let undiscovered = |what| Error::VersionDiscovery { endpoint: url.clone(), http_status, what };
        if http_status != 200 {
            let quoted = http::excerpt(body);
            return Err(undiscovered(format!("GET /version gives HTTP status {http_status}, {quoted}")));
        }
        let version = ServerVersion::of_answer(body).map_err(undiscovered)?;
        self.channel.loses_deletions.store(version.loses_deletions(), Ordering::Relaxed);
        let (text, path) = (&version.text, version.api_path);
        self.channel.logger.log(Level::Debug, format_args!("{url} is etcd {text}, its API path {path}"));
        Ok(version)
    }
}

impl Channel {
    /// The API path of a member that told its version.
    pub(super) fn learn_api_path(&self, version: &ServerVersion) {
        lock(&self.api_path).get_or_insert_with(|| Arc::from(version.api_path));
    }

    /// It is asked for again, unless the caller has given it.
    pub(super) fn forget_api_path(&self) {
        if !self.api_path_is_given {
            *lock(&self.api_path) = None;
        }
    }
}
