//! One attempt of a call, on one endpoint.

use super::auth::Grant;
use super::endpoint::Endpoint;
use super::failure::{failed, stopped};
use super::guard::{Guard, Seen, Verdict};
use super::rounds::{Answer, Call};
use super::{Channel, Kind, Method, Size, retry};
use crate::error::{Error, Outcome, Phase, Result};
use crate::gateway::Header;
use crate::gateway::frames::{self, MessageStream};
use crate::gateway::http::{self, AUTHORIZATION, Failure, Head, Outgoing, RequestHead};
use crate::gateway::json::{Encode, JsonError, Reader, Writer};
use crate::gateway::timeout;
use crate::limits;
use crate::log::Level;
use crate::net::{ConnectError, Connection};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroize;

/// One attempt of a call.
pub(super) struct Attempt<'a> {
    pub channel: &'a Channel,
    pub endpoint: &'a Arc<Endpoint>,
    /// What has been seen of the cluster that the endpoint is to be of.
    pub guard: &'a Arc<Guard>,
    pub call: &'a Call<'a>,
    /// How many endpoints there are to go to, with this one.
    pub endpoints: usize,
    /// The time that connecting may take, so that some is left for the other endpoints.
    pub share: Option<Duration>,
}

/// Makes a member without a leader refuse at once what it would else hold for seconds, to an end that nobody knows.
pub(super) const REQUIRE_LEADER: &str = "Grpc-Metadata-hasleader: true\r\n";

/// For that line and one with a timeout.
const MOST_LINES_BYTES: usize = 64;

/// Writes a request's message. What is common to all methods knows neither its type nor that of the answer: the library
/// would have it once for each of them.
pub(super) type WriteMessage<'a> = dyn Fn(&mut Vec<u8>) + 'a;

/// Decodes an answer to where its caller keeps it, and gives its header.
pub(super) type ReadMessage<'a> = dyn Fn(&mut Reader<'_>) -> Result<Header, JsonError> + 'a;

/// Writes a request's body; called again where the request must go out on another connection.
type WriteBody<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

impl<'a> Attempt<'a> {
    /// One at an endpoint beside which there is no other to go to.
    pub(super) fn alone(
        channel: &'a Channel,
        endpoint: &'a Arc<Endpoint>,
        guard: &'a Arc<Guard>,
        call: &'a Call<'a>,
    ) -> Attempt<'a> {
        Attempt { channel, endpoint, guard, call, endpoints: 1, share: None }
    }
}

impl Attempt<'_> {
    /// Calls a method and decodes its answer, whose bytes stay with what was decoded.
    pub(super) fn call(
        &self,
        method: Method<'_>,
        write: &WriteMessage<'_>,
        read: &ReadMessage<'_>,
    ) -> Result<Answer<Vec<u8>>> {
        let seen = self.guard.seen();
        let (header, body) = self.decoded_answer(method, write, read)?;
        let behind = self.judge(method, header, seen)?;
        Ok(Answer { value: body, behind })
    }

    /// Calls a method of this very member, whatever cluster it is of.
    pub(super) fn decoded_answer(
        &self,
        method: Method<'_>,
        write: &WriteMessage<'_>,
        read: &ReadMessage<'_>,
    ) -> Result<(Header, Vec<u8>)> {
        self.with_token(method, |grant| {
            let (_, body) = self.exchange_with(grant, method, &mut |out| write(out))?;
            self.decode(method, grant, body, read)
        })
    }

    /// Judges the member that answered so. Its header where it is behind what the client has seen; an error where it is of
    /// another cluster.
    pub(super) fn judge(&self, method: Method<'_>, header: Header, seen: Seen) -> Result<Option<Header>> {
        let endpoint = &self.endpoint.url;
        let checks_revision = method.kind == Kind::Read && method.needs_leader;
        match self.guard.judge(&header, seen, checks_revision, endpoint) {
            Verdict::Fits => Ok(None),
            Verdict::Behind => Ok(Some(header)),
            Verdict::Foreign { ours } => Err(Error::ClusterMismatch {
                endpoint: endpoint.clone(),
                ours,
                theirs: header.cluster_id,
                outcome: Outcome::Unknown,
            }),
        }
    }

    /// One request and its answer, whole, with a token where the client has one.
    pub(super) fn exchange(&self, method: Method<'_>, write: WriteBody<'_>) -> Result<(u16, Vec<u8>)> {
        self.with_token(method, |grant| self.exchange_with(grant, method, write))
    }

    /// The same with this token. What an answer to a secret says is repeated nowhere, not even in the log.
    pub(super) fn exchange_with(
        &self,
        grant: &Grant,
        method: Method<'_>,
        write: WriteBody<'_>,
    ) -> Result<(u16, Vec<u8>)> {
        self.exchange_openly(grant, method, write).map_err(|error| method.unquoted(error))
    }

    fn exchange_openly(&self, grant: &Grant, method: Method<'_>, write: WriteBody<'_>) -> Result<(u16, Vec<u8>)> {
        let mut lines = String::with_capacity(MOST_LINES_BYTES);
        if method.needs_leader {
            lines.push_str(REQUIRE_LEADER);
        }
        if let Some(left) = self.call.control.deadline.remaining() {
            timeout::push_line(left, &mut lines);
        }
        let (connection, head) = self.begin(method, grant, &lines, write)?;
        let limit = match method.size {
            _ if method.is_login() => limits::MAX_LOGIN_BYTES,
            Size::Values if head.status == 200 => self.channel.max_response_bytes,
            Size::Values | Size::Plain | Size::Pieces => limits::MAX_PLAIN_RESPONSE_BYTES,
        };
        let http_status = head.status;
        let mut body = self.finish(connection, head, limit, method.is_login())?;
        if http_status == 200 {
            return Ok((http_status, body));
        }
        Err(self.channel.refused(&self.endpoint.url, method, grant, http_status, &mut body))
    }

    /// Opens a stream. It has no time limit at the server.
    pub(super) fn open_stream(&self, method: Method<'_>, request: &impl Encode) -> Result<(MessageStream, Grant)> {
        self.with_token(method, |grant| {
            let (connection, head) = self.begin(method, grant, "", &mut |out| encode(request, out))?;
            let http_status = head.status;
            if http_status == 200 {
                let limit = match method.size {
                    Size::Values => self.channel.max_response_bytes,
                    Size::Plain => limits::MAX_PLAIN_RESPONSE_BYTES,
                    Size::Pieces => limits::MAX_PIECE_BYTES,
                };
                return Ok((
                    MessageStream::new(self.endpoint.url.clone(), connection, head.body, limit),
                    grant.clone(),
                ));
            }
            let mut body = self.finish(connection, head, limits::MAX_PLAIN_RESPONSE_BYTES, false)?;
            Err(self.channel.refused(&self.endpoint.url, method, grant, http_status, &mut body))
        })
    }

    /// The answer to a `GET` that needs no token.
    pub(super) fn get(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let host = &self.endpoint.host;
        let path = [path, ""];
        let head = RequestHead { verb: "GET", path, host, lines: "", token: None, token_name: AUTHORIZATION };
        let sent = self.send(&head, Kind::Read, false, &mut |_| {});
        let (connection, head) = sent.map_err(Error::of_a_read)?;
        let http_status = head.status;
        let read = self.finish(connection, head, limits::MAX_PLAIN_RESPONSE_BYTES, false);
        Ok((http_status, read.map_err(Error::of_a_read)?))
    }
    fn begin(
        &self,
        method: Method<'_>,
        grant: &Grant,
        lines: &str,
        write: WriteBody<'_>,
    ) -> Result<(Connection, Head)> {
        let api_path = self.api_path()?;
        let (path, host, token) = ([&*api_path, method.path], &*self.endpoint.host, grant.token());
        let head = RequestHead { verb: "POST", path, host, lines, token, token_name: AUTHORIZATION };
        self.send(&head, method.kind, method.is_secret, write)
    }

    /// Sends a request and receives the head of its answer, on a connection that is free or on a new one.
    fn send(
        &self,
        head: &RequestHead<'_>,
        kind: Kind,
        is_secret: bool,
        write: WriteBody<'_>,
    ) -> Result<(Connection, Head)> {
        // What became of a request over a connection that ended under it is for the next one to tell.
        let mut in_doubt = None;
        loop {
            let (mut connection, was_idle) = match self.connection() {
                Ok(connection) => connection,
                Err(error) => return Err(retry::end(in_doubt, error)),
            };
            let begun = self.request(&mut connection, head, kind, is_secret, write);
            match begun {
                Ok(head) => return Ok((connection, head)),
                Err(failure) if was_idle && retry::was_stale(&failure, kind, self.channel.max_retries) => {
                    if failure.sent && kind != Kind::Read {
                        let error = self.failure(failure);
                        *self.call.doubt.borrow_mut() = Some(error.clone());
                        in_doubt = Some(error);
                    }
                }
                Err(failure) => return Err(retry::end(in_doubt, self.failure(failure))),
            }
        }
    }

    /// A connection, and whether it was free since an earlier request.
    fn connection(&self) -> Result<(Connection, bool)> {
        self.check_bounds()?;
        match self.channel.pool.take(&self.endpoint.url) {
            Some(connection) => {
                self.channel.stats.connections_reused.add(1);
                Ok((connection, true))
            }
            None => Ok((self.connect()?, false)),
        }
    }

    /// Sends a request over this connection and receives the head of its answer.
    pub(super) fn request(
        &self,
        connection: &mut Connection,
        head: &RequestHead<'_>,
        kind: Kind,
        is_secret: bool,
        write: WriteBody<'_>,
    ) -> Result<Head, Failure> {
        let mut request = Outgoing::new(std::mem::take(&mut connection.spare), head, is_secret);
        write(request.body());
        request.finish(head);
        self.count_request();
        let sent = http::send(connection, request.bytes(), self.call.control);
        connection.spare = request.into_spare();
        sent.and_then(|()| self.receive_head(connection, kind))
    }

    pub(super) fn count_request(&self) {
        self.channel.stats.requests.add(1);
        self.endpoint.counters.requests.add(1);
    }

    /// A call that must have ended already sends nothing.
    fn check_bounds(&self) -> Result<()> {
        let checked = self.channel.connector.lifeline.check().and_then(|()| self.call.control.check());
        checked.map_err(|stop| stopped(stop, &self.endpoint.url, Phase::Connecting, Outcome::NotApplied))
    }

    /// Reads the body, and keeps the connection for the next call where that can be.
    fn finish(&self, mut connection: Connection, head: Head, limit: usize, is_secret: bool) -> Result<Vec<u8>> {
        let (http_status, keeps_connection) = (head.status, head.keeps_connection);
        // A secret is received into a place that need not grow: that would leave copies behind.
        let mut body = if is_secret { Vec::with_capacity(limit) } else { Vec::new() };
        let read = head.body.read_all(&mut connection, &mut body, limit, self.call.control);
        if is_secret {
            connection.wipe();
        }
        if let Err(cause) = read {
            if is_secret {
                body.zeroize();
            }
            return Err(failed(cause, &self.endpoint.url, http_status, true));
        }
        if keeps_connection {
            self.channel.keep(&self.endpoint.url, connection);
        }
        Ok(body)
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let url = &self.endpoint.url;
        let outcome = Outcome::NotApplied;
        let connected = self.channel.connector.connect(&self.endpoint.target, self.share, self.call.control);
        let error = match connected {
            Ok(connection) => {
                self.channel.stats.connections_opened.add(1);
                self.endpoint.counters.connections_opened.add(1);
                self.channel.logger.log(Level::Debug, format_args!("connected to {url}"));
                return Ok(connection);
            }
            Err(ConnectError::Stopped(stop)) => stopped(stop, url, Phase::Connecting, outcome),
            Err(ConnectError::Unreachable(source)) => {
                Error::Connect { endpoint: url.clone(), outcome, source: Arc::new(source) }
            }
            Err(ConnectError::Tls(source)) => Error::Tls { endpoint: url.clone(), outcome, source: Arc::new(source) },
        };
        self.channel.stats.connections_failed.add(1);
        self.endpoint.counters.connections_failed.add(1);
        self.channel.logger.log(Level::Info, format_args!("{}", error.full_message()));
        Err(error)
    }

    fn decode(
        &self,
        method: Method<'_>,
        grant: &Grant,
        mut body: Vec<u8>,
        read: &ReadMessage<'_>,
    ) -> Result<(Header, Vec<u8>)> {
        let url = &self.endpoint.url;
        let malformed =
            |what| Error::Protocol { endpoint: url.clone(), http_status: 200, what, outcome: Outcome::Unknown };
        if body.is_empty() {
            return Err(malformed("its answer is empty".to_owned()));
        }
        let decoded = if method.streamed {
            // It may be an error in the server's words.
            grant.blank_in(&mut body);
            let end = memchr::memchr(b'\n', &body).unwrap_or(body.len());
            let message = frames::message(&mut body, 0..end, |reader| read(reader));
            message.map(|message| message.map_err(|status| status.into_error(url, 200)))
        } else {
            let mut reader = Reader::new(&mut body);
            read(&mut reader).and_then(|header| reader.finish().map(|()| Ok(header)))
        };
        let what = match decoded {
            Ok(Err(error)) => return Err(error),
            Ok(Ok(header)) if header != Header::default() || method.is_headless => return Ok((header, body)),
            // Whatever else answers with status 200 has done nothing of what was asked.
            Ok(Ok(_)) => "its answer has no header, as etcd's have".to_owned(),
            Err(error) => format!("its answer is malformed: {error}"),
        };
        if method.is_secret {
            return Err(malformed(what));
        }
        grant.blank_in(&mut body);
        Err(malformed(format!("{what}: {}", http::excerpt(&body))))
    }

    pub(super) fn failure(&self, failure: Failure) -> Error {
        self.channel.failure(failure, &self.endpoint.url)
    }
}

impl Channel {
    /// Keeps a connection for the next call, where one may go there.
    pub(super) fn keep(&self, url: &Arc<str>, connection: Connection) {
        self.pool.give(url, connection, |url| self.endpoints.has(url));
    }
}

pub(super) fn encode(request: &impl Encode, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.object(|writer| request.encode(writer));
}
