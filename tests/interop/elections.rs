//! Elections.

use crate::common::*;
use crate::peers::*;
use etcdgw::concurrency::election::Election;

#[test]
fn leaders_of_go_etcdctl_and_ours_follow_each_other_and_are_seen_by_all() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        let election = Election::new(&session, b"office");
        let observer = election.observe().unwrap();
        let sees = |wanted: &str| {
            let seen = observer.next(Some(LONG)).unwrap().unwrap();
            assert_eq!(seen.bytes(seen.leader.value), wanted.as_bytes());
        };
        let candidates = |count: usize| wait_until(LONG, || keys(&client, &prefix(b"office/")).len() == count);
        let gos_eyes = Peer::start(go(&etcd, "observe", &["office"]));
        let mut gos = Peer::start(go(&etcd, "lead", &["office", "go"]));
        gos.says("leads");
        sees("go");
        gos_eyes.says("go");
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| election.campaign(b"ours", Some(LONG), &plain()).unwrap());
            candidates(2);
            let etcdctls = Peer::start(etcdctl(&etcd, &["elect", "office", "etcdctl"]));
            candidates(3);
            gos.finish_input();
            assert!(ours.join().unwrap());
            sees("ours");
            gos_eyes.says("ours");
            election.proclaim(b"ours, still", &plain()).unwrap();
            sees("ours, still");
            gos_eyes.says("ours, still");
            let mut listening = Peer::start(etcdctl(&etcd, &["elect", "-l", "office"]));
            listening.says("ours, still");
            election.resign(&plain()).unwrap();
            etcdctls.says("etcdctl");
            sees("etcdctl");
            gos_eyes.says("etcdctl");
            listening.finish_input();
            etcdctls.signal("INT");
            wait_until(LONG, || election.leader(&plain()).unwrap().kvs.is_empty());
        });
        gos.finish();
        // The others' go when their time is over: they were killed.
        let ours = session.lease();
        drop((observer, election, session));
        assert!(!client.lease_list(&plain()).unwrap().ids.contains(&ours));
    });
}
