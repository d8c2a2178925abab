//! Connections that carry streams: opened here within a call's bounds, and read by whoever waits for many of them.

use super::attempt::{Attempt, encode};
use super::auth::Grant;
use super::rounds::{Answer, Call};
use super::{Channel, Kind, Method, attempt, failure};
use crate::error::{Error, Result};
use crate::gateway::frames::MessageStream;
use crate::gateway::http::{self, AUTHORIZATION, Head, Outgoing, RequestHead};
use crate::gateway::json::Encode;
use crate::limits;
use crate::net::{Connection, Control};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

impl Channel {
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
    /// See [`Connection::begin_turn`].
    pub(crate) fn begin_turn(&mut self, bytes: usize) {
        match &mut self.stage {
            Stage::Head(connection) | Stage::Refusal { connection, .. } => connection.begin_turn(bytes),
            Stage::Over { .. } => {}
        }
    }

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
                    Err(failure) if failure.cause.must_wait() => {
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
                        Err(cause) if cause.must_wait() => {
                            self.stage = Stage::Refusal { connection, head, body };
                            return Ok(None);
                        }
                        Err(cause) => {
                            self.stage = Stage::Over { _connection: Some(connection) };
                            return Err(failure::failed(cause, &self.endpoint, head.status, true).of_a_read());
                        }
                    }
                }
            }
        }
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
