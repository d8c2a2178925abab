//! What programs build on leases, transactions, ranges and watches to agree with each other, or to share what they know.

pub mod barrier;
mod bounds;
mod claims;
mod contender;
pub mod double_barrier;
pub mod election;
pub mod keepalive;
mod leftovers;
pub mod lock;
pub mod mirror;
pub mod mutex;
mod outbox;
pub mod rwlock;
pub mod session;
pub mod stm;
pub mod workqueue;

pub use outbox::Consumer;
