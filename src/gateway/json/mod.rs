//! JSON as the gateway writes it: read in place, field by field, into what a caller asks for.
//!
//! A general reader would build strings that are thrown away at once: nearly all that a gateway sends is base64. Here
//! base64 is decoded over itself in the body's own buffer, so that a response is that buffer and places in it, whatever
//! the number of keys. Both dialects of gateways are read (numbers as strings or not, `null` for absent, any spacing);
//! unknown fields are passed over, and of a field given twice the last counts.

mod base64;
mod read;
mod simd;
#[cfg(test)]
mod tests;
mod write;

pub use read::Reader;
pub(crate) use read::{Frequent, Plain};
pub use write::Writer;

/// A place in the buffer of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: usize,
    len: usize,
}

impl Span {
    /// The place of nothing.
    pub(crate) const EMPTY: Span = Span { start: 0, len: 0 };

    /// The bytes at this place.
    pub fn of(self, arena: &[u8]) -> &[u8] {
        arena.get(self.start..self.start.saturating_add(self.len)).unwrap_or_default()
    }

    /// How many bytes it holds.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The place behind its first `count` bytes.
    #[must_use]
    pub(crate) fn without_first(self, count: usize) -> Span {
        let count = count.min(self.len);
        Span { start: self.start + count, len: self.len - count }
    }

    /// Copies the bytes at this place to the end of another buffer; answers their place there.
    pub(crate) fn copy(self, from: &[u8], to: &mut Vec<u8>) -> Span {
        Span::append(self.of(from), to)
    }

    /// Appends bytes to a buffer; answers their place there.
    pub(crate) fn append(bytes: &[u8], to: &mut Vec<u8>) -> Span {
        let start = to.len();
        to.extend_from_slice(bytes);
        Span { start, len: bytes.len() }
    }
}

/// What stands in a body where something else should.
///
/// In a box, so that results are returned in registers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} expected at byte {}", .0.expected, .0.at)]
pub struct JsonError(Box<Unexpected>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unexpected {
    expected: &'static str,
    at: usize,
}

/// A message that can be read.
pub trait Decode: Sized {
    /// Reads one value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, JsonError>;
}

/// A message that can be written.
pub trait Encode {
    /// Writes the fields of an object.
    fn encode(&self, out: &mut Writer<'_>);
}
