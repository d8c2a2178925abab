//! Read-write locks: many readers or one writer, in the order of arrival.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::concurrency::rwlock::RwLock;
use etcdgw::concurrency::session::Session;
use etcdgw::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const NOT: Option<Duration> = Some(Duration::ZERO);

fn lock_of(session: &Session) -> RwLock {
    RwLock::new(session, b"rw").unwrap()
}

#[test]
fn readers_are_together_and_a_writer_is_alone_and_nobody_overtakes() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let [one, two, writer, late] = [(); 4].map(|()| lock_of(&session));
        let waiting = |count: usize| wait_until(LONG, || keys(&client, &prefix(b"rw/")).len() == count);
        assert!(one.read(NOT, &plain()).unwrap() && two.read(NOT, &plain()).unwrap());
        assert!(one.key().starts_with(b"rw/read/") && one.revision() < two.revision());
        assert!(matches!(one.write(None, &plain()), Err(Error::FailedPrecondition { .. })), "it would wait for itself");
        assert!(!writer.write(NOT, &plain()).unwrap());
        waiting(2);
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| writer.write(Some(LONG), &plain()).unwrap());
            waiting(3);
            assert!(!late.read(NOT, &plain()).unwrap(), "a reader doesn't overtake the writer that waits");
            one.unlock(&plain()).unwrap();
            assert!(one.revision() == 0 && writer.revision() == 0);
            two.unlock(&plain()).unwrap();
            assert!(writes.join().unwrap());
        });
        assert!(writer.key().starts_with(b"rw/write/") && writer.revision() > 0);
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| late.read(Some(LONG), &plain()).unwrap());
            waiting(2);
            writer.unlock(&plain()).unwrap();
            assert!(reads.join().unwrap());
        });
        late.unlock(&plain()).unwrap();
        assert!(matches!(late.unlock(&plain()), Err(Error::FailedPrecondition { .. })));
        waiting(0);
        drop(session);
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn ten_who_wait_go_on_waiting_while_the_server_is_away() {
    for_each_version_leaving_no_lease(|etcd| {
        let held = session(&common::client(&etcd.url()));
        let owner = lock_of(&held);
        assert!(owner.write(None, &plain()).unwrap());
        let release = || owner.unlock(&plain()).unwrap();
        ten_wait_while_the_server_is_away(etcd, b"rw/", release, |session, number| {
            let lock = lock_of(session);
            let waited = if number < 3 { lock.write(None, &plain()) } else { lock.read(None, &plain()) };
            assert!(waited.unwrap());
            lock.unlock(&plain()).unwrap();
        });
    });
}

#[test]
fn a_writer_is_never_with_anybody() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let inside = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for number in 0..6 {
                let (client, inside) = (&client, &inside);
                scope.spawn(move || {
                    let session = session(client);
                    let lock = lock_of(&session);
                    for _ in 0..20 {
                        if number < 2 {
                            assert!(lock.write(Some(LONG), &plain()).unwrap());
                            assert_eq!(inside.fetch_sub(100, Ordering::SeqCst), 0, "a writer is not alone");
                            inside.fetch_add(100, Ordering::SeqCst);
                        } else {
                            assert!(lock.read(Some(LONG), &plain()).unwrap());
                            assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0, "a reader is with a writer");
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                        lock.unlock(&plain()).unwrap();
                    }
                });
            }
        });
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}
