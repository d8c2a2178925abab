//! What is known of a write that a server refuses because its database has reached its quota.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::SessionOptions;
use etcdgw::concurrency::workqueue::WorkQueue;
use etcdgw::error::{Error, Reason};
use std::thread;
use std::time::Duration;

const QUOTA: &[&str] = &["--quota-backend-bytes=16777216"];
const REFUSAL: &str = r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#;

/// Puts values from this thread until the database may not grow any more; answers what was refused.
fn fill(client: &Client, name: usize) -> Vec<(String, Error)> {
    let value = vec![b'x'; 200_000];
    let mut refused = Vec::new();
    for number in 0..100 {
        let key = format!("fill/{name}/{number}");
        refused.extend(put(client, key.as_bytes(), &value).err().map(|error| (key, error)));
        if refused.len() == 3 {
            return refused;
        }
    }
    panic!("the quota is not reached");
}

#[test]
fn a_write_that_is_in_the_store_is_never_told_as_not_done_when_the_space_runs_out() {
    for_each_version_with(QUOTA, |etcd| {
        let client = common::client(&etcd.url());
        let refused: Vec<_> = thread::scope(|scope| {
            let fillers: Vec<_> = (0..8)
                .map(|name| {
                    scope.spawn({
                        let client = &client;
                        move || fill(client, name)
                    })
                })
                .collect();
            fillers.into_iter().flat_map(|filler| filler.join().unwrap()).collect()
        });
        for (key, error) in refused {
            assert_eq!(error.reason(), Reason::NoSpace, "{error:?}");
            assert!(!error.is_retryable(), "{error:?}");
            let is_there = get(&client, key.as_bytes()).unwrap().is_some();
            assert!(error.may_have_applied() || !is_there, "{key} is in the store: {error:?}");
        }
    });
}

#[test]
fn a_lease_whose_grant_is_refused_for_want_of_space_is_revoked_where_nobody_could_use_it() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/lease/grant" => reply.status("429 Too Many Requests", REFUSAL),
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    let error = client.session(&SessionOptions::default(), None).err().unwrap();
    assert_eq!((error.reason(), error.may_have_applied()), (Reason::NoSpace, true));
    let lock = Lock::new(&client, b"name", LockOptions::default()).unwrap();
    assert_eq!(lock.acquire(None, &plain()).unwrap_err().reason(), Reason::NoSpace);
    let ids = |path| {
        let of_path = gateway.requests().into_iter().filter(move |request| request.path == path);
        of_path.map(|request| request.json()["ID"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((ids("/v3/lease/grant").len(), ids("/v3/lease/revoke")), (2, ids("/v3/lease/grant")));
}

#[test]
fn a_key_that_a_mutex_may_have_put_into_the_line_without_space_is_deleted() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/kv/txn" if request.json().to_string().contains("request_put") => {
            reply.status("429 Too Many Requests", REFUSAL);
        }
        _ => reply.json(r#"{"ID":"7","TTL":"60","header":{"revision":"9"}}"#),
    });
    let client = common::client(gateway.url());
    let session = client.session(&SessionOptions::default(), None).unwrap();
    let error = Mutex::new(&session, b"name").lock(None, &plain()).unwrap_err();
    assert_eq!((error.reason(), error.may_have_applied()), (Reason::NoSpace, true));
    let deletes = |request: &Request| request.json().to_string().contains("request_delete_range");
    assert!(gateway.requests().iter().any(|request| request.path == "/v3/kv/txn" && deletes(request)));
}

#[test]
fn a_queue_and_a_lock_do_not_wait_for_space() {
    for_each_version_with(QUOTA, |etcd| {
        let client = common::client(&etcd.url());
        let session = client.session(&SessionOptions::default(), None).unwrap();
        let queue = WorkQueue::new(&session, b"q");
        queue.enqueue(b"1", &plain()).unwrap();
        let lock = Lock::new(&client, b"name", LockOptions::default()).unwrap();
        assert!(lock.acquire(Some(Duration::ZERO), &plain()).unwrap());
        fill(&client, 0);
        let (answers, took) =
            timed(|| (queue.enqueue(b"2", &plain()), queue.dequeue(Some(LONG), &plain()), lock.release(&plain())));
        assert_eq!(answers.0.unwrap_err().reason(), Reason::NoSpace);
        assert_eq!(answers.1.err().unwrap().reason(), Reason::NoSpace);
        assert!(answers.2.unwrap());
        assert!(took < Duration::from_secs(5), "{took:?}");
    });
}
