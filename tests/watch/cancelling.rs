//! A watch ends when its owner wants it to: at once, from anywhere, whatever it is doing.

use crate::common::{BlackHole, FakeGateway, Gate, LONG, client, config, timed, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, TlsConfig};
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn confirming() -> FakeGateway {
    watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.hold();
    })
}

/// Cancels and drops the watch, each of which must be done at once.
#[track_caller]
fn assert_ends_at_once(client: Client, watch: Watch) {
    let ((), elapsed) = timed(|| watch.cancel());
    assert!(elapsed < AT_ONCE, "cancelling took {elapsed:?}");
    let ((), elapsed) = timed(|| drop(watch));
    assert!(elapsed < AT_ONCE, "dropping the watch took {elapsed:?}");
    let ((), elapsed) = timed(|| drop(client));
    assert!(elapsed < AT_ONCE, "dropping the client took {elapsed:?}");
}

#[test]
fn a_watch_that_waits_for_events_ends_at_once() {
    let gateway = confirming();
    let client = client(gateway.url());
    let watch = client.watch_open(one(b"k")).unwrap();
    assert_ends_at_once(client, watch);
    // Only the connection of the range stays, for as long as the client would have.
    wait_until(LONG, || gateway.open_connections() == 0);
}

#[test]
fn a_watch_that_connects_ends_at_once() {
    let hole = BlackHole::new();
    let client = client(&hole.url());
    let watch = client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap();
    assert_ends_at_once(client, watch);
}

#[test]
fn a_watch_that_shakes_hands_ends_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    let url = format!("https://{}", listener.local_addr().unwrap());
    let client = Client::new(Config { tls, ..config(&url) }).unwrap();
    let watch = client.watch_open(unconfirmed(from(one(b"k"), 5))).unwrap();
    let _connection = listener.accept().unwrap();
    assert_ends_at_once(client, watch);
}

#[test]
fn a_watch_whose_create_is_not_answered_ends_at_once() {
    let gateway = watch_gateway(|_, _, reply| reply.hold());
    let client = client(gateway.url());
    let watch = client.watch_open(unconfirmed(one(b"k"))).unwrap();
    wait_until(LONG, || gateway.count("/v3/watch") == 1);
    assert_ends_at_once(client, watch);
}

#[test]
fn a_watch_that_pauses_before_it_tries_again_ends_at_once() {
    let gateway = watch_gateway(|_, _, reply| reply.close());
    let client = client(gateway.url());
    let watch = client.watch_open(unconfirmed(one(b"k"))).unwrap();
    wait_until(LONG, || gateway.count("/v3/watch") > 8);
    assert_ends_at_once(client, watch);
}

#[test]
fn a_watch_that_waits_for_its_consumer_ends_at_once() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        let value = base64_simd::STANDARD.encode_to_string(vec![b'v'; 600_000]);
        let mut revision = 5;
        while reply.is_open() {
            reply.chunk(format!(
                "{{\"result\":{{\"events\":[{{\"kv\":{{\"key\":\"aw==\",\"mod_revision\":\"{revision}\",\"value\":\"{value}\"}}}}]}}}}\n"
            ));
            revision += 1;
        }
    });
    let client = client(gateway.url());
    let watch = client.watch_open(one(b"k")).unwrap();
    assert!(is_readable(&watch, LONG));
    std::thread::sleep(Duration::from_millis(300));
    assert_ends_at_once(client, watch);
}

#[test]
fn a_watch_is_cancelled_inside_its_callback_and_is_called_no_more() {
    for drops in [false, true] {
        let gateway = watch_gateway(|_, _, reply| {
            reply.stream_head();
            reply.chunk(CREATED);
            for revision in 5.. {
                reply.chunk(puts(&[revision]));
                if !reply.is_open() {
                    return;
                }
            }
        });
        let client = client(gateway.url());
        let handle = Arc::new(Mutex::new(None::<Watch>));
        let calls = Arc::new(AtomicUsize::new(0));
        let (inner, count) = (handle.clone(), calls.clone());
        let watch = client
            .watch(
                one(b"k"),
                Box::new(move |_| {
                    count.fetch_add(1, Ordering::SeqCst);
                    let watch = inner.lock().unwrap().take().unwrap();
                    let ((), elapsed) = timed(|| if drops { drop(watch) } else { watch.cancel() });
                    assert!(elapsed < AT_ONCE, "{elapsed:?}");
                }),
            )
            .unwrap();
        if drops {
            let starter = watch.clone();
            *handle.lock().unwrap() = Some(watch);
            starter.start();
            drop(starter);
        } else {
            *handle.lock().unwrap() = Some(watch.clone());
            watch.start();
            assert!(watch.join(Some(LONG)).unwrap());
        }
        // The consumer is dropped exactly once, after its last call.
        wait_until(LONG, || Arc::strong_count(&calls) == 1);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn another_thread_cancels_while_the_callback_runs_and_none_begins_after() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk([CREATED.to_owned(), puts(&[5])].concat());
        reply.chunk(puts(&[6]));
        reply.hold();
    });
    let client = client(gateway.url());
    let (entered, gate, calls) = (Gate::new(), Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (inside, held, count) = (entered.clone(), gate.clone(), calls.clone());
    let watch = client
        .watch(
            one(b"k"),
            Box::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                inside.open();
                held.wait();
            }),
        )
        .unwrap();
    watch.start();
    entered.wait();
    let ((), elapsed) = timed(|| watch.cancel());
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    assert!(!watch.join(Some(Duration::from_millis(20))).unwrap(), "the callback still runs");
    gate.open();
    assert!(watch.join(Some(LONG)).unwrap());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_callback_cancels_another_watch() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED_AT_4);
        reply.chunk(puts(&[5]));
        reply.hold();
    });
    let client = client(gateway.url());
    let (seen, consumer) = Seen::new();
    let victim = client.watch(one(b"k"), consumer).unwrap();
    let inner = victim.clone();
    let watch = client.watch(one(b"k"), Box::new(move |_| inner.cancel())).unwrap();
    watch.start();
    assert!(victim.join(Some(LONG)).unwrap());
    victim.start();
    assert!(seen.is_over() && seen.all().is_empty());
}

#[test]
fn everything_may_be_dropped_in_any_order() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(puts(&[5]));
        reply.hold();
    });
    for order in 0..6 {
        let client = client(gateway.url());
        let (seen, consumer) = Seen::new();
        let calling = client.watch(one(b"k"), consumer).unwrap();
        calling.start();
        let pulled = client.watch_open(one(b"k")).unwrap();
        let handles: [Box<dyn std::any::Any>; 3] = [Box::new(client), Box::new(calling), Box::new(pulled)];
        let mut handles = Vec::from(handles);
        handles.rotate_left(order % 3);
        if order >= 3 {
            handles.swap(1, 2);
        }
        let ((), elapsed) = timed(|| handles.into_iter().for_each(drop));
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        assert!(seen.is_over());
    }
}

#[test]
fn a_pull_watch_that_is_cancelled_wakes_its_consumer_and_says_that_it_has_ended() {
    let gateway = confirming();
    let watch = client(gateway.url()).watch_open(one(b"k")).unwrap();
    let waiting = watch.clone();
    let thread = std::thread::spawn(move || next(&waiting));
    watch.cancel();
    let ended = thread.join().unwrap();
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 5));
    assert!(matches!(ended.error, Some(Error::Closed { .. })));
    watch.cancel();
    assert!(matches!(watch.next(None), Err(Error::Closed { .. })));
    assert!(is_readable(&watch, Duration::ZERO));
}

#[test]
fn what_was_not_consumed_before_the_cancellation_is_where_to_resume() {
    let gateway = watch_gateway(|_, _, reply| {
        reply.stream_head();
        reply.chunk(CREATED);
        reply.chunk(puts(&[5]));
        reply.hold();
    });
    // The reader hears of it at the same time and must not be faster.
    for _ in 0..50 {
        let watch = client(gateway.url()).watch_open(one(b"k")).unwrap();
        assert!(is_readable(&watch, LONG));
        watch.cancel();
        let ended = next(&watch);
        assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 5));
        assert!(matches!(ended.error, Some(Error::Closed { .. })));
    }
}

#[test]
fn a_token_ends_the_wait_for_the_confirmation_and_for_the_first_event() {
    let silent = watch_gateway(|_, _, reply| reply.hold());
    let confirming = confirming();
    for (gateway, once) in [(&silent, false), (&silent, true), (&confirming, true)] {
        let before = gateway.count("/v3/watch");
        let token = Arc::new(CancelToken::new().unwrap());
        let mut options: WatchOptions = one(b"k");
        options.call.cancel = Some(token.clone());
        let client = client(gateway.url());
        let thread = std::thread::spawn(move || {
            if once { client.watch_once(options).map(drop) } else { client.watch_open(options).map(drop) }
        });
        wait_until(LONG, || gateway.count("/v3/watch") > before);
        token.trigger();
        let (result, elapsed) = timed(|| thread.join().unwrap());
        assert!(matches!(refusal(result), Error::Cancelled { .. }));
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    }
}
