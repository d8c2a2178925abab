//! x
mod entry;
mod sorted;
mod tree;
pub use entry::Entry;
