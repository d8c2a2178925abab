//! What a fence is for: whoever had something, and doesn't know yet that another one has it now, changes nothing more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::*;
use etcdgw::client::Client;
use etcdgw::concurrency::election::Election;
use etcdgw::concurrency::lock::{Lock, LockOptions};
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::session::Session;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Of who is to lose it, and of who comes after, which outlasts an election of the members.
const TTLS_S: [i64; 2] = [2, 15];

/// What a counter in the store is, which is put down together with who counted.
fn count(client: &Client) -> usize {
    get(client, b"counter").unwrap().map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap())
}

/// Counts up as this one, only while the fence holds. Answers whether it did; an error: nobody knows.
fn count_up(client: &Client, who: &str, fence: &Compare<'static>, limit: Duration) -> Result<bool, Error> {
    let number = {
        let response = get_with(client, b"counter", &within(limit))?;
        let value = response.kvs.first().map(|kv| String::from_utf8(response.bytes(kv.value).to_vec()).unwrap());
        value.map_or(0, |value| value.parse::<usize>().unwrap())
    };
    let (place, next) = (format!("counted/{number:05}"), (number + 1).to_string());
    // Nobody else has counted meanwhile.
    let is_free = Compare {
        keys: Keys::One(Cow::Borrowed(place.as_bytes())),
        op: CompareOp::Equal,
        target: CompareTarget::CreateRevision(0),
    };
    let success = vec![
        TxnOp::Put(put_request(b"counter", next.as_bytes())),
        TxnOp::Put(put_request(place.as_bytes(), who.as_bytes())),
    ];
    let request = TxnRequest { compare: vec![fence.clone(), is_free], success, failure: Vec::new() };
    Ok(client.txn(&request, &within(limit))?.succeeded)
}

/// Who has counted, one after another, each as often as it did in a row.
fn turns(client: &Client) -> Vec<(String, usize)> {
    let all = client.range(&prefix(b"counted/"), &plain()).unwrap();
    let mut turns: Vec<(String, usize)> = Vec::new();
    for kv in &all.kvs {
        let who = String::from_utf8(all.bytes(kv.value).to_vec()).unwrap();
        match turns.last_mut() {
            Some((last, times)) if *last == who => *times += 1,
            _ => turns.push((who, 1)),
        }
    }
    assert_eq!(turns.iter().map(|(_, times)| times).sum::<usize>(), count(client), "each is put down once");
    turns
}

/// A hold of any kind, as far as it matters here: taken, and what it is fenced with.
trait Hold: Sync {
    fn take(&self) -> bool;
    fn fence(&self) -> Compare<'static>;
    fn give_back(&self);
}

impl Hold for Mutex {
    fn take(&self) -> bool {
        self.lock(Some(LONG), &plain()).unwrap()
    }

    fn fence(&self) -> Compare<'static> {
        self.is_owner().unwrap()
    }

    fn give_back(&self) {
        self.unlock(&plain()).unwrap();
    }
}

impl Hold for Election {
    fn take(&self) -> bool {
        self.campaign(b"me", Some(LONG), &plain()).unwrap()
    }

    fn fence(&self) -> Compare<'static> {
        self.is_leader().unwrap()
    }

    fn give_back(&self) {
        self.resign(&plain()).unwrap();
    }
}

impl Hold for Lock {
    fn take(&self) -> bool {
        self.acquire(Some(LONG), &plain()).unwrap()
    }

    fn fence(&self) -> Compare<'static> {
        self.is_held().unwrap()
    }

    fn give_back(&self) {
        assert!(self.release(&plain()).unwrap());
    }
}

type Make = fn(&Session, i64) -> Box<dyn Hold>;

const KINDS: [(&str, Make); 3] = [
    ("mutex", |session, _| Box::new(Mutex::new(session, b"held"))),
    ("election", |session, _| Box::new(Election::new(session, b"office"))),
    ("lock", |session, ttl| {
        let client = Mutex::new(session, b"any").client().clone();
        Box::new(Lock::new(&client, b"lock", LockOptions { ttl, uuid: None }).unwrap())
    }),
];

/// Opens a gate at the end, also of a test that fails.
struct Opens<'a>(&'a Gate);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// One holds and counts without a pause; it is cut off, another one comes to hold and counts; the first one gets its way
/// back and goes on as if nothing were. All of its counting must be before the other's.
fn take_over(near: &Client, far: &Client, cut: &dyn Fn(), mend: &dyn Fn()) {
    for (kind, make) in KINDS {
        for key in [&b"counted/"[..], b"counter"] {
            near.delete_range(&delete_request(Keys::Prefix(Cow::Borrowed(key))), &plain()).unwrap();
        }
        let (first, second) = (session_of(far, TTLS_S[0]), session_of(near, TTLS_S[1]));
        let (lost, heir) = (make(&first, TTLS_S[0]), make(&second, TTLS_S[1]));
        assert!(lost.take());
        let (fence, over) = (lost.fence(), Gate::new());
        std::thread::scope(|scope| {
            let (fence, over) = (&fence, &over);
            let _ends = Opens(over);
            let counts = scope.spawn(move || {
                let (mut counted, mut unknown) = (0, 0);
                let mut refused_after_all = false;
                while !over.is_open() {
                    match count_up(far, "first", fence, Duration::from_millis(500)) {
                        Ok(done) => {
                            counted += usize::from(done);
                            refused_after_all = !done;
                        }
                        Err(error) => unknown += usize::from(error.may_have_applied()),
                    }
                }
                (counted, unknown, refused_after_all)
            });
            wait_until(LONG, || count(near) >= 5);
            cut();
            assert!(heir.take(), "{kind}");
            let mine = heir.fence();
            let done = (0..5).filter(|_| count_up(near, "second", &mine, LONG).unwrap()).count();
            assert_eq!(done, 5, "{kind}");
            mend();
            let since = Instant::now();
            wait_until(LONG, || since.elapsed() > Duration::from_secs(1));
            let done = (0..5).filter(|_| count_up(near, "second", &mine, LONG).unwrap()).count();
            assert_eq!(done, 5, "{kind}");
            wait_until(LONG, || get(far, b"counter").is_ok());
            assert!(!count_up(far, "first", fence, LONG).unwrap(), "{kind}");
            over.open();
            let (counted, unknown, refused) = counts.join().unwrap();
            let turns = turns(near);
            assert_eq!((turns.len(), turns[0].0.as_str(), turns[1].clone()), (2, "first", ("second".to_owned(), 10)));
            assert!((counted..=counted + unknown).contains(&turns[0].1), "{kind}: {counted}, {unknown}: {turns:?}");
            assert!(refused, "{kind}: the last thing that the first one heard");
        });
        // A lock stands on a lease of its own.
        assert_eq!((first.is_lost() || kind == "lock", second.is_lost()), (true, false), "{kind}");
        heir.give_back();
        drop((lost, heir));
        drop((first, second));
        // The first lock stands on a lease that nobody keeps.
        wait_until(LONG, || near.lease_list(&plain()).unwrap().ids.is_empty());
    }
}

#[test]
fn who_is_cut_off_and_comes_back_counts_nothing_over_its_successor() {
    for_each_version_leaving_no_lease(|etcd| {
        let proxy = Proxy::start(&etcd.url());
        let (near, far) = (client(&etcd.url()), client(&proxy.url()));
        take_over(&near, &far, &|| proxy.inject(Fault::Hole), &|| proxy.heal());
    });
}

#[test]
fn who_is_with_a_member_that_is_cut_off_from_the_others_counts_nothing_over_its_successor() {
    for version in versions() {
        let cluster = Cluster::start_separable(&version, 3);
        let alone = cluster.follower();
        let far = client(&cluster.members[alone].url());
        let others = (0..3).filter(|place| *place != alone).map(|place| cluster.members[place].url());
        let near = client(&others.collect::<Vec<_>>().join(","));
        take_over(&near, &far, &|| cluster.separate(alone), &|| cluster.unite());
    }
}
