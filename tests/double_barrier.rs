//! Double barriers: so many begin together, and end together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::double_barrier::DoubleBarrier;
use etcdgw::concurrency::session::Session;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use etcdgw::rpc::Keys;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const NOT: Option<Duration> = Some(Duration::ZERO);

fn session(client: &Client) -> Session {
    session_of(client, 5)
}

fn barrier_of(session: &Session, count: i64) -> DoubleBarrier {
    DoubleBarrier::new(session, b"d", count).unwrap()
}

#[test]
fn round_after_round_all_begin_together_and_end_together() {
    const COUNT: i64 = 4;
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let (arrived, inside) = (AtomicI64::new(0), AtomicI64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..COUNT {
                scope.spawn(|| {
                    let session = session(&client);
                    let barrier = barrier_of(&session, COUNT);
                    for round in 1..=10 {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        assert!(barrier.enter(Some(LONG), &plain()).unwrap());
                        assert_eq!(
                            arrived.load(Ordering::SeqCst),
                            round * COUNT,
                            "somebody began before the others came"
                        );
                        inside.fetch_add(1, Ordering::SeqCst);
                        assert!(barrier.leave(Some(LONG), &plain()).unwrap());
                        assert!(inside.load(Ordering::SeqCst) >= round * COUNT, "somebody ended before the others");
                    }
                });
            }
        });
        nothing_is_left(&client);
    });
}

#[test]
fn who_waits_in_vain_is_cancelled_or_too_many_leaves_no_key() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let [one, two, three] = [(); 3].map(|()| barrier_of(&session, 2));
        assert!(matches!(one.leave(NOT, &plain()), Err(Error::FailedPrecondition { .. })));
        assert!(!one.enter(NOT, &plain()).unwrap());
        // Where requests take long it ends sooner, by as much as withdrawing takes.
        wait_until(LONG, || {
            let (entered, took) = timed(|| one.enter(Some(Duration::from_secs(1)), &plain()).unwrap());
            assert!(!entered && took < LONG, "{took:?}");
            took >= Duration::from_secs(1)
        });
        // At once, but where the server takes its time.
        wait_until(LONG, || keys(&client, &prefix(b"d")).is_empty());
        let token = Arc::new(CancelToken::new().unwrap());
        let waiting = |count: usize| wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == count);
        std::thread::scope(|scope| {
            let call = CallOptions { timeout: TimeLimit::Default, cancel: Some(token.clone()) };
            let one = &one;
            let waits = scope.spawn(move || one.enter(None, &call));
            waiting(1);
            assert!(matches!(one.enter(NOT, &plain()), Err(Error::FailedPrecondition { .. })), "it is on its way");
            token.trigger();
            assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled { .. })));
            waiting(0);
            let waits = scope.spawn(|| one.enter(Some(LONG), &plain()));
            waiting(1);
            assert!(two.enter(Some(LONG), &plain()).unwrap() && waits.join().unwrap().unwrap());
            assert!(matches!(three.enter(Some(LONG), &plain()), Err(Error::FailedPrecondition { .. })), "it is full");
            assert!(one.enter(NOT, &plain()).unwrap(), "it is inside already");
            waiting(2);
            assert!(!one.leave(NOT, &plain()).unwrap(), "the other one is inside");
            assert!(!two.leave(NOT, &plain()).unwrap(), "the first one is the last to go");
            waiting(1);
            assert!(matches!(three.enter(NOT, &plain()), Err(Error::FailedPrecondition { .. })), "one is inside still");
            let leaves = scope.spawn(|| two.leave(Some(LONG), &plain()).unwrap());
            assert!(one.leave(Some(LONG), &plain()).unwrap() && leaves.join().unwrap());
        });
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn of_two_who_wait_not_long_enough_both_enter_or_neither() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let random = std::sync::Mutex::new(Random::new(7));
        let (mut entered, mut in_vain) = (0, 0);
        let (mut rounds, mut longest) = (0, 60);
        while rounds < 80 || entered == 0 || in_vain == 0 {
            assert!(longest < 10_000, "after {rounds} rounds {entered} have entered and {in_vain} not");
            let both = [(); 2].map(|()| barrier_of(&session, 2));
            let time = || random.lock().unwrap().time(1, longest);
            let enter = |barrier: &DoubleBarrier| {
                std::thread::sleep(time());
                barrier.enter(Some(time()), &plain())
            };
            let ends = std::thread::scope(|scope| {
                both.each_ref().map(|barrier| scope.spawn(|| enter(barrier))).map(|enters| enters.join().unwrap())
            });
            // Of one that failed with the answer to its first request outstanding the other one couldn't know.
            if let [Ok(one), Ok(other)] = ends {
                assert_eq!(one, other, "one began alone");
                entered += i32::from(one);
                in_vain += i32::from(!one);
            }
            std::thread::scope(|scope| {
                for barrier in &both {
                    scope.spawn(|| drop(barrier.leave(Some(LONG), &plain())));
                }
            });
            rounds += 1;
            // On a busy machine nobody enters in so short a time.
            if rounds % 20 == 0 && entered == 0 {
                longest *= 2;
            }
        }
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn who_is_gone_with_its_session_is_not_waited_for() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let (mine, theirs) = (session(&client), session(&client));
        let (first, second) = (barrier_of(&mine, 2), barrier_of(&theirs, 2));
        let both_enter = || {
            std::thread::scope(|scope| {
                let enters = scope.spawn(|| first.enter(Some(LONG), &plain()).unwrap());
                wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == 1);
                assert!(second.enter(Some(LONG), &plain()).unwrap() && enters.join().unwrap());
            });
        };
        both_enter();
        client.lease_revoke(theirs.lease(), &plain()).unwrap();
        assert!(first.leave(Some(LONG), &plain()).unwrap());
        let lost = second.leave(Some(LONG), &plain());
        assert!(matches!(lost, Ok(true) | Err(Error::LeaseExpired { .. })), "{lost:?}");
        wait_until(LONG, || theirs.is_lost());
        assert!(matches!(second.enter(None, &plain()), Err(Error::LeaseExpired { .. })));
        // One that waits ends with its session.
        std::thread::scope(|scope| {
            let enters = scope.spawn(|| first.enter(None, &plain()));
            wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == 1);
            client.lease_revoke(mine.lease(), &plain()).unwrap();
            assert!(matches!(enters.join().unwrap(), Err(Error::LeaseExpired { .. })));
        });
        drop((mine, theirs));
        nothing_is_left(&client);
    });
}

#[test]
fn the_last_to_leave_is_known_when_the_first_was_lost() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let (mine, theirs) = (session(&client), session(&client));
        let (first, second) = (barrier_of(&mine, 2), barrier_of(&theirs, 2));
        std::thread::scope(|scope| {
            let enters = scope.spawn(|| first.enter(Some(LONG), &plain()).unwrap());
            wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == 1);
            assert!(second.enter(Some(LONG), &plain()).unwrap() && enters.join().unwrap());
            let leaves = scope.spawn(|| second.leave(Some(LONG), &plain()).unwrap());
            wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == 1);
            client.lease_revoke(mine.lease(), &plain()).unwrap();
            assert!(leaves.join().unwrap());
        });
        drop((mine, theirs));
        nothing_is_left(&client);
    });
}

#[test]
fn answers_that_are_lost_cost_nothing() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&both));
        let session = session(&behind);
        let barrier = barrier_of(&session, 1);
        // Wherever the connection is cut in all that is answered.
        for limit in (0..2400).step_by(120) {
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, limit, End::Close));
            assert!(barrier.enter(Some(LONG), &plain()).unwrap());
            assert_eq!(keys(&client, &prefix(b"d")).len(), 2);
            assert!(barrier.leave(Some(LONG), &plain()).unwrap());
            assert!(keys(&client, &prefix(b"d")).is_empty());
            proxy.heal();
        }
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_prefix_goes_on_the_name_and_a_count_is_positive() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let bare = common::client(&etcd.url());
    let client = Client::new(Config { key_prefix: b"app/".to_vec(), ..config(&etcd.url()) }).unwrap();
    let session = session(&client);
    let barrier = barrier_of(&session, 1);
    assert!(barrier.enter(NOT, &plain()).unwrap());
    let names = keys(&bare, &prefix(b""));
    assert_eq!(names[0], "app/d/ready");
    assert!(names[1].starts_with("app/d/waiters/"), "{names:?}");
    assert!(barrier.leave(NOT, &plain()).unwrap());
    for count in [0, -1, i64::MIN] {
        assert!(matches!(DoubleBarrier::new(&session, b"d", count), Err(Error::InvalidArgument { .. })));
    }
    drop(session);
    nothing_is_left(&bare);
}

#[test]
fn a_wait_that_is_over_is_no_error_whatever_was_asked_just_then() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let proxy = Proxy::start(&etcd.url());
    let (near, far) = (common::client(&etcd.url()), common::client(&proxy.url()));
    let (theirs, mine) = (session(&near), session(&far));
    let (mut ended, mut in_vain) = (0, 0);
    let mut count = |is_done: bool| -> bool {
        ended += i32::from(is_done);
        in_vain += i32::from(!is_done);
        is_done
    };
    // Nobody knows what became of a first request that has no answer in time.
    let is_known = |entered: &Result<bool, Error>| -> bool {
        assert!(!matches!(entered, Err(error) if !error.may_have_applied()), "{entered:?}");
        entered.is_ok()
    };
    // On a busy machine only the last ones are long enough.
    for limit in (5..160).step_by(10).chain([500, 5_000]) {
        let name = format!("d{limit:04}");
        let of = |session| DoubleBarrier::new(session, name.as_bytes(), 2).unwrap();
        let limit = Some(Duration::from_millis(limit));
        let delayed = || proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(20)));
        // As the one that waits for the other, and as the one that opens the barrier and closes it.
        for is_first in [true, false] {
            let (one, other) = (of(&mine), of(&theirs));
            delayed();
            std::thread::scope(|scope| {
                let pause = Duration::from_millis(if is_first { 40 } else { 0 });
                let enters = scope.spawn(move || {
                    std::thread::sleep(pause);
                    let entered = other.enter(limit.max(Some(Duration::from_millis(300))), &plain());
                    (is_known(&entered).then(|| entered.unwrap()), other)
                });
                if !is_first {
                    wait_until(LONG, || !keys(&near, &prefix(format!("{name}/waiters/").as_bytes())).is_empty());
                }
                let entered = one.enter(limit, &plain());
                let entered = is_known(&entered).then(|| count(entered.unwrap()));
                proxy.heal();
                let (other_entered, other) = enters.join().unwrap();
                let is_inside = |entered| entered == Some(true);
                let leaves =
                    scope.spawn(move || !is_inside(other_entered) || other.leave(Some(LONG), &plain()).unwrap());
                assert!(!is_inside(entered) || one.leave(Some(LONG), &plain()).unwrap());
                assert!(leaves.join().unwrap());
                // It may have been opened for both, and neither know it: nobody closes it then.
                let both = [entered, other_entered];
                if both.contains(&None) && !both.contains(&Some(true)) {
                    let ready = Keys::one(format!("{name}/ready").as_bytes()).into_owned();
                    near.delete_range(&delete_request(ready), &plain()).unwrap();
                }
            });
            let both = [&mine, &theirs].map(|session| DoubleBarrier::new(session, b"left", 2).unwrap());
            std::thread::scope(|scope| {
                let enters = scope.spawn(|| both[1].enter(Some(LONG), &plain()).unwrap());
                assert!(both[0].enter(Some(LONG), &plain()).unwrap() && enters.join().unwrap());
                delayed();
                let leaves = scope.spawn(|| both[1].leave(Some(LONG), &plain()).unwrap());
                let has_left = count(both[0].leave(limit, &plain()).unwrap());
                proxy.heal();
                assert!(has_left || both[0].leave(Some(LONG), &plain()).unwrap());
                assert!(leaves.join().unwrap());
            });
        }
    }
    assert!(ended > 0 && in_vain > 0, "{ended} and {in_vain}: times that show nothing");
    drop((theirs, mine));
    nothing_is_left(&near);
}

#[test]
fn a_server_that_stops_keeps_nobody_beyond_its_time_and_puts_nobody_out_who_is_inside() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let session = session(&client);
        let (inside, alone) = (DoubleBarrier::new(&session, b"i", 1).unwrap(), barrier_of(&session, 2));
        assert!(inside.enter(NOT, &plain()).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| timed(|| alone.enter(Some(Duration::from_millis(600)), &plain())));
            wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).len() == 1);
            etcd.stop();
            let (entered, took) = waits.join().unwrap();
            assert!(!matches!(entered, Ok(true)) && took < Duration::from_millis(1200), "{entered:?} {took:?}");
        });
        let (entered, took) = timed(|| inside.enter(Some(Duration::from_millis(300)), &plain()));
        assert!(matches!(entered, Ok(false)) && took < Duration::from_millis(900), "{entered:?} {took:?}");
        etcd.cont();
        wait_until(LONG, || keys(&client, &prefix(b"d/waiters/")).is_empty());
        assert!(inside.leave(Some(LONG), &plain()).unwrap(), "it is inside");
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn who_cannot_learn_whether_the_others_began_is_told_that_time_is_over_whatever_is_in_the_way() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let proxy = Proxy::start(&etcd.url());
    let (near, far) = (common::client(&etcd.url()), common::client(&proxy.url()));
    let session = session(&far);
    let alone = barrier_of(&session, 2);
    std::thread::scope(|scope| {
        let enters = scope.spawn(|| alone.enter(Some(Duration::from_millis(600)), &plain()));
        wait_until(LONG, || keys(&near, &prefix(b"d/waiters/")).len() == 1);
        proxy.inject(Fault::Refuse);
        proxy.cut(End::Reset);
        let entered = enters.join().unwrap();
        let is_unknown = matches!(&entered, Err(error @ Error::Deadline { .. }) if error.may_have_applied());
        assert!(is_unknown, "{entered:?}");
    });
    proxy.heal();
    wait_until(LONG, || keys(&near, &prefix(b"d/waiters/")).is_empty());
    drop(session);
    nothing_is_left(&near);
}

#[test]
fn over_a_slow_network_who_waits_in_vain_knows_that_nobody_counts_on_it_when_its_time_is_over() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let proxy = Proxy::start(&etcd.url());
    let (near, far) = (common::client(&etcd.url()), common::client(&proxy.url()));
    let session = session(&far);
    let alone = barrier_of(&session, 2);
    proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(200)));
    let (entered, took) = timed(|| alone.enter(Some(Duration::from_millis(1500)), &plain()));
    assert!(matches!(entered, Ok(false)) && took < Duration::from_millis(2000), "{entered:?} {took:?}");
    proxy.heal();
    wait_until(LONG, || keys(&near, &prefix(b"d/waiters/")).is_empty());
    drop(session);
    nothing_is_left(&near);
}
