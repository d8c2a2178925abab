//! How responses get to their consumer: callbacks, `next`, the descriptor, and what a slow consumer costs.

use crate::common::{FakeGateway, Gate, LONG, client, put, timed, wait_until, within};
use crate::support::*;
use etcdgw::error::Error;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Confirms every watch and sends it the messages of these revisions.
fn sending(messages: &'static [&'static [i64]]) -> FakeGateway {
    watch_gateway(move |_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED_AT_4);
        messages.iter().for_each(|revisions| reply.chunk(puts(revisions)));
        reply.hold();
    })
}

#[test]
fn callbacks_begin_only_after_the_start() {
    let gateway = sending(&[&[5]]);
    let client = client(gateway.url());
    let (early, consumer) = Seen::new();
    let withheld = client.watch(one(b"k"), consumer).unwrap();
    let (seen, consumer) = Seen::new();
    let started = client.watch(one(b"k"), consumer).unwrap();
    started.start();
    seen.wait_for_changes(1);
    assert!(early.all().is_empty());
    withheld.start();
    withheld.start();
    early.wait_for_changes(1);
}

#[test]
fn a_watch_that_fails_to_begin_has_dropped_its_consumer_whatever_other_callbacks_do() {
    let gateway = watch_gateway(|number, _, reply| {
        if number == 0 {
            reply.stream_head();
            reply.chunk(CREATED);
            reply.chunk(puts(&[5]));
        }
        reply.hold();
    });
    let client = client(gateway.url());
    let (entered, gate) = (Gate::new(), Gate::new());
    let (inside, held) = (entered.clone(), gate.clone());
    let consumer = Box::new(move |_| {
        inside.open();
        held.wait();
    });
    let slow = client.watch(one(b"k"), consumer).unwrap();
    slow.start();
    entered.wait();
    let owned = Arc::new(());
    let kept = owned.clone();
    let options = WatchOptions { call: within(Duration::from_millis(50)), ..one(b"k") };
    let failed = client.watch(options, Box::new(move |_| drop(kept.clone())));
    assert!(matches!(failed, Err(Error::Deadline { .. })));
    assert_eq!(Arc::strong_count(&owned), 1);
    gate.open();
}

#[test]
fn a_slow_callback_delays_other_callbacks_and_nothing_else() {
    let gateway = sending(&[&[5], &[6]]);
    let client = client(gateway.url());
    let (entered, gate) = (Gate::new(), Gate::new());
    let (inside, held) = (entered.clone(), gate.clone());
    let slow = client
        .watch(
            one(b"k"),
            Box::new(move |_| {
                inside.open();
                held.wait();
            }),
        )
        .unwrap();
    slow.start();
    entered.wait();
    let (seen, consumer) = Seen::new();
    let other = client.watch(one(b"k"), consumer).unwrap();
    other.start();
    let pulled = client.watch_open(one(b"k")).unwrap();
    assert_eq!(values(&next(&pulled).changes)[0], "5");
    let response = client.watch_once(one(b"k")).unwrap();
    assert_eq!(Said::from(&response).changes[0].revision, 5);
    assert!(seen.all().is_empty());
    gate.open();
    assert_eq!(values(&seen.wait_for_changes(2)), ["5", "6"]);
}

#[test]
fn a_callback_may_call_the_library() {
    let gateway = sending(&[&[5]]);
    let client = client(gateway.url());
    let inner = client.clone();
    let (seen, mut consumer) = Seen::new();
    let watch = client
        .watch(
            one(b"k"),
            Box::new(move |response| {
                let pulled = inner.watch_open(one(b"k")).unwrap();
                assert_eq!(values(&next(&pulled).changes), ["5"]);
                consumer(response);
            }),
        )
        .unwrap();
    watch.start();
    seen.wait_for_changes(1);
}

#[test]
fn a_consumer_that_panics_has_had_its_last_call_and_the_others_go_on() {
    let gateway = sending(&[&[5]]);
    let client = client(gateway.url());
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let broken = client
        .watch(
            one(b"k"),
            Box::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                panic!("as a test");
            }),
        )
        .unwrap();
    broken.start();
    assert!(broken.join(Some(LONG)).unwrap());
    let (seen, consumer) = Seen::new();
    let watch = client.watch(one(b"k"), consumer).unwrap();
    watch.start();
    seen.wait_for_changes(1);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn the_descriptor_is_readable_while_a_response_waits_and_after_the_end() {
    let go_on = Gate::new();
    let held = go_on.clone();
    let gateway = watch_gateway(move |_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        held.wait();
        reply.chunk(puts(&[5]));
        reply.hold();
    });
    let client = client(gateway.url());
    let watch = client.watch_open(one(b"k")).unwrap();
    assert!(!is_readable(&watch, Duration::ZERO));
    assert!(watch.next(Some(Duration::ZERO)).unwrap().is_none());
    go_on.open();
    assert!(is_readable(&watch, LONG));
    assert!(is_readable(&watch, Duration::ZERO), "until it is taken");
    assert_eq!(next(&watch).kind, WatchKind::Events);
    assert!(!is_readable(&watch, Duration::ZERO));
    let (result, elapsed) = timed(|| watch.next(Some(Duration::from_millis(50))));
    assert!(result.unwrap().is_none() && elapsed >= Duration::from_millis(50));
    client.close();
    assert!(is_readable(&watch, LONG));
    assert_eq!(next(&watch).kind, WatchKind::Ended);
    assert!(is_readable(&watch, Duration::ZERO));
    assert!(matches!(watch.next(None), Err(Error::Closed { .. })));
    assert!(is_readable(&watch, Duration::ZERO), "for ever");
}

#[test]
fn what_does_not_fit_the_kind_of_watch_says_so() {
    let gateway = sending(&[]);
    let client = client(gateway.url());
    let (_seen, consumer) = Seen::new();
    let calling = client.watch(one(b"k"), consumer).unwrap();
    assert!(matches!(calling.next(None), Err(Error::FailedPrecondition { .. })));
    assert_eq!(calling.fd(), None);
    assert!(!calling.join(Some(Duration::from_millis(20))).unwrap(), "it has not ended");
    assert!(matches!(calling.request_progress(), Err(Error::Unimplemented { .. })));
    let pulled = client.watch_open(one(b"k")).unwrap();
    assert!(pulled.join(None).unwrap());
}

#[test]
fn a_callback_that_waits_for_the_end_of_callbacks_is_told() {
    let gateway = sending(&[&[5]]);
    let client = client(gateway.url());
    let handle = Arc::new(Mutex::new(None::<etcdgw::watch::Watch>));
    let (told, inner) = (Gate::new(), handle.clone());
    let tells = told.clone();
    let watch = client
        .watch(
            one(b"k"),
            Box::new(move |_| {
                let watch = inner.lock().unwrap().take().unwrap();
                assert!(matches!(watch.join(None), Err(Error::FailedPrecondition { .. })));
                tells.open();
            }),
        )
        .unwrap();
    *handle.lock().unwrap() = Some(watch.clone());
    watch.start();
    told.wait();
}

#[test]
fn a_consumer_that_does_not_consume_costs_bounded_memory_and_loses_nothing() {
    const LAST: i64 = 124;
    let gateway = watch_gateway(move |_, request, reply| {
        reply.stream_head();
        reply.chunk(format!("{{\"result\":{{\"header\":{{\"revision\":\"{LAST}\"}},\"created\":true}}}}\n"));
        let value = base64_simd::STANDARD.encode_to_string(vec![b'v'; 600_000]);
        let start: i64 = request.json()["create_request"]["start_revision"].as_str().unwrap().parse().unwrap();
        for revision in start..=LAST {
            reply.chunk(format!(
                "{{\"result\":{{\"header\":{{\"revision\":\"{revision}\"}},\"events\":[{{\"kv\":{{\"key\":\"aw==\",\"mod_revision\":\"{revision}\",\"value\":\"{value}\"}}}}]}}}}\n"
            ));
        }
        reply.hold();
    });
    let client = client(gateway.url());
    let watch = client.watch_open(one(b"k")).unwrap();
    // The stream is given up when 16 MiB are kept, and taken up where they end.
    wait_until(LONG, || start_revisions(&gateway) == [5] && gateway.open_connections() <= IDLE_CONNECTIONS);
    let mut next_revision = 5;
    while next_revision <= LAST {
        let said = next(&watch);
        assert_eq!(said.kind, WatchKind::Events, "{:?}", said.error);
        for change in said.changes {
            assert_eq!(change.revision, next_revision);
            next_revision += 1;
        }
    }
    let starts = start_revisions(&gateway);
    assert!(starts.len() > 1 && (20..45).contains(&starts[1]), "{starts:?}");
}

#[test]
fn two_threads_may_ask_the_same_watch() {
    let gateway = sending(&[&[5], &[6], &[7], &[8]]);
    let client = client(gateway.url());
    let watch = client.watch_open(one(b"k")).unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (watch, taken) = (watch.clone(), taken.clone());
            std::thread::spawn(move || {
                while let Ok(response) = watch.next(None) {
                    let said = Said::from(&response.unwrap());
                    taken.lock().unwrap().extend(said.changes.iter().map(|change| change.revision));
                }
            })
        })
        .collect();
    wait_until(LONG, || taken.lock().unwrap().len() == 4);
    client.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut taken = taken.lock().unwrap().clone();
    taken.sort_unstable();
    assert_eq!(taken, [5, 6, 7, 8]);
}

#[test]
fn a_thousand_changes_come_to_a_callback_in_order() {
    crate::common::on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (seen, consumer) = Seen::new();
        let watch = client.watch(one(b"delivering/order"), consumer).unwrap();
        watch.start();
        for i in 0..1000_u32 {
            put(&client, b"delivering/order", i.to_string().as_bytes()).unwrap();
        }
        let expected: Vec<String> = (0..1000_u32).map(|i| i.to_string()).collect();
        assert_eq!(values(&seen.wait_for_changes(1000)), expected);
        assert_exact(&seen.all());
    });
}
