//! Mutexes.

use crate::common::*;
use crate::peers::*;
use etcdgw::concurrency::mutex::Mutex;
use etcdgw::concurrency::rwlock::RwLock;

fn turns(etcd: &Etcd, name: &str, count: usize) {
    let client = client(&etcd.url());
    let session = session(&client);
    let mutex = Mutex::new(&session, name.as_bytes());
    for _ in 0..count {
        assert!(mutex.lock(Some(LONG), &plain()).unwrap());
        count_up(&client, &format!("{name}-counter"));
        mutex.unlock(&plain()).unwrap();
    }
}

#[test]
fn a_thousand_turns_with_go_count_to_a_thousand() {
    for_each_version_leaving_no_lease(|etcd| {
        let peers = [(); 2].map(|()| Peer::start(go(etcd, "turns", &["shared", "250"])));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| turns(etcd, "shared", 250));
            }
        });
        peers.into_iter().for_each(Peer::finish);
        let client = client(&etcd.url());
        assert_eq!(number(&client, "shared-counter"), 1000);
        assert!(keys(&client, &prefix(b"shared/")).is_empty());
        no_lease_is_left(&client);
    });
}

#[test]
fn etcdctl_lock_takes_turns() {
    for_each_version_leaving_no_lease(|etcd| {
        let url = etcd.url();
        let program = etcdctl(etcd, &[]).get_program().to_str().unwrap().to_owned();
        let step = format!(
            "n=$({program} --endpoints={url} get --print-value-only shared-counter); \
             {program} --endpoints={url} put shared-counter $((${{n:-0}} + 1)) >&2"
        );
        std::thread::scope(|scope| {
            scope.spawn(|| turns(etcd, "shared", 100));
            for _ in 0..10 {
                Peer::start(etcdctl(etcd, &["lock", "shared", "--", "sh", "-c", &step])).finish();
            }
        });
        let client = client(&url);
        assert_eq!(number(&client, "shared-counter"), 110);
        no_lease_is_left(&client);
    });
}

#[test]
fn the_order_of_arrival_is_one_for_all() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let waiting = |count: usize| wait_until(LONG, || keys(&client, &prefix(b"line/")).len() == count);
        let session = session(&client);
        let mutex = Mutex::new(&session, b"line");
        let mut first = Peer::start(go(etcd, "hold", &["line"]));
        first.says("locked");
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| mutex.lock(Some(LONG), &plain()).unwrap());
            waiting(2);
            let third = Peer::start(etcdctl(etcd, &["lock", "line"]));
            waiting(3);
            first.finish_input();
            assert!(ours.join().unwrap());
            assert_eq!(keys(&client, &prefix(b"line/")).len(), 2, "the third waits for the second");
            mutex.unlock(&plain()).unwrap();
            assert!(third.line().starts_with("line/"), "it tells its key");
            third.signal("INT");
            waiting(0);
        });
        first.finish();
        drop(session);
        no_lease_is_left(&client);
    });
}

#[test]
fn readers_and_writers_of_go_and_ours_respect_each_other() {
    for_each_version_leaving_no_lease(|etcd| {
        let client = client(&etcd.url());
        let session = session(&client);
        let (ours, not) = (RwLock::new(&session, b"rw").unwrap(), Some(std::time::Duration::ZERO));
        let mut reading = Peer::start(go(etcd, "read", &["rw"]));
        reading.says("locked");
        assert!(!ours.write(not, &plain()).unwrap());
        assert!(ours.read(not, &plain()).unwrap());
        let mut writing = Peer::start(go(etcd, "write", &["rw"]));
        wait_until(LONG, || keys(&client, &prefix(b"rw/write/")).len() == 1);
        reading.finish_input();
        reading.finish();
        ours.unlock(&plain()).unwrap();
        writing.says("locked");
        assert!(!ours.read(not, &plain()).unwrap() && !ours.write(not, &plain()).unwrap());
        writing.finish_input();
        assert!(ours.write(Some(LONG), &plain()).unwrap());
        ours.unlock(&plain()).unwrap();
        writing.finish();
        drop(session);
        no_lease_is_left(&client);
    });
}
