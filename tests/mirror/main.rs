//! Mirrors: what lookups show is what the server has, at one revision, and what is told of it makes the same state.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod copying;
mod ending;
mod queues;
mod rebuilding;
mod support;
mod telling;
