//! Coordination: what programs build on leases, transactions and watches to agree with each other.

mod contender;
pub mod election;
pub mod keepalive;
pub mod lock;
pub mod mutex;
mod outbox;
pub mod rwlock;
pub mod session;

pub use outbox::Consumer;
