//! What a client has done, in numbers.

use super::boundary::{fallible, infallible};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_error, status_of};
use super::output::Output;
use super::response::{self, Kept};
use crate::stats::{ClientStats, EndpointStats};
use std::collections::BTreeMap;
use std::ffi::c_char;

/// How many calls ended with a status.
#[repr(C)]
pub struct etcdgw_status_count {
    /// The status, never `ETCDGW_OK`.
    pub status: etcdgw_status,
    /// 0.
    pub reserved0: i32,
    /// How many.
    pub count: i64,
}

/// What became of one endpoint since it is in the client's list.
#[repr(C)]
pub struct etcdgw_endpoint_stats {
    /// Its URL.
    pub url: *const c_char,
    /// Requests sent to it.
    pub requests: i64,
    /// Attempts of calls that failed there.
    pub errors: i64,
    /// Connections opened to it.
    pub connections_opened: i64,
    /// Connections that could not be opened.
    pub connections_failed: i64,
    /// How many milliseconds calls will stay away from it, unless there is no other endpoint; 0: it is in order.
    pub backed_off_ms: i64,
    /// 1: calls begin there.
    pub is_current: i32,
    /// 0.
    pub reserved0: i32,
}

/// What a client has done since it was made. The numbers are read one after another while others count.
#[repr(C)]
pub struct etcdgw_stats_response {
    /// Requests sent, each attempt of a call for itself.
    pub requests: i64,
    /// Attempts of calls after their first.
    pub retries: i64,
    /// Connections opened.
    pub connections_opened: i64,
    /// Requests sent over a connection that had served before.
    pub connections_reused: i64,
    /// Connections that could not be opened.
    pub connections_failed: i64,
    /// Bytes sent, those of HTTP and TLS included.
    pub bytes_sent: i64,
    /// Bytes received likewise.
    pub bytes_received: i64,
    /// Tokens fetched.
    pub token_refreshes: i64,
    /// Watches that are open.
    pub watches_open: i64,
    /// Events handed out by watches.
    pub events_delivered: i64,
    /// How often a watch went on over another connection.
    pub resumes: i64,
    /// Failed calls by their status, smallest first; `errors_len` pointers. Arguments that can't be right don't count.
    pub errors: *const *const etcdgw_status_count,
    /// How many of them are here.
    pub errors_len: usize,
    /// The client's endpoints, in the order of its list; `endpoints_len` pointers.
    pub endpoints: *const *const etcdgw_endpoint_stats,
    /// How many of them are here.
    pub endpoints_len: usize,
}

/// Tells what a client has done so far. Nothing is sent.
///
/// `response`: receives the numbers, owned by the caller: `etcdgw_stats_response_free`; NULL when they aren't wanted.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_client_stats(
    client: *const etcdgw_client,
    response: *mut *mut etcdgw_stats_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            response.set_with(|| new_stats(&client.stats()));
            Ok(())
        })
    }
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_stats_response_free(response: *mut etcdgw_stats_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

fn new_stats(stats: &ClientStats) -> *mut etcdgw_stats_response {
    let mut kept = Kept::default();
    let mut counts = BTreeMap::<etcdgw_status, i64>::new();
    for (error, count) in &stats.errors {
        *counts.entry(status_of(error)).or_default() += number(*count);
    }
    let errors = counts.into_iter().map(|(status, count)| etcdgw_status_count { status, reserved0: 0, count });
    let errors = errors.map(|count| kept.keep(count)).collect();
    let (errors, errors_len) = kept.array(errors);
    let endpoints = stats.endpoints.iter().map(|endpoint| new_endpoint(endpoint, &mut kept)).collect();
    let (endpoints, endpoints_len) = kept.array(endpoints);
    let public = etcdgw_stats_response {
        requests: number(stats.requests),
        retries: number(stats.retries),
        connections_opened: number(stats.connections_opened),
        connections_reused: number(stats.connections_reused),
        connections_failed: number(stats.connections_failed),
        bytes_sent: number(stats.bytes_sent),
        bytes_received: number(stats.bytes_received),
        token_refreshes: number(stats.token_refreshes),
        watches_open: number(stats.watches_open),
        events_delivered: number(stats.events_delivered),
        resumes: number(stats.resumes),
        errors,
        errors_len,
        endpoints,
        endpoints_len,
    };
    response::new(public, kept)
}

fn new_endpoint(endpoint: &EndpointStats, kept: &mut Kept) -> *const etcdgw_endpoint_stats {
    let public = etcdgw_endpoint_stats {
        url: kept.text(endpoint.url.to_string()),
        requests: number(endpoint.requests),
        errors: number(endpoint.errors),
        connections_opened: number(endpoint.connections_opened),
        connections_failed: number(endpoint.connections_failed),
        // Rounded up: 0 is only what is over.
        backed_off_ms: i64::try_from(endpoint.backed_off.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX),
        is_current: endpoint.is_current.into(),
        reserved0: 0,
    };
    kept.keep(public)
}

/// As C has it, signed.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
