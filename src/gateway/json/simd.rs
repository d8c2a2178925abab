//! What short values are read with where the processor has AVX2. All of it says of what it can't read that it can't, and
//! changes nothing then, or says how far it has come.

mod base64;
mod digits;

pub(super) use base64::{Decoded, decode};
pub(super) use digits::number;

use crate::net::compiled_for_avx2;
use vsimd::isa::{AVX2, detect};

/// The processor has AVX2, and what is compiled here may use it.
pub(super) type Simd = AVX2;

/// Compiles work for a processor with AVX2 and for any other, and does it as this one can. All that it calls and that
/// uses AVX2 has to be inlined: a function of its own is compiled for any processor.
#[inline(always)]
pub(super) fn dispatch<T>(work: impl FnOnce(Option<Simd>) -> T) -> T {
    match detect::<AVX2>() {
        Some(simd) => compiled_for_avx2(
            simd,
            #[inline(always)]
            || work(Some(simd)),
        ),
        None => work(None),
    }
}
