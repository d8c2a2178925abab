//! Messages that come in great numbers, read as nearly every server writes them.

use super::{Field, JsonError, Reader, Span};
use crate::gateway::json::simd::{self, Decoded, Simd};

/// Reads what a server writes without spaces, its fields in their order, and leaves everything else to the [`Reader`].
///
/// Its place is its own, so that the compiler keeps it in a register. What it does is inlined: for each message it is
/// known then which fields there are, and short values are read by SIMD where the processor can.
pub(crate) struct Plain<'r, 'a> {
    reader: &'r mut Reader<'a>,
    at: usize,
    simd: Option<Simd>,
}

/// A message that others have many of.
pub(crate) trait Frequent {
    /// Reads it where it is to stay: its numbers have just been written one by one then, and moving them at once would
    /// wait until all of these writes are through. To be inlined.
    fn read(&mut self, plain: &mut Plain<'_, '_>) -> Result<(), JsonError>;
}

/// Where an object is no longer plain.
enum Deviation {
    /// At its beginning.
    Object,
    /// At the name of a field that is not the next one.
    Name,
    /// Behind a value.
    End,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn plain_by<T>(
        &mut self,
        simd: Option<Simd>,
        work: impl FnOnce(&mut Plain<'_, 'a>) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        let at = self.at;
        let mut plain = Plain { reader: self, at, simd };
        let value = work(&mut plain)?;
        plain.reader.at = plain.at;
        Ok(value)
    }

    /// Reads an array of objects that come in great numbers: `element` is called at each, and has to be inlined with all
    /// that it calls, since it is compiled for SIMD.
    #[inline(always)]
    pub(crate) fn frequent_objects(
        &mut self,
        element: impl FnMut(&mut Plain<'_, 'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        simd::dispatch(
            #[inline(always)]
            |simd| {
                self.plain_by(
                    simd,
                    #[inline(always)]
                    |plain| plain.array(element),
                )
            },
        )
    }

    /// Reads one of these by itself, without SIMD: see [`Plain::object`].
    #[inline(always)]
    pub(crate) fn frequent_object<const N: usize>(
        &mut self,
        fields: &[&str; N],
        field: impl FnMut(&mut Plain<'_, 'a>, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.plain_by(
            None,
            #[inline(always)]
            |plain| plain.object(fields, field),
        )
    }

    /// Reads what is left of an object that is no longer plain.
    #[cold]
    #[inline(never)]
    fn rest_of_object(&mut self, deviation: Deviation, fields: &[&str], field: Field<'_, 'a>) -> Result<(), JsonError> {
        let mut names = [""; MOST_FIELDS];
        names.iter_mut().zip(fields).for_each(|(name, field)| *name = name_of(field));
        let names = names.get(..fields.len()).unwrap_or_default();
        match deviation {
            Deviation::Object => self.object(names, field),
            Deviation::Name => {
                self.enter()?;
                self.fields(names, field)
            }
            Deviation::End => {
                self.enter()?;
                self.fields_after_value(names, field)
            }
        }
    }
}

impl<'a> Plain<'_, 'a> {
    /// Reads a value as the reader does.
    #[inline(always)]
    pub(crate) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        self.reader.at = self.at;
        let value = read(self.reader)?;
        self.at = self.reader.at;
        Ok(value)
    }

    /// Reads a message. Without SIMD that is the same code for all that contain it.
    #[inline(always)]
    pub(crate) fn message<M: Frequent>(&mut self, message: &mut M) -> Result<(), JsonError> {
        #[inline(never)]
        fn without_simd<M: Frequent>(message: &mut M, reader: &mut Reader<'_>) -> Result<(), JsonError> {
            reader.plain_by(
                None,
                #[inline(always)]
                |plain| message.read(plain),
            )
        }
        if self.simd.is_some() { message.read(self) } else { self.read(|reader| without_simd(message, reader)) }
    }

    /// How many bytes have been read, and how many have not.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.at, self.reader.bytes.len().saturating_sub(self.at))
    }

    #[inline(always)]
    fn take(&mut self, text: &str) -> bool {
        let found = self.reader.bytes.get(self.at..).and_then(|rest| rest.get(..text.len()));
        if found != Some(text.as_bytes()) {
            return false;
        }
        self.at += text.len();
        true
    }

    /// Takes the name of a field, up to its value.
    #[inline(always)]
    fn take_name(&mut self, field: &str) -> bool {
        let is_taken = self.take(field);
        self.at -= usize::from(is_taken);
        is_taken
    }

    /// The content of the string that stands here, and what follows it.
    #[inline(always)]
    fn content(&mut self) -> Option<&mut [u8]> {
        match self.reader.bytes.get_mut(self.at..)? {
            [b'"', content @ ..] => Some(content),
            _ => None,
        }
    }

    /// Reads a number, as a string or plain.
    #[inline(always)]
    pub(crate) fn int64(&mut self) -> Result<i64, JsonError> {
        let found = self.simd.and_then(
            #[inline(always)]
            |simd| simd::number(simd, self.content()?.first_chunk()?),
        );
        let Some((digits, number)) = found else { return self.read(Reader::int64) };
        self.at += digits + 2;
        Ok(number)
    }

    /// Reads bytes, which JSON carries as base64.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<Span, JsonError> {
        let start = self.at + 1;
        let decoded = self.simd.and_then(
            #[inline(always)]
            |simd| Some(simd::decode(simd, self.content()?.first_chunk_mut()?)),
        );
        match decoded {
            Some(Decoded::Whole { read, written }) => {
                self.at = start + read + 1;
                Ok(Span { start, len: written })
            }
            Some(Decoded::Start { read, written }) => {
                self.at = start + read;
                self.read(|reader| reader.rest_of_bytes(start..start + written))
            }
            None => self.read(Reader::bytes),
        }
    }

    /// Reads an object: `field` is called at the value of each field that is named, with its number among `fields`, up to
    /// eight. These are in the order in which servers send them, and each is what stands there from its name up to the
    /// first character of its value: a name is compared in a few instructions then, and what is to be done with its value
    /// is known. Another order and other spelling is read as the reader does it, which passes over other fields and over
    /// `null`.
    #[inline(always)]
    pub(crate) fn object<const N: usize>(
        &mut self,
        fields: &[&str; N],
        mut field: impl FnMut(&mut Plain<'_, 'a>, usize) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        const { assert!(N <= MOST_FIELDS) };
        let start = self.at;
        let deviation = 'plain: {
            if !self.take("{") {
                break 'plain Deviation::Object;
            }
            macro_rules! fields_in_order {
                ($($number:literal)*) => {$(
                    if fields.get($number).is_some_and(#[inline(always)] |name| self.take_name(name)) {
                        field(self, $number)?;
                        match self.reader.bytes.get(self.at) {
                            Some(b',') => self.at += 1,
                            Some(b'}') => {
                                self.at += 1;
                                return Ok(());
                            }
                            _ => break 'plain Deviation::End,
                        }
                    }
                )*};
            }
            fields_in_order!(0 1 2 3 4 5 6 7);
            let first_name = start + 1;
            if self.at > first_name { Deviation::Name } else { Deviation::Object }
        };
        if matches!(deviation, Deviation::Object) {
            self.at = start;
        }
        self.read(|reader| {
            reader.rest_of_object(deviation, fields, &mut |reader, number| {
                reader.plain_by(
                    None,
                    #[inline(always)]
                    |plain| field(plain, number),
                )
            })
        })
    }

    /// Reads an array: `element` is called at each element.
    #[inline(always)]
    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        if !self.read(Reader::enter_array)? {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.take(",") && !self.read(Reader::has_more_elements)? {
                return Ok(());
            }
        }
    }
}

/// Fields of a message, if it is to be read here.
const MOST_FIELDS: usize = 8;

/// The name of a field, of what stands there up to its value.
fn name_of(field: &str) -> &str {
    field.split('"').nth(1).unwrap_or_default()
}
