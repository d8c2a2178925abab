//! Several requests of a streaming method in one body, each answered by a line.
//!
//! Gateways over HTTP/1.1 read the first 512 bytes of a body for certain: once the first answer is written, Go drops
//! what it has not read yet, without a word. What is to be answered must lie in these.

use super::attempt::{Attempt, encode};
use super::auth::Grant;
use super::rounds::{Answer, Call};
use super::{Channel, Method};
use crate::error::{Error, Outcome, Result};
use crate::gateway::Headed;
use crate::gateway::json::{Decode, Encode};
use crate::gateway::{frames, http};
use crate::net::Control;

impl Channel {
    /// Makes these requests and decodes the answers, of which there may be fewer: the server ends the stream where it
    /// refuses one, and only the refusal of the first is an error.
    pub(crate) fn call_several<T: Decode + Headed>(
        &self,
        method: Method<'_>,
        requests: &[impl Encode],
        control: &Control,
    ) -> Result<Vec<T>> {
        let call = Call::new(method.kind, control);
        self.on_some_endpoint(&call, &|attempt| attempt.call_several(method, requests))
    }
}

impl Attempt<'_> {
    fn call_several<T: Decode + Headed>(&self, method: Method<'_>, requests: &[impl Encode]) -> Result<Answer<Vec<T>>> {
        let seen = self.guard.seen();
        let messages: Vec<T> = self.with_token(method, |grant| {
            let write = &mut |out: &mut Vec<u8>| requests.iter().for_each(|request| encode(request, out));
            let (_, body) = self.exchange_with(grant, method, write)?;
            self.decode_lines(grant, body)
        })?;
        let behind = match messages.last() {
            Some(message) => self.judge(method, message.header(), seen)?,
            None => None,
        };
        Ok(Answer { value: messages, behind })
    }

    fn decode_lines<T: Decode>(&self, grant: &Grant, mut body: Vec<u8>) -> Result<Vec<T>> {
        // A line may be an error in the server's words.
        grant.blank_in(&mut body);
        let url = &self.endpoint.url;
        let malformed =
            |what| Error::Protocol { endpoint: url.clone(), http_status: 200, what, outcome: Outcome::Unknown };
        let mut messages = Vec::new();
        for line in frames::split_lines(&body) {
            match frames::message(&mut body, line, |reader| T::decode(reader)) {
                Ok(Ok(message)) => messages.push(message),
                Ok(Err(status)) if messages.is_empty() => return Err(status.into_error(url, 200)),
                Ok(Err(_)) => break,
                Err(error) => {
                    let quoted = http::excerpt(&body);
                    return Err(malformed(format!("its answer is malformed: {error}: {quoted}")));
                }
            }
        }
        if messages.is_empty() { Err(malformed("its answer is empty".to_owned())) } else { Ok(messages) }
    }
}
