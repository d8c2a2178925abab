//! Leases on real servers of every version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    FakeGateway, LONG, TempDir, for_each_version, get, on_each_version, plain, put_request, timed, wait_until,
};
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::kv::PutRequest;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A new lease of so many seconds.
fn granted(client: &Client, ttl: i64) -> i64 {
    let id = Client::new_lease_id().unwrap();
    let response = client.lease_grant(ttl, id, &plain()).unwrap();
    assert_eq!(response.id, id);
    id
}

fn attach(client: &Client, lease: i64, key: &[u8]) {
    client.put(&PutRequest { lease, ..put_request(key, b"v") }, &plain()).unwrap();
}

#[test]
fn a_lease_is_granted_for_the_time_asked_for_or_the_servers_least() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        for (asked, wanted) in
            [(60, 60..=60), (9_000_000_000, 9_000_000_000..=9_000_000_000), (1, 1..=2), (0, 1..=2), (-5, 1..=2)]
        {
            let id = Client::new_lease_id().unwrap();
            let response = client.lease_grant(asked, id, &plain()).unwrap();
            assert!(wanted.contains(&response.ttl) && response.id == id, "{asked}: {}", response.ttl);
            assert!(response.header.member_id != 0);
            client.lease_revoke(id, &plain()).unwrap();
        }
        let error = client.lease_grant(9_000_000_001, 5, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::OutOfRange, .. }), "{error:?}");
    });
}

#[test]
fn an_id_of_zero_lets_the_server_pick_one() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = client.lease_grant(60, 0, &plain()).unwrap().id;
        assert!(id > 0);
        client.lease_revoke(id, &plain()).unwrap();
    });
}

#[test]
fn ids_are_positive_and_no_two_are_alike() {
    let ids: BTreeSet<i64> = (0..10_000).map(|_| Client::new_lease_id().unwrap()).collect();
    assert_eq!(ids.len(), 10_000);
    assert!(ids.iter().all(|id| *id > 0));
}

#[test]
fn an_id_that_is_taken_is_refused() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 60);
        let error = client.lease_grant(60, id, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::FailedPrecondition, .. }), "{error:?}");
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::LeaseExists, false));
        client.lease_revoke(id, &plain()).unwrap();
        client.lease_grant(60, id, &plain()).unwrap();
        client.lease_revoke(id, &plain()).unwrap();
    });
}

#[test]
fn a_lease_tells_what_is_left_and_what_is_attached() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 60);
        for key in [&b"lease/a\0\xff"[..], b"lease/b"] {
            attach(&client, id, key);
        }
        let left = client.lease_time_to_live(id, true, &plain()).unwrap();
        assert_eq!((left.id, left.granted_ttl), (id, 60));
        assert!((50..=60).contains(&left.ttl));
        let keys: BTreeSet<&[u8]> = left.keys.iter().map(|key| left.bytes(*key)).collect();
        assert_eq!(keys, BTreeSet::from([&b"lease/a\0\xff"[..], b"lease/b"]));
        assert!(client.lease_time_to_live(id, false, &plain()).unwrap().keys.is_empty());
        client.lease_revoke(id, &plain()).unwrap();
        assert_eq!(get(&client, b"lease/b").unwrap(), None);
    });
}

#[test]
fn a_lease_that_is_not_there_has_a_time_of_minus_one_and_can_be_neither_refreshed_nor_revoked() {
    on_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 60);
        client.lease_revoke(id, &plain()).unwrap();
        let left = client.lease_time_to_live(id, true, &plain()).unwrap();
        assert_eq!((left.id, left.ttl, left.granted_ttl, left.keys.len()), (id, -1, 0, 0));
        let error = client.lease_refresh(id, &plain()).unwrap_err();
        assert!(matches!(error, Error::LeaseExpired { id: gone } if gone == id), "{error:?}");
        assert_eq!(error.reason(), Reason::LeaseNotFound);
        let error = client.lease_revoke(id, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::NotFound, .. }), "{error:?}");
        assert_eq!((error.reason(), error.may_have_applied()), (Reason::LeaseNotFound, false));
    });
}

#[test]
fn every_lease_is_listed() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
        let ids: BTreeSet<i64> = (0..50).map(|_| granted(&client, 60)).collect();
        let listed = client.lease_list(&plain()).unwrap();
        assert_eq!(listed.ids.iter().copied().collect::<BTreeSet<i64>>(), ids);
        assert!(listed.header.cluster_id != 0);
    });
}

#[test]
fn a_refresh_gives_the_whole_time_again() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 20);
        let left = || client.lease_time_to_live(id, false, &plain()).unwrap().ttl;
        wait_until(LONG, || left() <= 18);
        assert_eq!(client.lease_refresh(id, &plain()).unwrap(), 20);
        assert!(left() >= 19);
    });
}

#[test]
fn a_lease_that_runs_out_takes_its_keys_along_and_is_asked_about_without_an_error_all_the_while() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 2);
        attach(&client, id, b"key");
        let ((), took) = timed(|| {
            wait_until(LONG, || {
                let left = client.lease_time_to_live(id, true, &plain()).unwrap();
                assert!((-1..=2).contains(&left.ttl), "{}", left.ttl);
                left.ttl == -1
            });
        });
        assert!(took >= std::time::Duration::from_secs(1), "{took:?}");
        wait_until(LONG, || get(&client, b"key").unwrap().is_none());
        assert!(matches!(client.lease_refresh(id, &plain()), Err(Error::LeaseExpired { .. })));
    });
}

#[test]
fn a_lease_outlives_the_servers_restart() {
    for_each_version(|mut etcd| {
        let client = common::client(&etcd.url());
        let id = granted(&client, 60);
        attach(&client, id, b"key");
        etcd.restart();
        assert_eq!(client.lease_refresh(id, &plain()).unwrap(), 60);
        let left = client.lease_time_to_live(id, true, &plain()).unwrap();
        assert_eq!((left.granted_ttl, left.keys.len()), (60, 1));
    });
}

#[test]
fn an_answer_without_a_lease_is_none_to_a_grant() {
    let gateway = FakeGateway::answering("{}");
    let error = common::client(gateway.url()).lease_grant(30, 0, &plain()).unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }) && error.may_have_applied(), "{error:?}");
}

#[test]
fn a_grant_that_was_found_to_have_happened_says_so_although_nobody_is_left_to_tell_its_time() {
    let folder = TempDir::new("socket");
    let (socket, elsewhere) = (folder.path().join("gateway"), folder.path().join("elsewhere"));
    let grants = AtomicUsize::new(0);
    let (path, to) = (socket.clone(), elsewhere.clone());
    let gateway = FakeGateway::start_on_unix(&socket, move |request, reply| match request.path.as_str() {
        "/v3/lease/grant" if grants.fetch_add(1, Ordering::SeqCst) == 0 => reply.close(),
        "/v3/lease/grant" => {
            std::fs::rename(&path, &to).unwrap();
            let message = "etcdserver: lease already exists";
            reply.status("409 Conflict", format!(r#"{{"error":"{message}","code":6,"message":"{message}"}}"#));
            reply.close();
        }
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    let id = Client::new_lease_id().unwrap();
    let error = client.lease_grant_new(30, id, &plain()).unwrap_err();
    assert_eq!(gateway.count("/v3/lease/grant"), 2);
    // The gateway ends by way of its socket.
    std::fs::rename(elsewhere, socket).unwrap();
    assert!(error.may_have_applied() && !error.is_retryable(), "{error:?}");
}
