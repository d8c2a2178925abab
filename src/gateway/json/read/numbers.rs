//! Numbers, which gateways write as strings or plain.

use super::{JsonError, Reader};

/// 64 bits hold every number of so many digits.
const CERTAIN_DIGITS: usize = 19;

impl Reader<'_> {
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

    /// Passes over a number of any kind.
    pub(super) fn skip_number(&mut self) -> Result<(), JsonError> {
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
}

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
