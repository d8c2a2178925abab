//! libetcdgw: etcd v3 for C, C++, Go and Python over the HTTP/JSON gateway, and for Rust.
//!
//! ```text
//! C, C++, Go, Python
//!    │  include/etcdgw.h (generated)
//!    ▼
//! ffi/          translation only: check arguments, borrow bytes, call the core, hand back a result or an error
//!    ▼
//! rpc/          what etcd offers: requests and responses, a file per service, methods on Client
//! watch/        the account of events: nothing lost, nothing twice, over every reconnection; one thread for all watches
//! event_queue   one place for what watches, and others that report by themselves, have to say
//! concurrency/  coordination: keep-alives, sessions, mutexes, elections, locks, barriers, work queues, transactions
//! auto_sync     the thread that keeps a client's endpoints those of its cluster's members
//!    │          backoff client config error deadline limits log secret stats sync: what every layer knows
//!    ▼
//! channel/      which member a call goes to, and what becomes of it when that one fails
//!    ▼
//! gateway/      the wire: HTTP/1.1, JSON, error answers, lines of a stream, WebSocket
//!    ▼
//! net/          bytes: connections within a deadline, what ends a wait early, readiness; sys has its unsafe code
//! ```
//!
//! Arrows point down only. Nothing below `ffi` knows C, nothing below `rpc` knows what a key is, only `gateway` knows
//! JSON's syntax, only `net` knows sockets.

mod auto_sync;
mod backoff;
pub mod channel;
pub mod client;
pub mod concurrency;
pub mod config;
pub mod deadline;
pub mod error;
pub mod event_queue;
pub mod ffi;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gateway;
pub mod limits;
pub mod log;
pub mod net;
pub mod rpc;
pub mod secret;
mod spare;
pub mod stats;
mod sync;
pub mod watch;
