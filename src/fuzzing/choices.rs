//! Decisions made by a fuzzer's bytes.

/// Takes decisions off the front of an input; at its end all of them are 0.
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices(bytes)
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below a bound of 256 at most.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn int64(&mut self) -> i64 {
        i64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// At most so many bytes.
    pub(crate) fn bytes(&mut self, at_most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(at_most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All bytes up to this one, which is taken, too; `None`: nothing is left.
    pub(crate) fn field(&mut self, end: u8) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let length = memchr::memchr(end, self.0).unwrap_or(self.0.len());
        let field = self.bytes(length);
        self.byte();
        Some(field)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
