//! Which failures let a call go on, and where. A write goes on only where it provably was not executed.
//!
//! | failure                                            | a read, or what may be done twice | a write           |
//! |----------------------------------------------------|-----------------------------------|-------------------|
//! | not reached: look-up, connect, TLS, `GET /version` | elsewhere                         | elsewhere         |
//! | the request was not sent completely                | elsewhere                         | elsewhere         |
//! | sent, and the connection was lost                  | elsewhere                         | ends the call     |
//! | refused before a proposal, for the time being      | later                             | later             |
//! | refused because this member can't                  | elsewhere                         | elsewhere         |
//! | a proposal's fate is not known                     | later                             | ends the call     |
//! | a proxy's 502, 503 or 504                          | elsewhere                         | ends the call     |
//! | no answer that is HTTP, as from a port for gRPC    | elsewhere                         | ends the call     |
//! | an answer from another cluster                     | elsewhere                         | ends the call     |
//! | no space, which may be said of what was executed   | ends the call                     | ends the call     |
//! | refused for good; the call's own limit, its end    | ends the call                     | ends the call     |
//!
//! What the server does once only ([`Kind::Once`]) goes on as a read does, and later where that goes elsewhere: its
//! next attempt tells what became of the last one.
//!
//! `gateway/status.rs` has the messages that say which refusal it is. clientv3 goes further (client/v3/retry.go): it
//! makes a write again after `DeadlineExceeded` and `Canceled` while the caller's context lives, which may do it twice.

use super::Kind;
use crate::backoff;
use crate::error::{Error, Outcome, Reason};
use crate::gateway::http::{Cause, Failure};
use crate::gateway::status;
use crate::limits;
use crate::net::Stop;
use rustls::{AlertDescription, Error as TlsError};
use std::io;
use std::time::Duration;

/// Where a call goes on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It ends.
    Nowhere,
    /// On another endpoint. When none is left, it ends.
    Elsewhere,
    /// On another endpoint, and on the same ones again after a while.
    Later,
}

/// Where the call goes on after this error, which must be [`for_kind`].
pub(super) fn next(error: &Error, kind: Kind) -> Next {
    if error.may_have_applied() && kind == Kind::Write {
        return Next::Nowhere;
    }
    let may_be_found_out = kind == Kind::Once && error.may_have_applied();
    match error {
        Error::Connect { .. } | Error::Tls { .. } | Error::VersionDiscovery { .. } | Error::ClusterMismatch { .. } => {
            Next::Elsewhere
        }
        Error::Lost { .. } if may_be_found_out => Next::Later,
        Error::Protocol { .. } if may_be_found_out && passes(error) => Next::Later,
        Error::Lost { .. } | Error::Protocol { http_status: 0, .. } => Next::Elsewhere,
        Error::Protocol { .. } if passes(error) => Next::Elsewhere,
        Error::Server { message, .. } if status::is_not_helped_by_waiting(message) => Next::Elsewhere,
        Error::Server { .. } if passes(error) => Next::Later,
        _ => Next::Nowhere,
    }
}

/// Whether what the server said is over after a while.
fn passes(error: &Error) -> bool {
    error.clone().with_outcome(Outcome::NotApplied).is_retryable()
}

/// Whether the endpoint is one to stay away from.
pub(super) fn leaves_endpoint(error: &Error) -> bool {
    match error {
        Error::Connect { .. }
        | Error::Tls { .. }
        | Error::Lost { .. }
        | Error::Deadline { .. }
        | Error::Protocol { http_status: 0, .. }
        | Error::VersionDiscovery { .. } => true,
        Error::Server { message, .. } => passes(error) || status::is_not_helped_by_waiting(message),
        Error::Protocol { .. } => passes(error),
        _ => false,
    }
}

/// The error to end with after an earlier one: a request that may have been executed stays one that may, whatever
/// became of the next; and what a server said tells more than that another one is not of this cluster, or can't be
/// reached.
pub(super) fn end(earlier: Option<Error>, error: Error) -> Error {
    match earlier {
        Some(earlier) if earlier.may_have_applied() => error.in_doubt_since(earlier),
        Some(earlier) if distance(&error) < distance(&earlier) => earlier,
        _ => error,
    }
}

/// How far a request that was not executed has come.
fn distance(error: &Error) -> u8 {
    match error {
        Error::Connect { .. } | Error::Tls { .. } | Error::VersionDiscovery { .. } => 0,
        Error::ClusterMismatch { .. } => 1,
        _ => 2,
    }
}

/// Whether nothing came back.
pub(super) fn is_no_answer(error: &Error) -> bool {
    matches!(error, Error::Connect { .. } | Error::Tls { .. } | Error::Lost { .. } | Error::Deadline { .. })
}

/// Whether a [`Kind::Once`] is refused because it has been done.
pub(super) fn tells_that_it_was_done(error: &Error) -> bool {
    matches!(error.reason(), Reason::LeaseExists | Reason::LeaseNotFound)
}

/// The same error of a call of this kind: a read can't have changed anything, whatever happened to it, and what may be
/// done twice may be done again by the caller as well.
pub(super) fn for_kind(error: Error, kind: Kind) -> Error {
    match kind {
        Kind::Read => error.of_a_read(),
        Kind::Idempotent if error.may_have_applied() => error.with_outcome(Outcome::Repeatable),
        _ => error,
    }
}

/// The pause before the next round: a tenth of it is chance, either way.
pub(super) fn pause(rounds: u32, jitter: f64) -> Duration {
    let pause = backoff::doubled(limits::RETRY_PAUSE_FIRST, limits::RETRY_PAUSE_LONGEST, rounds);
    pause.mul_f64(0.9 + jitter.clamp(0.0, 1.0) / 5.0)
}

/// Whether an idle connection turned out to be dead, so that the call may use another one in its place. What was
/// sent counts for a call that is never to be tried again.
pub(super) fn was_stale(failure: &Failure, kind: Kind, max_retries: Option<u32>) -> bool {
    let Cause::Io(error) = &failure.cause else { return false };
    let may_repeat = !failure.sent || kind != Kind::Write && max_retries != Some(0);
    may_repeat && !failure.answered && Stop::of(error).is_none()
}

/// Whether the server ended the handshake on its side: it has read nothing of the request then.
pub(super) fn is_tls_refusal(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    matches!(
        inner,
        Some(TlsError::AlertReceived(
            AlertDescription::HandshakeFailure
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ))
    )
}
