//! Elections: one leader, known to all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::election::{Election, Observation};
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;

fn session(client: &Client) -> Session {
    client.session(&SessionOptions::default(), None).unwrap()
}

fn leader(election: &Election) -> Option<String> {
    let response = election.leader(&plain()).unwrap();
    response.kvs.first().map(|kv| String::from_utf8(response.bytes(kv.value).to_vec()).unwrap())
}

fn value(observation: &Observation) -> String {
    String::from_utf8(observation.bytes(observation.leader.value).to_vec()).unwrap()
}

#[test]
fn one_leads_and_proclaims_and_the_next_takes_over_when_it_resigns() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let (first, second) = (session(&client), session(&client));
        let (mine, theirs) = (Election::new(&first, b"office"), Election::new(&second, b"office"));
        assert_eq!((leader(&mine), mine.revision()), (None, 0));
        assert!(matches!(mine.proclaim(b"x", &plain()), Err(Error::FailedPrecondition { .. })));
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        assert_eq!(leader(&theirs).unwrap(), "one");
        mine.proclaim(b"one, still", &plain()).unwrap();
        assert_eq!(leader(&theirs).unwrap(), "one, still");
        let revision = mine.revision();
        assert!(mine.campaign(b"one again", None, &plain()).unwrap());
        assert_eq!((leader(&theirs).unwrap(), mine.revision()), ("one again".to_owned(), revision));
        assert!(!theirs.campaign(b"two", Some(Duration::from_millis(200)), &plain()).unwrap());
        assert!(get(&client, theirs.key()).unwrap().is_none());
        std::thread::scope(|scope| {
            let campaigns = scope.spawn(|| theirs.campaign(b"two", Some(LONG), &plain()).unwrap());
            wait_until(LONG, || get(&client, theirs.key()).unwrap().is_some());
            mine.resign(&plain()).unwrap();
            assert!(campaigns.join().unwrap());
        });
        mine.resign(&plain()).unwrap();
        assert_eq!((leader(&mine).unwrap(), mine.revision()), ("two".to_owned(), 0));
        drop((first, second));
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn a_candidate_that_crashed_leads_on_with_the_same_lease() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let crashed = session(&client);
        let before = Election::new(&crashed, b"office");
        assert!(before.campaign(b"before", None, &plain()).unwrap());
        crashed.orphan();
        let restarted = SessionOptions { lease: crashed.lease(), ..SessionOptions::default() };
        let restarted = client.session(&restarted, None).unwrap();
        let after = Election::new(&restarted, b"office");
        let (leads, took) = timed(|| after.campaign(b"after", Some(LONG), &plain()).unwrap());
        assert!(leads && took < Duration::from_secs(5), "{took:?}");
        assert_eq!((leader(&after).unwrap(), after.revision()), ("after".to_owned(), before.revision()));
        drop(restarted);
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn an_observer_sees_every_change_that_lasts_over_a_restart_too() {
    for_each_version(|mut etcd| {
        let client = common::client(&etcd.url());
        let (first, second) = (session(&client), session(&client));
        let (mine, theirs) = (Election::new(&first, b"office"), Election::new(&second, b"office"));
        let asked = mine.observe().unwrap();
        let (tell, told) = channel();
        let called = mine.observe().unwrap();
        let called = called.calling(Box::new(move |observation| drop(tell.send(observation)))).unwrap();
        called.start().allow();
        assert!(matches!(called.next(None), Err(Error::FailedPrecondition { .. })));
        assert!(asked.next(Some(Duration::from_millis(100))).unwrap().is_none(), "there is no leader");
        let sees = |expected: &str| {
            assert_eq!(value(&asked.next(Some(LONG)).unwrap().unwrap()), expected);
            wait_until(LONG, || value(&told.recv_timeout(LONG).unwrap().unwrap()) == expected);
        };
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        sees("one");
        assert!(asked.next(Some(Duration::ZERO)).unwrap().is_none());
        etcd.restart();
        wait_until(LONG, || mine.proclaim(b"one, still", &plain()).is_ok());
        sees("one, still");
        mine.resign(&plain()).unwrap();
        assert!(theirs.campaign(b"two", None, &plain()).unwrap());
        sees("two");
        asked.cancel();
        assert!(matches!(asked.next(None), Err(Error::Closed { .. })));
        drop(called);
        assert!(told.recv().is_err(), "the consumer is dropped");
        drop((first, second));
    });
}

#[test]
fn the_end_of_the_client_ends_an_observer_with_a_word() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let session = session(&client);
    let observer = Election::new(&session, b"office").observe().unwrap();
    let (tell, told) = channel();
    let observer = observer.calling(Box::new(move |observation| drop(tell.send(observation)))).unwrap();
    observer.start().allow();
    client.close();
    assert!(matches!(told.recv_timeout(LONG).unwrap(), Err(Error::Closed { .. })));
    assert!(told.recv().is_err());
    drop((observer, session));
    let client = common::client(&etcd.url());
    client.lease_list(&plain()).unwrap().ids.iter().for_each(|lease| client.lease_revoke(*lease, &plain()).unwrap());
}
