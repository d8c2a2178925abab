//! Logging in: the token of a client, its renewal, and that nobody sees it, on real servers of every version and on
//! gateways that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod coordination;
mod door;
mod forbidden;
mod guarded;
mod outdated;
mod refusals;
mod secrecy;
mod servers;
mod shared;
mod sharing;
mod tokens;
mod watches;
#[allow(dead_code)]
#[path = "../watch/support.rs"]
mod watching;
