//! Strings, and the bytes that JSON carries in them.

use super::{JsonError, Reader, Span};
use crate::gateway::json::base64;
use base64_simd::STANDARD;
use std::ops::Range;

impl Reader<'_> {
    /// The place of a string's content, its escapes resolved.
    pub(super) fn string(&mut self) -> Result<Range<usize>, JsonError> {
        if self.take(b'"') { self.rest_of_string() } else { Err(self.expected("a string")) }
    }

    fn rest_of_string(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(length) if rest.get(length) == Some(&b'"') => {
                self.at = start + length + 1;
                Ok(start..start + length)
            }
            Some(length) => self.escaped_string(start, start + length),
            None => Err(self.expected("the end of a string")),
        }
    }

    /// The place of a string's content as it stands, which is left as it is.
    pub(super) fn raw_string(&mut self) -> Result<Range<usize>, JsonError> {
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(length) if rest.get(length) == Some(&b'"') => {
                    let end = self.at + length;
                    self.at = end + 1;
                    return Ok(start..end);
                }
                Some(length) => self.at += length + 2,
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    /// The rest of a string that has an escape at `at`: what an escape stands for is never longer than the escape, and
    /// takes its place.
    fn escaped_string(&mut self, start: usize, at: usize) -> Result<Range<usize>, JsonError> {
        let mut end = at;
        self.at = at;
        loop {
            let byte = self.next_byte()?;
            match byte {
                b'"' => return Ok(start..end),
                b'\\' => {
                    let character = self.escape()?;
                    let mut encoded = [0; 4];
                    for byte in character.encode_utf8(&mut encoded).bytes() {
                        self.put(&mut end, byte);
                    }
                }
                byte => self.put(&mut end, byte),
            }
        }
    }

    fn put(&mut self, end: &mut usize, byte: u8) {
        if let Some(place) = self.bytes.get_mut(*end) {
            *place = byte;
            *end += 1;
        }
    }

    fn next_byte(&mut self) -> Result<u8, JsonError> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| self.expected("the end of a string"))?;
        self.at += 1;
        Ok(byte)
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        Ok(match self.next_byte()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                let is_leading = (0xd800..0xdc00).contains(&unit);
                let point = if is_leading && self.take_word(b"\\u") {
                    let trailing = self.code_unit()?;
                    let low = trailing.checked_sub(0xdc00).filter(|low| *low < 0x400);
                    low.map_or(unit, |low| 0x10000 + ((unit - 0xd800) << 10) + low)
                } else {
                    unit
                };
                char::from_u32(point).ok_or_else(|| self.expected("a character's escape"))?
            }
            _ => return Err(self.expected("an escape")),
        })
    }

    fn code_unit(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = char::from(self.next_byte()?).to_digit(16);
            unit = unit << 4 | digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
        }
        Ok(unit)
    }

    /// Reads text.
    pub fn text(&mut self) -> Result<String, JsonError> {
        let place = self.string()?;
        let text = std::str::from_utf8(self.bytes.get(place).unwrap_or_default()).map(str::to_owned);
        text.map_err(|_| self.expected("UTF-8"))
    }

    /// Reads bytes, which JSON carries as base64.
    pub fn bytes(&mut self) -> Result<Span, JsonError> {
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let rest = self.bytes.get_mut(start..).unwrap_or_default();
        let (read, written) = base64::decode_start(rest);
        self.at += read;
        if self.take_here(b'"') {
            return Ok(Span { start, len: written });
        }
        self.rest_of_bytes(start..start + written)
    }

    /// Reads the rest of a string, of which some was decoded already. That is moved up to what comes of the rest.
    pub(super) fn rest_of_bytes(&mut self, decoded: Range<usize>) -> Result<Span, JsonError> {
        let place = self.rest_of_string()?;
        let start = place.start - decoded.len();
        let coded = self.bytes.get_mut(place).unwrap_or_default();
        let length = STANDARD.decode_inplace(coded).map(|bytes| bytes.len()).map_err(|_| self.expected("base64"))?;
        let len = decoded.len() + length;
        if !decoded.is_empty() {
            self.bytes.copy_within(decoded, start);
        }
        Ok(Span { start, len })
    }

    /// Reads a string and answers which of `values` it is, if any.
    pub fn string_is(&mut self, values: &[&str]) -> Result<Option<usize>, JsonError> {
        let place = self.string()?;
        let text = self.bytes.get(place).unwrap_or_default();
        Ok(values.iter().position(|value| value.as_bytes() == text))
    }
}
