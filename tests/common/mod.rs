//! What the tests share: real etcd servers that are thrown away, a gateway that does what it is told, a proxy that does
//! harm, certificates, and waits that end.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod black_hole;
mod calls;
mod certificates;
mod cluster;
mod etcd;
mod etcd_face;
mod face;
mod gateway;
mod proxy;
mod random;
mod served_captures;
mod sys;
mod tagged;
mod waiting;
mod websocket;

pub use black_hole::BlackHole;
pub use calls::*;
pub use certificates::{Certificates, Identity};
pub use cluster::Cluster;
pub use etcd::{
    Etcd, EtcdOptions, etcdutl, etcdutl_version, for_each_version, for_each_version_leaving_no_lease,
    for_each_version_with, free_port, http_get, on_each_version, on_newest_leaving_no_lease, sharing_versions,
    versions, with_each_sharing_version, with_each_version,
};
pub use etcd_face::{Dialect, EtcdFace, MEMBER_LIST, members};
pub use face::{Face, PREFIX};
pub use gateway::{DONE, FakeGateway, Reply, Request, capture, capture_names, with_length};
pub use proxy::{Direction, End, Fault, Proxy};
pub use random::Random;
pub use served_captures::ServedCaptures;
pub use sys::{resident_bytes, shrink_receive_buffer};
pub use tagged::{Tag, Tagged, source_name};
pub use waiting::ten_wait_while_the_server_is_away;
pub use websocket::{Frame, Socket};

use etcdgw::client::{CallOptions, Client};
use etcdgw::concurrency::session::Session;
use etcdgw::config::Config;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Far beyond what anything here takes; only a test that fails waits so long.
pub const LONG: Duration = Duration::from_secs(30);

/// Waits until something holds, and fails the test when it doesn't within `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < end, "what was waited for did not come about within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a session's lease is renewed once more: a third of its time goes by until then, past `meanwhile`.
#[track_caller]
pub fn wait_for_keep_alive(session: &Session, meanwhile: Duration) {
    wait_until(LONG, || session.remaining() < meanwhile);
    wait_until(LONG, || session.remaining() > meanwhile);
    assert!(!session.is_lost());
}

/// Something that one thread waits for until another lets it happen.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn new() -> Gate {
        Gate::default()
    }

    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap()
    }

    /// Until it is open.
    #[track_caller]
    pub fn wait(&self) {
        let opened = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), LONG, |open| !*open).unwrap();
        assert!(*opened.0, "a gate was not opened within {LONG:?}");
    }
}

/// A folder that goes away with the value.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(what: &str) -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("etcdgw-test-{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Settings for these endpoints, with the API path of every supported version, so that no call begins with a question
/// for it, and with what the servers of this run want to see.
pub fn config(endpoints: &str) -> Config {
    let (endpoints, api_path) = (endpoints.to_owned(), Some("/v3/".to_owned()));
    Face::of_this_run().of_client(Config { endpoints, api_path, ..Config::default() })
}

/// The same for keys below this prefix.
pub fn config_below(endpoints: &str, key_prefix: &[u8]) -> Config {
    let config = config(endpoints);
    Config { key_prefix: [&*config.key_prefix, key_prefix].concat(), ..config }
}

/// Settings for who may do everything, wherever that makes a difference.
pub fn administrators_config(endpoints: &str) -> Config {
    Face::of_this_run().of_administrator(config(endpoints))
}

/// A client with [`config`].
#[track_caller]
pub fn client(endpoints: &str) -> Client {
    Client::new(config(endpoints)).unwrap()
}

/// A client with [`administrators_config`].
#[track_caller]
pub fn administrator(endpoints: &str) -> Client {
    Client::new(administrators_config(endpoints)).unwrap()
}

/// The same, which makes each request once: for what becomes of the first one.
#[track_caller]
pub fn client_without_retries(endpoints: &str) -> Client {
    Client::new(Config { max_retries: Some(0), ..config(endpoints) }).unwrap()
}

/// Options of a call without a wish.
pub fn plain() -> CallOptions {
    CallOptions::default()
}

/// Options of a call that may take so long.
pub fn within(limit: Duration) -> CallOptions {
    CallOptions::within(limit)
}

/// Runs something and tells how long it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}
