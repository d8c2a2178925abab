//! What must hold whatever comes in: properties of arbitrary bytes, which a fuzzer looks for a counterexample to
//! (`make fuzz`). Each panics where its property doesn't hold; the library itself never may.
//!
//! They lie inside the library, since what they are about is no part of its interface, and only builds for tests and
//! for fuzzers have them. A test runs each on the inputs below `fuzz/seeds`, so that they stay what the library is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod choices;
mod http;
mod json;
mod messages;
mod pieces;
mod reference;
#[cfg(all(test, not(loom)))]
mod seeds;
mod server;
mod stream;
mod websocket;

pub(crate) use choices::Choices;
#[cfg(all(test, not(loom)))]
pub(crate) use server::Server;

pub use crate::ffi::fuzzing::endpoints;
pub use crate::watch::watch;
pub use http::http;
pub use json::json;
pub use stream::stream;
pub use websocket::websocket;
