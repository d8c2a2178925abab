//! Sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

fn session(client: &Client, ttl: i64) -> Session {
    client.session(&SessionOptions { ttl, ..SessionOptions::default() }, None).unwrap()
}

fn leases(client: &Client) -> Vec<i64> {
    client.lease_list(&plain()).unwrap().ids.clone()
}

#[test]
fn a_session_keeps_a_lease_and_takes_it_along_when_it_ends() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let closed = session(&client, 60);
        let dropped = session(&client, 60);
        let short = session(&client, 2);
        assert_eq!(leases(&client).len(), 3);
        assert!(closed.remaining() > Duration::from_secs(55) && !closed.is_lost());
        closed.close(&plain()).unwrap();
        closed.close(&plain()).unwrap();
        assert!(closed.is_lost());
        drop(dropped);
        assert_eq!(leases(&client), [short.lease()]);
        let since = std::time::Instant::now();
        wait_until(LONG, || since.elapsed() > Duration::from_secs(4));
        assert_eq!(leases(&client), [short.lease()]);
        drop((closed, short));
        assert!(leases(&client).is_empty());
    });
}

#[test]
fn an_orphaned_lease_stays_and_may_be_adopted() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let first = session(&client, 30);
        let lease = first.lease();
        first.orphan();
        assert!(!first.is_lost() && first.remaining() > Duration::from_secs(20));
        drop(first);
        let second = client.session(&SessionOptions { lease, ..SessionOptions::default() }, None).unwrap();
        assert_eq!(second.lease(), lease);
        assert!(second.remaining() > Duration::from_secs(28), "the time it was granted");
        drop(second);
        assert!(leases(&client).is_empty());
        let error = client.session(&SessionOptions { lease, ..SessionOptions::default() }, None).err().unwrap();
        assert!(matches!(error, Error::LeaseExpired { .. }), "{error}");
    });
}

#[test]
fn a_loss_is_told_once() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let (tell, told) = channel();
        let tell = Box::new(move |event| drop(tell.send(event)));
        let options = SessionOptions { ttl: 3, ..SessionOptions::default() };
        let session = client.session(&options, Some(tell)).unwrap();
        session.start().allow();
        client.lease_revoke(session.lease(), &plain()).unwrap();
        let event = told.recv_timeout(LONG).unwrap();
        assert!(event.lease == session.lease() && matches!(event.lost, Some(Error::LeaseExpired { .. })), "{event:?}");
        assert!(told.recv().is_err() && session.is_lost());
        session.close(&plain()).unwrap();
    });
}

#[test]
fn a_grant_whose_answer_is_lost_makes_one_session_with_one_lease() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let proxy = Proxy::start(&etcd.url());
    let behind = common::client(&format!("{},{}", proxy.url(), etcd.url()));
    put(&behind, b"key", b"value").unwrap();
    proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
    let session = session(&behind, 60);
    assert_eq!(leases(&client), [session.lease()]);
    proxy.heal();
    drop(session);
    assert!(leases(&client).is_empty());
}

#[test]
fn the_end_of_a_session_without_a_server_takes_no_longer_than_it_may() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let (freed, closed) = (session(&client, 60), session(&client, 60));
    etcd.stop();
    let ((), took) = timed(|| drop(freed));
    assert!(took < Duration::from_secs(3), "{took:?}");
    let token = Arc::new(CancelToken::new().unwrap());
    token.trigger();
    let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token) };
    assert!(matches!(closed.close(&call), Err(Error::Cancelled { .. })));
    let ((), took) = timed(|| drop(closed));
    assert!(took < Duration::from_secs(3), "{took:?}");
    etcd.cont();
    wait_until(LONG, || {
        leases(&client).iter().for_each(|lease| drop(client.lease_revoke(*lease, &plain())));
        leases(&client).is_empty()
    });
}
