//! What a caller sees of every fault between it and a real server, and by when: the right answer, or a clear error
//! within the call's limit, and never a lie about a write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod connecting;
mod cutting;
mod proxies;
mod replacing;
mod securing;
mod separating;
mod slowing;
mod stalling;
mod support;
mod watching;
