//! What can go wrong, with what a caller must know to go on: who said it, and whether a write may have happened.

mod code;

pub use code::{Code, Reason};

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The result of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the operating system or TLS said; shared, since an error may be reported in several places.
pub type Cause = Arc<io::Error>;

/// Whether the request of a failed call may have changed the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Provably not: it was a read, it was never completely sent, or the server refused it.
    NotApplied,
    /// Nobody can tell: it was sent, and no answer says what became of it.
    Unknown,
    /// Nobody can tell, and it makes no difference: done once more it does nothing more.
    Repeatable,
}

/// The part of a call that its time limit cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting to ask a server, or doing something else than asking one.
    Pausing,
    /// Looking up, connecting or shaking hands.
    Connecting,
    /// Sending the request.
    Sending,
    /// Waiting for the answer or reading it.
    Receiving,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Pausing => "between two requests",
            Phase::Connecting => "while connecting",
            Phase::Sending => "while sending the request",
            Phase::Receiving => "while waiting for the answer",
        })
    }
}

/// An error of the library.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument can't be right; nothing was sent.
    #[error("{what}")]
    InvalidArgument {
        /// Which argument, and what is wrong with it.
        what: String,
        /// [`Reason::Other`], or the reason that the server gives for the same.
        reason: Reason,
    },
    /// The server, or the gateway before it, refused the request.
    #[error("{endpoint}: {message}")]
    Server {
        /// The URL of the endpoint that answered.
        endpoint: Arc<str>,
        /// HTTP status of the answer; it derives from the code and says less.
        http_status: u16,
        /// gRPC's canonical code.
        code: Code,
        /// The server's own words.
        message: String,
        /// What the words mean.
        reason: Reason,
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// An endpoint can't be reached; nothing was sent to it.
    #[error("can't connect to {endpoint}")]
    Connect {
        /// Its URL.
        endpoint: Arc<str>,
        /// Whether what the call sent before may have been executed.
        outcome: Outcome,
        /// Why.
        source: Cause,
    },
    /// No secure connection to an endpoint.
    #[error("TLS with {endpoint} failed")]
    Tls {
        /// Its URL.
        endpoint: Arc<str>,
        /// Whether what the call sent before may have been executed.
        outcome: Outcome,
        /// Which certificate problem it was.
        source: Cause,
    },
    /// The connection ended before the answer was complete.
    #[error("the connection to {endpoint} was lost")]
    Lost {
        /// Its URL.
        endpoint: Arc<str>,
        /// Whether the request may have been executed.
        outcome: Outcome,
        /// Why.
        source: Cause,
    },
    /// An answer that no etcd gateway gives.
    #[error("{endpoint} did not answer as an etcd gateway does: {what}")]
    Protocol {
        /// Its URL.
        endpoint: Arc<str>,
        /// HTTP status of the answer; 0 where there was none.
        http_status: u16,
        /// What was wrong with it, quoting it where that helps.
        what: String,
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// An answer, or the events of one revision, larger than the client takes ([`Config::max_response_bytes`]).
    ///
    /// [`Config::max_response_bytes`]: crate::config::Config::max_response_bytes
    #[error("{endpoint}: {what} larger than {limit} bytes")]
    TooLarge {
        /// Its URL.
        endpoint: Arc<str>,
        /// HTTP status of the answer; 0 where there was none.
        http_status: u16,
        /// What it is.
        what: String,
        /// The most that is taken.
        limit: usize,
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// The time limit passed.
    #[error("the time limit passed {phase}{}", at(endpoint))]
    Deadline {
        /// The URL of the endpoint that was waited for.
        endpoint: Option<Arc<str>>,
        /// What was under way.
        phase: Phase,
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// The call's cancel token was triggered.
    #[error("cancelled by the caller")]
    Cancelled {
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// The client, or the watch, was closed.
    #[error("{what}")]
    Closed {
        /// What is over.
        what: &'static str,
        /// Whether the request may have been executed.
        outcome: Outcome,
    },
    /// The answer comes from another cluster than those before it.
    #[error("{endpoint} belongs to cluster {theirs:x} and not to {ours:x}")]
    ClusterMismatch {
        /// The URL of the endpoint that answered.
        endpoint: Arc<str>,
        /// The ID of the client's cluster.
        ours: u64,
        /// The ID of the cluster that the endpoint belongs to.
        theirs: u64,
        /// Whether the request may have been executed, by that other cluster.
        outcome: Outcome,
    },
    /// `GET /version` does not tell the API path.
    #[error("{endpoint} does not tell its version: {what}")]
    VersionDiscovery {
        /// Its URL.
        endpoint: Arc<str>,
        /// HTTP status of the answer.
        http_status: u16,
        /// What it answered instead.
        what: String,
    },
    /// The revision that a watch wants next, or that a scan reads at, has been compacted away.
    #[error("{endpoint}: revision {wanted} has been compacted{}", oldest_left(*compact_revision))]
    Compacted {
        /// The URL of the endpoint that said so.
        endpoint: Arc<str>,
        /// The first revision that was still owed, or the scan's.
        wanted: i64,
        /// The server's compact revision; 0: it did not say.
        compact_revision: i64,
    },
    /// The cluster went back in time: what a watch has seen never happened in the store that is there now.
    #[error(
        "{endpoint}: the cluster lost what it had at revision {seen} and is now at {found}: it was restored from a backup"
    )]
    RevisionRegressed {
        /// The URL of the endpoint that the watch was to go on at.
        endpoint: Arc<str>,
        /// A revision that the cluster had before.
        seen: i64,
        /// The revision that it has now. Not below the other one where the store has overtaken what was lost.
        found: i64,
    },
    /// A lease is gone.
    #[error("lease {id} has expired or was revoked")]
    LeaseExpired {
        /// The lease's ID.
        id: i64,
    },
    /// A call that the object's state doesn't allow.
    #[error("{what}")]
    FailedPrecondition {
        /// What doesn't fit.
        what: &'static str,
    },
    /// Others wrote what a transaction had read or written, as often as it was tried.
    #[error("the transaction met others' writes in each of its {attempts} attempts")]
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// The caller's own function ended the call.
    #[error("given up by its own function, with status {status}")]
    GivenUp {
        /// What the function said.
        status: i32,
    },
    /// The server can't do this over this connection.
    #[error("{what}")]
    Unimplemented {
        /// What can't be done.
        what: &'static str,
    },
    /// A local file.
    #[error("{}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// The operating system refused a resource: a thread or a descriptor.
    #[error("can't get {what} from the operating system")]
    System {
        /// Which resource.
        what: &'static str,
        /// Why.
        source: Cause,
    },
    /// Something of the process that this one was forked from, which works there alone.
    #[error("{what} was inherited over fork, and works in the parent only: make a new one after fork")]
    Forked {
        /// The argument that is it.
        what: &'static str,
    },
    /// A defect of the library, caught.
    #[error("a defect in libetcdgw: {0}")]
    Panic(String),
}

/// Parts of messages of a member that can't do it at the time, under codes that say nothing of that: it learns, it has
/// just started, it stops.
const PASSING: &[&str] = &["not supported for learner", "not capable", "raft: stopped"];

fn at(endpoint: &Option<Arc<str>>) -> String {
    endpoint.as_ref().map(|url| format!(" ({url})")).unwrap_or_default()
}

fn oldest_left(compact_revision: i64) -> String {
    if compact_revision == 0 { String::new() } else { format!("; the oldest left is {compact_revision}") }
}

impl Error {
    /// An argument that can't be right.
    pub fn invalid(what: impl Into<String>) -> Error {
        Error::InvalidArgument { what: what.into(), reason: Reason::Other }
    }

    /// The client was closed.
    pub(crate) fn client_closed(outcome: Outcome) -> Error {
        Error::Closed { what: "the client was closed", outcome }
    }

    /// A watch has ended, and its last response has been taken.
    pub(crate) fn watch_over() -> Error {
        Error::over("the watch has ended")
    }

    /// What nothing comes of any more.
    pub(crate) fn over(what: &'static str) -> Error {
        Error::Closed { what, outcome: Outcome::NotApplied }
    }

    /// Whether the request may have changed the store although the call failed.
    pub fn may_have_applied(&self) -> bool {
        self.outcome() != Outcome::NotApplied
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Error::Server { outcome, .. }
            | Error::Connect { outcome, .. }
            | Error::Tls { outcome, .. }
            | Error::Lost { outcome, .. }
            | Error::Protocol { outcome, .. }
            | Error::TooLarge { outcome, .. }
            | Error::ClusterMismatch { outcome, .. }
            | Error::Deadline { outcome, .. }
            | Error::Cancelled { outcome }
            | Error::Closed { outcome, .. } => *outcome,
            // Nobody knows how far it had come.
            Error::Panic(_) => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// The same error of a request that can't have changed anything.
    pub(crate) fn of_a_read(self) -> Error {
        self.with_outcome(Outcome::NotApplied)
    }

    /// The same error of a request with this outcome, where it may have one.
    pub(crate) fn with_outcome(mut self, of_the_request: Outcome) -> Error {
        match &mut self {
            Error::Server { outcome, .. }
            | Error::Connect { outcome, .. }
            | Error::Tls { outcome, .. }
            | Error::Lost { outcome, .. }
            | Error::Protocol { outcome, .. }
            | Error::TooLarge { outcome, .. }
            | Error::ClusterMismatch { outcome, .. }
            | Error::Deadline { outcome, .. }
            | Error::Cancelled { outcome }
            | Error::Closed { outcome, .. } => *outcome = of_the_request,
            _ => {}
        }
        self
    }

    /// The error to end with where an earlier request of the call ended with `doubt`, of which this one tells nothing: what
    /// may have been executed stays so. Only the end of the call's time, or its caller's wish, is worth more than the
    /// doubt itself.
    pub(crate) fn in_doubt_since(self, doubt: Error) -> Error {
        match self {
            error if error.may_have_applied() => error,
            Error::Deadline { .. } | Error::Cancelled { .. } | Error::Closed { .. } => {
                self.with_outcome(doubt.outcome())
            }
            _ => doubt,
        }
    }

    /// The error to end with when time is over and no member could say whether something has happened that counts: that
    /// time is over, whatever kept the members from answering.
    pub(crate) fn at_the_end_of_time(self) -> Error {
        if !self.is_retryable() {
            return self;
        }
        let endpoint = self.endpoint().cloned();
        Error::Deadline { endpoint, phase: Phase::Receiving, outcome: Outcome::Repeatable }
    }

    /// The URL of the endpoint concerned.
    pub fn endpoint(&self) -> Option<&Arc<str>> {
        match self {
            Error::Server { endpoint, .. }
            | Error::Connect { endpoint, .. }
            | Error::Tls { endpoint, .. }
            | Error::Lost { endpoint, .. }
            | Error::Protocol { endpoint, .. }
            | Error::TooLarge { endpoint, .. }
            | Error::ClusterMismatch { endpoint, .. }
            | Error::VersionDiscovery { endpoint, .. }
            | Error::Compacted { endpoint, .. }
            | Error::RevisionRegressed { endpoint, .. } => Some(endpoint),
            Error::Deadline { endpoint, .. } => endpoint.as_ref(),
            _ => None,
        }
    }

    /// HTTP status of the answer; 0: there was none.
    pub fn http_status(&self) -> u16 {
        match self {
            Error::Server { http_status, .. }
            | Error::Protocol { http_status, .. }
            | Error::TooLarge { http_status, .. }
            | Error::VersionDiscovery { http_status, .. } => *http_status,
            _ => 0,
        }
    }

    /// What the server's message means.
    pub fn reason(&self) -> Reason {
        match self {
            Error::Server { reason, .. } | Error::InvalidArgument { reason, .. } => *reason,
            Error::Compacted { .. } => Reason::Compacted,
            Error::LeaseExpired { .. } => Reason::LeaseNotFound,
            _ => Reason::Other,
        }
    }

    /// Whether the same call, made again later or elsewhere, may well succeed. A write whose outcome is unknown is not
    /// retryable by this: its caller must look first.
    pub fn is_retryable(&self) -> bool {
        if self.outcome() == Outcome::Unknown {
            return false;
        }
        match self {
            Error::Connect { .. } | Error::Lost { .. } | Error::Deadline { .. } | Error::Conflict { .. } => true,
            Error::Protocol { http_status, .. } | Error::VersionDiscovery { http_status, .. } => {
                matches!(http_status, 502..=504)
            }
            Error::Server { code, reason, message, .. } => {
                use Reason::{LeaderChanged, NoLeader, NotLeader, Timeout, TooManyRequests};
                // Cancelled by the server, that is, since the caller's own wish is another error.
                matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled)
                    || matches!(reason, TooManyRequests | LeaderChanged | NoLeader | NotLeader | Timeout)
                    || PASSING.iter().any(|part| message.contains(part))
            }
            _ => false,
        }
    }

    /// The error and its causes in one sentence.
    pub fn full_message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let _ = fmt::Write::write_fmt(&mut text, format_args!(": {error}"));
            cause = error.source();
        }
        text
    }
}
