//! Which errors end a watch, and which only its stream.

use crate::error::{Code, Error, Outcome, Reason};
use crate::gateway::status::{self, ServerStatus};
use crate::rpc::watch::WatchMessage;
use std::sync::Arc;

/// Why a stream carries no more of a watch.
#[derive(Debug)]
pub(super) enum Interruption {
    /// No stream will: the watch has ended.
    Ended(Error),
    /// Another stream may: the watch goes on from its next revision.
    Lost(Error),
    /// Another stream with another token may.
    Refused(Error),
}

/// Only what says that the watch itself can't be had is final. Everything else may be said by a member that restarts,
/// lags or has lost its leader, or by a proxy before it, and is over when that is.
impl From<Error> for Interruption {
    fn from(error: Error) -> Interruption {
        match error {
            _ if status::refuses_token(&error) => Interruption::Refused(error),
            Error::Cancelled { .. }
            | Error::Closed { .. }
            | Error::InvalidArgument { .. }
            // It would be as large every time.
            | Error::TooLarge { .. }
            | Error::Compacted { .. }
            | Error::RevisionRegressed { .. } => Interruption::Ended(error),
            _ if error.reason() == Reason::AuthFailed => Interruption::Ended(error),
            Error::Server {
                code: Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::OutOfRange,
                ..
            } => Interruption::Ended(error),
            _ => Interruption::Lost(error),
        }
    }
}

impl Interruption {
    /// A refusal says something of the watch unless its code says something of the member: many carry a text and no
    /// code.
    pub(super) fn of_refusal(error: Error) -> Interruption {
        match error {
            _ if status::refuses_token(&error) => Interruption::Refused(error),
            Error::Server {
                code:
                    Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::ResourceExhausted
                    | Code::Aborted
                    | Code::Internal
                    | Code::Unavailable,
                ..
            } => Interruption::Lost(error),
            _ => Interruption::Ended(error),
        }
    }

    /// What a message says that ends a watch at the server, or refuses it.
    pub(super) fn of_cancellation(message: &WatchMessage, wanted: i64, endpoint: &Arc<str>) -> Interruption {
        let (endpoint, compact_revision) = (endpoint.clone(), message.compact_revision);
        if wanted < compact_revision {
            return Interruption::Ended(Error::Compacted { endpoint, wanted, compact_revision });
        }
        // Else what is owed next can still be had: what the server has lost is only what came before.
        if compact_revision <= 0 && !message.cancel_reason.is_empty() {
            let status = ServerStatus::from_cancel_reason(&message.cancel_reason);
            return Interruption::of_refusal(status.into_error(&endpoint, 200).of_a_read());
        }
        let refused = message.created;
        let what = if refused { "the watch is refused without a reason" } else { "the server cancelled the watch" };
        let error = Error::Server {
            endpoint,
            http_status: 200,
            code: if refused { Code::Unknown } else { Code::Cancelled },
            message: what.to_owned(),
            reason: Reason::Other,
            outcome: Outcome::NotApplied,
        };
        if refused { Interruption::Ended(error) } else { Interruption::Lost(error) }
    }
}
