//! What etcd3gw (024ecbc), the Python client of the same gateway, gets wrong: each of its known defects with the input
//! that shows it, and what should happen. The numbers are those of this project's list of its defects; those of its
//! locks (D4 to D7) are in `tests/lock.rs`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod watches;
