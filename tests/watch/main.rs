//! Watches, on real servers of every version and on gateways that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod breaking;
mod cancelling;
mod choosing;
mod crowding;
mod delivering;
mod doubting;
mod ending;
mod events;
mod faults;
mod lagging;
mod noise;
mod progressing;
mod queues;
mod renewing;
mod resuming;
mod shared;
mod sharing;
mod starting;
mod support;
