//! The C interface: every `extern "C"` function lives below here and nowhere else.
//!
//! Translation only: check the arguments, borrow the bytes, call the core, hand back a result or an error. The
//! mechanisms stand in a file each, and every function is made of them:
//!
//! ```text
//! boundary   no panic leaves, and a status and an error come back
//! handle     opaque pointers: who owns what is behind them, and how it is borrowed and freed
//! bytes      etcdgw_bytes and C strings, checked
//! options    extensible option structs, flags, constants and times
//! output     out-parameters: empty first, filled last
//! response   answers that own what they point to
//! callback   user_data and its destructor
//! error      etcdgw_error
//! ```
//!
//! Names and layouts of this module are those of C; `include/etcdgw.h` is generated from it by `build.rs`. What the
//! functions demand of their caller stands once at the head of that file, hence no `# Safety` sections.
#![allow(unsafe_code, reason = "the C interface")]
#![allow(non_camel_case_types, reason = "C's names")]
#![allow(clippy::missing_safety_doc, reason = "the header states the rules of all functions once, at its head")]

#[cfg(not(panic = "unwind"))]
compile_error!("libetcdgw turns panics into ETCDGW_INTERNAL_PANIC, and needs panic = \"unwind\"");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the option structs have no padding on 64-bit targets only");

mod alarm;
mod auth;
mod barrier;
mod boundary;
mod bytes;
mod callback;
mod client;
mod client_options;
mod cluster;
mod constants;
mod double_barrier;
mod downgrade;
mod election;
mod error;
mod fencing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handle;
mod keepalive;
mod kv;
mod kv_options;
mod kv_response;
mod lease;
mod lock;
mod maintenance;
mod mirror;
mod mirror_event;
mod mutex;
mod options;
mod output;
mod queue;
mod raw;
mod response;
mod role;
mod rwlock;
mod scan;
mod session;
mod snapshot;
mod stats;
mod stm;
mod txn;
mod txn_response;
mod user;
mod version;
mod watch;
mod watch_options;
mod watch_response;
mod workqueue;

pub use alarm::*;
pub use auth::*;
pub use barrier::*;
pub use bytes::{etcdgw_bytes, etcdgw_str};
pub use client::*;
pub use client_options::{etcdgw_client_options, etcdgw_log_callback};
pub use cluster::*;
pub use constants::*;
pub use double_barrier::*;
pub use downgrade::*;
pub use election::*;
pub use error::*;
pub use fencing::*;
pub use keepalive::{
    etcdgw_keepalive, etcdgw_keepalive_callback, etcdgw_keepalive_event, etcdgw_keepalive_free,
    etcdgw_keepalive_is_lost, etcdgw_keepalive_options, etcdgw_keepalive_remaining_ms, etcdgw_keepalive_start,
};
pub use kv::*;
pub use kv_options::*;
pub use kv_response::*;
pub use lease::*;
pub use lock::*;
pub use maintenance::*;
pub use mirror::*;
pub use mirror_event::*;
pub use mutex::*;
pub use options::etcdgw_call_options;
pub use queue::*;
pub use raw::*;
pub use response::{etcdgw_header, etcdgw_kv};
pub use role::*;
pub use rwlock::*;
pub use scan::*;
pub use session::*;
pub use snapshot::*;
pub use stats::*;
pub use stm::*;
pub use txn::*;
pub use txn_response::*;
pub use user::*;
pub use version::*;
pub use watch::*;
pub use watch_options::*;
pub use watch_response::*;
pub use workqueue::*;
