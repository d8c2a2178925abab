//! Connections that carry streams: opened here within a call's bounds, and read by whoever waits for many of them.

use super::attempt::{Attempt, encode};
use super::auth::Grant;
use super::rounds::{Answer, Call};
use super::{Channel, Kind, Method, attempt};
use crate::error::{Code, Error, Outcome, Reason, Result};
use crate::gateway::frames::MessageStream;
use crate::gateway::http::{self, AUTHORIZATION, Cause, Head, Outgoing, RequestHead, SWITCHING_PROTOCOLS};
use crate::gateway::json::Encode;
use crate::gateway::version::{self, ServerVersion};
use crate::gateway::websocket::{Handshake, WebSocket};
use crate::limits;
use crate::log::Level;
use crate::net::{Connection, Control, lock};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
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

    /// Sends the request of a stream, whose head nobody waits for here.
    pub(crate) fn begin_stream(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        require_leader: bool,
        control: &Control,
    ) -> Result<OpeningStream> {
        self.on_some_endpoint(&Call::new(Kind::Read, control), &|attempt| {
            attempt.begin_stream(method, request, require_leader).map(Answer::plain)
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
        read.map_err(|cause| attempt::failed(cause, &self.endpoint.url, status, true).of_a_read())?;
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
        let control = self.call.control.at_most(left.min(limits::UPGRADE_PATIENCE));
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
            // What stands in between may let the connection hang.
            Err(error @ (Error::Protocol { .. } | Error::TooLarge { .. } | Error::Deadline { .. }))
                if self.call.control.check().is_ok() =>
            {
                Ok(self.unfit(error.full_message()))
            }
            Err(error) => Err(error),
        }
    }

    fn begin_stream(&self, method: Method<'_>, request: &impl Encode, require_leader: bool) -> Result<OpeningStream> {
        self.with_token(method, |grant| {
            let lines = if require_leader { attempt::REQUIRE_LEADER } else { "" };
            let (api_path, mut connection) = (self.api_path()?, self.connect()?);
            let (path, host, token) = ([&*api_path, method.path], &*self.endpoint.host, grant.token());
            let head = RequestHead { verb: "POST", path, host, lines, token, token_name: AUTHORIZATION };
            let mut outgoing = Outgoing::new(Vec::new(), &head, false);
            encode(request, outgoing.body());
            outgoing.finish(&head);
            self.count_request();
            let sent = http::send(&mut connection, outgoing.bytes(), self.call.control);
            sent.map_err(|failure| self.failure(failure).of_a_read())?;
            let unready = |source| Error::System { what: "a socket", source: Arc::new(source) };
            connection.stop_waiting().map_err(unready)?;
            let (endpoint, grant, fd) = (self.endpoint.url.clone(), grant.clone(), connection.as_raw_fd());
            Ok(OpeningStream { endpoint, grant, fd, stage: Stage::Head(connection) })
        })
    }
}

/// A stream whose request is sent. It waits for nothing.
pub(crate) struct OpeningStream {
    pub endpoint: Arc<str>,
    /// The token that it was asked for with.
    pub grant: Grant,
    fd: RawFd,
    stage: Stage,
}

enum Stage {
    Head(Connection),
    /// The server says why there is none.
    Refusal {
        connection: Connection,
        head: Head,
        body: Vec<u8>,
    },
    /// Nothing more is to come. A connection that has failed is kept for as long as the stream is: whoever waits for its
    /// descriptor must hear of it before that is closed.
    Over {
        _connection: Option<Connection>,
    },
}

impl AsRawFd for OpeningStream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl OpeningStream {
    /// Goes on with what has arrived. `None`: more must arrive.
    pub(crate) fn advance(&mut self, channel: &Channel, method: Method<'_>) -> Result<Option<MessageStream>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over { _connection: None }) {
                over @ Stage::Over { .. } => {
                    self.stage = over;
                    return Ok(None);
                }
                Stage::Head(mut connection) => match http::receive(&mut connection, &Control::UNBOUNDED) {
                    Ok(head) if head.status == 200 => {
                        let (endpoint, limit) = (self.endpoint.clone(), channel.max_response_bytes);
                        return Ok(Some(MessageStream::new(endpoint, connection, head.body, limit)));
                    }
                    Ok(head) => self.stage = Stage::Refusal { connection, head, body: Vec::new() },
                    Err(failure) if must_wait(&failure.cause) => {
                        self.stage = Stage::Head(connection);
                        return Ok(None);
                    }
                    Err(failure) => {
                        self.stage = Stage::Over { _connection: Some(connection) };
                        return Err(channel.failure(failure, &self.endpoint).of_a_read());
                    }
                },
                Stage::Refusal { mut connection, mut head, mut body } => {
                    let limit = limits::MAX_PLAIN_RESPONSE_BYTES;
                    match head.body.read(&mut connection, &mut body, limit, &Control::UNBOUNDED) {
                        Ok(true) => self.stage = Stage::Refusal { connection, head, body },
                        Ok(false) => {
                            self.stage = Stage::Over { _connection: Some(connection) };
                            let refused = channel.refused(&self.endpoint, method, &self.grant, head.status, &mut body);
                            return Err(refused.of_a_read());
                        }
                        Err(cause) if must_wait(&cause) => {
                            self.stage = Stage::Refusal { connection, head, body };
                            return Ok(None);
                        }
                        Err(cause) => {
                            self.stage = Stage::Over { _connection: Some(connection) };
                            return Err(attempt::failed(cause, &self.endpoint, head.status, true).of_a_read());
                        }
                    }
                }
            }
        }
    }
}

/// Whether nothing is wrong but that nothing more has arrived.
pub(crate) fn must_wait(cause: &Cause) -> bool {
    matches!(cause, Cause::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// What the answer to `GET /health` says. 3.4 gives no reason, and a full disk is none to leave.
fn state_of(status: u16, body: &[u8]) -> MemberState {
    let says = |text: &str| body.windows(text.len()).any(|part| part == text.as_bytes());
    if status == 503 && says("NO LEADER") { MemberState::Leaderless } else { MemberState::Serving }
}

/// As a member says of itself where a request requires a leader.
pub(crate) fn leaderless(endpoint: &Arc<str>) -> Error {
    Error::Server {
        endpoint: endpoint.clone(),
        http_status: 503,
        code: Code::Unavailable,
        message: "etcdserver: no leader".to_owned(),
        reason: Reason::NoLeader,
        outcome: Outcome::NotApplied,
    }
}

/// What a member says of its own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    Serving,
    /// It has no leader.
    Leaderless,
}

impl Channel {
    /// Asks a member whether it is there and has a leader. Its other troubles concern no watch.
    pub(crate) fn ask_health(&self, url: &Arc<str>, control: &Control) -> Result<MemberState> {
        let endpoint = self.endpoints.single(url)?;
        let call = Call::probe(control);
        let guard = &self.endpoints.guard();
        let (status, body) = Attempt::alone(self, &endpoint, guard, &call).get("/health")?;
        Ok(state_of(status, &body))
    }

    /// The API path of a member that told its version.
    pub(super) fn learn_api_path(&self, version: &ServerVersion) {
        lock(&self.api_path).get_or_insert_with(|| Arc::from(version.api_path));
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::channel::Size;
    use crate::config::Config;
    use crate::gateway::json::Writer;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    struct Nothing;

    impl Encode for Nothing {
        fn encode(&self, _: &mut Writer<'_>) {}
    }

    /// What is behind a descriptor of this process.
    fn behind(fd: RawFd) -> Option<std::path::PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
    }

    #[test]
    fn the_descriptor_of_a_stream_that_is_refused_or_lost_stays_open_as_long_as_the_stream() {
        const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}";
        for answer in [REFUSED, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{", "no HTTP\r\n\r\n", ""] {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", server.local_addr().unwrap());
            let config = Config { endpoints: endpoint, api_path: Some("/v3".to_owned()), ..Config::default() };
            let channel = Channel::new(config).unwrap();
            let method = Method::new("watch", Kind::Read, Size::Values).streamed();
            let mut stream = channel.begin_stream(method, &Nothing, false, &Control::UNBOUNDED).unwrap();
            let connected = behind(stream.as_raw_fd()).unwrap();
            let (mut peer, _) = server.accept().unwrap();
            assert!(peer.read(&mut [0; 4096]).unwrap() > 0);
            peer.write_all(answer.as_bytes()).unwrap();
            drop(peer);
            while let Ok(opened) = stream.advance(&channel, method) {
                assert!(opened.is_none(), "{answer:?}");
            }
            assert_eq!(behind(stream.as_raw_fd()), Some(connected), "{answer:?}");
        }
    }
}
