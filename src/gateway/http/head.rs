//! The head of an answer.

use super::body::Body;
use super::{Cause, Failure, ended, excerpt, protocol};
use crate::limits;
use crate::net::{Connection, Control};
use std::mem::MaybeUninit;

/// The status of an answer after which the connection speaks another protocol.
pub(crate) const SWITCHING_PROTOCOLS: u16 = 101;

/// The head of an answer, as far as it matters.
#[derive(Debug)]
pub(crate) struct Head {
    pub status: u16,
    pub body: Body,
    /// Whether the connection carries another request once the body has been read.
    pub keeps_connection: bool,
    /// Of an upgrade: its `Sec-WebSocket-Accept`.
    pub accept: Option<Vec<u8>>,
}

pub(super) fn receive_head(connection: &mut Connection, control: &Control) -> Result<Head, Failure> {
    loop {
        let buffered = connection.buffered();
        let answered = !buffered.is_empty();
        if let Some((length, head)) = parse_head(buffered)? {
            connection.consume(length);
            return Ok(head);
        }
        if buffered.len() > limits::MAX_HEAD_BYTES {
            return Err(protocol("the head of its answer has no end").into());
        }
        match connection.fill(control) {
            Ok(0) => return Err(Failure { sent: true, answered, cause: ended() }),
            Ok(_) => {}
            Err(error) => return Err(Failure { sent: true, answered, cause: Cause::Io(error) }),
        }
    }
}

/// The length of a head and what it says; `None`: it isn't complete.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head)>, Cause> {
    let mut headers = [const { MaybeUninit::uninit() }; limits::MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|error| protocol(format!("its answer is not HTTP/1.1 ({error}): {}", excerpt(bytes))))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    let mut keeps_connection = response.version == Some(1);
    let mut announced = None;
    let mut is_chunked = false;
    let mut accept = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = content_length(header.value)?;
            if announced.is_some_and(|other| other != length) {
                return Err(protocol("its answer has two lengths"));
            }
            announced = Some(length);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(protocol("its answer has an unknown transfer encoding"));
            }
            is_chunked = true;
        } else if status == SWITCHING_PROTOCOLS && header.name.eq_ignore_ascii_case("sec-websocket-accept") {
            accept = Some(header.value.to_vec());
        } else if header.name.eq_ignore_ascii_case("connection") {
            keeps_connection = !header.value.eq_ignore_ascii_case(b"close")
                && (keeps_connection || header.value.eq_ignore_ascii_case(b"keep-alive"));
        }
    }
    let body = match announced {
        // RFC 9112 §6.3: it wins over a length.
        _ if is_chunked => Body::chunked(),
        _ if status < 200 || status == 204 || status == 304 => Body::empty(),
        Some(length) => Body::of_length(length),
        None => Body::until_close(),
    };
    keeps_connection &= !body.lasts_until_close();
    Ok(Some((length, Head { status, body, keeps_connection, accept })))
}

fn content_length(value: &[u8]) -> Result<u64, Cause> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.ok_or_else(|| protocol(format!("its answer has no length that is a number: {}", excerpt(value))))
}
