//! Error answers, in both dialects: what they say, and what that means.

use super::http::excerpt;
use super::json::{JsonError, Reader};
use crate::error::{Code, Error, Outcome, Reason};
use std::sync::Arc;

/// The server's own account of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerStatus {
    pub code: Code,
    pub message: String,
}

impl ServerStatus {
    /// Decodes `{"code","message"}` (v2 gateways), with `"error"` as text beside them (v1), `{"grpc_code","message"}`
    /// (v1 streams), and any of them inside `{"error":{…}}`.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<ServerStatus, JsonError> {
        let mut code = None;
        let mut message = String::new();
        let mut nested = None;
        reader.object(&["error", "code", "message", "grpc_code"], |reader, field| {
            match field {
                0 if reader.is_object() => nested = Some(ServerStatus::decode(reader)?),
                // The same as the message, where there is one.
                0 if message.is_empty() => message = reader.text()?,
                0 => reader.skip()?,
                2 => message = reader.text()?,
                _ => code = Some(Code::from_number(reader.int64()?)),
            }
            Ok(())
        })?;
        match (nested, code) {
            (Some(nested), _) => Ok(nested),
            (None, Some(code)) => Ok(ServerStatus { code, message }),
            (None, None) => Err(reader.expected("an error with a code")),
        }
    }

    /// From the text that refuses a watch: `rpc error: code = PermissionDenied desc = etcdserver: permission denied`,
    /// or the bare message.
    pub(crate) fn from_cancel_reason(text: &str) -> ServerStatus {
        let parts = text.strip_prefix("rpc error: code = ").and_then(|rest| rest.split_once(" desc = "));
        match parts {
            Some((name, message)) => {
                ServerStatus { code: Code::from_go_name(name).unwrap_or(Code::Unknown), message: message.to_owned() }
            }
            None => ServerStatus { code: code_of_text(text), message: text.to_owned() },
        }
    }

    pub(crate) fn into_error(self, endpoint: &Arc<str>, http_status: u16) -> Error {
        let reason = reason_of(&self.message);
        let mistaken = MISTAKEN.iter().find(|(sent, message, _)| (*sent, *message) == (self.code, &*self.message));
        let code = mistaken.map_or(self.code, |(_, _, meant)| *meant);
        // etcd says so before a proposal, and also in place of the answer to what it has executed
        // (server/etcdserver/apply/quota.go).
        let may_be_late = reason == Reason::NoSpace;
        let refuses = [self.code, code].into_iter().any(Code::refuses);
        let refused = !may_be_late && (refuses || REFUSALS.iter().any(|part| self.message.contains(part)));
        Error::Server {
            endpoint: endpoint.clone(),
            http_status,
            code,
            message: self.message,
            reason,
            outcome: if refused { Outcome::NotApplied } else { Outcome::Unknown },
        }
    }
}

/// Messages under a code that says something else: the code that is sent, and the one that is meant.
const MISTAKEN: &[(Code, &str, Code)] = &[
    // What the store of users says to maintenance in 3.4 and 3.5, which forget to translate it, with the codes that every
    // other method and release gives for the same (server/etcdserver/api/v3rpc/maintenance.go, util.go).
    (Code::Unknown, "auth: user name is empty", Code::InvalidArgument),
    (Code::Unknown, "auth: invalid auth token", Code::Unauthenticated),
    (Code::Unknown, "auth: permission denied", Code::PermissionDenied),
    (Code::Unknown, "auth: revision in header is old", Code::InvalidArgument),
    // What Go's decoder says to JSON that has no end. What goes out is whole: the gateway got a part of it, and then its
    // end from whoever is in between. It has passed nothing on.
    (Code::InvalidArgument, "unexpected EOF", Code::Unavailable),
];

/// Parts of messages under a code that otherwise leaves the outcome open, of which etcd's source says that nothing was
/// or will be executed.
const REFUSALS: &[&str] = &[
    // Before the request is looked at: server/etcdserver/api/v3rpc/interceptor.go. Unavailable up to 3.5.
    "etcdserver: not capable",
    "etcdserver: rpc not supported for learner",
    // Before a change of members is proposed: server/etcdserver/server.go.
    "etcdserver: unhealthy cluster",
    // In place of executing, on every member alike: server/etcdserver/apply/corrupt.go.
    "etcdserver: corrupt cluster",
    // By the member's own Raft, in place of appending or forwarding, as while the leader hands over: raft.go.
    "raft proposal dropped",
    // By the gateway, which has no connection to the server that it is part of: grpc-go, clientconn.go. That the
    // connection "is closing" is told to calls under way as well.
    "transport: Error while dialing",
];

/// Parts of messages that another member may not give, and this one will give again: it lacks what is asked for. Of an
/// unhealthy cluster even the others will say so, until somebody does something about it.
const NOT_HELPED_BY_WAITING: &[&str] =
    &["rpc not supported for learner", "etcdserver: not leader", "etcdserver: unhealthy cluster"];

pub(crate) fn is_not_helped_by_waiting(message: &str) -> bool {
    NOT_HELPED_BY_WAITING.iter().any(|part| message.contains(part))
}

/// Parts of messages that refuse a token, or the lack of one, in a request that a new token lets pass
/// (server/auth/store.go).
const TOKEN_REFUSALS: &[&str] = &[
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
    // Untranslated:
    "auth: invalid auth token",
    "auth: user name is empty",
    "auth: revision in header is old",
];

/// Whether the server wants another token than the one it got.
pub(crate) fn refuses_token(error: &Error) -> bool {
    matches!(error, Error::Server { message, .. } if TOKEN_REFUSALS.iter().any(|part| message.contains(part)))
}

/// Codes of the messages that a watch is refused with as bare text.
fn code_of_text(text: &str) -> Code {
    match reason_of(text) {
        Reason::Compacted | Reason::FutureRevision => Code::OutOfRange,
        Reason::EmptyKey => Code::InvalidArgument,
        Reason::NoLeader => Code::Unavailable,
        _ if text.starts_with("mvcc: ") => Code::InvalidArgument,
        _ => Code::Unknown,
    }
}

/// What part of a message gives it away. Later versions add to the texts (`request timed out, possibly due to …`),
/// so that a part is looked for and not the whole.
const MEANINGS: &[(&str, Reason)] = &[
    ("required revision has been compacted", Reason::Compacted),
    ("required revision is a future revision", Reason::FutureRevision),
    ("requested lease not found", Reason::LeaseNotFound),
    ("lease already exists", Reason::LeaseExists),
    ("key not found", Reason::KeyNotFound),
    ("key is not provided", Reason::EmptyKey),
    ("duplicate key given in txn request", Reason::DuplicateKey),
    ("too many operations in txn request", Reason::TooManyOps),
    ("request is too large", Reason::RequestTooLarge),
    ("received message larger than max", Reason::RequestTooLarge),
    ("database space exceeded", Reason::NoSpace),
    ("no leader", Reason::NoLeader),
    ("not leader", Reason::NotLeader),
    // A keep-alive at a member that has just lost the lead (server/lease/lessor.go), code Unknown.
    ("not a primary lessor", Reason::NotLeader),
    ("leader changed", Reason::LeaderChanged),
    ("raft proposal dropped", Reason::LeaderChanged),
    ("request timed out", Reason::Timeout),
    ("context deadline exceeded", Reason::Timeout),
    ("too many requests", Reason::TooManyRequests),
    ("invalid user ID or password", Reason::AuthFailed),
    // A user who is known by a certificate alone, code Unknown.
    ("password was given for no password user", Reason::AuthFailed),
    // Said to a request without a token, where authentication is enabled.
    ("user name is empty", Reason::AuthFailed),
    ("invalid auth token", Reason::InvalidToken),
    ("revision of auth store is old", Reason::OldAuthRevision),
    ("revision in header is old", Reason::OldAuthRevision),
    ("authentication is not enabled", Reason::AuthNotEnabled),
    ("user name not found", Reason::UserNotFound),
    ("role name not found", Reason::RoleNotFound),
    ("member not found", Reason::MemberNotFound),
    ("learner", Reason::Learner),
    ("corrupt cluster", Reason::Corrupt),
];

fn reason_of(message: &str) -> Reason {
    let meaning = MEANINGS.iter().find(|(part, _)| message.contains(part));
    meaning.map_or(Reason::Other, |(_, reason)| *reason)
}

/// Reasons of the server that say nothing of a password, although one may be a word of theirs.
pub(crate) const OPEN_REASONS: &[&str] = &["etcdserver: user name already exists", "etcdserver: permission denied"];

/// Whether a gateway has no such path: said in plain text (v1) or as an error of its own (v2). A server without a
/// gateway has other words for it: "404 page not found".
pub(crate) fn lacks_path(http_status: u16, body: &[u8]) -> bool {
    const WORDS: &[u8] = b"Not Found";
    let is_quoted = || memchr::memmem::find(body, b"\"Not Found\"").is_some();
    http_status == 404 && (body.trim_ascii() == WORDS || is_quoted())
}

/// The error of a method that the server is too old for.
pub(crate) fn missing_method(endpoint: &Arc<str>, path: &str, release: &str) -> Error {
    Error::Server {
        endpoint: endpoint.clone(),
        http_status: 404,
        code: Code::Unimplemented,
        message: format!("its gateway has no {path}, which came with etcd {release}"),
        reason: Reason::Other,
        outcome: Outcome::NotApplied,
    }
}

/// How the gateway refuses every request over a connection whose client certificate has a common name, where
/// authentication is enabled (server/embed/serve.go): the request would be made in the gateway's name.
const COMMON_NAME_REFUSAL: &str = "CommonName of client sending a request against gateway will be ignored";
const COMMON_NAME_ADVICE: &str = "with authentication enabled, etcd's gateway refuses client certificates that have \
     a common name (CN): use a client certificate without one, together with a user and a password";

/// The error in an answer whose HTTP status is not 200. What is no gateway's is quoted: a proxy's page, or the plain
/// text of a server without a gateway.
pub(crate) fn error_of_answer(endpoint: &Arc<str>, http_status: u16, body: &mut [u8]) -> Error {
    let quoted = excerpt(body);
    let mut reader = Reader::new(body);
    match ServerStatus::decode(&mut reader) {
        Ok(status) => status.into_error(endpoint, http_status),
        Err(_) if http_status == 400 && quoted.contains(COMMON_NAME_REFUSAL) => Error::Server {
            endpoint: endpoint.clone(),
            http_status,
            code: Code::PermissionDenied,
            message: COMMON_NAME_ADVICE.to_owned(),
            reason: Reason::AuthFailed,
            outcome: Outcome::NotApplied,
        },
        Err(_) => Error::Protocol {
            endpoint: endpoint.clone(),
            http_status,
            what: format!("HTTP status {http_status}, {quoted}"),
            // Whoever answers with a 4xx has refused; a 5xx may come from a proxy that lost the answer.
            outcome: if (400..500).contains(&http_status) { Outcome::NotApplied } else { Outcome::Unknown },
        },
    }
}
