//! Which errors end a watch, and which only its stream.

use crate::error::{Code, Error, Reason};
use crate::gateway::status;

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
}
