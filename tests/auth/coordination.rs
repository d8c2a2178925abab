//! Leases that are kept, mutexes and locks over tokens that expire.

use crate::common::*;
use crate::guarded::{app, enable, on_each, root};
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::SessionOptions;
use std::time::{Duration, Instant};

#[test]
fn a_session_and_its_mutex_outlive_their_tokens() {
    on_each(&["--auth-token-ttl=1"], |etcd| {
        enable(&etcd);
        let (client, other) = (app(&etcd), app(&etcd));
        let options = SessionOptions { ttl: 6, ..SessionOptions::default() };
        let (session, waiting) = (client.session(&options, None).unwrap(), other.session(&options, None).unwrap());
        let (mutex, next) = (Mutex::new(&session, b"app/m"), Mutex::new(&waiting, b"app/m"));
        assert!(mutex.lock(None, &plain()).unwrap());
        let since = Instant::now();
        // Each renewal comes later than a token lives.
        wait_until(LONG, || since.elapsed() > Duration::from_secs(8));
        assert!(!session.is_lost() && !waiting.is_lost());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| next.lock(Some(LONG), &plain()).unwrap());
            wait_until(LONG, || keys(&client, &prefix(b"app/m/")).len() == 2);
            let waiting_since = Instant::now();
            wait_until(LONG, || waiting_since.elapsed() > Duration::from_secs(3));
            mutex.unlock(&plain()).unwrap();
            assert!(waits.join().unwrap());
        });
        drop((session, waiting));
        assert!(root(&etcd).lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn who_may_not_write_the_key_gets_no_lock_and_leaves_no_lease() {
    on_each(&[], |etcd| {
        enable(&etcd);
        let (client, root) = (app(&etcd), root(&etcd));
        let session = client.session(&SessionOptions::default(), None).unwrap();
        assert!(Mutex::new(&session, b"secret").lock(Some(LONG), &plain()).is_err());
        let lock = Lock::new(&client, b"secret", LockOptions::default()).unwrap();
        assert!(lock.acquire(Some(Duration::ZERO), &plain()).is_err());
        assert_eq!(root.lease_list(&plain()).unwrap().ids, [session.lease()]);
        drop(session);
        assert!(root.lease_list(&plain()).unwrap().ids.is_empty());
    });
}
