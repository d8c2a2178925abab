//! Code that is compiled for processors with AVX2.

use vsimd::isa::AVX2;

/// Does work, and has it compiled for AVX2 with all that is inlined into it: with the instructions themselves where
/// these would otherwise be functions to call.
#[inline(always)]
pub(crate) fn compiled_for_avx2<T>(_: AVX2, work: impl FnOnce() -> T) -> T {
    // SAFETY: there is no `AVX2` where the processor hasn't got it.
    unsafe { with_instructions(work) }
}

#[cfg_attr(any(target_arch = "x86", target_arch = "x86_64"), target_feature(enable = "avx2"))]
unsafe fn with_instructions<T>(work: impl FnOnce() -> T) -> T {
    work()
}
