//! What is told by callbacks, and that no callback keeps a copy from going on.

use crate::common::{Gate, LONG, client, config, on_each_version, put, put_revision, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::ChangeKind;
use etcdgw::config::Config;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::WatchOptions;
use std::borrow::Cow;

fn beside() -> WatchOptions {
    let keys = Keys::One(Cow::Borrowed(b"beside"));
    WatchOptions::new(WatchRequest::new(keys))
}

#[test]
fn a_slow_callback_of_a_watch_keeps_no_mirror_of_its_client_from_going_on() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (entered, release) = (Gate::new(), Gate::new());
        let (enters, released) = (entered.clone(), release.clone());
        let slow = client.watch(beside(), Box::new(move |_| (enters.open(), released.wait()).1)).unwrap();
        slow.start();
        let (mirror, hearer) = open(&client, b"s/");
        put(&client, b"beside", b"1").unwrap();
        entered.wait();
        for number in 0..100 {
            let revision = put_revision(&client, b"s/a", number.to_string().as_bytes());
            assert!(mirror.wait_for_revision(revision, Some(LONG)).unwrap());
            assert_eq!(mirror.snapshot().get(b"s/a").unwrap().value(), number.to_string().as_bytes());
        }
        assert!(hearer.kinds().is_empty());
        release.open();
        hearer.wait_for(&stored(&client, b"s/"));
        assert!(hearer.kinds().iter().all(|kind| *kind == ChangeKind::Events), "there was room for all");
    });
}

#[test]
fn a_callback_that_is_too_slow_is_told_the_difference_when_it_comes_back() {
    on_each_version(|etcd| {
        let client = Client::new(Config { watch_buffer_bytes: 10_000, ..config(&etcd.url()) }).unwrap();
        let (hearer, entered, release) = (Hearer::default(), Gate::new(), Gate::new());
        let (hears, enters, released) = (hearer.clone(), entered.clone(), release.clone());
        let consumer = move |change| {
            hears.hear(change);
            enters.open();
            released.wait();
        };
        put(&client, b"o/first", b"1").unwrap();
        let mirror = client.mirror(options(b"o/"), Some(Box::new(consumer))).unwrap();
        hearer.knows(shown(&mirror));
        mirror.start();
        put(&client, b"o/first", b"2").unwrap();
        entered.wait();
        for number in 0..300 {
            put(&client, format!("o/{}", number % 7).as_bytes(), &[b'x'; 300]).unwrap();
        }
        delete(&client, b"o/first");
        settle(&client, &mirror, b"o/mark");
        release.open();
        put(&client, b"o/last", b"1").unwrap();
        hearer.wait_for(&stored(&client, b"o/"));
        let kinds = hearer.kinds();
        assert_eq!(kinds[..2], [ChangeKind::Events, ChangeKind::Rebuilt]);
        assert!(kinds[2..].iter().all(|kind| *kind == ChangeKind::Events));
        hearer.with(|heard| {
            let events: usize = heard.changes.iter().map(|change| change.events.len()).sum();
            assert!(events < 20, "{events} events for ten keys");
        });
    });
}

#[test]
fn a_callback_that_panics_has_had_its_last_call_and_the_copy_goes_on() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let entered = Gate::new();
        let enters = entered.clone();
        let consumer = move |_| {
            enters.open();
            panic!("on purpose");
        };
        let mirror = client.mirror(options(b"p/"), Some(Box::new(consumer))).unwrap();
        mirror.start();
        put(&client, b"p/a", b"1").unwrap();
        entered.wait();
        let revision = put_revision(&client, b"p/a", b"2");
        assert!(mirror.wait_for_revision(revision, Some(LONG)).unwrap());
        assert_eq!(mirror.snapshot().get(b"p/a").unwrap().value(), b"2");
    });
}

#[test]
fn nothing_is_told_before_the_start_and_then_everything() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let hearer = Hearer::default();
        let hears = hearer.clone();
        let mirror = client.mirror(options(b"b/"), Some(Box::new(move |change| hears.hear(change)))).unwrap();
        let revision = put_revision(&client, b"b/a", b"1");
        assert!(mirror.wait_for_revision(revision, Some(LONG)).unwrap());
        // A callback of the same thread comes after what would have been told.
        let (other, others) = open(&client, b"b/");
        put(&client, b"b/b", b"1").unwrap();
        wait_until(LONG, || !others.kinds().is_empty());
        assert!(hearer.kinds().is_empty());
        mirror.start();
        hearer.wait_for(&stored(&client, b"b/"));
        drop(other);
    });
}
