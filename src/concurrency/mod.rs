//! What programs build on leases, transactions, ranges and watches to agree with each other, or to share what they know.

mod contender;
pub mod election;
pub mod keepalive;
pub mod lock;
pub mod mirror;
pub mod mutex;
mod outbox;
pub mod rwlock;
pub mod session;

pub use outbox::Consumer;
