//! Snapshots: what real servers give is whole, restorable and theirs; what fails leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod files;
mod memory;
mod servers;
mod support;
