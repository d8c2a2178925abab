//! What etcd offers: request and response types, one file per service of etcd, as methods on
//! [`Client`](crate::client::Client).
//!
//! Requests borrow what they can; responses own one buffer, into which their keys and values point.

pub mod alarm;
pub mod auth;
pub mod cluster;
pub mod downgrade;
mod header;
mod keys;
pub mod kv;
pub mod lease;
pub mod maintenance;
mod namespace;
pub mod raw;
mod response;
pub mod role;
pub mod scan;
pub mod snapshot;
pub mod txn;
pub mod user;
pub mod watch;

pub use header::Header;
pub(crate) use header::{Headed, HeaderOnly, NoFields, headed};
pub use keys::{Keys, prefix_range_end};
pub use namespace::Namespace;
pub use response::Response;
