//! Base64 by AVX2, 32 characters at a time.

use super::Simd;
use crate::gateway::json::base64::{bits_of, put, six_bits};
use vsimd::SIMD256;
use vsimd::alsw::{AlswLut, decode_ascii_xn};
use vsimd::vector::{V128, V256};

const BLOCK: usize = 32;

/// What a block stands for.
const DECODED_BLOCK: usize = BLOCK / 4 * 3;

/// Of a string that is decoded here: no fewer characters have to be left of the buffer.
pub(in super::super) const WINDOW: usize = 3 * BLOCK;

/// The alphabet, as [`vsimd::alsw`] wants it: what a character stands for is its sum with an offset that is looked up by a
/// hash of it, and so is whether it stands for anything. The hashes are those of base64-simd.
struct Alphabet;

impl Alphabet {
    const fn decode(character: u8) -> u8 {
        match six_bits(character) {
            Some(bits) => bits as u8,
            None => 0xff,
        }
    }

    const fn check_hash(low_half: u8) -> u8 {
        match low_half {
            0 => 5,
            1..=9 => 2,
            0xa => 4,
            0xc..=0xe => 8,
            _ => 6,
        }
    }

    const fn decode_hash(low_half: u8) -> u8 {
        match low_half {
            0xb => 7,
            0xf => 8,
            _ => 1,
        }
    }
}

vsimd::impl_alsw!(Alphabet);

const CHECK: AlswLut<V256> = Alphabet::check_lut().x2();
const DECODE: AlswLut<V256> = Alphabet::decode_lut().x2();

/// What has come of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Decoded {
    /// All of it: how many characters stood before the quote, and how many bytes they stood for.
    Whole { read: usize, written: usize },
    /// Its beginning: whole blocks. Behind them, something else stands there, or it is longer.
    Start { read: usize, written: usize },
}

/// Decodes a string over itself from its first character up to its quote. What lies behind is left as it is, and isn't
/// written to either: what is read next would wait for that.
#[inline(always)]
pub(in super::super) fn decode(simd: Simd, window: &mut [u8; WINDOW]) -> Decoded {
    for number in 0..WINDOW / BLOCK {
        let (read, written) = (number * BLOCK, number * DECODED_BLOCK);
        let Some(block) = window.get(read..).and_then(|bytes| bytes.first_chunk()) else { break };
        let (others, [first, second]) = decode_block(simd, block);
        if others == 0 {
            put(window, written, *first.as_bytes());
            put(window, written + DECODED_BLOCK / 2, *second.as_bytes());
            continue;
        }
        let valid = others.trailing_zeros() as usize;
        let Some(filling) = filling(window, read + valid) else { return Decoded::Start { read, written } };
        put_last(window, written, valid, [first, second]);
        return Decoded::Whole { read: read + valid + filling, written: written + valid * 3 / 4 };
    }
    Decoded::Start { read: WINDOW, written: WINDOW / 4 * 3 }
}

/// Which characters stand for nothing, and what each half of them stands for: twelve bytes, and four zeros.
#[inline(always)]
fn decode_block(simd: Simd, characters: &[u8; BLOCK]) -> (u32, [V128; 2]) {
    let (check, bits) = decode_ascii_xn(simd, V256::from_bytes(*characters), CHECK, DECODE);
    let pairs = simd.i16x16_maddubs(bits, simd.u16x16_splat(0x0140));
    let fours = simd.i16x16_madd(pairs, simd.u32x8_splat(0x0001_1000));
    let order = V256::double_bytes([2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 0x80, 0x80, 0x80, 0x80]);
    let (first, second) = simd.u8x16x2_swizzle(fours, order).to_v128x2();
    (simd.u8x32_bitmask(check), [first, second])
}

/// How many characters fill up a string that has `valid` others, before its quote; `None`: it doesn't end so.
#[inline(always)]
fn filling(window: &[u8; WINDOW], valid: usize) -> Option<usize> {
    let behind = window.get(valid..)?;
    // The bits of the last character that no byte has room for must be zero.
    let last = || bits_of(window.get(valid.wrapping_sub(1)).copied().unwrap_or_default());
    match valid % 4 {
        0 if behind.starts_with(b"\"") => Some(0),
        2 if behind.starts_with(b"==\"") && last() & 0b1111 == 0 => Some(2),
        3 if behind.starts_with(b"=\"") && last() & 0b11 == 0 => Some(1),
        _ => None,
    }
}

/// Writes what `valid` characters stand for.
///
/// Each write goes beyond what is decoded by as many bytes as fours are written, which have been read: no further.
#[inline(always)]
fn put_last(window: &mut [u8; WINDOW], mut at: usize, valid: usize, [first, second]: [V128; 2]) {
    let mut rest = first;
    if valid & 16 != 0 {
        put(window, at, *first.as_bytes());
        (at, rest) = (at + 12, second);
    }
    let mut rest = u128::from_le_bytes(*rest.as_bytes());
    if valid & 8 != 0 {
        put(window, at, (rest as u64).to_le_bytes());
        (at, rest) = (at + 6, rest >> 48);
    }
    if valid & 4 != 0 {
        put(window, at, (rest as u32).to_le_bytes());
        (at, rest) = (at + 3, rest >> 24);
    }
    if valid & 2 != 0 {
        put(window, at, (rest as u16).to_le_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::dispatch;
    use super::*;
    use base64_simd::STANDARD;

    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    fn decode_here(window: &mut [u8; WINDOW]) -> Option<Decoded> {
        dispatch(
            #[inline(always)]
            |simd| simd.map(|simd| decode(simd, window)),
        )
    }

    #[test]
    fn every_character_stands_for_what_the_alphabet_says() {
        Alphabet::test_check();
        Alphabet::test_decode();
    }

    #[test]
    fn a_string_of_any_length_is_decoded_and_what_follows_it_left_as_it_is() {
        for length in 0..WINDOW {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 151 + length * 7) as u8).collect();
            let coded = STANDARD.encode_to_string(&bytes).into_bytes();
            let mut window: [u8; WINDOW] = std::array::from_fn(|index| LETTERS[(index * 29) % 64]);
            let is_whole = coded.len() < WINDOW;
            let text = [&coded[..], b"\""].concat();
            window.iter_mut().zip(&text).for_each(|(place, byte)| *place = *byte);
            let before = window;
            let Some(decoded) = decode_here(&mut window) else { return };
            if is_whole {
                assert_eq!(decoded, Decoded::Whole { read: coded.len(), written: length });
                assert_eq!(window[..length], bytes);
                assert_eq!(window[coded.len()..], before[coded.len()..]);
            } else {
                let blocks = coded.iter().filter(|character| **character != b'=').count().min(WINDOW) / BLOCK;
                let (read, written) = (blocks * BLOCK, blocks * DECODED_BLOCK);
                assert_eq!(decoded, Decoded::Start { read, written });
                assert_eq!(window[..written], bytes[..written]);
                assert_eq!(window[read..], before[read..]);
            }
        }
    }

    /// Each in every place, so that each length occurs, in every alignment.
    #[test]
    fn of_a_string_that_is_not_base64_whole_blocks_are_decoded_and_the_rest_is_left_as_it_is() {
        for place in 0..WINDOW {
            for character in *b"=-_ \0\x7f\x80\xff\xc1\\" {
                let mut window: [u8; WINDOW] = std::array::from_fn(|index| LETTERS[(index * 29 + place) % 64]);
                window[place] = character;
                let before = window;
                let Some(decoded) = decode_here(&mut window) else { return };
                let blocks = place / BLOCK;
                let (read, written) = (blocks * BLOCK, blocks * DECODED_BLOCK);
                assert_eq!(decoded, Decoded::Start { read, written }, "{place}: {character}");
                assert_eq!(window[read..], before[read..], "{place}: {character}");
                assert_eq!(window[..written], STANDARD.decode_to_vec(&before[..read]).unwrap());
            }
        }
    }
}
