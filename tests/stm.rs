//! Optimistic transactions: as if each were alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::{CallOptions, Client, TimeLimit};
use etcdgw::concurrency::stm::{Isolation, Stm, StmOptions};
use etcdgw::config::Config;
use etcdgw::error::{Error, Result};
use etcdgw::net::CancelToken;
use etcdgw::rpc::Response;
use etcdgw::rpc::kv::PutRequest;
use etcdgw::rpc::txn::TxnResponse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const ALL: [Isolation; 4] =
    [Isolation::SerializableSnapshot, Isolation::Serializable, Isolation::RepeatableReads, Isolation::ReadCommitted];

fn number(stm: &mut Stm, key: &[u8]) -> Result<i64> {
    let found = stm.get(key)?;
    let text = found.kvs.first().map(|kv| String::from_utf8(found.bytes(kv.value).to_vec()).unwrap());
    Ok(text.map_or(0, |text| text.parse().unwrap()))
}

fn set(stm: &mut Stm, key: &[u8], number: i64) {
    stm.put(put_request(key, number.to_string().as_bytes()));
}

fn with(isolation: Isolation) -> StmOptions {
    StmOptions { isolation, call: within(LONG), ..StmOptions::default() }
}

fn count_up(client: &Client, options: StmOptions, key: &[u8]) -> Result<Response<TxnResponse>> {
    client.stm(options, &mut |stm| {
        let next = number(stm, key)? + 1;
        set(stm, key, next);
        Ok(())
    })
}

fn value(client: &Client, key: &[u8]) -> String {
    String::from_utf8(get(client, key).unwrap().unwrap()).unwrap()
}

#[test]
fn many_who_count_up_the_same_number_lose_no_count() {
    for_each_version(|etcd| {
        let url = etcd.url();
        for isolation in &ALL[..3] {
            let key = format!("{isolation:?}");
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        let client = common::client(&url);
                        for _ in 0..20 {
                            assert!(count_up(&client, with(*isolation), key.as_bytes()).unwrap().succeeded);
                        }
                    });
                }
            });
            assert_eq!(value(&common::client(&url), key.as_bytes()), "120");
        }
    });
}

#[test]
fn money_that_goes_from_account_to_account_is_neither_made_nor_lost() {
    const ACCOUNTS: u8 = 5;
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let account = |place: u64| vec![b'a', b'0' + (place % u64::from(ACCOUNTS)) as u8];
        for place in 0..u64::from(ACCOUNTS) {
            put(&client, &account(place), b"100").unwrap();
        }
        let sum = |client: &Client| {
            let mut sum = 0;
            let all = |stm: &mut Stm| {
                sum = (0..5).map(|place| number(stm, &account(place))).sum::<Result<i64>>()?;
                // What is read in one transaction is of one moment, even where it is not committed.
                assert_eq!(sum, 500);
                Ok(())
            };
            client.stm(with(Isolation::SerializableSnapshot), &mut { all }).unwrap();
            sum
        };
        std::thread::scope(|scope| {
            for seed in 1..=4 {
                let (client, account, sum) = (&client, &account, &sum);
                scope.spawn(move || {
                    for turn in 0..15_u64 {
                        let (from, to) = (account(seed * 7 + turn * 3), account(seed + turn * 5 + 1));
                        client
                            .stm(with(Isolation::default()), &mut |stm| {
                                let (has, gets) = (number(stm, &from)?, number(stm, &to)?);
                                set(stm, &from, has - 7);
                                let gets = if from == to { has - 7 } else { gets };
                                set(stm, &to, gets + 7);
                                Ok(())
                            })
                            .unwrap();
                        sum(client);
                    }
                });
            }
        });
        assert_eq!(sum(&client), 500);
    });
}

#[test]
fn a_transaction_sees_what_it_has_written_and_leaves_it_when_committed() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let lease = client.lease_grant(60, 0, &plain()).unwrap().id;
        for isolation in ALL {
            put(&client, b"old\0", b"1").unwrap();
            put(&client, b"gone", b"1").unwrap();
            client
                .stm(with(isolation), &mut |stm| {
                    let found = stm.get(b"old\0")?;
                    assert_eq!(
                        (found.bytes(found.kvs[0].key), found.bytes(found.kvs[0].value)),
                        (&b"old\0"[..], &b"1"[..])
                    );
                    assert!(found.kvs[0].mod_revision > 0 && found.header.revision > 0);
                    assert!(stm.get(b"new")?.kvs.is_empty());
                    stm.put(PutRequest { lease, ..put_request(b"new", b"\xff\0") });
                    let found = stm.get(b"new")?;
                    assert_eq!((found.bytes(found.kvs[0].value), found.kvs[0].lease), (&b"\xff\0"[..], lease));
                    stm.delete(b"gone");
                    assert!(stm.get(b"gone")?.kvs.is_empty());
                    stm.put(put_request(b"old\0", b"2"));
                    stm.delete(b"old\0");
                    stm.put(put_request(b"old\0", b"3"));
                    assert_eq!(get(&client, b"new").unwrap(), None, "nobody else sees it");
                    Ok(())
                })
                .unwrap();
            assert_eq!(get(&client, b"new").unwrap().unwrap(), b"\xff\0");
            assert_eq!((value(&client, b"old\0"), get(&client, b"gone").unwrap()), ("3".into(), None));
            client
                .stm(with(isolation), &mut |stm| {
                    stm.delete(b"new");
                    Ok(())
                })
                .unwrap();
            assert_eq!(get(&client, b"new").unwrap(), None);
        }
        let nothing = client.stm(StmOptions::default(), &mut |_| Ok(())).unwrap();
        assert!(nothing.succeeded);
    });
}

#[test]
fn what_others_write_meanwhile_is_a_conflict_as_the_isolation_says() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        // Whether others' writes to what was read, and to what was only written, lead to another attempt.
        for (isolation, of_reads, of_writes) in [
            (Isolation::SerializableSnapshot, true, true),
            (Isolation::Serializable, true, false),
            (Isolation::RepeatableReads, true, false),
            (Isolation::ReadCommitted, false, false),
        ] {
            for (disturbed, is_conflict) in [(&b"read"[..], of_reads), (b"written", of_writes), (b"other", false)] {
                put(&client, b"read", b"1").unwrap();
                let mut attempts = 0;
                client
                    .stm(with(isolation), &mut |stm| {
                        attempts += 1;
                        let seen = number(stm, b"read")?;
                        if attempts == 1 {
                            put(&client, disturbed, b"5").unwrap();
                            assert_eq!(number(stm, b"read")?, seen, "what was read stays");
                        } else {
                            assert_eq!(seen, if disturbed == b"read" { 5 } else { 1 }, "it is read anew");
                        }
                        set(stm, b"written", 7);
                        Ok(())
                    })
                    .unwrap();
                assert_eq!(attempts, if is_conflict { 2 } else { 1 }, "{isolation:?} {disturbed:?}");
                assert_eq!(value(&client, b"written"), "7");
            }
        }
        // A snapshot is of the revision of the first read; else each key is read as it is.
        for (isolation, seen_later) in ALL.into_iter().zip([1, 1, 9, 9]) {
            put(&client, b"second", b"1").unwrap();
            let error = client.stm(with(isolation), &mut |stm| {
                number(stm, b"read")?;
                put(&client, b"second", b"9").unwrap();
                assert_eq!(number(stm, b"second")?, seen_later, "{isolation:?}");
                Err(Error::GivenUp { status: 77 })
            });
            assert!(matches!(error, Err(Error::GivenUp { status: 77 })));
        }
        // A key that isn't there is read as well.
        let mut attempts = 0;
        let created = |stm: &mut Stm| {
            attempts += 1;
            let is_there = !stm.get(b"absent")?.kvs.is_empty();
            if attempts == 1 {
                put(&client, b"absent", b"5").unwrap();
            }
            set(stm, b"seen", i64::from(is_there));
            Ok(())
        };
        client.stm(StmOptions::default(), &mut { created }).unwrap();
        assert_eq!(value(&client, b"seen"), "1");
    });
}

#[test]
fn attempts_time_and_token_bound_it_and_what_is_given_up_is_not_written() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let attempts = AtomicU32::new(0);
        let always_disturbed = |options| {
            attempts.store(0, Ordering::SeqCst);
            client.stm(options, &mut |stm| {
                attempts.fetch_add(1, Ordering::SeqCst);
                number(stm, b"read")?;
                put(&client, b"read", b"5").unwrap();
                set(stm, b"written", 1);
                Ok(())
            })
        };
        let error = always_disturbed(StmOptions { max_attempts: 4, ..StmOptions::default() }).unwrap_err();
        assert!(matches!(error, Error::Conflict { attempts: 4 }), "{error:?}");
        assert!(!error.may_have_applied() && error.is_retryable() && attempts.load(Ordering::SeqCst) == 4);
        let limited = StmOptions { call: within(Duration::from_millis(400)), ..StmOptions::default() };
        let (ended, took) = timed(|| always_disturbed(limited));
        let error = ended.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }) && took < Duration::from_secs(3), "{error:?} {took:?}");
        assert!(attempts.load(Ordering::SeqCst) < 60, "it pauses between attempts");
        let token = Arc::new(CancelToken::new().unwrap());
        let call = CallOptions { timeout: TimeLimit::Never, cancel: Some(token.clone()) };
        let (ended, took) = std::thread::scope(|scope| {
            let runs = scope.spawn(|| timed(|| always_disturbed(StmOptions { call, ..StmOptions::default() })));
            wait_until(LONG, || attempts.load(Ordering::SeqCst) > 3);
            token.trigger();
            runs.join().unwrap()
        });
        assert!(matches!(ended, Err(Error::Cancelled { .. })), "{ended:?} {took:?}");
        let given_up = client.stm(StmOptions::default(), &mut |stm| {
            set(stm, b"written", 1);
            Err(Error::FailedPrecondition { what: "changed my mind" })
        });
        assert!(matches!(given_up, Err(Error::FailedPrecondition { what: "changed my mind" })));
        assert_eq!(get(&client, b"written").unwrap(), None);
        // A read that failed is not passed over.
        let closed = common::client(&etcd.url());
        closed.close();
        let ended = closed.stm(StmOptions::default(), &mut |stm| {
            let _ = stm.get(b"read");
            Ok(())
        });
        assert!(matches!(ended, Err(Error::Closed { .. })), "{ended:?}");
    });
}

#[test]
fn a_revision_that_is_compacted_meanwhile_is_another_attempt() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        put(&client, b"a", b"1").unwrap();
        put(&client, b"b", b"1").unwrap();
        let mut attempts = 0;
        let compacted = |stm: &mut Stm| {
            attempts += 1;
            number(stm, b"a")?;
            if attempts == 1 {
                let revision = put_revision(&client, b"c", b"1");
                client.compact(revision, true, &plain()).unwrap();
            }
            number(stm, b"b")?;
            set(stm, b"d", attempts);
            Ok(())
        };
        client.stm(StmOptions::default(), &mut { compacted }).unwrap();
        assert_eq!(value(&client, b"d"), "2");
    });
}

#[test]
fn a_commit_whose_answer_is_lost_is_told_as_that_and_not_made_again() {
    for_each_version(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let both = format!("{},{}", proxy.url(), etcd.url());
        let (client, behind) = (common::client(&etcd.url()), common::client(&both));
        put(&client, b"n", b"0").unwrap();
        let (mut done, mut lost) = (0, 0);
        for turn in 0..6 {
            behind.set_endpoints(&both).unwrap();
            get(&behind, b"x").unwrap();
            let ended = behind.stm(with(Isolation::default()), &mut |stm| {
                let next = number(stm, b"n")? + 1;
                set(stm, b"n", next);
                if turn % 2 == 0 {
                    proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
                }
                Ok(())
            });
            proxy.heal();
            match ended {
                Ok(_) => done += 1,
                Err(error) => {
                    assert!(error.may_have_applied() && !error.is_retryable(), "{error:?}");
                    lost += 1;
                }
            }
            assert_eq!(value(&client, b"n"), (done + lost).to_string(), "each was made once");
        }
        assert_eq!((done, lost), (3, 3));
        // A read whose answer is lost is made again.
        behind.set_endpoints(&both).unwrap();
        get(&behind, b"x").unwrap();
        proxy.inject(Fault::After(Direction::Answer, 0, End::Close));
        count_up(&behind, with(Isolation::default()), b"n").unwrap();
        assert_eq!(value(&client, b"n"), "7");
    });
}

#[test]
fn a_prefix_goes_on_keys_and_comes_off_them() {
    let etcd = Etcd::start(&versions().pop().unwrap());
    let bare = common::client(&etcd.url());
    let client = Client::new(Config { key_prefix: b"app/".to_vec(), ..config(&etcd.url()) }).unwrap();
    count_up(&client, StmOptions::default(), b"n").unwrap();
    count_up(&client, StmOptions::default(), b"n").unwrap();
    assert_eq!((value(&client, b"n"), keys(&bare, &prefix(b""))), ("2".into(), vec!["app/n".to_owned()]));
    client
        .stm(StmOptions::default(), &mut |stm| {
            let found = stm.get(b"n")?;
            assert_eq!(found.bytes(found.kvs[0].key), b"n");
            stm.delete(b"n");
            Ok(())
        })
        .unwrap();
    assert!(keys(&bare, &prefix(b"")).is_empty());
    let empty = client.stm(StmOptions::default(), &mut |stm| stm.get(b"").map(drop));
    assert!(matches!(empty, Err(Error::InvalidArgument { .. })), "{empty:?}");
}
