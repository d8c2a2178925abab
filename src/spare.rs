//! Large buffers that the thread which is done with them uses again. The allocator gives such memory back to the system,
//! which then hands it out anew, page by page: that takes longer than to fill it.

use std::cell::Cell;
use std::thread::LocalKey;

/// A buffer that a thread keeps, for as long as it runs.
pub(crate) struct Spare<T>(Cell<Vec<T>>);

impl<T> Spare<T> {
    pub(crate) const fn new() -> Spare<T> {
        Spare(Cell::new(Vec::new()))
    }
}

/// The allocator keeps smaller ones itself, and larger ones are too much to keep.
const KEPT_BYTES: std::ops::RangeInclusive<usize> = 16 << 10..=1 << 20;

/// Keeps a buffer in place of the one before, where it is of a size that is worth it.
pub(crate) fn give<T: 'static>(spare: &'static LocalKey<Spare<T>>, mut buffer: Vec<T>) {
    if KEPT_BYTES.contains(&(buffer.capacity() * size_of::<T>())) {
        buffer.clear();
        // A thread that ends keeps nothing.
        let _ = spare.try_with(|spare| spare.0.set(buffer));
    }
}

/// Makes room for more behind what a buffer holds, if it hasn't: that of the kept buffer, where it fits and isn't far too
/// large, or new one.
pub(crate) fn make_room<T: Copy + 'static>(spare: &'static LocalKey<Spare<T>>, buffer: &mut Vec<T>, more: usize) {
    let wanted = buffer.len().saturating_add(more);
    if wanted <= buffer.capacity() {
        return;
    }
    let kept = spare.try_with(|spare| spare.0.take()).unwrap_or_default();
    if !(wanted..=wanted.saturating_mul(2)).contains(&kept.capacity()) {
        let _ = spare.try_with(|spare| spare.0.set(kept));
        return buffer.reserve(more);
    }
    let held = std::mem::replace(buffer, kept);
    buffer.extend_from_slice(&held);
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static ARENAS: Spare<u8> = const { Spare::new() };
    }

    /// What a buffer that holds so much has room for when it wants more, while so much is kept.
    fn room(kept: usize, held: usize, more: usize) -> usize {
        give(&ARENAS, Vec::with_capacity(kept));
        let mut buffer = vec![7; held];
        make_room(&ARENAS, &mut buffer, more);
        assert_eq!(buffer, vec![7; held]);
        ARENAS.with(|spare| spare.0.take());
        buffer.capacity()
    }

    #[test]
    fn a_buffer_is_used_again_where_it_fits_and_is_not_far_too_large() {
        assert_eq!(room(100_000, 0, 100_000), 100_000);
        assert_eq!(room(100_000, 10, 60_000), 100_000);
        assert_eq!(room(100_000, 0, 49_999), 49_999);
        assert_eq!(room(100_000, 1, 100_000), 100_001);
    }

    #[test]
    fn neither_a_small_buffer_nor_a_huge_one_is_kept() {
        assert_eq!(room(100, 0, 60), 60);
        assert_eq!(room(2 << 20, 0, 1 << 20), 1 << 20);
    }

    #[test]
    fn what_did_not_fit_is_kept_for_another_time_and_given_once() {
        give(&ARENAS, Vec::with_capacity(100_000));
        let mut buffers = [Vec::new(), Vec::new(), Vec::new()];
        let wanted = [10, 90_000, 90_000];
        buffers.iter_mut().zip(wanted).for_each(|(buffer, wanted)| make_room(&ARENAS, buffer, wanted));
        assert_eq!(buffers.map(|buffer| buffer.capacity()), [10, 100_000, 90_000]);
    }
}
