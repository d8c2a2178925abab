//! Base64 by AVX2, 32 characters at a time.

use super::{SHORT, six_bits};
use vsimd::SIMD256;
use vsimd::alsw::{AlswLut, decode_ascii_xn};
use vsimd::isa::{AVX2, detect};
use vsimd::native::Native;
use vsimd::vector::{V128, V256};

const BLOCK: usize = 32;

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

/// Decodes whole fours before the first character that stands for nothing, and answers how many. What lies behind them is
/// left as it is. `None`: this processor has no AVX2.
pub(super) fn decode(short: &mut [u8; SHORT]) -> Option<usize> {
    let simd = detect::<AVX2>()?;
    Some(Native::detect().exec(
        #[inline(always)]
        || decode_blocks(simd, short),
    ))
}

/// All places are constants where a block is whole, so that no bounds are checked.
#[inline(always)]
fn decode_blocks(simd: AVX2, short: &mut [u8; SHORT]) -> usize {
    for number in 0..SHORT / BLOCK {
        let fours = number * BLOCK / 4;
        let Some(block) = short.get(number * BLOCK..).and_then(|bytes| bytes.first_chunk()) else { break };
        let (valid, halves) = decode_block(simd, block);
        if valid < BLOCK {
            return put_fours(short, fours, valid, halves);
        }
        let [first, second] = halves;
        put(short, fours * 3, first.to_le_bytes());
        put(short, fours * 3 + 12, second.to_le_bytes());
    }
    SHORT / 4
}

/// How many characters stand for something before the first that doesn't, and what each half of them stands for: twelve
/// bytes, and four zeros.
#[inline(always)]
fn decode_block(simd: AVX2, characters: &[u8; BLOCK]) -> (usize, [u128; 2]) {
    let (check, bits) = decode_ascii_xn(simd, V256::from_bytes(*characters), CHECK, DECODE);
    let others = simd.u8x32_bitmask(check);
    let pairs = simd.i16x16_maddubs(bits, simd.u16x16_splat(0x0140));
    let fours = simd.i16x16_madd(pairs, simd.u32x8_splat(0x0001_1000));
    let order = V256::double_bytes([2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 0x80, 0x80, 0x80, 0x80]);
    let (first, second) = simd.u8x16x2_swizzle(fours, order).to_v128x2();
    (others.trailing_zeros() as usize, [first, second].map(|half| u128::from_le_bytes(*half.as_bytes())))
}

/// Writes what the whole fours among `valid` characters stand for, and answers how many these are.
///
/// Each write goes beyond what is decoded by as many bytes as fours are written, which have been read: no further.
#[inline(always)]
fn put_fours(short: &mut [u8; SHORT], mut fours: usize, valid: usize, [first, second]: [u128; 2]) -> usize {
    let mut rest = first;
    if valid & 16 != 0 {
        put(short, fours * 3, first.to_le_bytes());
        (fours, rest) = (fours + 4, second);
    }
    if valid & 8 != 0 {
        put(short, fours * 3, (rest as u64).to_le_bytes());
        (fours, rest) = (fours + 2, rest >> 48);
    }
    if valid & 4 != 0 {
        put(short, fours * 3, (rest as u32).to_le_bytes());
        fours += 1;
    }
    fours
}

#[inline(always)]
fn put<const N: usize>(short: &mut [u8; SHORT], at: usize, decoded: [u8; N]) {
    if let Some(place) = short.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
        *place = decoded;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::look_up_fours;
    use super::*;

    #[test]
    fn every_character_stands_for_what_the_alphabet_says() {
        Alphabet::test_check();
        Alphabet::test_decode();
    }

    /// Each in every place, so that each length occurs, in every alignment.
    #[test]
    fn a_character_that_stands_for_nothing_ends_it_where_it_ends_the_look_up() {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for place in 0..=SHORT {
            for character in *b"\"=-_ \0\x7f\x80\xff\xc1Z" {
                let mut by_avx2: [u8; SHORT] = std::array::from_fn(|index| letters[(index * 29 + place) % 64]);
                by_avx2.iter_mut().skip(place).take(1).for_each(|byte| *byte = character);
                let mut by_table = by_avx2;
                let Some(fours) = decode(&mut by_avx2) else { return };
                assert_eq!(fours, look_up_fours(&mut by_table), "{place}: {character}");
                assert_eq!(by_avx2[..fours * 3], by_table[..fours * 3], "{place}: {character}");
                assert_eq!(by_avx2[fours * 4..], by_table[fours * 4..], "{place}: {character}");
            }
        }
    }
}
