//! Copies that are made anew.

use crate::common::{
    End, Fault, LONG, Proxy, administrator, client, config, for_each_version, plain, put, put_revision, wait_until,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::ChangeKind;
use etcdgw::config::Config;
use etcdgw::event_queue::EventQueue;

/// Ends every connection, also one that was just being opened, and lets none be opened.
#[track_caller]
fn separate(proxy: &Proxy) {
    proxy.inject(Fault::Refuse);
    wait_until(LONG, || {
        proxy.cut(End::Reset);
        proxy.open_connections() == 0
    });
}

#[test]
fn a_compaction_while_disconnected_rebuilds_it_and_tells_the_difference() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        ["r/a", "r/b", "r/c"].iter().for_each(|key| drop(put(&direct, key.as_bytes(), b"1").unwrap()));
        let (mirror, hearer) = open(&through, b"r/");
        separate(&proxy);
        put(&direct, b"r/b", b"2").unwrap();
        put(&direct, b"r/d", b"1").unwrap();
        put(&direct, b"r/gone", b"1").unwrap();
        delete(&direct, b"r/gone");
        delete(&direct, b"r/a");
        let last = put_revision(&direct, b"beside", b"");
        administrator(&etcd.url()).compact(last, true, &plain()).unwrap();
        assert_eq!(shown(&mirror).len(), 3);
        proxy.heal();
        assert!(mirror.wait_for_revision(last, Some(LONG)).unwrap());
        let stored = stored(&direct, b"r/");
        assert_eq!(shown(&mirror), stored);
        hearer.wait_for(&stored);
        assert_eq!(hearer.kinds(), [ChangeKind::Rebuilt]);
        let keys = hearer.with(|heard| {
            assert_eq!(heard.changes[0].revision, last);
            heard.changes[0].events.iter().map(|event| event.kv.key().to_vec()).collect::<Vec<_>>()
        });
        assert_eq!(keys, [b"r/a", b"r/b", b"r/d"]);

        // It goes on from there.
        put(&direct, b"r/e", b"1").unwrap();
        hearer.wait_for(&crate::support::stored(&direct, b"r/"));
        assert_eq!(hearer.kinds(), [ChangeKind::Rebuilt, ChangeKind::Events]);
    });
}

#[test]
fn what_was_deleted_at_the_very_revision_of_a_compaction_while_disconnected_goes_from_the_copy() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        ["r/a", "r/b"].iter().for_each(|key| drop(put(&direct, key.as_bytes(), b"1").unwrap()));
        let (mirror, hearer) = open(&through, b"r/");
        separate(&proxy);
        let deleted = delete(&direct, b"r/a");
        assert_eq!(deleted, mirror.revision() + 1);
        administrator(&etcd.url()).compact(deleted, true, &plain()).unwrap();
        proxy.heal();
        let last = put_revision(&direct, b"r/c", b"1");
        assert!(mirror.wait_for_revision(last, Some(LONG)).unwrap());
        let stored = stored(&direct, b"r/");
        assert_eq!(shown(&mirror), stored);
        hearer.wait_for(&stored);
    });
}

#[test]
fn what_was_untold_before_a_copy_was_made_anew_is_told_before_the_difference() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        let queue = EventQueue::new();
        let mirror = through.mirror_into(options(b"r/"), &queue, Box::new(())).unwrap();
        mirror.start();
        let before = put_revision(&direct, b"r/a", b"1");
        assert!(mirror.wait_for_revision(before, Some(LONG)).unwrap());
        separate(&proxy);
        put(&direct, b"r/a", b"2").unwrap();
        let last = put_revision(&direct, b"r/a", b"3");
        administrator(&etcd.url()).compact(last, true, &plain()).unwrap();
        proxy.heal();
        assert!(mirror.wait_for_revision(last, Some(LONG)).unwrap());
        let hearer = Hearer::default();
        (0..2).for_each(|_| hearer.hear(crate::queues::next(&queue)));
        assert_eq!(hearer.kinds(), [ChangeKind::Events, ChangeKind::Rebuilt]);
        assert_eq!(hearer.with(|heard| heard.state.clone()), stored(&direct, b"r/"));
    });
}

#[test]
fn a_mirror_that_is_freed_while_it_is_made_anew_is_gone_at_once() {
    for_each_version(|etcd| {
        let direct = client(&etcd.url());
        let proxy = Proxy::start(&etcd.url());
        let through = Client::new(Config { max_retries: Some(0), ..config(&proxy.url()) }).unwrap();
        put(&direct, b"r/a", b"1").unwrap();
        let (mirror, hearer) = open(&through, b"r/");
        separate(&proxy);
        let last = put_revision(&direct, b"r/a", b"2");
        administrator(&etcd.url()).compact(last, true, &plain()).unwrap();
        proxy.heal();
        let ((), took) = crate::common::timed(|| drop(mirror));
        assert!(took < LONG, "{took:?}");
        assert!(hearer.kinds().iter().all(|kind| *kind == ChangeKind::Rebuilt));
    });
}

#[test]
fn a_cluster_that_lost_its_history_is_copied_anew() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        put(&client, b"r/a", b"1").unwrap();
        put(&client, b"r/b", b"1").unwrap();
        let (mirror, hearer) = open(&client, b"r/");
        put(&client, b"r/b", b"2").unwrap();
        hearer.wait_for(&stored(&client, b"r/"));
        etcd.lose_data();
        etcd.restart();
        put(&client, b"r/c", b"1").unwrap();
        let stored = stored(&client, b"r/");
        wait_until(LONG, || shown(&mirror) == stored);
        hearer.wait_for(&stored);
        // Whether what was put last is a part of the difference is chance.
        let kinds = hearer.kinds();
        assert_eq!(kinds[..2], [ChangeKind::Events, ChangeKind::Rebuilt]);
        assert!(kinds[2..].iter().all(|kind| *kind == ChangeKind::Events));
    });
}

#[test]
fn a_cluster_that_has_overtaken_the_history_it_lost_is_copied_anew() {
    for_each_version(|mut etcd| {
        // Each start is another term: more of them than the store will have had that takes its place.
        (0..3).for_each(|_| etcd.restart());
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        put(&through, b"r/a", b"1").unwrap();
        let (mirror, hearer) = open(&through, b"r/");
        put(&through, b"r/b", b"1").unwrap();
        hearer.wait_for(&stored(&through, b"r/"));
        separate(&proxy);
        etcd.lose_data();
        etcd.restart();
        let direct = client(&etcd.url());
        while put_revision(&direct, b"r/c", b"1") <= mirror.revision() + 1 {}
        proxy.heal();
        let stored = stored(&direct, b"r/");
        wait_until(LONG, || shown(&mirror) == stored);
        hearer.wait_for(&stored);
        assert_eq!(hearer.kinds(), [ChangeKind::Events, ChangeKind::Rebuilt]);
    });
}

#[test]
fn a_wait_for_the_latest_lasts_until_a_copy_of_lost_history_has_been_made_anew() {
    for_each_version(|mut etcd| {
        let proxy = Proxy::start(&etcd.url());
        let through = client(&proxy.url());
        let (mirror, _hearer) = open(&through, b"r/");
        (0..10).for_each(|_| drop(put(&through, b"r/a", b"1").unwrap()));
        catch_up(&mirror);
        separate(&proxy);
        etcd.lose_data();
        etcd.restart();
        let direct = client(&etcd.url());
        put(&direct, b"r/b", b"1").unwrap();
        proxy.heal();
        assert!(mirror.wait_for_revision(0, Some(LONG)).unwrap());
        assert_eq!(shown(&mirror), stored(&direct, b"r/"));
    });
}
