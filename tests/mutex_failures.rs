//! What becomes of mutexes where calls on them fail, or come too late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::double_barrier::DoubleBarrier;
use etcdgw::concurrency::election::Election;
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::rwlock::RwLock;
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::{Error, Phase};
use etcdgw::rpc::Keys;
use std::time::{Duration, Instant};

#[test]
fn however_many_fail_to_lock_over_a_slow_network_the_session_is_kept_and_no_key_is_left() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, mine) = (session(&near), session_of(&far, 5));
        let names: Vec<String> = (0..16).map(|number| format!("m{number:02}")).collect();
        let held: Vec<Mutex> = names.iter().map(|name| Mutex::new(&theirs, name.as_bytes())).collect();
        held.iter().for_each(|mutex| assert!(mutex.lock(None, &plain()).unwrap()));
        proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(300)));
        let end = Instant::now() + Duration::from_secs(8);
        std::thread::scope(|scope| {
            for (seed, name) in names.iter().enumerate() {
                let mine = &mine;
                scope.spawn(move || {
                    let mut random = Random::new(seed as u64);
                    while Instant::now() < end && !mine.is_lost() {
                        // Given up before it has joined, or while it waits, or it doesn't wait at all.
                        let wait = if random.below(2) == 0 { Duration::ZERO } else { random.time(1, 700) };
                        let locked = Mutex::new(mine, name.as_bytes()).lock(Some(wait), &plain());
                        assert!(!matches!(locked, Ok(true)), "{locked:?}");
                        std::thread::sleep(random.time(1, 400));
                    }
                });
            }
        });
        assert!(!mine.is_lost());
        let holders: Vec<String> = names.iter().map(|name| format!("{name}/{:x}", theirs.lease())).collect();
        wait_until(LONG, || keys(&near, &prefix(b"m")) == holders);
        proxy.heal();
        drop((theirs, mine));
        nothing_is_left(&near);
    });
}

#[test]
fn keys_that_many_calls_leave_at_once_are_deleted_together() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, mine) = (session(&near), session(&far));
        let names: Vec<String> = (0..20).map(|number| format!("m{number:02}")).collect();
        let held: Vec<Mutex> = names.iter().map(|name| Mutex::new(&theirs, name.as_bytes())).collect();
        held.iter().for_each(|mutex| assert!(mutex.lock(None, &plain()).unwrap()));
        std::thread::scope(|scope| {
            for name in &names {
                let mine = &mine;
                scope.spawn(move || {
                    let mutex = Mutex::new(mine, name.as_bytes());
                    assert!(!mutex.lock(Some(Duration::from_secs(5)), &plain()).unwrap());
                });
            }
            wait_until(LONG, || keys(&near, &prefix(b"m")).len() == 2 * names.len());
            proxy.inject(Fault::Hole);
        });
        assert_eq!(keys(&near, &prefix(b"m")).len(), 2 * names.len());
        proxy.cut(End::Reset);
        proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(500)));
        // One by one they would take half a second each.
        wait_until(Duration::from_secs(6), || keys(&near, &prefix(b"m")).len() == names.len());
        proxy.heal();
        drop((theirs, mine));
        nothing_is_left(&near);
    });
}

/// A mutex whose key may come to be at any time; with its session, the proxy on their way, and a client beside that.
fn give_up_a_lock(etcd: &Etcd) -> (Proxy, Client, Session, Mutex) {
    let proxy = Proxy::start(&etcd.url());
    let (near, far) = (client(&etcd.url()), client(&proxy.url()));
    let session = session(&far);
    get(&far, b"x").unwrap();
    proxy.inject(Fault::After(Direction::Request, 0, End::Stall));
    let mutex = Mutex::new(&session, b"m");
    assert!(!mutex.lock(Some(Duration::from_millis(50)), &plain()).unwrap());
    (proxy, near, session, mutex)
}

#[test]
fn a_lock_that_was_given_up_takes_nothing_from_the_next_handle_of_its_owner() {
    on_newest_leaving_no_lease(|etcd| {
        let (proxy, near, session, given_up) = give_up_a_lock(etcd);
        proxy.cut(End::Reset);
        proxy.heal();
        drop(given_up);
        let mutex = Mutex::new(&session, b"m");
        assert!(mutex.lock(Some(LONG), &plain()).unwrap());
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
            let kvs = get_with(&near, mutex.key(), &plain()).unwrap().kvs.clone();
            assert_eq!(kvs.first().map(|kv| kv.create_revision), Some(mutex.revision()), "it is this one's");
        }
        mutex.unlock(&plain()).unwrap();
    });
}

#[test]
fn who_has_no_time_to_wait_for_the_end_of_a_key_that_was_left_is_told_of_no_connection() {
    on_newest_leaving_no_lease(|etcd| {
        let (proxy, near, session, mutex) = give_up_a_lock(etcd);
        let error = mutex.try_lock(&within(Duration::from_millis(100))).unwrap_err();
        assert!(matches!(error, Error::Deadline { endpoint: None, phase: Phase::Pausing, .. }), "{error:?}");
        assert!(error.is_retryable() && !error.may_have_applied());
        proxy.cut(End::Reset);
        proxy.heal();
        drop(session);
        nothing_is_left(&near);
    });
}

#[test]
fn a_wait_that_is_over_is_no_error_whatever_was_asked_just_then() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, mine) = (session(&near), session(&far));
        let (mut locked, mut in_vain) = (0, 0);
        // On a busy machine only the last ones are long enough.
        for limit in (5..200).step_by(5).chain([1_000, 10_000]) {
            let name = format!("m{limit:05}");
            let (owner, mutex) = (Mutex::new(&theirs, name.as_bytes()), Mutex::new(&mine, name.as_bytes()));
            assert!(owner.lock(None, &plain()).unwrap());
            proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(20)));
            let is_first = std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(70));
                    owner.unlock(&plain()).unwrap();
                });
                mutex.lock(Some(Duration::from_millis(limit)), &plain()).unwrap()
            });
            proxy.heal();
            locked += i32::from(is_first);
            in_vain += i32::from(!is_first);
        }
        assert!(locked > 0 && in_vain > 0, "{locked} and {in_vain}: times that show nothing");
        drop((theirs, mine));
        nothing_is_left(&near);
    });
}

#[test]
fn a_wait_that_is_over_while_nobody_can_be_asked_is_no_error_and_where_nobody_waits_there_is_one() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, mine) = (session(&near), session(&far));
        let (owner, mutex) = (Mutex::new(&theirs, b"m"), Mutex::new(&mine, b"m"));
        assert!(owner.lock(None, &plain()).unwrap());
        for fault in [Fault::Refuse, Fault::Hole] {
            let ended = std::thread::scope(|scope| {
                let waits = scope.spawn(|| mutex.lock(Some(Duration::from_millis(900)), &plain()));
                wait_until(LONG, || get(&near, mutex.key()).unwrap().is_some());
                proxy.inject(fault);
                proxy.cut(End::Reset);
                waits.join().unwrap()
            });
            assert!(matches!(ended, Ok(false)), "{fault:?}: {ended:?}");
            proxy.heal();
            wait_until(LONG, || get(&near, mutex.key()).unwrap().is_none());
        }
        get(&far, b"x").unwrap();
        proxy.inject(Fault::Hole);
        let ended = mutex.try_lock(&within(Duration::from_millis(200)));
        assert!(matches!(ended, Err(Error::Deadline { .. })), "{ended:?}");
        proxy.heal();
        drop((theirs, mine));
        nothing_is_left(&near);
    });
}

#[test]
fn who_enters_with_a_lease_that_is_gone_hears_so_although_its_session_may_not_know_yet() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        client.lease_revoke(session.lease(), &plain()).unwrap();
        let read_write = RwLock::new(&session, b"rw").unwrap();
        for ended in [
            Mutex::new(&session, b"m").lock(Some(LONG), &plain()),
            Mutex::new(&session, b"m").try_lock(&plain()),
            Election::new(&session, b"e").campaign(b"v", None, &plain()),
            read_write.read(None, &plain()),
            read_write.write(None, &plain()),
            DoubleBarrier::new(&session, b"b", 2).unwrap().enter(None, &plain()),
        ] {
            assert!(matches!(ended, Err(Error::LeaseExpired { id }) if id == session.lease()), "{ended:?}");
        }
        assert!(!session.is_lost(), "it has not been renewed since");
    });
}

#[test]
fn who_unlocks_what_it_has_lost_hears_so_although_its_session_may_not_know_yet() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let (first, second) = (session(&client), session(&client));
        let (lost, heir) = (Mutex::new(&first, b"m"), Mutex::new(&second, b"m"));
        let readers = [(); 2].map(|()| RwLock::new(&first, b"rw").unwrap());
        assert!(lost.lock(None, &plain()).unwrap() && readers.iter().all(|lock| lock.read(None, &plain()).unwrap()));
        client.delete_range(&delete_request(Keys::One(readers[0].key().into())), &plain()).unwrap();
        client.lease_revoke(first.lease(), &plain()).unwrap();
        assert!(heir.lock(Some(LONG), &plain()).unwrap());
        assert!(matches!(lost.unlock(&plain()), Err(Error::LeaseExpired { .. })));
        assert!(readers.iter().all(|lock| matches!(lock.unlock(&plain()), Err(Error::LeaseExpired { .. }))));
        heir.unlock(&plain()).unwrap();
        drop((first, second));
        nothing_is_left(&client);
    });
}

#[test]
fn who_unlocks_and_has_no_answer_at_first_has_unlocked_what_it_finds_unlocked() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (client(&etcd.url()), client(&both));
        let session = session(&behind);
        let mutex = Mutex::new(&session, b"m");
        let unlock = |endpoints: &str, end: End, limit: Duration| {
            assert!(mutex.lock(Some(LONG), &plain()).unwrap());
            behind.set_endpoints(endpoints).unwrap();
            get(&behind, b"x").unwrap();
            proxy.inject(Fault::After(Direction::Answer, 0, end));
            let unlocked = mutex.unlock(&within(limit));
            proxy.heal();
            wait_until(LONG, || get(&client, mutex.key()).unwrap().is_none());
            unlocked
        };
        unlock(&both, End::Close, LONG).unwrap();
        let unlocked = unlock(&proxy.url(), End::Stall, Duration::from_millis(500));
        assert!(matches!(unlocked, Err(Error::Deadline { .. })), "{unlocked:?}");
        mutex.unlock(&plain()).unwrap();
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn with_its_session_what_was_had_is_had_no_longer() {
    on_newest_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        let (mutex, election) = (Mutex::new(&session, b"m"), Election::new(&session, b"e"));
        let locks = [(); 2].map(|()| RwLock::new(&session, b"rw").unwrap());
        assert!(mutex.lock(None, &plain()).unwrap() && election.campaign(b"me", None, &plain()).unwrap());
        assert!(locks.iter().all(|lock| lock.read(None, &plain()).unwrap() && lock.revision() != 0));
        session.close(&plain()).unwrap();
        assert!(mutex.revision() == 0 && mutex.is_owner().is_none());
        assert!(election.revision() == 0 && election.is_leader().is_none());
        assert!(locks.iter().all(|lock| lock.revision() == 0));
        assert!(matches!(locks[0].unlock(&plain()), Err(Error::LeaseExpired { .. })), "it was locked");
        assert!(matches!(locks[1].write(None, &plain()), Err(Error::LeaseExpired { .. })));
        assert!(matches!(mutex.unlock(&plain()), Err(Error::LeaseExpired { .. })));
        assert!(matches!(mutex.unlock(&plain()), Err(Error::FailedPrecondition { .. })));
        drop(session);
        nothing_is_left(&client);
    });
}

#[test]
fn a_handle_that_fails_takes_nothing_from_another_of_its_owner() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, kept) = (session(&near), session(&near));
        // Kept alive past the proxy.
        let mine = far.session(&SessionOptions { lease: kept.lease(), ..SessionOptions::default() }, None).unwrap();
        let (holding, failing) = (Mutex::new(&mine, b"name"), Mutex::new(&mine, b"name"));
        let other = Mutex::new(&theirs, b"name");
        assert!(holding.lock(None, &plain()).unwrap());
        proxy.inject(Fault::After(Direction::Answer, 0, End::Stall));
        assert!(!failing.lock(Some(Duration::from_millis(300)), &plain()).unwrap());
        proxy.heal();
        proxy.cut(End::Close);
        // What may be put off until there is an answer is done in turn, which this comes behind.
        let late = Mutex::new(&mine, b"late");
        assert!(late.lock(None, &plain()).unwrap() && late.unlock(&plain()).is_ok());
        assert!(!other.lock(Some(Duration::from_millis(300)), &plain()).unwrap());
        assert!(holding.revision() != 0 && holding.unlock(&plain()).is_ok());
        assert!(other.lock(None, &plain()).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| holding.lock(Some(LONG), &plain()).unwrap());
            wait_until(LONG, || keys(&near, &prefix(b"name")).len() == 2);
            assert!(!failing.lock(Some(Duration::ZERO), &plain()).unwrap());
            other.unlock(&plain()).unwrap();
            assert!(waits.join().unwrap());
        });
        holding.unlock(&plain()).unwrap();
        drop((mine, kept, theirs));
        nothing_is_left(&near);
    });
}

#[test]
fn a_handle_that_gives_up_takes_nothing_from_another_of_its_owner_that_is_about_to_find_the_key() {
    on_newest_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        let (theirs, mine) = (session(&near), session(&far));
        let (giving_up, coming) = (Mutex::new(&mine, b"m"), Mutex::new(&mine, b"m"));
        let other = Mutex::new(&theirs, b"m");
        assert!(other.lock(None, &plain()).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| giving_up.lock(Some(Duration::from_millis(800)), &plain()));
            wait_until(LONG, || get(&near, giving_up.key()).unwrap().is_some());
            std::thread::sleep(Duration::from_millis(300));
            // The one hears too late that it is first, and the other that it has found the key.
            proxy.inject(Fault::Delay(Direction::Answer, Duration::from_millis(600)));
            std::thread::sleep(Duration::from_millis(100));
            other.unlock(&plain()).unwrap();
            assert!(coming.lock(Some(LONG), &plain()).unwrap());
            assert!(!waits.join().unwrap().unwrap());
        });
        proxy.heal();
        let kvs = get_with(&near, coming.key(), &plain()).unwrap().kvs.clone();
        assert_eq!(kvs.first().map(|kv| kv.create_revision), Some(coming.revision()));
        assert!(!other.try_lock(&plain()).unwrap());
        coming.unlock(&plain()).unwrap();
        drop((mine, theirs));
        nothing_is_left(&near);
    });
}

#[test]
fn a_wait_goes_on_in_a_cluster_that_was_restored_from_a_backup_and_locks_only_where_its_key_is() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        let (first, second) = (session(&client), session(&client));
        let of_both = |name: &[u8]| (Mutex::new(&first, name), Mutex::new(&second, name));
        let ((held, kept), (also_held, lost)) = (of_both(b"kept"), of_both(b"lost"));
        for mutex in [&held, &also_held] {
            assert!(mutex.lock(None, &plain()).unwrap());
        }
        std::thread::scope(|scope| {
            let keeps = scope.spawn(|| kept.lock(Some(LONG), &plain()));
            etcd.wait_for_watchers(1);
            let backup = etcd.back_up();
            let loses = scope.spawn(|| lost.lock(Some(LONG), &plain()));
            etcd.wait_for_watchers(2);
            etcd.go_back_to(&backup);
            etcd.restart();
            etcd.wait_for_watchers(2);
            held.unlock(&plain()).unwrap();
            also_held.unlock(&plain()).unwrap();
            assert!(keeps.join().unwrap().unwrap());
            assert!(matches!(loses.join().unwrap(), Err(Error::LeaseExpired { .. })));
        });
        kept.unlock(&plain()).unwrap();
    });
}
