//! Watches that deliver to an event queue: whose events they are, in what order, and how it ends.

use crate::common::{
    FakeGateway, Gate, LONG, Tagged, client, config, on_each_version, put_revision, source_name, wait_until,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::event_queue::{Content, Event, SourceKind};
use etcdgw::watch::{Watch, WatchKind};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

impl Tagged {
    #[track_caller]
    fn next(&self) -> (usize, Said) {
        taken(&self.event())
    }

    fn is_readable(&self, within: Duration) -> bool {
        is_fd_readable(self.queue.fd().unwrap(), within)
    }
}

#[track_caller]
fn taken(event: &Event) -> (usize, Said) {
    assert_eq!(event.source, SourceKind::Watch);
    let said = match &event.content {
        Content::Watch(response) => response.into(),
        other => panic!("{other:?} of a watch"),
    };
    (source_name(event), said)
}

/// Confirms every watch, and sends it three revisions.
fn sending() -> FakeGateway {
    watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED_AT_4);
        [5, 6, 7].iter().for_each(|revision| reply.chunk(puts(&[*revision])));
        reply.hold();
    })
}

#[test]
fn watches_of_two_clients_deliver_to_one_queue_each_its_own_events_in_order() {
    on_each_version(|etcd| {
        const KEYS: [&[u8]; 3] = [b"queues/0", b"queues/1", b"queues/2"];
        let clients = [client(&etcd.url()), client(&etcd.url())];
        let tagged = Tagged::new();
        let watches: Vec<Watch> =
            (0..6).map(|name| tagged.watch_key(&clients[name % 2], KEYS[name / 2], name)).collect();
        assert!(!tagged.is_readable(Duration::ZERO));
        let mut expected: HashMap<usize, Vec<i64>> = HashMap::new();
        for round in 0..20 {
            let key = round % 3;
            let revision = put_revision(&clients[0], KEYS[key], b"value");
            (0..2).for_each(|client| expected.entry(2 * key + client).or_default().push(revision));
        }
        let mut seen: HashMap<usize, Vec<i64>> = HashMap::new();
        while seen.values().map(Vec::len).sum::<usize>() < 40 {
            assert!(tagged.is_readable(LONG));
            let (name, said) = tagged.next();
            assert_eq!(said.kind, WatchKind::Events);
            seen.entry(name).or_default().extend(said.changes.iter().map(|change| change.revision));
        }
        assert_eq!(seen, expected);
        assert!(!tagged.is_readable(Duration::ZERO));
        drop(watches);
        assert_eq!(tagged.dropped(), 6);
    });
}

#[test]
fn the_events_that_a_cancelled_watch_has_left_are_gone_and_another_watch_goes_on() {
    let gateway = sending();
    let client = client(gateway.url());
    let tagged = Tagged::new();
    let cancelled = tagged.watch_key(&client, b"k", 0);
    let (name, first) = tagged.next();
    assert_eq!((name, first.changes[0].revision), (0, 5));
    cancelled.cancel();
    assert!(cancelled.join(Some(LONG)).unwrap());
    assert_eq!(tagged.dropped(), 1);
    assert!(!tagged.is_readable(Duration::ZERO));
    assert!(tagged.queue.next(Some(Duration::ZERO)).is_none());
    let _goes_on = tagged.watch_key(&client, b"k", 1);
    assert_eq!(tagged.next().0, 1);
}

#[test]
fn a_tag_lives_as_long_as_an_event_that_was_taken() {
    let gateway = sending();
    let client = client(gateway.url());
    let tagged = Tagged::new();
    let watch = tagged.watch_key(&client, b"k", 9);
    let event = tagged.queue.next(Some(LONG)).unwrap();
    watch.cancel();
    assert!(!watch.join(Some(Duration::from_millis(20))).unwrap(), "its event is in use");
    drop((watch, client));
    assert_eq!((taken(&event).0, tagged.dropped()), (9, 0));
    drop(event);
    assert_eq!(tagged.dropped(), 1);
}

#[test]
fn a_watch_whose_client_is_closed_ends_in_the_queue_once() {
    let gateway = sending();
    let client = client(gateway.url());
    let tagged = Tagged::new();
    let watch = tagged.watch_key(&client, b"k", 0);
    while tagged.next().1.resume_revision < 8 {}
    client.close();
    let (_, ended) = tagged.next();
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 8));
    assert!(watch.join(Some(LONG)).unwrap());
    assert_eq!(tagged.dropped(), 1);
    assert!(tagged.queue.next(Some(Duration::ZERO)).is_none());
}

#[test]
fn with_its_queue_a_watch_is_over() {
    let gateway = sending();
    let client = client(gateway.url());
    let tagged = Tagged::new();
    let watches = [tagged.watch_key(&client, b"k", 0), tagged.watch_key(&client, b"k", 1)];
    let event = tagged.queue.next(Some(LONG)).unwrap();
    let Tagged { queue, dropped } = tagged;
    let same = queue.clone();
    drop(queue);
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "a clone is the same queue");
    drop(same);
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "of the other one there is an event");
    drop(event);
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    watches.iter().for_each(|watch| assert!(watch.join(Some(LONG)).unwrap()));
    wait_until(LONG, || gateway.open_connections() <= IDLE_CONNECTIONS);
}

#[test]
fn a_watch_that_can_not_be_had_drops_its_tag_and_leaves_the_queue_alone() {
    let gateway = sending();
    let client = client(gateway.url());
    client.close();
    let tagged = Tagged::new();
    refusal(client.watch_into(one(b"k"), &tagged.queue, tagged.tag(0)));
    assert_eq!(tagged.dropped(), 1);
    assert!(tagged.queue.next(Some(Duration::ZERO)).is_none());
}

#[test]
fn a_thread_that_waits_for_an_event_gets_it_and_no_other_one_does() {
    const THREADS: usize = 4;
    let go_on = Gate::new();
    let held = go_on.clone();
    let gateway = watch_gateway(move |_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        held.wait();
        [5, 6, 7].iter().for_each(|revision| reply.chunk(puts(&[*revision])));
        reply.hold();
    });
    let client = client(gateway.url());
    let tagged = Arc::new(Tagged::new());
    let _watch = tagged.watch_key(&client, b"k", 0);
    let seen = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (tagged, seen) = (tagged.clone(), seen.clone());
            std::thread::spawn(move || {
                while let Some(event) = tagged.queue.next(Some(LONG)) {
                    let (_, said) = taken(&event);
                    if said.kind == WatchKind::Ended {
                        return;
                    }
                    seen.fetch_add(said.changes.len(), Ordering::SeqCst);
                }
            })
        })
        .collect();
    go_on.open();
    wait_until(LONG, || seen.load(Ordering::SeqCst) == 3);
    // As many ends as there are threads: one that hangs would be seen.
    let _others: Vec<Watch> = (1..THREADS).map(|name| tagged.watch_key(&client, b"k", name)).collect();
    client.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(tagged.dropped(), THREADS);
}

#[test]
fn watches_that_come_and_go_under_threads_that_take_drop_every_tag_once() {
    const THREADS: usize = 3;
    const WATCHES: usize = 40;
    let gateway = sending();
    let client = client(gateway.url());
    let (tagged, over) = (Arc::new(Tagged::new()), Gate::new());
    let takers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (tagged, over) = (tagged.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.is_open() {
                    drop(tagged.queue.next(Some(Duration::from_millis(1))));
                }
            })
        })
        .collect();
    let owners: Vec<_> = (0..THREADS)
        .map(|owner| {
            let (tagged, client) = (tagged.clone(), client.clone());
            std::thread::spawn(move || {
                for number in 0..WATCHES {
                    let watch = tagged.watch_key(&client, b"k", owner);
                    let same = watch.clone();
                    let other = std::thread::spawn(move || same.cancel());
                    if number % 2 == 0 {
                        watch.cancel();
                    }
                    other.join().unwrap();
                    assert!(watch.join(Some(LONG)).unwrap());
                }
            })
        })
        .collect();
    owners.into_iter().for_each(|owner| owner.join().unwrap());
    over.open();
    takers.into_iter().for_each(|taker| taker.join().unwrap());
    assert_eq!(tagged.dropped(), THREADS * WATCHES);
}

#[test]
fn what_nobody_takes_costs_what_the_client_allows_and_a_watch_that_is_taken_suffers_nothing() {
    const MESSAGES: usize = 400;
    let gateway = watch_gateway(move |_, request, reply| {
        reply.stream_head();
        let last = 5 + MESSAGES - 1;
        let start: usize = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
        let (start, at) = if start == 0 { (5, 4) } else { (start, last) };
        reply.chunk(format!("{{\"result\":{{\"header\":{{\"revision\":\"{at}\"}},\"created\":true}}}}\n"));
        let value = base64_simd::STANDARD.encode_to_string(vec![b'v'; 100_000]);
        for revision in start..=last {
            reply.chunk(format!(
                "{{\"result\":{{\"header\":{{\"revision\":\"{revision}\"}},\"events\":[{{\"kv\":{{\"key\":\"aw==\",\"mod_revision\":\"{revision}\",\"value\":\"{value}\"}}}}]}}}}\n"
            ));
        }
        reply.hold();
    });
    let bounds = Config { watch_buffer_bytes: 8 << 20, watch_buffer_total_bytes: 1 << 20, ..config(gateway.url()) };
    let client = Client::new(bounds).unwrap();
    let (left, taken) = (Tagged::new(), Tagged::new());
    let _left = left.watch_key(&client, b"k", 0);
    // Its stream is given up when no more of it may be kept.
    wait_until(LONG, || start_revisions(&gateway) == [5] && gateway.open_connections() <= IDLE_CONNECTIONS);
    for tagged in [&taken, &left] {
        let _watch = tagged.watch_key(&client, b"k", 1);
        let mut revisions = HashMap::<usize, Vec<i64>>::new();
        let wanted = if std::ptr::eq(tagged, &taken) { MESSAGES } else { 2 * MESSAGES };
        while revisions.values().map(Vec::len).sum::<usize>() < wanted {
            let (name, said) = tagged.next();
            revisions.entry(name).or_default().extend(said.changes.iter().map(|change| change.revision));
        }
        let all: Vec<i64> = (5..).take(MESSAGES).collect();
        assert!(revisions.values().all(|seen| *seen == all));
    }
}
