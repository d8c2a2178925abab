//! Reading values out of a buffer, and over it.

mod numbers;
mod plain;
mod strings;

pub(crate) use plain::{Frequent, Plain};

use super::{JsonError, Span, Unexpected};

/// Objects and arrays inside one another. A transaction takes three for each that it nests; the stack bears far more.
const MAX_DEPTH: u32 = 200;

/// Reads values from a buffer, which it writes over: what was read is not JSON afterwards.
pub struct Reader<'a> {
    bytes: &'a mut [u8],
    at: usize,
    depth: u32,
}

/// Reads the value of a field, whose number it is given.
type Field<'f, 'a> = &'f mut dyn FnMut(&mut Reader<'a>, usize) -> Result<(), JsonError>;

impl<'a> Reader<'a> {
    /// Reads the whole buffer.
    pub fn new(bytes: &'a mut [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, depth: 0 }
    }

    /// Reads what lies between two places of a buffer; spans are places in all of it.
    pub(crate) fn over(arena: &'a mut [u8], start: usize, end: usize) -> Reader<'a> {
        let end = end.min(arena.len());
        Reader { bytes: arena.get_mut(..end).unwrap_or_default(), at: start, depth: 0 }
    }

    /// The error that says what should stand here.
    #[cold]
    #[inline(never)]
    pub fn expected(&self, expected: &'static str) -> JsonError {
        JsonError(Box::new(Unexpected { expected, at: self.at }))
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes a byte, after space or not.
    ///
    /// In two ways out and not by adding the comparison to the place: the processor guesses the way and reads on, where
    /// it would have to wait for the sum.
    fn take(&mut self, byte: u8) -> bool {
        if self.peek() != Some(byte) {
            return false;
        }
        self.at += 1;
        true
    }

    fn take_word(&mut self, word: &[u8]) -> bool {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return false;
        }
        self.at += word.len();
        true
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.expected("less nesting")) } else { Ok(()) }
    }

    /// Goes into an object. False: it is empty, and behind.
    fn enter_object(&mut self) -> Result<bool, JsonError> {
        self.go_in(b'{', b'}', "an object")
    }

    /// Goes in behind one mark, up to what comes before the other. False: nothing does, and it is behind.
    #[inline(always)]
    fn go_in(&mut self, open: u8, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        if !self.take(open) {
            return Err(self.expected(expected));
        }
        self.enter()?;
        let is_empty = self.take(close);
        self.depth -= u32::from(is_empty);
        Ok(!is_empty)
    }

    /// Passes a comma, or goes out at the mark that closes.
    #[inline(always)]
    fn has_more(&mut self, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self.expected(expected)),
        }
    }

    /// Reads an object: `field` is called at the value of each field that is named, with its number among `names`.
    /// Others are passed over, and so is `null`, which means the same as no field.
    pub fn object(
        &mut self,
        names: &[&str],
        mut field: impl FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.enter_object()? { self.fields(names, &mut field) } else { Ok(()) }
    }

    /// Reads the fields of an object from a name on, to its end.
    fn fields(&mut self, names: &[&str], field: Field<'_, 'a>) -> Result<(), JsonError> {
        loop {
            let found = self.field_name(names)?;
            match (found, self.peek()) {
                (_, Some(b'n')) | (None, _) => self.skip()?,
                (Some(number), _) => field(self, number)?,
            }
            if !self.has_more_fields()? {
                return Ok(());
            }
        }
    }

    /// The same from behind a value.
    fn fields_after_value(&mut self, names: &[&str], field: Field<'_, 'a>) -> Result<(), JsonError> {
        if self.has_more_fields()? { self.fields(names, field) } else { Ok(()) }
    }

    /// Passes a comma, or goes out of the object at its end.
    #[inline(always)]
    fn has_more_fields(&mut self) -> Result<bool, JsonError> {
        self.has_more(b'}', "a comma or the object's end")
    }

    /// The number of the field whose name stands here, and past its colon.
    fn field_name(&mut self, names: &[&str]) -> Result<Option<usize>, JsonError> {
        let place = self.string()?;
        let name = self.bytes.get(place).unwrap_or_default();
        let found = names.iter().position(|wanted| wanted.as_bytes() == name);
        if self.take(b':') { Ok(found) } else { Err(self.expected("a colon")) }
    }

    /// Takes a name as nearly every server writes it, which saves looking for its end.
    #[inline(always)]
    fn take_name(&mut self, name: &str) -> bool {
        const MARKS: usize = 3;
        let length = name.len() + MARKS;
        let place = self.bytes.get(self.at..).and_then(|rest| rest.get(..length));
        let content = place.and_then(|place| place.strip_prefix(b"\"")?.strip_suffix(b"\":"));
        if content != Some(name.as_bytes()) {
            return false;
        }
        self.at += length;
        true
    }

    /// Goes into an object, up to the value of the first field that is named, and answers its number among `names`;
    /// `None`: it has no such field. Nothing is written over, so that the whole can still be read.
    #[inline(always)]
    pub(crate) fn find(&mut self, names: &[&str]) -> Result<Option<usize>, JsonError> {
        if !self.enter_object()? {
            return Ok(None);
        }
        loop {
            let found = self.find_name(names)?;
            match (found, self.peek()) {
                (Some(number), Some(first)) if first != b'n' => return Ok(Some(number)),
                _ => self.skip()?,
            }
            if !self.has_more_fields()? {
                return Ok(None);
            }
        }
    }

    #[inline(always)]
    fn find_name(&mut self, names: &[&str]) -> Result<Option<usize>, JsonError> {
        self.peek();
        for (number, name) in names.iter().enumerate() {
            if self.take_name(name) {
                return Ok(Some(number));
            }
        }
        let place = self.raw_string()?;
        let name = self.bytes.get(place).unwrap_or_default();
        let found = names.iter().position(|wanted| wanted.as_bytes() == name);
        if self.take(b':') { Ok(found) } else { Err(self.expected("a colon")) }
    }

    /// Reads an array: `element` is called at each element.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if !self.enter_array()? {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.has_more_elements()? {
                return Ok(());
            }
        }
    }

    /// Goes into an array. False: it is empty, and behind.
    fn enter_array(&mut self) -> Result<bool, JsonError> {
        self.go_in(b'[', b']', "an array")
    }

    /// Passes a comma, or goes out of the array at its end.
    fn has_more_elements(&mut self) -> Result<bool, JsonError> {
        self.has_more(b']', "a comma or the array's end")
    }

    /// Reads an array into a list of its own, so that of two the last counts.
    pub(crate) fn list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, JsonError>,
    ) -> Result<Vec<T>, JsonError> {
        let mut list = Vec::new();
        self.array(|reader| {
            list.push(element(reader)?);
            Ok(())
        })?;
        Ok(list)
    }

    /// How many bytes have been read, and how many have not.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.at, self.bytes.len().saturating_sub(self.at))
    }

    /// Whether an object stands here.
    pub fn is_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<bool, JsonError> {
        self.peek();
        if self.take_word(b"true") {
            Ok(true)
        } else if self.take_word(b"false") {
            Ok(false)
        } else {
            Err(self.expected("true or false"))
        }
    }

    /// Takes a byte that no space may precede.
    fn take_here(&mut self, byte: u8) -> bool {
        if self.bytes.get(self.at) != Some(&byte) {
            return false;
        }
        self.at += 1;
        true
    }

    /// Passes over a value, which is left as it is.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.find(&[]).map(|_| ()),
            Some(b'[') => self.array(Reader::skip),
            Some(b'"') => self.raw_string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ if self.take_word(b"true") || self.take_word(b"false") || self.take_word(b"null") => Ok(()),
            _ => Err(self.expected("a value")),
        }
    }

    /// Makes sure that nothing follows.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end")) }
    }
}
