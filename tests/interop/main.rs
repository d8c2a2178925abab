//! The same names in other hands: Go's `concurrency` package, `etcdctl`, and Python's etcd3gw, in turns with the
//! library's. `fetch.sh` in this folder makes them available.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod elections;
mod locks;
mod mutexes;
mod peers;
mod recipes;
