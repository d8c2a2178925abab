//! Many watches of one client, many that come and go, and one that nobody reads. A program of its own, since it counts
//! what the whole process has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod backlog;
mod cycles;
mod many;
mod neighbours;
mod thousand;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: each counts threads, descriptors or memory.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
