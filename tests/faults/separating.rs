//! Members that are alive, reach their clients, and do not reach each other.

use crate::common::{Cluster, LONG, client, get, one, plain, put_with, timed, versions, wait_until, within};
use crate::support::GRACE;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// etcd gives up a proposal that it can't bring to a leader after 7 s.
const LIMIT: Duration = Duration::from_secs(10);

/// By when writes succeed again: one proposal that is given up, and an election.
const OVERCOME: Duration = Duration::from_secs(15);

#[test]
fn a_member_in_use_that_is_cut_off_from_the_others_is_left_by_writes_and_watches() {
    for leads in [false, true] {
        let cluster = Cluster::start_separable(versions().last().unwrap(), 3);
        let place = if leads { cluster.leader() } else { cluster.follower() };
        let client = client(&cluster.endpoints_from(place));
        put_with(&client, b"separate/0", b"", &within(LIMIT)).unwrap();
        let keys = Keys::Prefix(Cow::Borrowed(&b"separate/"[..]));
        let request = WatchRequest::new(keys);
        let watch = client.watch_open(WatchOptions::new(request)).unwrap();
        assert_eq!(&*client.base_url(), cluster.members[place].url());

        cluster.separate(place);
        let (mut made, mut denied, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let (begin, mut number) = (Instant::now(), 0);
        while made.len() < 20 {
            number += 1;
            let key = format!("separate/{number}");
            let (answer, took) = timed(|| put_with(&client, key.as_bytes(), b"", &within(LIMIT)));
            assert!(took < LIMIT + GRACE, "{took:?}");
            match answer {
                Ok(answer) => made.push((key, answer.header.revision)),
                Err(error) if error.may_have_applied() => open.push(key),
                Err(_) => denied.push(key),
            }
            assert!(begin.elapsed() < OVERCOME, "leads: {leads}: {} made, {open:?} in doubt", made.len());
        }
        assert!(open.len() <= 2, "leads: {leads}: {open:?}");
        assert_ne!(&*client.base_url(), cluster.members[place].url());

        // The watch was at the member that hears of nothing any more.
        let mut seen = Vec::new();
        let end = Instant::now() + LONG;
        while !made.iter().all(|(_, revision)| seen.contains(revision)) {
            assert!(Instant::now() < end, "leads: {leads}: {seen:?} of {made:?}");
            let Some(response) = watch.next(Some(Duration::from_secs(1))).unwrap() else { continue };
            assert_ne!(response.kind, WatchKind::Ended, "{:?}", response.error);
            seen.extend(response.events.iter().map(|event| event.kv.mod_revision));
        }
        assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");

        cluster.unite();
        let left = crate::common::client(&cluster.members[place].url());
        wait_until(LONG, || get(&left, b"separate/0").is_ok());
        for (key, revision) in &made {
            let answer = left.range(&one(key.as_bytes()), &plain()).unwrap();
            assert_eq!((answer.kvs[0].mod_revision, answer.kvs[0].version), (*revision, 1));
        }
        for key in &denied {
            assert_eq!(get(&left, key.as_bytes()).unwrap(), None, "{key}");
        }
    }
}
