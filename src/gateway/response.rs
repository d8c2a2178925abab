//! A decoded answer together with the buffer that its keys and values lie in.

use crate::gateway::json::Span;
use std::ops::Deref;

/// A message and its buffer. The spans of the message are places in this buffer and in no other.
#[derive(Debug)]
pub struct Response<T> {
    arena: Vec<u8>,
    message: T,
}

impl<T> Response<T> {
    pub(crate) fn new(arena: Vec<u8>, message: T) -> Response<T> {
        Response { arena, message }
    }

    /// The bytes of a key or value of this message.
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// The buffer and the message apart.
    pub fn into_parts(self) -> (Vec<u8>, T) {
        (self.arena, self.message)
    }

    pub(crate) fn message_mut(&mut self) -> &mut T {
        &mut self.message
    }
}

impl<T> Deref for Response<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.message
    }
}
