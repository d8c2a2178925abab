//! Connections that wait for their next call.

use super::connection::Connection;
use super::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Idle connections by endpoint, the latest used first: the others may then grow old and be dropped by the server.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Arc<str>, Vec<Connection>>>,
    most_per_endpoint: usize,
}

impl Pool {
    pub(crate) fn new(most_per_endpoint: usize) -> Pool {
        Pool { idle: Mutex::default(), most_per_endpoint }
    }

    /// A connection that looked alive just now.
    pub(crate) fn take(&self, endpoint: &str) -> Option<Connection> {
        loop {
            let connection = lock(&self.idle).get_mut(endpoint)?.pop()?;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for later, where it is to be kept: that is asked in turn with [`retain`](Pool::retain), so that
    /// none comes back after it.
    pub(crate) fn give(&self, endpoint: &Arc<str>, connection: Connection, keep: impl FnOnce(&str) -> bool) {
        let mut idle = lock(&self.idle);
        if !keep(endpoint) {
            return;
        }
        if !idle.contains_key(endpoint) {
            idle.insert(endpoint.clone(), Vec::new());
        }
        if let Some(connections) = idle.get_mut(endpoint).filter(|kept| kept.len() < self.most_per_endpoint) {
            connections.push(connection);
        }
    }

    /// Lets go of all but those of these endpoints.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        lock(&self.idle).retain(|endpoint, _| keep(endpoint));
    }
}
