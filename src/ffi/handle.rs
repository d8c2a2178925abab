//! Opaque pointers. Each C type says in the type system which Rust value is behind it: a wrong cast doesn't compile.
//!
//! This is also where a child of `fork` is told from its parent: nobody gets at a value but through here, and nobody in
//! a child gets at what the parent made.

use crate::error::{Error, Result};
use crate::net::{Generation, close_inherited_descriptors};

/// A C type that stands for a Rust value behind a pointer.
pub(super) trait Handle {
    /// The value.
    type Value;
    /// [`Native`] or [`Memory`].
    type Shell: Shell<Self::Value>;
}

/// What stands behind the pointer.
pub(super) trait Shell<T> {
    fn new(value: T) -> Self;
    /// Whether the value is of no use in this process. Takes no lock, which a thread of the parent might hold for ever.
    fn is_inherited(&self) -> bool;
    fn value(&self) -> &T;
    fn value_mut(&mut self) -> &mut T;
}

/// A value that works in the process that made it: it has locks, threads or descriptors.
pub(super) struct Native<T> {
    generation: Generation,
    value: T,
}

impl<T> Shell<T> for Native<T> {
    fn new(value: T) -> Native<T> {
        Native { generation: Generation::current(), value }
    }
    fn is_inherited(&self) -> bool {
        !self.generation.is_current()
    }
    fn value(&self) -> &T {
        &self.value
    }
    fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A value that is nothing but memory: it works in a child of `fork` as well.
#[repr(transparent)]
pub(super) struct Memory<T>(T);

impl<T> Shell<T> for Memory<T> {
    fn new(value: T) -> Memory<T> {
        Memory(value)
    }
    fn is_inherited(&self) -> bool {
        false
    }
    fn value(&self) -> &T {
        &self.0
    }
    fn value_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Makes a handle, which the caller of the library owns.
pub(super) fn new<H: Handle>(value: H::Value) -> *mut H {
    Box::into_raw(Box::new(H::Shell::new(value))).cast()
}

/// The value for one call; NULL has none, nor has a handle from before a fork. Async-signal-safe.
///
/// # Safety
/// `handle` is NULL or a handle that is not freed while the borrow lasts.
pub(super) unsafe fn peek<'a, H: Handle<Shell: 'a>>(handle: *const H) -> Option<&'a H::Value> {
    // SAFETY: a handle points to a shell of its type.
    let shell = unsafe { handle.cast::<H::Shell>().as_ref() };
    shell.filter(|shell| !shell.is_inherited()).map(Shell::value)
}

/// The value for one call; NULL, and a handle from before a fork, are refused by the parameter's name.
///
/// # Safety
/// As [`peek`].
pub(super) unsafe fn borrow<'a, H: Handle<Shell: 'a>>(handle: *const H, name: &'static str) -> Result<&'a H::Value> {
    // SAFETY: the caller's promise.
    unsafe { borrow_optional(handle, name) }?.ok_or_else(|| is_null(name))
}

/// The value for one call; NULL has none, and a handle from before a fork is refused by the parameter's name.
///
/// # Safety
/// As [`peek`].
pub(super) unsafe fn borrow_optional<'a, H: Handle<Shell: 'a>>(
    handle: *const H,
    name: &'static str,
) -> Result<Option<&'a H::Value>> {
    // SAFETY: a handle points to a shell of its type.
    match unsafe { handle.cast::<H::Shell>().as_ref() } {
        Some(shell) if shell.is_inherited() => Err(Error::Forked { what: name }),
        shell => Ok(shell.map(Shell::value)),
    }
}

/// The value of a handle that one thread uses at a time.
///
/// # Safety
/// As [`peek`], and nobody else uses the handle meanwhile.
pub(super) unsafe fn borrow_mut<'a, H: Handle<Shell: 'a>>(
    handle: *mut H,
    name: &'static str,
) -> Result<&'a mut H::Value> {
    // SAFETY: a handle points to a shell of its type, and the caller vouches for exclusive use.
    match unsafe { handle.cast::<H::Shell>().as_mut() } {
        Some(shell) if shell.is_inherited() => Err(Error::Forked { what: name }),
        shell => shell.map(Shell::value_mut).ok_or_else(|| is_null(name)),
    }
}

/// Frees a handle; NULL is nothing to free.
///
/// Of a handle from before a fork nothing but descriptors is given back: its memory may be locked or half-changed for
/// ever. All are closed at once, since no handle that has one can be used.
///
/// # Safety
/// `handle` is NULL, or a handle that is not used again.
pub(super) unsafe fn free<H: Handle>(handle: *mut H) {
    let shell = handle.cast::<H::Shell>();
    // SAFETY: NULL, or a shell of its type.
    match unsafe { shell.as_ref() } {
        None => {}
        Some(shell) if shell.is_inherited() => close_inherited_descriptors(),
        // SAFETY: a handle of this type is made by `new` alone.
        Some(_) => drop(unsafe { Box::from_raw(shell) }),
    }
}

fn is_null(name: &str) -> Error {
    Error::invalid(format!("{name} is NULL"))
}
