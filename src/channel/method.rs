//! What is known of a method before it is called.

use super::login::AUTHENTICATE;
use crate::error::{Error, Reason};
use crate::gateway::status;
use crate::secret::Secret;

/// One of etcd's methods, as far as the way to it matters.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    pub(super) path: &'a str,
    pub(super) kind: Kind,
    pub(super) size: Size,
    pub(super) streamed: bool,
    pub(super) needs_leader: bool,
    pub(super) is_secret: bool,
    password: Option<&'a Secret>,
    /// Whether some releases answer it without a header.
    pub(super) is_headless: bool,
    /// The first release of etcd whose gateway has it, where that is not the oldest one supported.
    pub(super) since: Option<&'a str>,
}

/// What a request does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Read,
    /// The same whether it is done once or twice.
    Idempotent,
    /// Something that the server does once only: made again, it is refused, and the refusal tells that it was done.
    Once,
    /// Something that must not be done twice.
    Write,
}

/// How large an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It carries no keys and no values.
    Plain,
    /// It does.
    Values,
    /// It is a stream of a database, in pieces of a size that the server has fixed.
    Pieces,
}

impl<'a> Method<'a> {
    /// The method at a path below the API path.
    pub const fn new(path: &'a str, kind: Kind, size: Size) -> Method<'a> {
        Method {
            path,
            kind,
            size,
            streamed: false,
            needs_leader: false,
            is_secret: false,
            password: None,
            is_headless: false,
            since: None,
        }
    }

    /// One that a member without a leader can't serve: it is to say so at once, and another one is asked.
    pub const fn with_leader(self) -> Method<'a> {
        Method { needs_leader: true, ..self }
    }

    /// One that some releases answer without a header, which any other answer of etcd's has.
    pub const fn headless(self) -> Method<'a> {
        Method { is_headless: true, ..self }
    }

    /// One whose requests carry passwords, if `is_secret`.
    pub const fn secret(self, is_secret: bool) -> Method<'a> {
        Method { is_secret, ..self }
    }

    /// One with a request that carries this password.
    pub const fn with_password(self, password: &'a Secret) -> Method<'a> {
        Method { is_secret: true, password: Some(password), ..self }
    }

    /// An error without what it quotes of an answer, which may give back the secret of its request.
    pub(super) fn unquoted(&self, mut error: Error) -> Error {
        match (&mut error, self.password) {
            (Error::Protocol { what, http_status, .. }, _) if self.is_secret => {
                *what = format!("HTTP status {http_status} to a request that carries a secret");
            }
            // etcd's own reasons are in words that anybody might have for a password.
            (Error::Server { message, reason: Reason::Other, .. }, Some(password))
                if !status::OPEN_REASONS.contains(&&**message) && message.contains(password.expose()) =>
            {
                "its reason quotes the password".clone_into(message);
            }
            _ => {}
        }
        error
    }

    /// The one whose answers carry tokens, and whose requests must carry none (3.4 refuses an old one there, too).
    pub(super) fn is_login(&self) -> bool {
        self.path == AUTHENTICATE.path
    }

    /// One that the gateways of older releases lack: where it is missing, the error says so.
    pub const fn since(self, release: &'a str) -> Method<'a> {
        Method { since: Some(release), ..self }
    }

    /// One that answers in a stream.
    pub const fn streamed(self) -> Method<'a> {
        Method { streamed: true, ..self }
    }
}
