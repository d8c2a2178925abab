//! What a client has done so far, counted where it happens. The counters cost an atomic addition each and agree with
//! one another roughly.

use crate::error::{Code, Error};
use crate::net::lock;
use std::mem::Discriminant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client has done since it was made.
#[derive(Clone, Debug)]
pub struct ClientStats {
    /// Requests that were sent, each attempt of a call for itself.
    pub requests: u64,
    /// Failed calls: an error of each kind that occurred, and how many there were.
    pub errors: Vec<(Error, u64)>,
    /// Attempts of calls after their first.
    pub retries: u64,
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Requests that were sent over a connection that had served before.
    pub connections_reused: u64,
    /// Connections that could not be opened.
    pub connections_failed: u64,
    /// Bytes sent, those of HTTP and TLS included.
    pub bytes_sent: u64,
    /// Bytes received likewise.
    pub bytes_received: u64,
    /// Tokens that were fetched.
    pub token_refreshes: u64,
    /// Watches that are open.
    pub watches_open: u64,
    /// Events that were handed to the owners of watches.
    pub events_delivered: u64,
    /// How often a watch went on over another stream.
    pub resumes: u64,
    /// The endpoints that the client has, in the order of its list.
    pub endpoints: Vec<EndpointStats>,
}

/// What became of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointStats {
    /// Its URL.
    pub url: Arc<str>,
    /// Requests that were sent to it.
    pub requests: u64,
    /// Attempts of calls that failed there.
    pub errors: u64,
    /// Connections that were opened to it.
    pub connections_opened: u64,
    /// Connections that could not be opened.
    pub connections_failed: u64,
    /// Whether calls begin there.
    pub is_current: bool,
    /// How long calls will stay away from it, unless there is no other one.
    pub backed_off: Duration,
}

/// A number that any thread may raise.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn subtract_one(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of a client.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub requests: Counter,
    pub retries: Counter,
    pub connections_opened: Counter,
    pub connections_reused: Counter,
    pub connections_failed: Counter,
    pub bytes_sent: Counter,
    pub bytes_received: Counter,
    pub token_refreshes: Counter,
    pub watches_open: Counter,
    pub events_delivered: Counter,
    pub resumes: Counter,
    errors: Mutex<Vec<(Error, u64)>>,
}

/// The counters of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointCounters {
    pub requests: Counter,
    pub errors: Counter,
    pub connections_opened: Counter,
    pub connections_failed: Counter,
}

/// What errors are told apart by.
fn kind_of(error: &Error) -> (Discriminant<Error>, Option<Code>) {
    let code = if let Error::Server { code, .. } = error { Some(*code) } else { None };
    (std::mem::discriminant(error), code)
}

impl Stats {
    /// A call has failed.
    pub(crate) fn fail(&self, error: &Error) {
        let mut errors = lock(&self.errors);
        match errors.iter_mut().find(|(known, _)| kind_of(known) == kind_of(error)) {
            Some((_, count)) => *count += 1,
            None => errors.push((error.clone(), 1)),
        }
    }

    pub(crate) fn read(&self, endpoints: Vec<EndpointStats>) -> ClientStats {
        ClientStats {
            requests: self.requests.get(),
            errors: lock(&self.errors).clone(),
            retries: self.retries.get(),
            connections_opened: self.connections_opened.get(),
            connections_reused: self.connections_reused.get(),
            connections_failed: self.connections_failed.get(),
            bytes_sent: self.bytes_sent.get(),
            bytes_received: self.bytes_received.get(),
            token_refreshes: self.token_refreshes.get(),
            watches_open: self.watches_open.get(),
            events_delivered: self.events_delivered.get(),
            resumes: self.resumes.get(),
            endpoints,
        }
    }
}
