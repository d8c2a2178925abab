//! Elections: one leader, known to all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::concurrency::election::{Election, Observation, Observer};
use etcdgw::concurrency::session::SessionOptions;
use etcdgw::error::{Error, Result};
use etcdgw::event_queue::{Content, Event, SourceKind};
use etcdgw::rpc::Keys;
use std::sync::mpsc::channel;
use std::time::Duration;

fn leader_of(election: &Election) -> Option<String> {
    let response = election.leader(&plain()).unwrap();
    response.kvs.first().map(|kv| String::from_utf8(response.bytes(kv.value).to_vec()).unwrap())
}

fn value(observation: &Observation) -> String {
    String::from_utf8(observation.bytes(observation.leader.value).to_vec()).unwrap()
}

#[test]
fn one_leads_and_proclaims_and_the_next_takes_over_when_it_resigns() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let (first, second) = (session(&client), session(&client));
        let (mine, theirs) = (Election::new(&first, b"office"), Election::new(&second, b"office"));
        assert_eq!((leader_of(&mine), mine.revision()), (None, 0));
        assert!(matches!(mine.proclaim(b"x", &plain()), Err(Error::FailedPrecondition { .. })));
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        assert_eq!(leader_of(&theirs).unwrap(), "one");
        mine.proclaim(b"one, still", &plain()).unwrap();
        assert_eq!(leader_of(&theirs).unwrap(), "one, still");
        let revision = mine.revision();
        assert!(mine.campaign(b"one again", None, &plain()).unwrap());
        assert_eq!((leader_of(&theirs).unwrap(), mine.revision()), ("one again".to_owned(), revision));
        assert!(!theirs.campaign(b"two", Some(Duration::from_millis(200)), &plain()).unwrap());
        assert!(get(&client, theirs.key()).unwrap().is_none());
        std::thread::scope(|scope| {
            let campaigns = scope.spawn(|| theirs.campaign(b"two", Some(LONG), &plain()).unwrap());
            wait_until(LONG, || get(&client, theirs.key()).unwrap().is_some());
            mine.resign(&plain()).unwrap();
            assert!(campaigns.join().unwrap());
        });
        mine.resign(&plain()).unwrap();
        assert_eq!((leader_of(&mine).unwrap(), mine.revision()), ("two".to_owned(), 0));
        drop((first, second));
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn a_leader_that_is_told_that_it_leads_no_more_says_so_itself_from_then_on() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        client.delete_range(&delete_request(Keys::one(mine.key())), &plain()).unwrap();
        assert!(mine.revision() != 0 && mine.is_leader().is_some(), "nobody has told it");
        assert!(matches!(mine.proclaim(b"two", &plain()), Err(Error::FailedPrecondition { .. })));
        assert!(mine.revision() == 0 && mine.is_leader().is_none());
        assert!(mine.campaign(b"three", None, &plain()).unwrap());
        mine.proclaim(b"four", &plain()).unwrap();
        assert_eq!((leader_of(&mine).as_deref(), mine.revision() != 0), (Some("four"), true));
        drop(session);
    });
}

#[test]
fn a_leader_that_finds_itself_deposed_waits_no_longer_than_it_wanted_to() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (common::client(&etcd.url()), common::client(&proxy.url()));
        let (first, second) = (session(&far), session(&near));
        let (mine, theirs) = (Election::new(&first, b"office"), Election::new(&second, b"office"));
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        near.delete_range(&delete_request(Keys::one(mine.key())), &plain()).unwrap();
        assert!(theirs.campaign(b"two", None, &plain()).unwrap());
        proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(700)));
        let limit = Duration::from_secs(1);
        let (campaigned, time) = timed(|| mine.campaign(b"three", Some(limit), &plain()));
        assert!(!campaigned.unwrap() && time < limit + Duration::from_millis(400), "after {time:?}");
        proxy.heal();
        drop((first, second));
    });
}

#[test]
fn a_leader_that_cannot_change_its_value_in_time_gives_up_and_is_gone_once_a_member_answers() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&proxy.url()));
        let kept = session(&client);
        let options = SessionOptions { lease: kept.lease(), ..SessionOptions::default() };
        let adopted = behind.session(&options, None).unwrap();
        let election = Election::new(&adopted, b"office");
        assert!(election.campaign(b"one", None, &plain()).unwrap());
        proxy.inject(Fault::After(Direction::Answer, 0, End::Stall));
        let limit = Some(Duration::from_millis(200));
        let (campaigned, time) = timed(|| election.campaign(b"two", limit, &plain()));
        assert!(!campaigned.unwrap() && time < Duration::from_secs(1), "after {time:?}");
        assert_eq!(election.revision(), 0);
        proxy.heal();
        proxy.cut(End::Close);
        wait_until(LONG, || leader_of(&Election::new(&kept, b"office")).is_none());
        drop((adopted, kept));
    });
}

#[test]
fn a_candidate_that_crashed_leads_on_with_the_same_lease() {
    for_each_version_leaving_no_lease(|etcd| {
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
        assert_eq!((leader_of(&after).unwrap(), after.revision()), ("after".to_owned(), before.revision()));
        drop(restarted);
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn an_observer_sees_every_change_that_lasts_over_a_restart_too() {
    for_each_version_leaving_no_lease(|etcd| {
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
fn an_observer_goes_on_in_a_cluster_that_was_restored_from_a_backup() {
    for_each_version(|mut etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        let backup = etcd.back_up();
        let (tell, told) = channel();
        let observer = mine.observe().unwrap();
        let observer = observer.calling(Box::new(move |observation| drop(tell.send(observation)))).unwrap();
        observer.start().allow();
        let seen = || value(&told.recv_timeout(LONG).unwrap().unwrap());
        assert_eq!(seen(), "one");
        mine.proclaim(b"two", &plain()).unwrap();
        assert_eq!(seen(), "two");
        etcd.wait_for_watchers(1);
        etcd.go_back_to(&backup);
        etcd.restart();
        assert_eq!(seen(), "one");
        mine.proclaim(b"three", &plain()).unwrap();
        assert_eq!(seen(), "three");
    });
}

#[test]
fn an_observer_that_is_cancelled_watches_nothing() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        let asked = mine.observe().unwrap();
        assert_eq!(value(&asked.next(Some(LONG)).unwrap().unwrap()), "one");
        assert!(asked.next(Some(Duration::ZERO)).unwrap().is_none());
        assert_eq!(client.stats().watches_open, 1);
        asked.cancel();
        assert_eq!(client.stats().watches_open, 0, "before it is dropped");
        assert_eq!(asked.next(None).unwrap_err().to_string(), "the observer was cancelled");
    });
}

#[test]
fn an_observer_that_is_asked_with_a_time_limit_waits_no_longer_for_a_server_that_does_not_answer() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let observer = Election::new(&session, b"office").observe().unwrap();
        etcd.stop();
        // Such a short one has passed before anything is asked.
        for limit in [Duration::from_nanos(1), Duration::from_millis(50)] {
            let (seen, took) = timed(|| observer.next(Some(limit)));
            assert!(seen.unwrap().is_none() && took < Duration::from_secs(2), "{took:?}");
        }
        etcd.cont();
    });
}

#[test]
fn ten_candidates_go_on_waiting_while_the_server_is_away() {
    for_each_version_leaving_no_lease(|etcd| {
        let leading = session(&common::client(&etcd.url()));
        let leader = Election::new(&leading, b"office");
        assert!(leader.campaign(b"first", None, &plain()).unwrap());
        let release = || leader.resign(&plain()).unwrap();
        ten_wait_while_the_server_is_away(etcd, b"office/", release, |session, number| {
            let candidate = Election::new(session, b"office");
            let name = number.to_string();
            assert!(candidate.campaign(name.as_bytes(), None, &plain()).unwrap());
            assert_eq!(leader_of(&candidate).unwrap(), name);
            candidate.resign(&plain()).unwrap();
        });
    });
}

#[test]
fn the_end_of_the_client_ends_an_observer_with_a_word() {
    on_newest_leaving_no_lease(|etcd| {
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
        client
            .lease_list(&plain())
            .unwrap()
            .ids
            .iter()
            .for_each(|lease| client.lease_revoke(*lease, &plain()).unwrap());
    });
}

fn observe_into(tagged: &Tagged, election: &Election, name: usize) -> Observer {
    let observer = election.observe().unwrap().delivering_to(&tagged.queue, tagged.tag(name)).unwrap();
    observer.start().allow();
    observer
}

/// What an event says of an election.
#[track_caller]
fn seen(event: &Event) -> &Result<Observation> {
    let Content::Election(seen) = &event.content else { panic!("{event:?}") };
    assert_eq!(event.source, SourceKind::Election);
    seen
}

#[test]
fn leaders_come_into_a_queue_in_their_order_beside_all_else_that_delivers_there() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let (first, second) = (session(&client), session(&client));
        let (mine, theirs) = (Election::new(&first, b"office"), Election::new(&second, b"office"));
        let observer = observe_into(&tagged, &mine, 0);
        assert!(matches!(observer.next(None), Err(Error::FailedPrecondition { .. })));
        let watch = tagged.watch_key(&client, b"k", 1);
        let options = SessionOptions { ttl: 3, ..SessionOptions::default() };
        let short = client.session(&options, None).unwrap();
        let kept = client.keep_alive_into(short.lease(), &tagged.queue, tagged.tag(2), &plain()).unwrap();
        let lost = client.session_into(&options, &tagged.queue, tagged.tag(3)).unwrap();
        kept.start().allow();
        lost.start().allow();
        let renewals = std::cell::Cell::new(0);
        let next = || loop {
            let event = tagged.event();
            match event.source {
                SourceKind::KeepAlive => renewals.set(renewals.get() + 1),
                _ => break event,
            }
        };
        let sees = |expected: &str| {
            let event = next();
            assert_eq!((value(seen(&event).as_ref().unwrap()).as_str(), source_name(&event)), (expected, 0));
            assert_eq!(tagged.dropped(), 0);
        };
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        sees("one");
        let revision = put_revision(&client, b"k", b"v");
        let event = next();
        let Content::Watch(response) = &event.content else { panic!("{event:?}") };
        assert_eq!((source_name(&event), response.events[0].kv.mod_revision), (1, revision));
        drop(event);
        mine.proclaim(b"one, still", &plain()).unwrap();
        sees("one, still");
        client.lease_revoke(lost.lease(), &plain()).unwrap();
        let event = next();
        assert_eq!((event.source, source_name(&event)), (SourceKind::Session, 3));
        mine.resign(&plain()).unwrap();
        assert!(theirs.campaign(b"two", None, &plain()).unwrap());
        sees("two");
        drop((event, lost));
        assert_eq!(tagged.dropped(), 1);
        wait_until(LONG, || {
            let renewal = tagged.event();
            assert!(matches!(renewal.content, Content::KeepAlive(_)), "{renewal:?}");
            renewals.replace(renewals.get() + 1) >= 2
        });
        drop((observer, watch, kept));
        assert_eq!((tagged.dropped(), tagged.is_empty()), (4, true));
        drop((first, second, short));
    });
}

#[test]
fn of_leaders_that_nobody_has_taken_a_queue_has_the_latest() {
    const VALUES: usize = 20;
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        let _observer = observe_into(&tagged, &mine, 0);
        assert!(mine.campaign(b"00", None, &plain()).unwrap());
        (1..VALUES).for_each(|n| mine.proclaim(format!("{n:02}").as_bytes(), &plain()).unwrap());
        let latest = format!("{:02}", VALUES - 1);
        let mut values = Vec::new();
        while values.last() != Some(&latest) {
            values.push(value(seen(&tagged.event()).as_ref().unwrap()));
        }
        // One that waited, one that the observer was about to tell, and the last.
        assert!(values.len() <= 3 && values.is_sorted(), "{values:?}");
        assert!(tagged.is_empty());
    });
}

#[test]
fn an_observer_that_is_cancelled_or_freed_leaves_nothing_in_its_queue() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        let observers = [0, 1, 2].map(|name| observe_into(&tagged, &mine, name));
        let event = loop {
            let event = tagged.event();
            if source_name(&event) == 0 {
                break event;
            }
        };
        observers.iter().for_each(Observer::cancel);
        assert_eq!((tagged.dropped(), tagged.is_empty()), (2, true));
        wait_until(LONG, || client.stats().watches_open == 0);
        drop(observers);
        assert_eq!(tagged.dropped(), 2);
        assert_eq!(value(seen(&event).as_ref().unwrap()), "one");
        drop(event);
        assert_eq!(tagged.dropped(), 3);
        let untaken = observe_into(&tagged, &mine, 3);
        drop(untaken);
        assert_eq!((tagged.dropped(), tagged.is_empty()), (4, true));
    });
}

#[test]
fn with_its_queue_an_observer_ends() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let session = session(&client);
        let mine = Election::new(&session, b"office");
        assert!(mine.campaign(b"one", None, &plain()).unwrap());
        let observers = [0, 1].map(|name| observe_into(&tagged, &mine, name));
        let event = tagged.event();
        wait_until(LONG, || client.stats().watches_open == 2);
        let Tagged { queue, dropped } = tagged;
        drop(queue);
        let dropped = || dropped.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(dropped(), 1, "of the other one there is an event");
        wait_until(LONG, || client.stats().watches_open == 0);
        drop(event);
        assert_eq!(dropped(), 2);
        observers.iter().for_each(Observer::cancel);
        drop(observers);
        assert_eq!(dropped(), 2);
    });
}

#[test]
fn the_end_of_the_client_is_the_last_that_a_queue_hears_of_an_election() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let tagged = Tagged::new();
    let session = session(&client);
    let observer = observe_into(&tagged, &Election::new(&session, b"office"), 0);
    client.close();
    let event = tagged.event();
    assert!(matches!(seen(&event), Err(Error::Closed { .. })), "{event:?}");
    assert!(tagged.is_empty());
    drop((observer, session));
    assert_eq!(tagged.dropped(), 0);
    drop(event);
    assert_eq!(tagged.dropped(), 1);
    let client = common::client(&etcd.url());
    client.lease_list(&plain()).unwrap().ids.iter().for_each(|lease| client.lease_revoke(*lease, &plain()).unwrap());
}
