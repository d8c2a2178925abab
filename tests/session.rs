//! Sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::Error;
use etcdgw::event_queue::{Content, SourceKind};
use etcdgw::net::CancelToken;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

fn leases(client: &Client) -> Vec<i64> {
    client.lease_list(&plain()).unwrap().ids.clone()
}

#[test]
fn a_session_keeps_a_lease_and_takes_it_along_when_it_ends() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let closed = session_of(&client, 60);
        let dropped = session_of(&client, 60);
        let short = session_of(&client, 2);
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
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let first = session_of(&client, 30);
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
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (tell, told) = channel();
        let tell = Box::new(move |event| drop(tell.send(event)));
        let options = SessionOptions { ttl: 3, ..SessionOptions::default() };
        let session = client.session(&options, Some(tell)).unwrap();
        session.start().allow();
        let mutex = Mutex::new(&session, b"m");
        assert!(mutex.lock(None, &plain()).unwrap());
        // By somebody else: nothing but the next renewal tells, which comes when a third of the time has passed.
        common::client(&etcd.url()).lease_revoke(session.lease(), &plain()).unwrap();
        let (event, took) = timed(|| told.recv_timeout(LONG).unwrap());
        assert!(took < Duration::from_millis(1500), "{took:?}");
        assert!(session.is_lost() && matches!(mutex.unlock(&plain()), Err(Error::LeaseExpired { .. })));
        assert!(event.lease == session.lease() && matches!(event.lost, Some(Error::LeaseExpired { .. })), "{event:?}");
        assert!(told.recv().is_err() && session.is_lost());
        session.close(&plain()).unwrap();
    });
}

#[test]
fn a_grant_whose_answer_is_lost_makes_one_session_with_one_lease() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let behind = common::client(&format!("{},{}", proxy.url(), etcd.url()));
        put(&behind, b"key", b"value").unwrap();
        proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
        let session = session_of(&behind, 60);
        assert_eq!(leases(&client), [session.lease()]);
        proxy.heal();
        drop(session);
        assert!(leases(&client).is_empty());
    });
}

#[test]
fn the_end_of_a_session_without_a_server_takes_no_longer_than_it_may() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (freed, closed) = (session_of(&client, 60), session_of(&client, 60));
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
    });
}

fn session_into(tagged: &Tagged, client: &Client, ttl: i64, name: usize) -> Session {
    let options = SessionOptions { ttl, ..SessionOptions::default() };
    let session = client.session_into(&options, &tagged.queue, tagged.tag(name)).unwrap();
    session.start().allow();
    session
}

#[test]
fn a_loss_is_all_that_a_queue_hears_of_a_session() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let watch = tagged.watch_key(&client, b"k", 8);
        let session = session_into(&tagged, &client, 2, 9);
        let revision = put_revision(&client, b"k", b"v");
        let event = tagged.event();
        let Content::Watch(response) = &event.content else { panic!("{event:?}") };
        assert_eq!((source_name(&event), response.events[0].kv.mod_revision), (8, revision));
        drop(event);
        let since = std::time::Instant::now();
        wait_until(LONG, || since.elapsed() > Duration::from_secs(2));
        assert!(tagged.is_empty() && !session.is_lost(), "renewals are not told");
        client.lease_revoke(session.lease(), &plain()).unwrap();
        let event = tagged.event();
        let Content::KeepAlive(told) = &event.content else { panic!("{event:?}") };
        assert_eq!((event.source, source_name(&event), told.lease), (SourceKind::Session, 9, session.lease()));
        assert!(matches!(told.lost, Some(Error::LeaseExpired { .. })) && session.is_lost(), "{told:?}");
        assert!(tagged.is_empty());
        session.close(&plain()).unwrap();
        drop(session);
        assert_eq!(tagged.dropped(), 0, "the event is in use");
        drop(event);
        assert_eq!(tagged.dropped(), 1);
        drop(watch);
        assert_eq!(tagged.dropped(), 2);
    });
}

#[test]
fn a_session_that_its_owner_ends_drops_its_tag_and_tells_its_queue_nothing() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let sessions = [0, 1, 2].map(|name| session_into(&tagged, &client, 60, name));
        let [closed, orphaned, freed] = sessions;
        closed.close(&plain()).unwrap();
        assert_eq!(tagged.dropped(), 1);
        orphaned.orphan();
        assert_eq!(tagged.dropped(), 2);
        drop(freed);
        assert_eq!(tagged.dropped(), 3);
        let lost = session_into(&tagged, &client, 60, 3);
        client.close();
        wait_until(LONG, || lost.is_lost());
        drop(lost);
        assert_eq!((tagged.dropped(), tagged.is_empty()), (4, true), "its loss was not taken");
        let other = common::client(&etcd.url());
        leases(&other).iter().for_each(|lease| other.lease_revoke(*lease, &plain()).unwrap());
    });
}

#[test]
fn a_session_goes_on_without_its_queue() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let session = session_into(&tagged, &client, 6, 0);
        let Tagged { queue, dropped } = tagged;
        drop(queue);
        assert_eq!(dropped.load(std::sync::atomic::Ordering::SeqCst), 1);
        wait_for_keep_alive(&session, Duration::from_secs(5));
        assert_eq!(leases(&client), [session.lease()]);
        drop(session);
        assert!(leases(&client).is_empty());
        assert_eq!(dropped.load(std::sync::atomic::Ordering::SeqCst), 1);
    });
}

#[test]
fn a_session_that_can_not_begin_drops_its_tag() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let tagged = Tagged::new();
    for options in [
        SessionOptions { ttl: 0, ..SessionOptions::default() },
        SessionOptions { lease: 77, ..SessionOptions::default() },
    ] {
        assert!(client.session_into(&options, &tagged.queue, tagged.tag(0)).is_err());
    }
    assert_eq!((tagged.dropped(), tagged.is_empty()), (2, true));
}
