//! Writing requests.

use base64_simd::STANDARD;
use std::io::Write;

/// Appends JSON to a buffer, in the form that every gateway takes: padded base64, 64-bit numbers as strings.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Nothing stands yet in the object or array that is open.
    is_first: bool,
}

impl<'a> Writer<'a> {
    /// Appends to this buffer.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, is_first: true }
    }

    fn separate(&mut self) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.push(b',');
        }
    }

    /// A field's name; all of ours are plain letters.
    fn name(&mut self, name: &str) {
        self.separate();
        self.quoted(name.as_bytes());
        self.out.push(b':');
    }

    fn quoted(&mut self, plain: &[u8]) {
        self.out.push(b'"');
        self.out.extend_from_slice(plain);
        self.out.push(b'"');
    }

    fn enclosed(&mut self, [open, close]: [u8; 2], write: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.is_first = true;
        write(self);
        self.out.push(close);
        self.is_first = false;
    }

    /// An object: the whole, or an array's element.
    pub fn object(&mut self, write: impl FnOnce(&mut Self)) {
        self.separate();
        self.enclosed(*b"{}", write);
    }

    /// A field that is an object.
    pub fn object_field(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.name(name);
        self.enclosed(*b"{}", write);
    }

    /// A field that is an array; nothing where it would be empty.
    pub fn array_field<T>(
        &mut self,
        name: &str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let mut elements = elements.into_iter().peekable();
        if elements.peek().is_some() {
            self.name(name);
            self.enclosed(*b"[]", |out| elements.for_each(|element| write(out, element)));
        }
    }

    /// An array's element that is a name of etcd's.
    pub fn text(&mut self, name: &str) {
        self.separate();
        self.quoted(name.as_bytes());
    }

    /// A field that is one of an enumeration's names.
    pub fn enum_field(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quoted(value.as_bytes());
    }

    /// A field that is text of any kind. Its value is written without growing the buffer midway, which would leave a
    /// copy behind; it may be a secret.
    pub fn text_field(&mut self, name: &str, text: &str) {
        self.name(name);
        self.any_text(text);
    }

    /// A field that is an array of texts of any kind; nothing where it would be empty.
    pub fn texts_field(&mut self, name: &str, texts: &[&str]) {
        self.array_field(name, texts, |out, text| {
            out.separate();
            out.any_text(text);
        });
    }

    fn any_text(&mut self, text: &str) {
        const LONGEST_ESCAPE: usize = 6;
        self.out.reserve(text.len() * LONGEST_ESCAPE + b"\"\"}".len());
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                // Writing to a vector doesn't fail.
                ..b' ' => {
                    let _ = write!(self.out, "\\u{byte:04x}");
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// A field that is a number of 64 bits.
    pub fn int64_field(&mut self, name: &str, number: i64) {
        self.name(name);
        // Writing to a vector doesn't fail.
        let _ = write!(self.out, "\"{number}\"");
    }

    /// A field that is a number of 64 bits without a sign.
    pub fn uint64_field(&mut self, name: &str, number: u64) {
        self.name(name);
        // Writing to a vector doesn't fail.
        let _ = write!(self.out, "\"{number}\"");
    }

    /// A field that is true or false.
    pub fn bool_field(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A field that is bytes.
    pub fn bytes_field(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        self.out.reserve(bytes.len().div_ceil(3) * 4 + 2);
        self.out.push(b'"');
        STANDARD.encode_append(bytes, self.out);
        self.out.push(b'"');
    }

    /// A field that is two pieces of bytes, joined.
    pub fn joined_bytes_field(&mut self, name: &str, first: &[u8], second: &[u8]) {
        if first.is_empty() {
            self.bytes_field(name, second);
        } else {
            self.bytes_field(name, &[first, second].concat());
        }
    }
}
