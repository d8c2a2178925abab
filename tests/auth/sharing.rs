//! One thread fetches the token, and the others wait within bounds of their own.

use crate::common::{FakeGateway, Gate, LONG, config, put, put_with, timed, wait_until, within};
use crate::door::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::net::CancelToken;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const THREADS: usize = 8;

/// What a machine under load may take to do something at once.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn many_threads_at_once_fetch_one_token_and_replace_it_once_which_the_log_says_once() {
    const TOKENS: usize = 5;
    let (lock, lines) = (Lock::new(INVALID_TOKEN), Lines::default());
    let gateway = locked_gateway(&lock);
    let credentials = user("user", "right");
    let client = Client::new(Config { credentials, log: lines.sink(), ..config(gateway.url()) }).unwrap();
    for logins in 1..=TOKENS {
        let together = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    together.wait();
                    put(&client, b"key", b"value").unwrap();
                });
            }
        });
        assert_eq!(gateway.count(LOGIN), logins);
        lock.change();
    }
    let said = lines.all().into_iter().filter(|line| line.contains("a new token is needed"));
    assert_eq!(said.count(), TOKENS - 1);
}

#[test]
fn a_thread_that_waits_for_anothers_log_in_keeps_its_own_limit() {
    let gate = Gate::new();
    let gateway = slow_gateway(&Lock::new(INVALID_TOKEN), &gate);
    let client = client_as(gateway.url(), user("user", "right"));
    thread::scope(|scope| {
        let first = scope.spawn(|| put(&client, b"key", b"value"));
        wait_until(LONG, || gateway.count(LOGIN) == 1);
        let limit = Duration::from_millis(200);
        let (waited, took) = timed(|| put_with(&client, b"key", b"value", &within(limit)));
        assert!(matches!(waited, Err(Error::Deadline { .. })), "{:?}", waited.err());
        assert!(took >= limit && took < limit + SOON, "{took:?}");
        assert_eq!(gateway.count(LOGIN), 1);
        gate.open();
        first.join().unwrap().unwrap();
    });
}

/// A gateway whose first log-in is never answered.
fn deaf_at_first(lock: &Lock) -> FakeGateway {
    let (lock, logins) = (lock.clone(), AtomicUsize::new(0));
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN if logins.fetch_add(1, Ordering::SeqCst) == 0 => reply.hold(),
        LOGIN => lock.issue(request, reply),
        _ if lock.admits(request, reply) => reply.json("{}"),
        _ => {}
    })
}

#[test]
fn when_the_thread_that_logs_in_is_cancelled_another_takes_its_place() {
    let gateway = deaf_at_first(&Lock::new(INVALID_TOKEN));
    let client = client_as(gateway.url(), user("user", "right"));
    let cancel = Arc::new(CancelToken::new().unwrap());
    let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(cancel.clone()) };
    thread::scope(|scope| {
        let first = scope.spawn(|| put_with(&client, b"key", b"value", &options));
        wait_until(LONG, || gateway.count(LOGIN) == 1);
        let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(|| put(&client, b"key", b"value"))).collect();
        cancel.trigger();
        assert!(matches!(first.join().unwrap(), Err(Error::Cancelled { .. })));
        others.into_iter().for_each(|other| drop(other.join().unwrap().unwrap()));
    });
    assert_eq!(gateway.count(LOGIN), 2);
}

#[test]
fn when_the_thread_that_logs_in_runs_out_of_time_another_takes_its_place() {
    let gateway = deaf_at_first(&Lock::new(INVALID_TOKEN));
    let client = client_as(gateway.url(), user("user", "right"));
    let limit = Duration::from_millis(300);
    thread::scope(|scope| {
        let first = scope.spawn(|| timed(|| put_with(&client, b"key", b"value", &within(limit))));
        wait_until(LONG, || gateway.count(LOGIN) == 1);
        put(&client, b"key", b"value").unwrap();
        let (ended, took) = first.join().unwrap();
        let error = ended.err().unwrap();
        assert!(matches!(error, Error::Deadline { .. }) && !error.may_have_applied(), "{error:?}");
        assert!(took < limit + SOON, "{took:?}");
    });
    assert_eq!(gateway.count(LOGIN), 2);
}

#[test]
fn a_cancelled_or_closed_wait_for_anothers_log_in_ends_at_once() {
    let gate = Gate::new();
    let gateway = slow_gateway(&Lock::new(INVALID_TOKEN), &gate);
    let client = client_as(gateway.url(), user("user", "right"));
    let cancel = Arc::new(CancelToken::new().unwrap());
    let options = CallOptions { timeout: TimeLimit::Never, cancel: Some(cancel.clone()) };
    thread::scope(|scope| {
        let first = scope.spawn(|| put(&client, b"key", b"value"));
        wait_until(LONG, || gateway.count(LOGIN) == 1);
        let cancelled = scope.spawn(|| put_with(&client, b"key", b"value", &options));
        let (ended, took) = timed(|| {
            cancel.trigger();
            cancelled.join().unwrap()
        });
        assert!(matches!(ended, Err(Error::Cancelled { .. })) && took < SOON, "{:?} after {took:?}", ended.err());
        let waiting = scope.spawn(|| put(&client, b"key", b"value"));
        let (ended, took) = timed(|| {
            client.close();
            [waiting.join().unwrap(), first.join().unwrap()]
        });
        assert!(ended.iter().all(|ended| matches!(ended, Err(Error::Closed { .. }))) && took < SOON, "{took:?}");
        gate.open();
    });
}

#[test]
fn a_lost_connection_during_a_log_in_sends_the_call_elsewhere_since_nothing_of_it_was_sent() {
    let lock = Lock::new(INVALID_TOKEN);
    let (broken, sound) = (FakeGateway::start(|_, reply| reply.close()), locked_gateway(&lock));
    let client = client_as(&format!("{},{}", broken.url(), sound.url()), user("user", "right"));
    put(&client, b"key", b"value").unwrap();
    assert_eq!((broken.count(LOGIN), broken.count(PUT), sound.count(PUT)), (1, 0, 1));

    let error = put(&client_as(broken.url(), user("user", "right")), b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(!error.may_have_applied() && error.is_retryable());
}
