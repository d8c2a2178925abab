//! Endpoints that are found out from the cluster, in place of those that the caller has named.

use super::Channel;
use super::attempt::Attempt;
use super::endpoint::Endpoint;
use super::guard::Guard;
use super::rounds::Call;
use crate::error::{Error, Outcome, Result};
use crate::gateway::Header;
use crate::log::Level;
use crate::net::Control;
use std::sync::Arc;
use std::time::Duration;

impl Channel {
    /// Uses the endpoints that are `listed` as far as they answer, and keeps the configured ones behind them. Where the
    /// caller names other ones meanwhile, those stay.
    pub(crate) fn adopt(&self, listed: impl FnOnce() -> Result<Vec<String>>, control: &Control) -> Result<()> {
        let guard = self.endpoints.guard();
        let alive = self.alive(&listed()?, &guard, control)?;
        if self.endpoints.adopt(alive, &guard) {
            self.pool.retain(|url| self.endpoints.has(url));
        } else {
            self.logger.log(Level::Info, format_args!("the members found are not used: others have been named since"));
        }
        Ok(())
    }

    /// Those of these that answer `GET /version` and not as another cluster's. One that doesn't answer costs the connect
    /// timeout at most, and leaves time for those after it.
    fn alive(&self, urls: &[String], guard: &Arc<Guard>, control: &Control) -> Result<Vec<Arc<Endpoint>>> {
        let mut alive = Vec::new();
        let endpoints = self.endpoints.fitting(urls);
        for (asked, endpoint) in endpoints.iter().enumerate() {
            let left = u32::try_from(endpoints.len() - asked).unwrap_or(u32::MAX);
            let share = control.deadline.remaining().map(|remaining| remaining / left);
            let limit = share.unwrap_or(Duration::MAX).min(self.connector.connect_timeout);
            let (bounded, url) = (control.at_most(limit), &endpoint.url);
            let call = Call::probe(&bounded);
            match Attempt::alone(self, endpoint, guard, &call).greet() {
                Ok(()) => alive.push(endpoint.clone()),
                Err(error @ (Error::Cancelled { .. } | Error::Closed { .. })) => return Err(error),
                Err(error) => {
                    let why = error.full_message();
                    self.logger.log(Level::Warn, format_args!("{url} is in the member list, but: {why}"));
                }
            }
        }
        Ok(alive)
    }
}

impl Attempt<'_> {
    /// Whether a gateway is there, and none of another cluster as far as it tells: members may advertise what leads
    /// somewhere else from here, `localhost` for one.
    fn greet(&self) -> Result<()> {
        self.version()?;
        let (ours, endpoint) = (self.guard.cluster_id(), self.endpoint.url.clone());
        if ours == 0 {
            return Ok(());
        }
        match self.header() {
            Ok(Header { cluster_id: theirs, .. }) if theirs != 0 && theirs != ours => {
                Err(Error::ClusterMismatch { endpoint, ours, theirs, outcome: Outcome::NotApplied })
            }
            Err(error @ (Error::Cancelled { .. } | Error::Closed { .. })) => Err(error),
            _ => Ok(()),
        }
    }
}
