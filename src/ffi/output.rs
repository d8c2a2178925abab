//! Out-parameters: empty before anything is looked at, filled when all has gone well.

use crate::error::{Error, Result};
use std::ptr;

/// A place of the caller for one value, NULL where the caller doesn't want it.
pub(super) struct Output<T>(*mut T);

/// What an out-parameter holds until there is a result.
pub(super) trait Blank {
    const BLANK: Self;
}

impl<T> Blank for *mut T {
    const BLANK: Self = ptr::null_mut();
}
impl Blank for i32 {
    const BLANK: Self = 0;
}
impl Blank for i64 {
    const BLANK: Self = 0;
}
impl Blank for usize {
    const BLANK: Self = 0;
}

impl<T: Blank> Output<T> {
    /// Takes the place over, and empties it.
    ///
    /// # Safety
    /// `pointer` is NULL, or can be written as long as the output is used.
    pub(super) unsafe fn cleared(pointer: *mut T) -> Output<T> {
        let output = Output(pointer);
        output.set(T::BLANK);
        output
    }

    /// Refuses NULL, naming the parameter. To be called once every output is cleared.
    pub(super) fn required(self, name: &str) -> Result<Output<T>> {
        if self.0.is_null() { Err(Error::invalid(format!("{name} is NULL"))) } else { Ok(self) }
    }

    /// Whether anybody wants the value.
    pub(super) fn is_wanted(&self) -> bool {
        !self.0.is_null()
    }

    /// Hands the value over that `make` makes, if anybody wants it.
    pub(super) fn set_with(&self, make: impl FnOnce() -> T) {
        if self.is_wanted() {
            self.set(make());
        }
    }

    /// Hands the value over.
    pub(super) fn set(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not NULL, hence writable, by the promise given to `cleared`.
            unsafe { self.0.write(value) }
        }
    }
}
