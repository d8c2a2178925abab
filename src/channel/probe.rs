//! Asking a member how it is.

use super::Channel;
use super::attempt::Attempt;
use super::rounds::Call;
use crate::error::{Code, Error, Outcome, Reason, Result};
use crate::net::Control;
use std::sync::Arc;

/// What a member says of its own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    Serving,
    /// It has no leader.
    Leaderless,
}

impl Channel {
    /// Asks a member whether it is there and has a leader. Its other troubles concern no watch.
    pub(crate) fn ask_health(&self, url: &Arc<str>, control: &Control) -> Result<MemberState> {
        let endpoint = self.endpoints.single(url)?;
        let call = Call::probe(control);
        let guard = &self.endpoints.guard();
        let (status, body) = Attempt::alone(self, &endpoint, guard, &call).get("/health")?;
        Ok(state_of(status, &body))
    }
}

/// What the answer to `GET /health` says. 3.4 gives no reason, and a full disk is none to leave.
pub(super) fn state_of(status: u16, body: &[u8]) -> MemberState {
    let says = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
    if status == 503 && says("NO LEADER") { MemberState::Leaderless } else { MemberState::Serving }
}

/// As a member says of itself where a request requires a leader.
pub(crate) fn leaderless(endpoint: &Arc<str>) -> Error {
    Error::Server {
        endpoint: endpoint.clone(),
        http_status: 503,
        code: Code::Unavailable,
        message: "etcdserver: no leader".to_owned(),
        reason: Reason::NoLeader,
        outcome: Outcome::NotApplied,
    }
}
