//! What lookups show.

use crate::common::{
    EtcdFace, FakeGateway, LONG, client, config, delete_request, for_each_version, plain, put, put_request,
    put_revision,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::{ChangeKind, Mirror};
use etcdgw::config::Config;
use etcdgw::rpc::Keys;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Puts the same value in two keys at once; answers the revision.
fn put_both(client: &Client, left: &[u8], right: &[u8], value: &[u8]) -> i64 {
    let success = [left, right].map(|key| TxnOp::Put(put_request(key, value))).to_vec();
    client.txn(&TxnRequest { success, ..TxnRequest::default() }, &plain()).unwrap().header.revision
}

/// Writes and deletes until all is as it should be at the end; answers the last revision.
fn write_many(client: &Client) -> i64 {
    let mut last = 0;
    for number in 0..200 {
        put_both(client, b"m/left", b"m/right", number.to_string().as_bytes());
        put(client, format!("m/{}", number % 17).as_bytes(), b"x").unwrap();
        last = delete(client, format!("m/{}", (number + 5) % 17).as_bytes());
    }
    last
}

/// Looks until it is told to stop; answers the number of looks.
fn look(mirror: &Mirror, stop: &AtomicBool) -> usize {
    let (mut looks, mut revision) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        let snapshot = mirror.snapshot();
        let value = |key: &[u8]| snapshot.get(key).map(|entry| (entry.value().to_vec(), entry.mod_revision()));
        assert_eq!(value(b"m/left"), value(b"m/right"));
        let newest = snapshot.range(b"m/").map(|entry| entry.mod_revision()).max();
        assert!(newest <= Some(snapshot.revision()) && snapshot.revision() >= revision);
        revision = snapshot.revision();
        looks += 1;
    }
    looks
}

#[test]
fn no_snapshot_of_any_thread_shows_a_part_of_a_transaction_and_in_the_end_all_is_as_on_the_server() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        put(&client, b"m/before", b"1").unwrap();
        let (mirror, hearer) = open(&client, b"m/");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| look(&mirror, &stop))).collect();
            let last = write_many(&client);
            assert!(mirror.wait_for_revision(last, Some(LONG)).unwrap());
            stop.store(true, Ordering::SeqCst);
            assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
        });
        let stored = stored(&client, b"m/");
        assert_eq!(shown(&mirror), stored);
        hearer.wait_for(&stored);
        assert!(hearer.kinds().iter().all(|kind| *kind == ChangeKind::Events));
    });
}

#[test]
fn a_wait_shows_a_revision_at_which_other_keys_were_written() {
    // Nobody else is to write there.
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let (mirror, _) = open(&client, b"m/");
        let outside = put_revision(&client, b"beside", b"");
        assert!(mirror.wait_for_revision(outside, Some(LONG)).unwrap());
        assert!(mirror.age() < LONG && mirror.wait_for_revision(0, Some(LONG)).unwrap());
        assert!(!mirror.wait_for_revision(outside + 1, Some(Duration::from_millis(50))).unwrap());
    });
}

#[test]
fn below_a_key_prefix_keys_are_looked_up_and_told_without_it() {
    for_each_version(|etcd| {
        let whole = client(&etcd.url());
        let within = Client::new(Config { key_prefix: b"app/".to_vec(), ..config(&etcd.url()) }).unwrap();
        put(&whole, b"app/m/a", b"1").unwrap();
        put(&whole, b"m/a", b"not this one").unwrap();
        let (mirror, hearer) = open(&within, b"m/");
        assert_eq!(mirror.snapshot().get(b"m/a").unwrap().value(), b"1");
        put(&whole, b"m/b", b"nor this one").unwrap();
        put(&whole, b"app/m/b", b"2").unwrap();
        delete(&whole, b"app/m/a");
        catch_up(&mirror);
        assert_eq!(mirror.snapshot().get(b"m/b").unwrap().value(), b"2");
        assert!(mirror.snapshot().get(b"app/m/b").is_none());
        let stored = stored(&within, b"m/");
        assert_eq!((stored.len(), shown(&mirror)), (1, stored.clone()));
        hearer.wait_for(&stored);

        let (all, _) = open(&within, b"");
        assert_eq!(shown(&all), stored);
        let everything = delete_request(Keys::Prefix(Cow::Borrowed(b"")));
        within.delete_range(&everything, &plain()).unwrap();
        catch_up(&all);
        assert!(all.snapshot().is_empty());
    });
}

#[test]
fn a_first_copy_that_is_compacted_away_while_it_is_made_is_begun_anew() {
    let (face, reads) = (EtcdFace::of("3.4.39"), AtomicUsize::new(0));
    let gateway = FakeGateway::start(move |request, reply| match &*request.path {
        "/v3/kv/range" => match reads.fetch_add(1, Ordering::SeqCst) {
            0 => reply.json(r#"{"header":{"revision":"7"},"kvs":[{"key":"YQ=="}],"more":true,"count":"2"}"#),
            1 => reply.status(
                "400 Bad Request",
                r#"{"code":11,"message":"etcdserver: mvcc: required revision has been compacted"}"#,
            ),
            _ => reply.json(r#"{"header":{"revision":"9"},"kvs":[{"key":"Yg=="}],"count":"1"}"#),
        },
        "/v3/watch" => {
            reply.stream_head();
            reply.chunk("{\"result\":{\"header\":{\"revision\":\"9\"},\"created\":true}}\n");
            reply.hold();
        }
        _ => face.answer(request, reply),
    });
    let mirror = client(gateway.url()).mirror(options(b""), None).unwrap();
    assert_eq!(shown(&mirror).into_keys().collect::<Vec<_>>(), [b"b"]);
    assert_eq!(mirror.revision(), 9);
}

#[test]
fn a_mirror_goes_on_over_a_restart_of_its_server() {
    for_each_version(|mut etcd| {
        let client = client(&etcd.url());
        put(&client, b"m/a", b"1").unwrap();
        let (mirror, hearer) = open(&client, b"m/");
        put(&client, b"m/b", b"1").unwrap();
        etcd.kill();
        assert_eq!(mirror.snapshot().get(b"m/a").unwrap().value(), b"1");
        etcd.restart();
        put(&client, b"m/a", b"2").unwrap();
        delete(&client, b"m/b");
        catch_up(&mirror);
        let stored = stored(&client, b"m/");
        assert_eq!(shown(&mirror), stored);
        hearer.wait_for(&stored);
        assert!(hearer.kinds().iter().all(|kind| *kind == ChangeKind::Events));
    });
}
