//! Elections, in the format of Go's `concurrency.Election`: Go programs and `etcdctl elect` stand for the same office.

mod observer;

pub use observer::{Observation, Observer};

use super::contender::Contender;
use super::session::Session;
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::rpc::Response;
use crate::rpc::kv::RangeResponse;
use crate::rpc::txn::Compare;
use std::sync::Arc;
use std::time::Duration;

/// One candidate. It stands on a session, as a mutex does.
///
/// Dropping it doesn't resign.
pub struct Election(Arc<Contender>);

const NOT_LEADER: Error = Error::FailedPrecondition { what: "the candidate is not the leader" };

impl Election {
    /// The election of this name, for this session. Nothing is sent.
    pub fn new(session: &Session, name: &[u8]) -> Election {
        Election(Contender::new(session, name))
    }

    /// Stands for leader with this value, and waits to be it, at most so long, or without a limit as long as it takes.
    /// `call` bounds each request, and its token ends the wait. False: waited in vain.
    ///
    /// A candidate that leads already, in this process or in an earlier one with the same lease, goes on with the new
    /// value.
    pub fn campaign(&self, value: &[u8], wait: Option<Duration>, call: &CallOptions) -> Result<bool> {
        self.0.stay_or_enter(value, wait, call)
    }

    /// Changes the value that the others see, without another election.
    pub fn proclaim(&self, value: &[u8], call: &CallOptions) -> Result<()> {
        if self.0.put(value, call)? { Ok(()) } else { Err(NOT_LEADER) }
    }

    /// Gives leadership up; of one that has none there is nothing to give.
    pub fn resign(&self, call: &CallOptions) -> Result<()> {
        self.0.leave(call).map(drop)
    }

    /// The leader's key and value, whoever that is; no key: there is none.
    pub fn leader(&self, call: &CallOptions) -> Result<Response<RangeResponse>> {
        self.0.first_of_all(call)
    }

    /// Follows who leads, and with what value.
    pub fn observe(&self) -> Result<Observer> {
        Observer::new(self.0.client().clone(), self.0.prefix().to_vec())
    }

    /// The candidate's key.
    pub fn key(&self) -> &[u8] {
        self.0.key()
    }

    /// The revision that created the key, while the candidate leads: a fencing token. 0: it doesn't.
    pub fn revision(&self) -> i64 {
        self.0.revision()
    }

    /// The condition, for a transaction of the same namespace, that the candidate still leads. None: it doesn't.
    pub fn is_leader(&self) -> Option<Compare<'static>> {
        self.0.is_first()
    }

    /// The client of its session.
    pub fn client(&self) -> &Client {
        self.0.client()
    }
}
