//! Numbers of up to fifteen digits by SIMD.

use super::Simd;
use vsimd::SIMD128;
use vsimd::vector::V128;

const WINDOW: usize = 16;

/// From a place in it on, it picks as many bytes as that place says from a vector's beginning and puts them at the end of
/// another, behind zeros.
static TO_THE_END: [u8; 2 * WINDOW] = {
    const ZERO: u8 = 0x80;
    let mut order = [ZERO; 2 * WINDOW];
    let (_, mut rest) = order.split_at_mut(WINDOW);
    let mut place = 0;
    while let Some((first, others)) = rest.split_first_mut() {
        *first = place;
        (rest, place) = (others, place + 1);
    }
    order
};

/// The number whose digits stand at the beginning, up to a quote, and how many they are. `None`: there are none, there is
/// no quote behind them, or they are too many.
#[inline(always)]
pub(in super::super) fn number(simd: Simd, window: &[u8; WINDOW]) -> Option<(usize, i64)> {
    let digits = simd.u8x16_sub(V128::from_bytes(*window), simd.u8x16_splat(b'0'));
    let are_digits = simd.u8x16_eq(simd.u8x16_min(digits, simd.u8x16_splat(9)), digits);
    let length = (!u32::from(simd.u8x16_bitmask(are_digits))).trailing_zeros() as usize;
    if length == 0 || window.get(length) != Some(&b'"') {
        return None;
    }
    let order = TO_THE_END.get(length..)?.first_chunk()?;
    let digits = simd.u8x16_swizzle(digits, V128::from_bytes(*order));
    let pairs = simd.i16x8_maddubs(digits, simd.u16x8_splat(u16::from_le_bytes([10, 1])));
    let fours = simd.i16x8_madd(pairs, simd.u32x4_splat(1 << 16 | 100));
    let fours = u128::from_le_bytes(*fours.as_bytes());
    let [upper, lower] = [fours as u64, (fours >> 64) as u64].map(|two| (two & 0xffff_ffff) * 10_000 + (two >> 32));
    Some((length, (upper * 100_000_000 + lower) as i64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::dispatch;
    use super::*;

    fn read(text: &str) -> Option<(usize, i64)> {
        let window = format!("{text:#<16}").into_bytes();
        dispatch(|simd| number(simd?, window.first_chunk().unwrap()))
    }

    #[test]
    fn a_number_of_up_to_fifteen_digits_is_what_the_standard_library_reads() {
        if dispatch(|simd| simd.is_none()) {
            return;
        }
        for length in 1..=15 {
            for text in ["123456789012345", "999999999999999", "000000000000001", "900000000000000"] {
                let digits = text.get(..length).unwrap();
                assert_eq!(read(&format!("{digits}\"")), Some((length, digits.parse().unwrap())));
            }
        }
    }

    #[test]
    fn what_is_no_number_up_to_a_quote_is_left_to_others() {
        for text in ["\"", "", "-1\"", "1", "1,", "1.0\"", "1e3\"", " 1\"", "1 \"", "/\"", ":\"", "1234567890123456"] {
            assert_eq!(read(text), None, "{text}");
        }
        for other in (0..=255_u8).filter(|byte| !byte.is_ascii_digit()) {
            let mut window = *b"12345678901234\"#";
            window[7] = other;
            let wanted = (other == b'"').then_some((7, 1_234_567));
            assert!(dispatch(|simd| simd.is_none_or(|simd| number(simd, &window) == wanted)), "{other}");
        }
    }
}
