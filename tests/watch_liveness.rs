//! Members that are there and tell nothing: frozen, behind a way that swallows everything, cut off from their leader.
//! Watches leave each within `watch_liveness_ms`; benches/ measures the same at its default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "the C interface has the option")]

mod common;

use common::{Cluster, Fault, LONG, Proxy, client, put_with, versions, wait_until, within};
use etcdgw::ffi::*;
use std::ffi::{CStr, CString};
use std::ptr;
use std::time::{Duration, Instant};

const LIVENESS: Duration = Duration::from_millis(1500);

/// Only a test that fails waits so long.
const PATIENCE_MS: i64 = 20_000;

/// What else a way to another member takes on a busy machine: a connection, its version, its answer.
const GRACE: Duration = Duration::from_millis(1500);

/// When a member knows at the latest that it has no leader: two election timeouts.
const LEADERLESS: Duration = Duration::from_secs(2);

/// A watch of one key, and the client that it is of.
struct Watch {
    client: *mut etcdgw_client,
    watch: *mut etcdgw_watch_handle,
}

impl Watch {
    /// At the first of these endpoints.
    fn open(endpoints: &str, websocket: i32) -> Watch {
        let endpoints = CString::new(endpoints).unwrap();
        let options = etcdgw_client_options {
            endpoints: endpoints.as_ptr(),
            watch_liveness_ms: i64::try_from(LIVENESS.as_millis()).unwrap(),
            websocket,
            ..defaults()
        };
        let (mut client, mut watch) = (ptr::null_mut(), ptr::null_mut());
        ok(|error| unsafe { etcdgw_client_new(&options, &mut client, error) });
        let key = etcdgw_bytes { data: KEY.as_ptr(), len: KEY.len() };
        ok(|error| unsafe { etcdgw_watch_open(client, key, ptr::null(), &mut watch, error) });
        Watch { client, watch }
    }

    /// Waits for the event of this revision. Writes that nobody knows to be made may be told before it.
    #[track_caller]
    fn expect(&self, revision: i64) {
        let mut told = 0;
        while told < revision {
            let mut response = ptr::null_mut();
            ok(|error| unsafe { etcdgw_watch_next(self.watch, PATIENCE_MS, &mut response, error) });
            let events = unsafe { std::slice::from_raw_parts((*response).events, (*response).events_len) };
            assert_eq!(unsafe { (*response).kind }, ETCDGW_WATCH_EVENTS);
            told = unsafe { (*events.last().unwrap().kv).mod_revision };
            unsafe { etcdgw_watch_response_free(response) };
        }
        assert_eq!(told, revision);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        unsafe {
            etcdgw_watch_free(self.watch);
            etcdgw_client_free(self.client);
        }
    }
}

fn defaults<T>() -> T {
    unsafe {
        let mut options: T = std::mem::zeroed();
        (&raw mut options).cast::<usize>().write(size_of::<T>());
        options
    }
}

#[track_caller]
fn ok(call: impl FnOnce(*mut *mut etcdgw_error) -> etcdgw_status) {
    let mut error = ptr::null_mut();
    let status = call(&mut error);
    assert_eq!(status, ETCDGW_OK, "{:?}", unsafe { CStr::from_ptr(etcdgw_error_message(error)) });
}

const KEY: &[u8] = b"liveness";

/// Each version with the connection that it has by default, and the newest with an HTTP stream, too.
fn each_transport(run: impl Fn(&str, i32)) {
    let versions = versions();
    versions.iter().for_each(|version| run(version, ETCDGW_WEBSOCKET_AUTO));
    run(versions.last().unwrap(), ETCDGW_WEBSOCKET_NEVER);
}

/// Harms what lies between a watch and the store, writes through another member, and measures how long the watch takes
/// to tell of it.
#[track_caller]
fn leaves(cluster: &Cluster, watch: &Watch, place: usize, limit: Duration, harm: impl FnOnce()) {
    let others = client(&cluster.members[(place + 1) % cluster.members.len()].url());
    let put = |value: &[u8]| {
        let mut revision = 0;
        // The others may have to find each other anew.
        wait_until(LONG, || {
            let made = put_with(&others, KEY, value, &within(Duration::from_secs(2)));
            revision = made.as_ref().map_or(0, |answer| answer.header.revision);
            made.is_ok()
        });
        revision
    };
    cluster.members[place].wait_for_watchers(1);
    watch.expect(put(b"before"));
    let begin = Instant::now();
    harm();
    let revision = put(b"after");
    let written = Instant::now();
    watch.expect(revision);
    let due = (begin + limit).max(written + GRACE);
    assert!(Instant::now() < due, "etcd {}: {:?}", cluster.members[place].version(), begin.elapsed());
    // It goes on where it is now.
    watch.expect(put(b"again"));
}

#[test]
fn a_frozen_member_is_left() {
    each_transport(|version, websocket| {
        let cluster = Cluster::start(version, 3);
        let place = cluster.follower();
        let watch = Watch::open(&cluster.endpoints_from(place), websocket);
        leaves(&cluster, &watch, place, LIVENESS + GRACE, || cluster.members[place].stop());
        cluster.members[place].cont();
    });
}

#[test]
fn a_connection_that_is_silently_dead_is_left() {
    each_transport(|version, websocket| {
        let cluster = Cluster::start(version, 3);
        let place = cluster.follower();
        let way = Proxy::start(&cluster.members[place].url());
        let endpoints = format!("{},{}", way.url(), cluster.endpoints_from(place + 1));
        let watch = Watch::open(&endpoints, websocket);
        leaves(&cluster, &watch, place, LIVENESS + GRACE, || way.inject(Fault::Hole));
    });
}

#[test]
fn a_member_that_is_cut_off_from_its_leader_is_left() {
    each_transport(|version, websocket| {
        let cluster = Cluster::start_separable(version, 3);
        let place = cluster.follower();
        let watch = Watch::open(&cluster.endpoints_from(place), websocket);
        leaves(&cluster, &watch, place, LEADERLESS + LIVENESS + GRACE, || cluster.separate(place));
    });
}

#[test]
fn a_quiet_watch_of_a_member_that_is_well_stays_where_it_is() {
    each_transport(|version, websocket| {
        let cluster = Cluster::start(version, 1);
        let way = Proxy::start(&cluster.members[0].url());
        let watch = Watch::open(&way.url(), websocket);
        let writing = client(&cluster.endpoints());
        cluster.members[0].wait_for_watchers(1);
        let quiet = Instant::now() + 3 * LIVENESS;
        // Probes may come over connections of their own; the watcher stays the same one.
        wait_until(2 * LONG, || {
            assert_eq!(cluster.members[0].watchers(), 1);
            Instant::now() > quiet
        });
        let revision = put_with(&writing, KEY, b"value", &within(LONG)).unwrap().header.revision;
        watch.expect(revision);
    });
}
