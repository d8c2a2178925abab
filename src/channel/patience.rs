//! Waiting for an answer no longer than there is somebody to give it.

use super::Kind;
use super::attempt::Attempt;
use super::retry;
use super::rounds::Call;
use crate::gateway::http::{self, Cause, Failure, Head};
use crate::limits;
use crate::net::{Connection, Stop};
use std::io;
use std::time::Duration;

impl Attempt<'_> {
    /// Waits for the head of the answer. A member that is silent for a while, also where the head has begun, is asked whether
    /// it is there at all: one that is frozen, or cut off, keeps its connections and would keep the call to its end, where
    /// another member could have answered. A write has nowhere to go once it is sent, and waits.
    pub(super) fn receive_head(&self, connection: &mut Connection, kind: Kind) -> Result<Head, Failure> {
        let control = self.call.control;
        loop {
            let Some(patience) = self.patience(kind) else { return http::receive(connection, control) };
            let received = http::receive(connection, &control.at_most(patience));
            let is_silent = matches!(&received, Err(Failure { cause: Cause::Io(error), .. })
                if Stop::of(error) == Some(Stop::Deadline) && control.check().is_ok());
            if !is_silent {
                return received;
            }
            if !self.is_there(patience) {
                let what = "it has stopped answering, GET /version too";
                let cause = Cause::Io(io::Error::new(io::ErrorKind::TimedOut, what));
                return Err(Failure { sent: true, answered: true, cause });
            }
        }
    }

    /// How long a member may be silent: not so long that no time is left for another one. None: there is no other one,
    /// or no time for a question.
    fn patience(&self, kind: Kind) -> Option<Duration> {
        if kind == Kind::Write || self.call.is_probe || self.endpoints < 2 {
            return None;
        }
        let share = self.call.control.deadline.remaining().map_or(Duration::MAX, |left| left / 4);
        (share >= limits::SHORTEST_PATIENCE).then(|| share.min(limits::LONGEST_PATIENCE))
    }

    /// Whether the member answers `GET /version`; whatever it says, it is there to say it.
    fn is_there(&self, limit: Duration) -> bool {
        let control = self.call.control.at_most(limit);
        let call = Call::probe(&control);
        let asked = Attempt { call: &call, share: None, ..*self }.version();
        !matches!(asked, Err(error) if retry::is_no_answer(&error))
    }
}
