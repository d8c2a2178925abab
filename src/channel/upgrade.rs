//! WebSockets: whether a member has one that is safe, and the way to it.

use super::attempt::Attempt;
use super::auth::Grant;
use super::probe::{MemberState, leaderless, state_of};
use super::rounds::{Answer, Call};
use super::{Channel, Kind, Method, failure};
use crate::error::{Error, Result};
use crate::gateway::http::{AUTHORIZATION, Head, RequestHead, SWITCHING_PROTOCOLS};
use crate::gateway::version::{self, ServerVersion};
use crate::gateway::websocket::{Handshake, WebSocket};
use crate::limits;
use crate::log::Level;
use crate::net::{Connection, Control};
use std::sync::Arc;
use std::time::Duration;

/// What came of asking a member for a WebSocket.
pub(crate) enum Upgrade {
    /// It is open.
    Open(Box<OpenSocket>),
    /// That member, or what stands before it, has none that is safe, for now at least.
    Unfit { endpoint: Arc<str> },
    /// The connection was lost while it was upgraded: by what lets none through, or by chance.
    Lost { endpoint: Arc<str>, error: Error },
    /// It was left unanswered for that time, which was all that the caller had and less than it may take.
    Late { endpoint: Arc<str>, waited: Duration, error: Error },
}

/// Whether a member may be asked for a WebSocket.
enum Fitness {
    Fit(ServerVersion),
    /// And why not.
    Unfit(String),
    /// Not over this connection, which can't be used any more.
    Over,
}

/// A WebSocket just opened.
pub(crate) struct OpenSocket {
    pub socket: WebSocket,
    /// The token that it was opened with.
    pub grant: Grant,
    /// Whether the member's answers to progress requests are in order with the events.
    pub orders_progress: bool,
}

/// Why a connection can't be upgraded after `GET /version`.
const ENDS_CONNECTIONS: &str = "it ends its connections after each answer";

/// Makes a token stand in an upgrade: the gateway passes `Authorization` on only for what isn't one.
const BEARER: &str = "Sec-WebSocket-Protocol: Bearer, ";

impl Channel {
    /// Opens a WebSocket for a streaming method, at the member in use if that can be done safely there. `insist`: also
    /// where its builds are known to leak what a broken connection leaves, or to refuse tokens. `asks_for_leader`: at a
    /// member that says it has one; the header which makes sure of that for a stream is not passed on by an upgrade.
    pub(crate) fn open_socket(
        &self,
        method: Method<'_>,
        insist: bool,
        asks_for_leader: bool,
        control: &Control,
    ) -> Result<Upgrade> {
        self.on_some_endpoint(&Call::new(Kind::Read, control), &|attempt| {
            attempt.open_socket(method, insist, asks_for_leader).map(Answer::plain)
        })
    }
}

impl Attempt<'_> {
    fn open_socket(&self, method: Method<'_>, insist: bool, asks_for_leader: bool) -> Result<Upgrade> {
        self.with_token(method, |grant| {
            let mut connection = self.connect()?;
            if asks_for_leader {
                let Some((status, body)) = self.exchange_over(&mut connection, "GET", ["/health", ""])? else {
                    return Ok(self.unfit(ENDS_CONNECTIONS));
                };
                if state_of(status, &body) == MemberState::Leaderless {
                    return Err(leaderless(&self.endpoint.url));
                }
            }
            match self.fitness(&mut connection, grant, insist)? {
                Fitness::Fit(version) => self.upgrade(connection, method, grant, &version),
                Fitness::Unfit(why) => {
                    self.channel.keep(&self.endpoint.url, connection);
                    Ok(self.unfit(why))
                }
                Fitness::Over => Ok(self.unfit(ENDS_CONNECTIONS)),
            }
        })
    }

    /// Whether the server behind a connection may be asked to upgrade it. `GET /version` is the last request before: so
    /// it is the same server that answers both, whatever was there a moment ago.
    fn fitness(&self, connection: &mut Connection, grant: &Grant, insist: bool) -> Result<Fitness> {
        let unfit = |why: String| Ok(Fitness::Unfit(why));
        let version = match self.version_over(connection)? {
            Some(Ok(version)) => version,
            // What stands before the server doesn't let everything through.
            Some(Err(error)) => return unfit(error.full_message()),
            None => return Ok(Fitness::Over),
        };
        let text = &version.text;
        if version.is_undecided() {
            return unfit("its cluster has not agreed on a version yet".to_owned());
        }
        if !version.takes_upgrades() {
            return unfit(format!("etcd {text}, or its cluster, is older than 3.5"));
        }
        if insist {
            return Ok(Fitness::Fit(version));
        }
        if grant.token().is_some() && !version.takes_tokens_on_upgrades() {
            return unfit(format!("etcd {text} takes no tokens there"));
        }
        if !version.may_leak_watches() {
            return Ok(Fitness::Fit(version));
        }
        match self.speaks_v1(connection)? {
            Some(true) => {}
            Some(false) => return unfit(format!("this build of etcd {text} leaks watches")),
            None => return Ok(Fitness::Over),
        }
        match self.version_over(connection)? {
            Some(Ok(again)) if again.takes_upgrades() => Ok(Fitness::Fit(again)),
            Some(_) => unfit("its version has changed".to_owned()),
            None => Ok(Fitness::Over),
        }
    }

    fn unfit(&self, why: impl std::fmt::Display) -> Upgrade {
        let endpoint = self.endpoint.url.clone();
        self.channel.logger.log(Level::Debug, format_args!("no WebSocket at {endpoint}: {why}"));
        Upgrade::Unfit { endpoint }
    }

    /// A whole exchange over a connection that goes on to be used; `None`: it can't be.
    fn exchange_over(
        &self,
        connection: &mut Connection,
        verb: &str,
        path: [&str; 2],
    ) -> Result<Option<(u16, Vec<u8>)>> {
        let host = &self.endpoint.host;
        let head = RequestHead { verb, path, host, lines: "", token: None, token_name: AUTHORIZATION };
        let answered = self.request(connection, &head, Kind::Read, false, &mut |_| {});
        let Head { status, body, keeps_connection, .. } =
            answered.map_err(|failure| self.failure(failure).of_a_read())?;
        let mut bytes = Vec::new();
        let (limit, control) = (limits::MAX_PLAIN_RESPONSE_BYTES, self.call.control);
        let read = body.read_all(connection, &mut bytes, limit, control);
        read.map_err(|cause| failure::failed(cause, &self.endpoint.url, status, true).of_a_read())?;
        Ok(keeps_connection.then_some((status, bytes)))
    }

    /// The version of the server behind a connection; `None`: the connection can't be used any more.
    fn version_over(&self, connection: &mut Connection) -> Result<Option<Result<ServerVersion>>> {
        let answer = self.exchange_over(connection, "GET", ["/version", ""])?;
        let version = answer.map(|(status, mut body)| self.version_of(status, &mut body));
        if let Some(Ok(version)) = &version {
            self.channel.learn_api_path(version);
        }
        Ok(version)
    }

    /// Whether a gateway of 3.5 is upstream's: others leave watches behind when a WebSocket breaks. `None`: the connection
    /// can't be used any more.
    fn speaks_v1(&self, connection: &mut Connection) -> Result<Option<bool>> {
        let path = [&*self.api_path()?, "unknown"];
        let answer = self.exchange_over(connection, "POST", path)?;
        Ok(answer.map(|(status, body)| status == 404 && version::is_v1_not_found(&body)))
    }

    fn upgrade(
        &self,
        mut connection: Connection,
        method: Method<'_>,
        grant: &Grant,
        version: &ServerVersion,
    ) -> Result<Upgrade> {
        let handshake = Handshake::new()?;
        let (api_path, lines, token, token_name) = (self.api_path()?, handshake.lines(), grant.token(), BEARER);
        let (path, host) = ([&*api_path, method.path], &*self.endpoint.host);
        let head = RequestHead { verb: "GET", path, host, lines: &lines, token, token_name };
        let left = self.call.control.deadline.remaining().map_or(Duration::MAX, |left| left / 2);
        let patience = left.min(limits::UPGRADE_PATIENCE);
        let control = self.call.control.at_most(patience);
        let attempt = Attempt { call: &Call::new(Kind::Read, &control), ..*self };
        let answered = attempt.request(&mut connection, &head, Kind::Read, false, &mut |_| {});
        let url = &self.endpoint.url;
        match answered.map_err(|failure| self.failure(failure).of_a_read()) {
            Ok(Head { status: SWITCHING_PROTOCOLS, accept: Some(accept), .. }) if handshake.accepts(&accept) => {
                let socket = WebSocket::new(url.clone(), connection, self.channel.max_response_bytes);
                let socket = socket.map_err(|source| Error::System { what: "a socket", source: Arc::new(source) })?;
                self.channel.logger.log(Level::Debug, format_args!("a WebSocket to {url} is open"));
                let orders_progress = version.orders_requested_progress();
                Ok(Upgrade::Open(Box::new(OpenSocket { socket, grant: grant.clone(), orders_progress })))
            }
            Ok(Head { status, .. }) => {
                Ok(self.unfit(format_args!("the upgrade is answered with HTTP status {status}")))
            }
            Err(error @ Error::Lost { .. }) if self.call.control.check().is_ok() => {
                Ok(Upgrade::Lost { endpoint: url.clone(), error })
            }
            Err(error @ Error::Deadline { .. })
                if patience < limits::UPGRADE_PATIENCE && self.call.control.check().is_ok() =>
            {
                Ok(Upgrade::Late { endpoint: url.clone(), waited: patience, error })
            }
            // What stands in between may let the connection hang.
            Err(error @ (Error::Protocol { .. } | Error::TooLarge { .. } | Error::Deadline { .. }))
                if self.call.control.check().is_ok() =>
            {
                Ok(self.unfit(error.full_message()))
            }
            Err(error) => Err(error),
        }
    }
}
