//! One attempt of a call, on one endpoint.

use super::endpoints::Endpoint;
use super::{Channel, Kind, Method, Size, retry};
use crate::error::{Error, Outcome, Phase, Result};
use crate::gateway::frames::{self, MessageStream};
use crate::gateway::http::{self, Cause, Failure, Head, Outgoing};
use crate::gateway::json::{Decode, Encode, Reader, Writer};
use crate::gateway::{path, status};
use crate::limits;
use crate::log::Level;
use crate::net::{ConnectError, Connection, Control, Stop, lock};
use crate::rpc::Response;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One attempt of a call.
pub(super) struct Attempt<'a> {
    pub channel: &'a Channel,
    pub endpoint: &'a Arc<Endpoint>,
    pub control: &'a Control,
    /// The time that connecting may take, so that some is left for the other endpoints.
    pub share: Option<Duration>,
}

/// Writes a request's body; called again where the request must go out on another connection.
type WriteBody<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

/// A request line and what else its head says.
struct Line<'a> {
    verb: &'a str,
    path: [&'a str; 2],
    header: &'a str,
}

impl Attempt<'_> {
    /// Calls a method and decodes its answer.
    pub(super) fn call<T: Decode>(&self, method: Method<'_>, request: &impl Encode) -> Result<Response<T>> {
        let (_, body) = self.exchange(method, &mut |out| encode(request, out))?;
        self.decode(method, body)
    }

    /// One request and its answer, whole.
    pub(super) fn exchange(&self, method: Method<'_>, write: WriteBody<'_>) -> Result<(u16, Vec<u8>)> {
        let (connection, head) = self.begin(method, "", write)?;
        let is_large = head.status == 200 && method.size == Size::Values;
        let limit = if is_large { self.channel.max_response_bytes } else { limits::MAX_PLAIN_RESPONSE_BYTES };
        let http_status = head.status;
        let mut body = self.finish(connection, head, limit)?;
        if http_status == 200 {
            return Ok((http_status, body));
        }
        Err(self.refused(http_status, &mut body))
    }

    /// Opens a stream.
    pub(super) fn open_stream(
        &self,
        method: Method<'_>,
        request: &impl Encode,
        require_leader: bool,
    ) -> Result<MessageStream> {
        let header = if require_leader { "Grpc-Metadata-hasleader: true\r\n" } else { "" };
        let (connection, head) = self.begin(method, header, &mut |out| encode(request, out))?;
        if head.status == 200 {
            let (endpoint, limit) = (self.endpoint.url.clone(), self.channel.max_response_bytes);
            return Ok(MessageStream::new(endpoint, connection, head.body, limit));
        }
        let http_status = head.status;
        let mut body = self.finish(connection, head, limits::MAX_PLAIN_RESPONSE_BYTES)?;
        Err(self.refused(http_status, &mut body))
    }

    fn refused(&self, http_status: u16, body: &mut [u8]) -> Error {
        let error = status::error_of_answer(&self.endpoint.url, http_status, body);
        // etcd itself gives 404, too, for a lease or a member that is missing.
        let is_etcds = matches!(&error, Error::Server { message, .. } if message.starts_with("etcdserver: "));
        if http_status == 404 && !is_etcds {
            // A server of another version may have taken the place of the one that told the path.
            self.channel.forget_api_path();
        }
        error
    }

    /// The API path, asked for where it isn't known.
    pub(super) fn api_path(&self) -> Result<Arc<str>> {
        if let Some(known) = &*lock(&self.channel.api_path) {
            return Ok(known.clone());
        }
        let found: Arc<str> = Arc::from(self.version()?);
        *lock(&self.channel.api_path) = Some(found.clone());
        Ok(found)
    }

    /// The API path by the version that the member gives.
    pub(super) fn version(&self) -> Result<&'static str> {
        let undiscovered = |what| Error::VersionDiscovery { endpoint: self.endpoint.url.clone(), what };
        let line = Line { verb: "GET", path: ["/version", ""], header: "" };
        let sent = self.send(&line, Kind::Read, &mut |_| {});
        let (connection, head) = sent.map_err(Error::of_a_read)?;
        let http_status = head.status;
        let read = self.finish(connection, head, limits::MAX_PLAIN_RESPONSE_BYTES);
        let mut body = read.map_err(Error::of_a_read)?;
        if http_status != 200 {
            let quoted = http::excerpt(&body);
            return Err(undiscovered(format!("GET /version gives HTTP status {http_status}, {quoted}")));
        }
        let (path, version) = path::of_version_answer(&mut body).map_err(undiscovered)?;
        let url = &self.endpoint.url;
        self.channel.logger.log(Level::Debug, format_args!("{url} is etcd {version}, its API path {path}"));
        Ok(path)
    }

    fn begin(&self, method: Method<'_>, header: &str, write: WriteBody<'_>) -> Result<(Connection, Head)> {
        let api_path = self.api_path()?;
        let line = Line { verb: "POST", path: [&api_path, method.path], header };
        self.send(&line, method.kind, write)
    }

    /// Sends a request and receives the head of its answer, on a connection that is free or on a new one.
    fn send(&self, line: &Line<'_>, kind: Kind, write: WriteBody<'_>) -> Result<(Connection, Head)> {
        loop {
            self.check_bounds()?;
            let (mut connection, was_idle) = match self.channel.pool.take(&self.endpoint.url) {
                Some(connection) => (connection, true),
                None => (self.connect()?, false),
            };
            let mut request = Outgoing::new(std::mem::take(&mut connection.spare));
            write(request.body());
            request.finish(line.verb, line.path, &self.endpoint.host, line.header);
            let begun = http::begin(&mut connection, request.bytes(), self.control);
            connection.spare = request.into_spare();
            match begun {
                Ok(head) => return Ok((connection, head)),
                Err(failure) if was_idle && retry::was_stale(&failure, kind) => {}
                Err(failure) => return Err(self.failure(failure)),
            }
        }
    }

    /// A call that must have ended already sends nothing.
    fn check_bounds(&self) -> Result<()> {
        let checked = self.channel.connector.lifeline.check().and_then(|()| self.control.check());
        checked.map_err(|stop| stopped(stop, &self.endpoint.url, Phase::Connecting, Outcome::NotApplied))
    }

    /// Reads the body, and keeps the connection for the next call where that can be.
    fn finish(&self, mut connection: Connection, head: Head, limit: usize) -> Result<Vec<u8>> {
        let (http_status, keeps_connection) = (head.status, head.keeps_connection);
        let read = head.body.read_all(&mut connection, limit, self.control);
        let body = read.map_err(|cause| failed(cause, &self.endpoint.url, http_status, true))?;
        if keeps_connection {
            self.channel.pool.give(&self.endpoint.url, connection);
        }
        Ok(body)
    }

    fn connect(&self) -> Result<Connection> {
        let url = &self.endpoint.url;
        let connected = self.channel.connector.connect(&self.endpoint.target, self.share, self.control);
        let error = match connected {
            Ok(connection) => {
                self.channel.logger.log(Level::Debug, format_args!("connected to {url}"));
                return Ok(connection);
            }
            Err(ConnectError::Stopped(stop)) => stopped(stop, url, Phase::Connecting, Outcome::NotApplied),
            Err(ConnectError::Unreachable(source)) => {
                Error::Connect { endpoint: url.clone(), source: Arc::new(source) }
            }
            Err(ConnectError::Tls(source)) => Error::Tls { endpoint: url.clone(), source: Arc::new(source) },
        };
        self.channel.logger.log(Level::Info, format_args!("{}", error.full_message()));
        Err(error)
    }

    fn decode<T: Decode>(&self, method: Method<'_>, mut body: Vec<u8>) -> Result<Response<T>> {
        let url = &self.endpoint.url;
        let malformed =
            |what| Error::Protocol { endpoint: url.clone(), http_status: 200, what, outcome: Outcome::Unknown };
        if body.is_empty() {
            return Err(malformed("its answer is empty".to_owned()));
        }
        let decoded = if method.streamed {
            let end = memchr::memchr(b'\n', &body).unwrap_or(body.len());
            let message = frames::message(&mut body, 0..end, |reader| T::decode(reader));
            message.map(|message| message.map_err(|status| status.into_error(url, 200)))
        } else {
            let mut reader = Reader::new(&mut body);
            T::decode(&mut reader).and_then(|message| reader.finish().map(|()| Ok(message)))
        };
        match decoded {
            Ok(message) => message.map(|message| Response::new(body, message)),
            Err(error) => Err(malformed(format!("its answer is malformed: {error}: {}", http::excerpt(&body)))),
        }
    }

    fn failure(&self, failure: Failure) -> Error {
        match failure.cause {
            // With TLS 1.3 a server refuses a client's certificate only after the client's first request.
            Cause::Io(source) if !failure.answered && retry::is_tls_refusal(&source) => {
                Error::Tls { endpoint: self.endpoint.url.clone(), source: Arc::new(source) }
            }
            cause => failed(cause, &self.endpoint.url, 0, failure.sent),
        }
    }
}

fn encode(request: &impl Encode, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.object(|writer| request.encode(writer));
}

/// The error of a stream that broke off after its head.
pub(crate) fn stream_error(cause: Cause, endpoint: &Arc<str>) -> Error {
    failed(cause, endpoint, 200, true).of_a_read()
}

/// The error of a pause that had to end.
pub(super) fn stopped_pause(error: io::Error) -> Error {
    let outcome = Outcome::NotApplied;
    match Stop::of(&error) {
        Some(Stop::Cancelled) => Error::Cancelled { outcome },
        Some(Stop::Closed) => Error::Closed { outcome },
        Some(Stop::Deadline) => Error::Deadline { endpoint: None, phase: Phase::Connecting, outcome },
        None => Error::System { what: "a wait", source: Arc::new(error) },
    }
}

fn failed(cause: Cause, endpoint: &Arc<str>, http_status: u16, sent: bool) -> Error {
    let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
    let phase = if sent { Phase::Receiving } else { Phase::Sending };
    let endpoint = endpoint.clone();
    match cause {
        Cause::Protocol(what) => Error::Protocol { endpoint, http_status, what, outcome },
        Cause::Io(source) => match Stop::of(&source) {
            Some(stop) => stopped(stop, &endpoint, phase, outcome),
            None => Error::Lost { endpoint, outcome, source: Arc::new(source) },
        },
    }
}

fn stopped(stop: Stop, endpoint: &Arc<str>, phase: Phase, outcome: Outcome) -> Error {
    match stop {
        Stop::Deadline => Error::Deadline { endpoint: Some(endpoint.clone()), phase, outcome },
        Stop::Cancelled => Error::Cancelled { outcome },
        Stop::Closed => Error::Closed { outcome },
    }
}
