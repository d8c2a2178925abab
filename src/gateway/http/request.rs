//! A request as it is sent: its head and its body in one buffer.

use crate::limits;
use std::ops::Range;
use zeroize::Zeroize;

/// What stands before a request's body, but for the body's length.
pub(crate) struct RequestHead<'a> {
    pub verb: &'a str,
    /// Two parts.
    pub path: [&'a str; 2],
    pub host: &'a str,
    /// Further lines, each with its end.
    pub lines: &'a str,
    /// The token, where there is to be one.
    pub token: Option<&'a str>,
    /// What stands before it in its line.
    pub token_name: &'a str,
}

/// Before a token in a request that the gateway passes on with its header.
pub(crate) const AUTHORIZATION: &str = "Authorization: ";

/// Which of a head's parts is the token.
const TOKEN_PART: usize = 10;

impl RequestHead<'_> {
    fn parts(&self) -> [&str; 13] {
        let [path, rest] = self.path;
        let [token_name, token, token_end] = self.token.map_or([""; 3], |token| [self.token_name, token, "\r\n"]);
        [
            self.verb,
            " ",
            path,
            rest,
            " HTTP/1.1\r\nHost: ",
            self.host,
            "\r\n",
            COMMON_LINES,
            self.lines,
            token_name,
            token,
            token_end,
            "Content-Length: ",
        ]
    }
}

/// A request being built: the body is written first, its length then stands in the head. What is secret of it is wiped
/// before the buffer is used for anything else.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    start: usize,
    /// Before the body. It doesn't have to grow, so that both go out in one write and nothing is moved.
    room: usize,
    token: Range<usize>,
    has_secret_body: bool,
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const MOST_DIGITS: usize = 20;

impl Outgoing {
    /// An empty request in a buffer that was used before, or in a new one.
    pub(crate) fn new(mut buffer: Vec<u8>, head: &RequestHead<'_>, has_secret_body: bool) -> Outgoing {
        let room = head.parts().iter().map(|part| part.len()).sum::<usize>() + MOST_DIGITS + END_OF_HEAD.len();
        buffer.clear();
        buffer.resize(room, 0);
        Outgoing { bytes: buffer, start: 0, room, token: 0..0, has_secret_body }
    }

    /// Where the body is to be appended.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Puts the head before the body.
    pub(crate) fn finish(&mut self, head: &RequestHead<'_>) {
        let parts = head.parts();
        let mut digits = [0; MOST_DIGITS];
        let digits = decimal(self.bytes.len().saturating_sub(self.room), &mut digits);
        self.start = MOST_DIGITS - digits.len();
        let mut at = self.start;
        for (number, part) in parts.iter().map(|part| part.as_bytes()).chain([digits, END_OF_HEAD]).enumerate() {
            let end = at + part.len();
            if let Some(place) = self.bytes.get_mut(at..end) {
                place.copy_from_slice(part);
            }
            if number == TOKEN_PART {
                self.token = at..end;
            }
            at = end;
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// The buffer, for the next request, unless this one was so large that keeping it would be waste.
    pub(crate) fn into_spare(mut self) -> Vec<u8> {
        self.wipe();
        let buffer = std::mem::take(&mut self.bytes);
        if buffer.capacity() <= limits::KEPT_REQUEST_BYTES { buffer } else { Vec::new() }
    }

    fn wipe(&mut self) {
        if self.has_secret_body {
            self.bytes.zeroize();
        } else if let Some(token) = self.bytes.get_mut(self.token.clone()) {
            token.zeroize();
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.wipe();
    }
}

const COMMON_LINES: &str =
    concat!("User-Agent: libetcdgw/", env!("CARGO_PKG_VERSION"), "\r\nContent-Type: application/json\r\n");

pub(in crate::gateway) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(digits.len() - used..).unwrap_or_default()
}
