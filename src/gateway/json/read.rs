//! Reading values out of a buffer, and over it.

use super::{JsonError, Span, Unexpected, base64};
use base64_simd::STANDARD;
use std::ops::Range;

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
        if !self.take(b'{') {
            return Err(self.expected("an object"));
        }
        self.enter()?;
        let is_empty = self.take(b'}');
        self.depth -= u32::from(is_empty);
        Ok(!is_empty)
    }

    /// Goes into an object as nearly every server writes it: a name follows at once.
    fn enter_plain_object(&mut self) -> bool {
        let is_plain = self.depth < MAX_DEPTH && self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"{\""));
        if is_plain {
            self.at += 1;
            self.depth += 1;
        }
        is_plain
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

    /// The same for messages that come in great numbers, with up to eight names in the order in which servers send them.
    ///
    /// Compiled into each caller, where the names are constants: each is compared once in a few instructions, and what
    /// is to be done with its value is known then. What deviates from the order is read as any other object is.
    #[inline(always)]
    pub fn frequent_object<const N: usize>(
        &mut self,
        names: &[&str; N],
        mut field: impl FnMut(&mut Self, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        const { assert!(N <= 8) };
        if !self.enter_plain_object() && !self.enter_object()? {
            return Ok(());
        }
        macro_rules! fields_in_order {
            ($($number:literal)*) => {$(
                if names.get($number).is_some_and(|name| self.take_name(name)) {
                    if self.peek() == Some(b'n') {
                        self.skip()?;
                    } else {
                        field(self, $number)?;
                    }
                    if !self.take_here(b',') {
                        return self.fields_after_value(names, &mut field);
                    }
                }
            )*};
        }
        fields_in_order!(0 1 2 3 4 5 6 7);
        self.fields(names, &mut field)
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
    #[inline(always)]
    fn fields_after_value(&mut self, names: &[&str], field: Field<'_, 'a>) -> Result<(), JsonError> {
        if self.has_more_fields()? { self.fields(names, field) } else { Ok(()) }
    }

    /// Passes a comma, or goes out of the object at its end.
    #[inline(always)]
    fn has_more_fields(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => Err(self.expected("a comma or the object's end")),
        }
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
        if !self.take(b'[') {
            return Err(self.expected("an array"));
        }
        self.enter()?;
        if !self.take(b']') {
            loop {
                element(self)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => break self.at += 1,
                    _ => return Err(self.expected("a comma or the array's end")),
                }
            }
        }
        self.depth -= 1;
        Ok(())
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

    /// The place of a string's content, its escapes resolved.
    fn string(&mut self) -> Result<Range<usize>, JsonError> {
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
    fn raw_string(&mut self) -> Result<Range<usize>, JsonError> {
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
        let mut span = Span::EMPTY;
        self.bytes_into(&mut span)?;
        Ok(span)
    }

    /// Reads bytes whose place is written where it is to stay: it has just been written in two halves then, and moving it
    /// at once would wait for them.
    #[inline(never)]
    pub(crate) fn bytes_into(&mut self, span: &mut Span) -> Result<(), JsonError> {
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let rest = self.bytes.get_mut(start..).unwrap_or_default();
        let (read, written) = base64::decode_short(rest);
        self.at += read;
        if self.take_here(b'"') {
            *span = Span { start, len: written };
            return Ok(());
        }
        *span = self.rest_of_bytes(start..start + written)?;
        Ok(())
    }

    /// Reads the rest of a string, of which some was decoded already. That is moved up to what comes of the rest.
    #[inline(always)]
    fn rest_of_bytes(&mut self, decoded: Range<usize>) -> Result<Span, JsonError> {
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

    /// Reads a number, as a string or plain.
    pub fn int64(&mut self) -> Result<i64, JsonError> {
        match self.quoted_digits() {
            Some(magnitude) if magnitude <= i64::MAX as u64 => Ok(magnitude as i64),
            Some(_) => Err(self.expected("a number of 64 bits before")),
            None => self.any_int64(),
        }
    }

    fn any_int64(&mut self) -> Result<i64, JsonError> {
        let (is_negative, magnitude) = self.integer()?;
        let number = if is_negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
        number.ok_or_else(|| self.expected("a number of 64 bits before"))
    }

    /// Reads a number that is not negative, as a string or plain.
    pub fn uint64(&mut self) -> Result<u64, JsonError> {
        match self.quoted_digits() {
            Some(magnitude) => Ok(magnitude),
            None => match self.integer()? {
                (true, 1..) => Err(self.expected("a number that is not negative before")),
                (_, magnitude) => Ok(magnitude),
            },
        }
    }

    /// Takes a number as nearly every server writes it: in quotes, without a sign, and with no more digits than 64 bits
    /// hold in any case.
    fn quoted_digits(&mut self) -> Option<u64> {
        const QUOTES: usize = 2;
        let place = self.bytes.get(self.at..)?.first_chunk::<{ CERTAIN_DIGITS + QUOTES }>()?;
        let mut number = 0_u64;
        for (length, byte) in place.strip_prefix(b"\"")?.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                if length == 0 || *byte != b'"' {
                    break;
                }
                self.at += length + QUOTES;
                return Some(number);
            }
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        None
    }

    /// Reads a number of 32 bits that is not negative, plain or as a string.
    pub fn uint32(&mut self) -> Result<u32, JsonError> {
        u32::try_from(self.uint64()?).map_err(|_| self.expected("a number of 32 bits before"))
    }

    /// Whether it is negative, and its magnitude. One way for each sign, for the reason given at `take`.
    fn integer(&mut self) -> Result<(bool, u64), JsonError> {
        let is_string = self.take(b'"');
        if self.take_here(b'-') {
            self.magnitude(is_string).map(|magnitude| (true, magnitude))
        } else {
            self.magnitude(is_string).map(|magnitude| (false, magnitude))
        }
    }

    /// Digits, and what ends them.
    #[inline(always)]
    fn magnitude(&mut self, is_string: bool) -> Result<u64, JsonError> {
        let (length, magnitude) = leading_digits(self.bytes.get(self.at..).unwrap_or_default());
        self.at += length;
        let has_ended =
            if is_string { self.take_here(b'"') } else { !matches!(self.bytes.get(self.at), Some(b'.' | b'e' | b'E')) };
        match magnitude {
            Some(magnitude) if length > 0 && has_ended => Ok(magnitude),
            _ => Err(self.expected("an integer of 64 bits")),
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

    fn skip_number(&mut self) -> Result<(), JsonError> {
        self.take_word(b"-");
        if !self.take_word(b"0") {
            self.skip_digits()?;
        }
        if self.take_word(b".") {
            self.skip_digits()?;
        }
        if self.take_word(b"e") || self.take_word(b"E") {
            let _ = self.take_word(b"+") || self.take_word(b"-");
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<(), JsonError> {
        let digits = self.bytes.get(self.at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
        let count = digits.count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Makes sure that nothing follows.
    pub fn finish(&mut self) -> Result<(), JsonError> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end")) }
    }
}

/// 64 bits hold every number of so many digits.
const CERTAIN_DIGITS: usize = 19;

/// How many digits stand at the beginning, and their number where 64 bits hold it.
#[inline(always)]
fn leading_digits(bytes: &[u8]) -> (usize, Option<u64>) {
    let digits = bytes.iter().map(|byte| byte.wrapping_sub(b'0')).take_while(|digit| *digit <= 9).map(u64::from);
    let (mut length, mut number) = (0, Some(0_u64));
    for digit in digits {
        number = if length < CERTAIN_DIGITS {
            number.map(|number| number.wrapping_mul(10).wrapping_add(digit))
        } else {
            number.and_then(|number| number.checked_mul(10)?.checked_add(digit))
        };
        length += 1;
    }
    (length, number)
}
