//! Endpoints whose watches get streams of their own.

use crate::limits;
use crate::net::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Endpoints that have no WebSocket, or none that works, until it is tried again. A client's watches may come and go one
/// at a time: what was found out for one holds for the next.
#[derive(Default)]
pub(super) struct Unfit {
    /// And until when. The lock is held for a look-up.
    endpoints: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Unfit {
    /// No WebSocket is tried there for as long as one that has none is left alone.
    pub(super) fn add(&self, endpoint: &Arc<str>) {
        self.add_for(endpoint, limits::WEBSOCKET_RETRY);
    }

    /// No WebSocket is tried there for so long.
    pub(super) fn add_for(&self, endpoint: &Arc<str>, time: Duration) {
        let now = Instant::now();
        let mut endpoints = lock(&self.endpoints);
        endpoints.retain(|_, until| *until > now);
        endpoints.insert(endpoint.clone(), now + time);
    }

    pub(super) fn has(&self, endpoint: &str) -> bool {
        lock(&self.endpoints).get(endpoint).is_some_and(|until| *until > Instant::now())
    }
}
