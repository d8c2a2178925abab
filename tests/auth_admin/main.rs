//! Users, roles and permissions: set up through the library alone, enforced by real servers of every version.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod enabling;
mod matrix;
mod roles;
mod secrecy;
mod support;
mod users;
