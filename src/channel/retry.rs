//! Which failures let a call go on elsewhere. A write goes on only where it provably was not executed.

use super::Kind;
use crate::error::Error;
use crate::gateway::http::{Cause, Failure};
use crate::net::Stop;
use rustls::{AlertDescription, Error as TlsError};
use std::io;

/// Whether an idle connection turned out to be dead, so that the call may use another one in its place.
pub(super) fn was_stale(failure: &Failure, kind: Kind) -> bool {
    let Cause::Io(error) = &failure.cause else { return false };
    let may_repeat = !failure.sent || kind != Kind::Write;
    may_repeat && !failure.answered && Stop::of(error).is_none()
}

/// Whether the call may be made again on another endpoint.
pub(super) fn goes_on(error: &Error, kind: Kind) -> bool {
    let may_repeat = kind != Kind::Write || !error.may_have_applied();
    let elsewhere_is_better = match error {
        Error::Connect { .. } | Error::Tls { .. } | Error::Lost { .. } | Error::VersionDiscovery { .. } => true,
        Error::Server { .. } | Error::Protocol { .. } => error.clone().of_a_read().is_retryable(),
        _ => false,
    };
    may_repeat && elsewhere_is_better
}

/// Whether the endpoint is one to stay away from.
pub(super) fn leaves_endpoint(error: &Error) -> bool {
    match error {
        Error::Connect { .. }
        | Error::Tls { .. }
        | Error::Lost { .. }
        | Error::Deadline { .. }
        | Error::VersionDiscovery { .. } => true,
        Error::Server { .. } | Error::Protocol { .. } => error.clone().of_a_read().is_retryable(),
        _ => false,
    }
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
