//! Base64 of keys and other short strings, decoded over itself up to the quote that ends it.
//!
//! The crate that decodes long ones needs to be told first where a string ends, and is slower than this for short ones.

/// What no character stands for: a bit beyond the three bytes that four characters make.
const NONE: u32 = 1 << 31;

/// What a character adds to three bytes, for each of its places among four. The first byte is the lowest.
static TABLES: [[u32; 256]; 4] = [table(18), table(12), table(6), table(0)];

const fn table(shift: u32) -> [u32; 256] {
    let mut table = [NONE; 256];
    let (mut rest, mut character): (&mut [u32], u8) = (&mut table, 0);
    while let Some((entry, others)) = rest.split_first_mut() {
        if let Some(bits) = six_bits(character) {
            let [_, first, second, third] = (bits << shift).to_be_bytes();
            *entry = u32::from_le_bytes([first, second, third, 0]);
        }
        (rest, character) = (others, character.wrapping_add(1));
    }
    table
}

pub(super) const fn six_bits(character: u8) -> Option<u32> {
    let bits = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(bits as u32)
}

fn look_up(table: &[u32; 256], character: u8) -> u32 {
    table.get(usize::from(character)).copied().unwrap_or(NONE)
}

/// The six bits that a character of the alphabet stands for.
pub(super) fn bits_of(character: u8) -> u32 {
    let [.., at_fourth] = &TABLES;
    look_up(at_fourth, character) >> 16
}

/// The three bytes that four characters stand for; [`NONE`] or more: a character stands for nothing.
#[inline(always)]
fn three_bytes([first, second, third, fourth]: [u8; 4]) -> u32 {
    let [at_first, at_second, at_third, at_fourth] = &TABLES;
    look_up(at_first, first) | look_up(at_second, second) | look_up(at_third, third) | look_up(at_fourth, fourth)
}

/// Characters of a string that is decoded faster here, with its quote.
const SHORT: usize = 96;

/// Decodes the content of a string from its beginning, up to the quote that ends it or to something else that is not
/// base64; of a long string perhaps its beginning only. Answers how many bytes it has read, which are whole fours, and how
/// many it has written in their place. What lies behind is left as it is.
pub(super) fn decode_start(bytes: &mut [u8]) -> (usize, usize) {
    let fours = decode_fours(bytes);
    let (read, written) = (fours * 4, fours * 3);
    let (read_last, written_last) = look_up_last(bytes, read, written);
    (read + read_last, written + written_last)
}

/// Of a long string nothing is decoded: what decodes the rest of it is faster.
fn decode_fours(bytes: &mut [u8]) -> usize {
    // The same twice: where the length is known, no bounds are checked.
    match bytes.first_chunk_mut::<SHORT>() {
        Some(short) if has_quote(short) => look_up_fours(short),
        Some(_) => 0,
        None => look_up_fours(bytes),
    }
}

/// Looks at all of them, which the compiler does with SIMD.
fn has_quote(bytes: &[u8; SHORT]) -> bool {
    bytes.iter().fold(false, |has, byte| has | (*byte == b'"'))
}

/// Answers how many it has decoded before something that is not base64.
#[inline(always)]
fn look_up_fours(bytes: &mut [u8]) -> usize {
    let count = bytes.len() / 4;
    for number in 0..count {
        let four = bytes.get(number * 4..).and_then(|bytes| bytes.first_chunk()).copied();
        let decoded = four.map_or(NONE, three_bytes);
        if decoded >= NONE {
            return number;
        }
        // One more than what is decoded, which lies before what is read next.
        put(bytes, number * 3, decoded.to_le_bytes());
    }
    count
}

#[inline(always)]
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, decoded: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
        *place = decoded;
    }
}

/// The last four characters of a string where one or two of them only fill up.
fn look_up_last(bytes: &mut [u8], read: usize, written: usize) -> (usize, usize) {
    let last = bytes.get(read..).and_then(|bytes| bytes.first_chunk());
    let Some([first, second, third, b'=', b'"']) = last.copied() else { return (0, 0) };
    let [at_first, at_second, at_third, _] = &TABLES;
    let two = look_up(at_first, first) | look_up(at_second, second);
    let (decoded, length) = if third == b'=' { (two, 1) } else { (two | look_up(at_third, third), 2) };
    // Bits that no byte has room for must be zero.
    if decoded >> (length * 8) != 0 {
        return (0, 0);
    }
    put(bytes, written, decoded.to_le_bytes());
    (4, length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::{SHORT, decode_fours};
    use crate::gateway::json::{JsonError, Reader};
    use base64_simd::STANDARD;

    /// What comes of the content of a string in a field, with a buffer that goes on behind it or ends there.
    fn read(content: &[u8], behind: &[u8]) -> Result<Vec<u8>, JsonError> {
        let mut arena = [b"[\"", content, b"\"", behind].concat();
        let mut place = None;
        let mut reader = Reader::new(&mut arena);
        reader.array(|reader| {
            match place {
                None => place = Some(reader.bytes()?),
                Some(_) => reader.skip()?,
            }
            Ok(())
        })?;
        reader.finish()?;
        Ok(place.map(|place| place.of(&arena).to_vec()).unwrap_or_default())
    }

    fn endings() -> [Vec<u8>; 2] {
        [b"]".to_vec(), [b",\"".as_slice(), &[b'x'; 100], b"\"]"].concat()]
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index * 151 + length * 7) as u8).collect()
    }

    #[test]
    fn bytes_of_every_length_come_back() {
        for length in 0..=200 {
            let bytes = sample(length);
            let coded = STANDARD.encode_to_string(&bytes).into_bytes();
            for ending in endings() {
                assert_eq!(read(&coded, &ending).unwrap(), bytes, "{length}");
            }
        }
    }

    #[test]
    fn a_short_string_is_decoded_up_to_its_end() {
        for length in 0..=72 {
            let bytes = sample(length);
            let coded = STANDARD.encode_to_string(&bytes).into_bytes();
            for ending in endings() {
                let mut arena = [&coded[..], b"\"", &ending].concat();
                let fours = decode_fours(&mut arena);
                // A long string's end is left to what decodes it whole.
                let is_long = coded.len() >= SHORT && arena.len() >= SHORT;
                assert_eq!(fours, if is_long { 0 } else { length / 3 }, "{length}");
                assert_eq!(arena[..fours * 3], bytes[..fours * 3], "{length}");
                assert_eq!(arena[fours * 4..], [&coded[fours * 4..], b"\"", &ending].concat(), "{length}");
            }
        }
    }

    #[test]
    fn a_damaged_string_is_read_as_the_simd_crate_reads_it_wherever_it_is_damaged() {
        for length in (0..=76).chain([100, 199]) {
            let coded = STANDARD.encode_to_string(sample(length)).into_bytes();
            for place in 0..coded.len() {
                for character in *b"AB9+/=-_ \n\0\xff" {
                    let mut damaged = coded.clone();
                    damaged[place] = character;
                    let wanted = STANDARD.decode_to_vec(&damaged).ok();
                    for ending in endings() {
                        assert_eq!(read(&damaged, &ending).ok(), wanted, "{}", String::from_utf8_lossy(&damaged));
                    }
                }
            }
        }
    }

    #[test]
    fn a_string_that_is_cut_or_too_long_is_read_as_the_simd_crate_reads_it() {
        for length in 0..=100 {
            let coded = STANDARD.encode_to_string(sample(length)).into_bytes();
            for text in [&coded[..coded.len().saturating_sub(1)], &[&coded[..], b"A"].concat(), &coded.repeat(2)] {
                for ending in endings() {
                    assert_eq!(read(text, &ending).ok(), STANDARD.decode_to_vec(text).ok(), "{length}");
                }
            }
        }
    }

    #[test]
    fn an_escape_may_stand_anywhere() {
        for length in 0..=80 {
            let bytes = sample(length);
            let coded = STANDARD.encode_to_string(&bytes).into_bytes();
            for place in 0..coded.len() {
                let escape = format!("\\u{:04x}", coded[place]).into_bytes();
                let escaped = [&coded[..place], &escape, &coded[place + 1..]].concat();
                for ending in endings() {
                    assert_eq!(read(&escaped, &ending).unwrap(), bytes, "{length}, {place}");
                }
            }
        }
    }
}
