//! Opaque pointers. Each C type says in the type system which Rust value is behind it and who owns that: a wrong cast
//! doesn't compile, nor does freeing a shared value as if it were somebody's own.

use crate::error::{Error, Result};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// A C type that stands for a Rust value behind a pointer.
pub(super) trait Handle {
    /// The value.
    type Value;
    /// [`Owned`] or [`Shared`].
    type Ownership: Ownership<Self::Value>;
}

/// How the pointer holds the value.
pub(super) trait Ownership<T> {
    /// What a handle is made from.
    type Holder;
    fn into_raw(holder: Self::Holder) -> *const T;
    /// # Safety
    /// `raw` is from `into_raw`, and is not used again.
    unsafe fn release(raw: *const T);
}

/// A `Box`: the handle's owner is the only one.
pub(super) enum Owned {}

impl<T> Ownership<T> for Owned {
    type Holder = T;
    fn into_raw(value: T) -> *const T {
        Box::into_raw(Box::new(value))
    }
    unsafe fn release(raw: *const T) {
        // SAFETY: made by `into_raw` above.
        drop(unsafe { Box::from_raw(raw.cast_mut()) });
    }
}

/// An `Arc`: calls under way may hold the value longer than the handle's owner.
pub(super) enum Shared {}

impl<T> Ownership<T> for Shared {
    type Holder = Arc<T>;
    fn into_raw(value: Arc<T>) -> *const T {
        Arc::into_raw(value)
    }
    unsafe fn release(raw: *const T) {
        // SAFETY: made by `into_raw` above.
        drop(unsafe { Arc::from_raw(raw) });
    }
}

/// Makes a handle, which the caller of the library owns.
pub(super) fn new<H: Handle>(holder: <H::Ownership as Ownership<H::Value>>::Holder) -> *mut H {
    H::Ownership::into_raw(holder).cast_mut().cast()
}

/// The value for one call; NULL has none. Async-signal-safe.
///
/// # Safety
/// `handle` is NULL or a handle that is not freed while the borrow lasts.
pub(super) unsafe fn peek<'a, H: Handle>(handle: *const H) -> Option<&'a H::Value> {
    // SAFETY: a handle points to a value of its type.
    unsafe { handle.cast::<H::Value>().as_ref() }
}

/// The value for one call; NULL is refused by the parameter's name.
///
/// # Safety
/// As [`peek`].
pub(super) unsafe fn borrow<'a, H: Handle>(handle: *const H, name: &str) -> Result<&'a H::Value> {
    // SAFETY: the caller's promise.
    unsafe { peek(handle) }.ok_or_else(|| is_null(name))
}

/// The value of a handle that one thread uses at a time.
///
/// # Safety
/// As [`peek`], and nobody else uses the handle meanwhile.
pub(super) unsafe fn borrow_mut<'a, H: Handle<Ownership = Owned>>(
    handle: *mut H,
    name: &str,
) -> Result<&'a mut H::Value> {
    // SAFETY: a handle points to a value of its type, and the caller vouches for exclusive use.
    unsafe { handle.cast::<H::Value>().as_mut() }.ok_or_else(|| is_null(name))
}

/// A share of the value, which outlives the handle if need be; NULL has none.
///
/// # Safety
/// As [`peek`].
pub(super) unsafe fn share<H: Handle<Ownership = Shared>>(handle: *const H) -> Option<Arc<H::Value>> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: a shared handle is an `Arc`, whose count the handle keeps: this borrow of it must not lower it.
    let held = ManuallyDrop::new(unsafe { Arc::from_raw(handle.cast::<H::Value>()) });
    Some(Arc::clone(&held))
}

/// Frees a handle; NULL is nothing to free.
///
/// # Safety
/// `handle` is NULL, or a handle that is not used again.
pub(super) unsafe fn free<H: Handle>(handle: *mut H) {
    if !handle.is_null() {
        // SAFETY: a handle of this type is made by `new` alone.
        unsafe { H::Ownership::release(handle.cast::<H::Value>()) }
    }
}

fn is_null(name: &str) -> Error {
    Error::invalid(format!("{name} is NULL"))
}
