//! libetcdgw: etcd v3 for C, C++, Go and Python over the HTTP/JSON gateway, and for Rust.
//!
//! ```text
//! C, C++, Go, Python
//!    │  include/etcdgw.h (generated)
//!    ▼
//! ffi/          translation only: check arguments, borrow bytes, call the core, hand back a result or an error
//!    ▼
//! rpc/          what etcd offers: requests and responses, a file per service, methods on Client
//! watch/        the account of events: nothing lost, nothing twice, over every reconnection
//! concurrency/  coordination: keep-alives, sessions, mutexes, elections, locks
//! auto_sync     the thread that keeps a client's endpoints those of its cluster's members
//!    │          client config error deadline limits log secret stats: what every layer knows
//!    ▼
//! channel/      which member a call goes to, and what becomes of it when that one fails
//!    ▼
//! gateway/      the wire: HTTP/1.1, JSON, error answers, lines of a stream
//!    ▼
//! net/          bytes: connections within a deadline, and what ends a wait early; sys has its unsafe code
//! ```
//!
//! Arrows point down only. Nothing below `ffi` knows C, nothing below `rpc` knows what a key is, only `gateway` knows
//! JSON's syntax, only `net` knows sockets.

mod auto_sync;
pub mod channel;
pub mod client;
pub mod concurrency;
pub mod config;
pub mod deadline;
pub mod error;
pub mod ffi;
pub mod gateway;
pub mod limits;
pub mod log;
pub mod net;
pub mod rpc;
pub mod secret;
pub mod stats;
pub mod watch;
