//! Leases that are kept alive, and how their loss is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::keepalive::{KeepAlive, KeepAliveEvent};
use etcdgw::error::Error;
use etcdgw::event_queue::{Content, Event, SourceKind};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

fn grant(client: &Client, ttl: i64) -> i64 {
    client.lease_grant_new(ttl, Client::new_lease_id().unwrap(), &plain()).unwrap().id
}

fn keep(client: &Client, lease: i64) -> (KeepAlive, Receiver<KeepAliveEvent>) {
    let (tell, told) = channel();
    let tell = Box::new(move |event| drop(tell.send(event)));
    let keep_alive = client.keep_alive(lease, Some(tell), &plain()).unwrap();
    keep_alive.start().allow();
    (keep_alive, told)
}

fn ttl(client: &Client, lease: i64) -> i64 {
    client.lease_time_to_live(lease, false, &plain()).unwrap().ttl
}

/// The first event that tells of a loss.
#[track_caller]
fn loss(told: &Receiver<KeepAliveEvent>) -> Error {
    let end = Instant::now() + LONG;
    loop {
        let event = told.recv_timeout(end - Instant::now()).expect("a loss is told");
        if let Some(error) = event.lost {
            return error;
        }
    }
}

#[test]
fn a_kept_lease_outlives_its_time_and_is_left_when_nobody_keeps_it() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let (kept, told) = keep(&client, lease);
        assert!(kept.lease() == lease && !kept.is_lost());
        let end = Instant::now() + Duration::from_millis(3500);
        let mut renewals = 0;
        while let Ok(event) = told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            assert!(event.lost.is_none() && event.ttl == 2 && event.lease == lease, "{event:?}");
            assert!(kept.remaining() > Duration::from_secs(1), "{:?}", kept.remaining());
            renewals += 1;
        }
        assert!((3..=8).contains(&renewals), "{renewals} renewals of 2 s in 3.5 s");
        assert!(ttl(&client, lease) >= 0);
        drop(kept);
        assert!(ttl(&client, lease) >= 0, "it is left");
        wait_until(LONG, || ttl(&client, lease) == -1);
        assert!(told.try_iter().all(|event| event.lost.is_none()), "nothing is told of what nobody keeps");
    });
}

#[test]
fn a_lease_that_is_gone_can_not_be_kept_and_one_that_goes_is_told_once() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        assert!(matches!(client.keep_alive(77, None, &plain()), Err(Error::LeaseExpired { id: 77 })));
        let (lease, other) = (grant(&client, 3), grant(&client, 3));
        let (kept, told) = keep(&client, lease);
        let (kept_as_well, told_as_well) = keep(&client, lease);
        let (others, told_of_other) = keep(&client, other);
        client.lease_revoke(lease, &plain()).unwrap();
        assert!(matches!(loss(&told), Error::LeaseExpired { id } if id == lease));
        assert!(matches!(loss(&told_as_well), Error::LeaseExpired { id } if id == lease));
        assert!(kept.is_lost() && kept_as_well.is_lost() && kept.remaining().is_zero());
        assert!(told.recv().is_err(), "the consumer is dropped after its last call");
        let event = told_of_other.recv_timeout(LONG).unwrap();
        assert!(event.lost.is_none() && !others.is_lost(), "one in the same request is not disturbed");
        client.lease_revoke(other, &plain()).unwrap();
    });
}

#[test]
fn a_loss_is_told_when_the_time_is_over_whether_or_not_the_server_answers() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 3);
        let (kept, told) = keep(&client, lease);
        let renewed = told.recv_timeout(LONG).unwrap();
        assert!(renewed.lost.is_none());
        etcd.stop();
        // One that was under way may have been answered.
        let left = kept.remaining();
        let (error, took) = timed(|| loss(&told));
        assert!(matches!(error, Error::LeaseExpired { .. }), "{error}");
        assert!(took > left.saturating_sub(Duration::from_millis(100)), "{took:?} of {left:?}");
        assert!(took < Duration::from_millis(3300), "{took:?}");
        assert!(kept.is_lost());
        etcd.cont();
        wait_until(LONG, || ttl(&client, lease) == -1);
    });
}

#[test]
fn leases_are_kept_over_a_restart_of_the_server() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 10);
        let (kept, told) = keep(&client, lease);
        etcd.kill();
        wait_until(LONG, || kept.remaining() < Duration::from_secs(6));
        etcd.restart();
        wait_until(LONG, || kept.remaining() > Duration::from_secs(8));
        assert!(told.try_iter().all(|event| event.lost.is_none()) && !kept.is_lost());
        client.lease_revoke(lease, &plain()).unwrap();
    });
}

#[test]
fn a_member_that_freezes_takes_no_lease_along() {
    let version = versions().pop().unwrap();
    let cluster = Cluster::start(&version, 3);
    let client = common::client(&cluster.endpoints());
    // Kept at once: on a busy machine the first have run out before the last is granted.
    let begin = |n: i64| {
        let lease = grant(&client, 9 + n % 5);
        (lease, client.keep_alive(lease, None, &plain()).unwrap())
    };
    let (leases, kept): (Vec<i64>, Vec<KeepAlive>) = (0..300).map(begin).unzip();
    let in_use = client.base_url();
    let member = cluster.members.iter().find(|member| *member.url() == *in_use).unwrap();
    member.stop();
    let frozen = Instant::now();
    wait_until(LONG, || frozen.elapsed() > Duration::from_secs(15));
    let lost = kept.iter().filter(|kept| kept.is_lost()).count();
    assert_eq!(lost, 0, "of {}", kept.len());
    // Before it goes on: a leader that wakes up may still revoke what had run out while it slept (etcd-io/etcd#15247).
    leases.iter().for_each(|lease| client.lease_revoke(*lease, &plain()).unwrap());
    member.cont();
}

#[test]
fn many_leases_are_renewed_by_one_thread_in_few_requests() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let begin = || {
            let lease = grant(&client, 3);
            (lease, keep(&client, lease))
        };
        let (leases, kept): (Vec<i64>, Vec<_>) = (0..160).map(|_| begin()).unzip();
        kept.iter().for_each(|(_, told)| assert!(told.recv_timeout(LONG).unwrap().lost.is_none()));
        let before = client.stats().requests;
        let (mut renewals, end) = (0, Instant::now() + Duration::from_millis(3000));
        wait_until(LONG, || {
            renewals += kept.iter().map(|(_, told)| told.try_iter().count()).sum::<usize>();
            Instant::now() > end
        });
        let requests = client.stats().requests - before;
        assert!(renewals >= 320, "{renewals} renewals");
        assert!(requests as usize <= renewals / 8, "{requests} requests for {renewals} renewals");
        // The others are kept meanwhile: their time is short.
        for (lease, kept) in leases.into_iter().zip(kept) {
            drop(kept);
            client.lease_revoke(lease, &plain()).unwrap();
        }
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
    });
}

#[test]
fn a_callback_that_hangs_delays_no_renewal() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let (called, go_on) = (Gate::new(), Gate::new());
        let (in_call, may_go_on) = (called.clone(), go_on.clone());
        let consumer = Box::new(move |_| {
            in_call.open();
            may_go_on.wait();
        });
        let kept = client.keep_alive(lease, Some(consumer), &plain()).unwrap();
        kept.start().allow();
        called.wait();
        let since = Instant::now();
        wait_until(LONG, || since.elapsed() > Duration::from_secs(3));
        assert!(!kept.is_lost() && ttl(&client, lease) >= 0);
        go_on.open();
        drop(kept);
        client.lease_revoke(lease, &plain()).unwrap();
    });
}

#[test]
fn a_client_that_is_closed_keeps_nothing() {
    on_newest_leaving_no_lease(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 60);
        let (kept, told) = keep(&client, lease);
        client.close();
        assert!(matches!(loss(&told), Error::Closed { .. }));
        assert!(kept.is_lost());
        assert!(matches!(client.keep_alive(lease, None, &plain()), Err(Error::Closed { .. })));
        common::client(&etcd.url()).lease_revoke(lease, &plain()).unwrap();
    });
}

fn keep_into(tagged: &Tagged, client: &Client, lease: i64, name: usize) -> KeepAlive {
    let kept = client.keep_alive_into(lease, &tagged.queue, tagged.tag(name), &plain()).unwrap();
    kept.start().allow();
    kept
}

/// What an event says of a lease.
#[track_caller]
fn of_lease(event: &Event) -> &KeepAliveEvent {
    let Content::KeepAlive(told) = &event.content else { panic!("{event:?}") };
    assert_eq!(event.source, SourceKind::KeepAlive);
    told
}

#[test]
fn renewals_and_the_loss_come_into_a_queue_in_their_order_beside_the_events_of_a_watch() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let tagged = Tagged::new();
        let watch = tagged.watch_key(&client, b"k", 8);
        let kept = keep_into(&tagged, &client, lease, 9);
        let (mut written, mut seen, mut renewals) = (Vec::new(), Vec::new(), 0);
        let last = loop {
            if seen.len() == written.len() && renewals >= seen.len() {
                match seen.len() {
                    3 => client.lease_revoke(lease, &plain()).unwrap(),
                    _ => written.push(put_revision(&client, b"k", b"v")),
                }
            }
            let event = tagged.event();
            match &event.content {
                Content::Watch(response) if response.events.is_empty() => {}
                Content::Watch(response) => {
                    assert_eq!((event.source, source_name(&event)), (SourceKind::Watch, 8));
                    seen.extend(response.events.iter().map(|event| event.kv.mod_revision));
                }
                _ if of_lease(&event).lost.is_some() => break event,
                _ => {
                    let told = of_lease(&event);
                    assert_eq!((source_name(&event), told.lease, told.ttl), (9, lease, 2));
                    renewals += 1;
                }
            }
        };
        assert_eq!((seen, renewals >= 3), (written, true));
        let told = of_lease(&last);
        assert!(matches!(told.lost, Some(Error::LeaseExpired { id }) if id == lease && told.ttl == 0), "{told:?}");
        assert!(kept.is_lost() && tagged.is_empty());
        assert_eq!((source_name(&last), tagged.dropped()), (9, 0));
        drop(last);
        assert_eq!(tagged.dropped(), 1, "the last event is freed");
        drop(kept);
        assert_eq!(tagged.dropped(), 1);
        drop(watch);
        assert_eq!(tagged.dropped(), 2);
    });
}

#[test]
fn of_renewals_that_nobody_has_taken_a_queue_has_the_latest_and_behind_it_the_loss() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let tagged = Tagged::new();
        let kept = keep_into(&tagged, &client, lease, 0);
        let before = client.stats().requests;
        wait_until(LONG, || client.stats().requests >= before + 3);
        client.lease_revoke(lease, &plain()).unwrap();
        wait_until(LONG, || kept.is_lost());
        let first = tagged.event();
        assert!(of_lease(&first).lost.is_none(), "{first:?}");
        let second = tagged.event();
        assert!(of_lease(&second).lost.is_some(), "{second:?}");
        assert!(tagged.is_empty());
    });
}

#[test]
fn a_lease_is_kept_on_without_its_queue() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let tagged = Tagged::new();
        let kept = keep_into(&tagged, &client, lease, 0);
        let event = tagged.event();
        let Tagged { queue, dropped } = tagged;
        drop(queue);
        let is_dropped = || dropped.load(std::sync::atomic::Ordering::SeqCst) == 1;
        assert!(!is_dropped(), "an event is in use");
        drop(event);
        assert!(is_dropped());
        let since = Instant::now();
        wait_until(LONG, || since.elapsed() > Duration::from_secs(3));
        assert!(!kept.is_lost() && ttl(&client, lease) >= 0);
        drop(kept);
        assert!(is_dropped());
        client.lease_revoke(lease, &plain()).unwrap();
    });
}

#[test]
fn a_keep_alive_that_is_freed_leaves_nothing_in_its_queue() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = grant(&client, 2);
        let tagged = Tagged::new();
        let (taken_from, untouched) = (keep_into(&tagged, &client, lease, 0), keep_into(&tagged, &client, lease, 1));
        let event = loop {
            let event = tagged.event();
            if source_name(&event) == 0 {
                break event;
            }
        };
        let requests = client.stats().requests;
        wait_until(LONG, || client.stats().requests >= requests + 2);
        drop(untouched);
        assert_eq!(tagged.dropped(), 1, "what was not taken is dropped");
        drop((taken_from, client));
        assert!(tagged.is_empty());
        assert_eq!((tagged.dropped(), of_lease(&event).ttl), (1, 2), "the event outlives all but the queue");
        drop(event);
        assert_eq!(tagged.dropped(), 2);
        common::client(&etcd.url()).lease_revoke(lease, &plain()).unwrap();
    });
}

#[test]
fn a_lease_that_can_not_be_kept_drops_its_tag_and_leaves_the_queue_alone() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let tagged = Tagged::new();
        let refused = client.keep_alive_into(77, &tagged.queue, tagged.tag(0), &plain());
        assert!(matches!(refused, Err(Error::LeaseExpired { id: 77 })));
        let lease = grant(&client, 60);
        client.close();
        let refused = client.keep_alive_into(lease, &tagged.queue, tagged.tag(1), &plain());
        assert!(matches!(refused, Err(Error::Closed { .. })));
        assert_eq!((tagged.dropped(), tagged.is_empty()), (2, true));
        common::client(&etcd.url()).lease_revoke(lease, &plain()).unwrap();
    });
}

#[test]
fn the_end_of_its_client_is_the_last_that_a_queue_hears_of_a_lease() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let client = common::client(&etcd.url());
    let lease = grant(&client, 60);
    let tagged = Tagged::new();
    let kept = keep_into(&tagged, &client, lease, 0);
    client.close();
    let event = tagged.event();
    assert!(matches!(of_lease(&event).lost, Some(Error::Closed { .. })), "{event:?}");
    assert!(kept.is_lost() && tagged.is_empty());
    drop(event);
    assert_eq!(tagged.dropped(), 1);
    common::client(&etcd.url()).lease_revoke(lease, &plain()).unwrap();
}
