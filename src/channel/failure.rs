//! What a failure on the wire is to who has called.

use super::auth::Grant;
use super::{Channel, Method, retry};
use crate::error::{Error, Outcome, Phase, Reason};
use crate::gateway::http::{Cause, Failure};
use crate::gateway::status;
use crate::net::Stop;
use std::io;
use std::sync::Arc;

impl Channel {
    pub(super) fn failure(&self, failure: Failure, url: &Arc<str>) -> Error {
        match failure.cause {
            // With TLS 1.3 a server refuses a client's certificate only after the client's first request.
            Cause::Io(source) if !failure.answered && retry::is_tls_refusal(&source) => {
                let source = Arc::new(self.connector.tls.explain(source));
                Error::Tls { endpoint: url.clone(), outcome: Outcome::NotApplied, source }
            }
            cause => failed(cause, url, 0, failure.sent),
        }
    }

    /// The error of an answer that is none but a refusal.
    pub(super) fn refused(
        &self,
        url: &Arc<str>,
        method: Method<'_>,
        grant: &Grant,
        http_status: u16,
        body: &mut [u8],
    ) -> Error {
        grant.blank_in(body);
        let lacks_path = status::lacks_path(http_status, body);
        let error = status::error_of_answer(url, http_status, body);
        // etcd itself gives 404, too, for a lease or a member that is missing.
        let is_etcds = matches!(&error, Error::Server { message, .. } if message.starts_with("etcdserver: "));
        if http_status == 404 && !is_etcds {
            // A server of another version may have taken the place of the one that told the path.
            self.forget_api_path();
        }
        if let (true, Some(release)) = (lacks_path, method.since) {
            return status::missing_method(url, method.path, release);
        }
        if method.needs_leader && !method.streamed && error.reason() == Reason::NoLeader {
            // Said by etcd's interceptor before the request is looked at (v3rpc/interceptor.go), since it was asked to.
            return error.with_outcome(Outcome::NotApplied);
        }
        error
    }
}

/// The error of a stream that broke off after its head.
pub(crate) fn stream_error(cause: Cause, endpoint: &Arc<str>) -> Error {
    failed(cause, endpoint, 200, true).of_a_read()
}

/// The error of a pause that had to end: no server is waited for in it.
pub(super) fn stopped_pause(error: io::Error) -> Error {
    let outcome = Outcome::NotApplied;
    match Stop::of(&error) {
        Some(Stop::Cancelled) => Error::Cancelled { outcome },
        Some(Stop::Closed) => Error::client_closed(outcome),
        Some(Stop::Deadline) => Error::Deadline { endpoint: None, phase: Phase::Pausing, outcome },
        None => Error::System { what: "a wait", source: Arc::new(error) },
    }
}

pub(super) fn failed(cause: Cause, endpoint: &Arc<str>, http_status: u16, sent: bool) -> Error {
    let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
    let phase = if sent { Phase::Receiving } else { Phase::Sending };
    let endpoint = endpoint.clone();
    match cause {
        Cause::Protocol(what) => Error::Protocol { endpoint, http_status, what, outcome },
        Cause::TooLarge(limit) if http_status == 200 => {
            let what = "its answer is".to_owned();
            Error::TooLarge { endpoint, http_status, what, limit, outcome }
        }
        // What it is about would not be as large: a proxy may have long pages for what fails.
        Cause::TooLarge(limit) => {
            let what = format!("its refusal is larger than {limit} bytes");
            Error::Protocol { endpoint, http_status, what, outcome }
        }
        Cause::Io(source) => match Stop::of(&source) {
            Some(stop) => stopped(stop, &endpoint, phase, outcome),
            None => Error::Lost { endpoint, outcome, source: Arc::new(source) },
        },
    }
}

pub(super) fn stopped(stop: Stop, endpoint: &Arc<str>, phase: Phase, outcome: Outcome) -> Error {
    match stop {
        Stop::Deadline => Error::Deadline { endpoint: Some(endpoint.clone()), phase, outcome },
        Stop::Cancelled => Error::Cancelled { outcome },
        Stop::Closed => Error::client_closed(outcome),
    }
}
