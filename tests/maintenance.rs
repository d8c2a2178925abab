//! The care of members, on real servers of every version: alarms, space, hashes, the leader's place, downgrades.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    Cluster, Etcd, FakeGateway, LONG, TempDir, delete_request, for_each_version, for_each_version_with, get,
    on_each_version, plain, put, timed, wait_until, with_each_version, within,
};
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::alarm::{Alarm, AlarmType};
use etcdgw::rpc::downgrade::{DowngradeAction, DowngradeResponse};
use etcdgw::rpc::{Keys, Response};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a server says to what it refuses.
#[track_caller]
fn assert_refused<T>(result: Result<T, Error>, code: Code, reason: Reason) {
    let Err(error) = result else { panic!("it was not refused") };
    assert!(matches!(&error, Error::Server { code: given, .. } if *given == code), "{error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
    assert!(!error.may_have_applied(), "{error:?}");
}

/// What a server is too old for is told so, with the release that has it.
#[track_caller]
fn assert_lacks<T>(result: Result<T, Error>, path: &str) {
    let Err(error) = result else { panic!("it was not refused") };
    assert!(matches!(&error, Error::Server { code: Code::Unimplemented, http_status: 404, .. }), "{error:?}");
    assert!(error.to_string().contains(path) && error.to_string().contains("etcd 3.5"), "{error}");
    assert!(!error.may_have_applied() && !error.is_retryable(), "{error:?}");
}

/// Puts values until the database may not grow any more.
fn fill(client: &Client) -> Error {
    let value = vec![b'x'; 512 << 10];
    let refused = (0..1000).find_map(|number| put(client, format!("fill/{number}").as_bytes(), &value).err());
    refused.unwrap()
}

#[test]
fn an_alarm_is_raised_when_the_space_is_used_up_and_disarmed_when_there_is_some_again() {
    for_each_version_with(&["--quota-backend-bytes=8388608"], |etcd| {
        let client = common::administrator(&etcd.url());
        assert_eq!(client.alarm_list(&plain()).unwrap().alarms, []);
        assert_eq!(client.alarm_disarm(Alarm::default(), &plain()).unwrap().alarms, []);
        assert_eq!(fill(&client).reason(), Reason::NoSpace);
        let member_id = client.status(None, &plain()).unwrap().header.member_id;
        let raised = Alarm { member_id, alarm_type: AlarmType::NoSpace };
        assert_eq!(client.alarm_list(&plain()).unwrap().alarms, [raised]);
        let full = client.status(None, &plain()).unwrap();
        assert!(full.errors.iter().any(|error| error.contains("NOSPACE")), "{:?}", full.errors);

        // Neither the alarm of another member nor one of another kind is the one that is raised.
        for other in [Alarm { member_id: 1, ..raised }, Alarm { alarm_type: AlarmType::Corrupt, ..raised }] {
            assert_eq!(client.alarm_disarm(other, &plain()).unwrap().alarms, []);
        }
        for others in [(1, AlarmType::None), (0, AlarmType::Corrupt)] {
            let others = Alarm { member_id: others.0, alarm_type: others.1 };
            assert_eq!(client.alarm_disarm(others, &plain()).unwrap().alarms, []);
        }
        assert_eq!(client.alarm_list(&plain()).unwrap().alarms, [raised]);

        let all = delete_request(Keys::Prefix(Cow::Borrowed(b"fill/")));
        let revision = client.delete_range(&all, &plain()).unwrap().header.revision;
        client.compact(revision, true, &plain()).unwrap();
        // A request under way may still hold pages of the old revisions.
        wait_until(LONG, || {
            client.defragment(None, &within(LONG)).unwrap();
            client.status(None, &plain()).unwrap().db_size < full.db_size / 4
        });
        assert_eq!(client.alarm_disarm(Alarm::default(), &plain()).unwrap().alarms, [raised]);
        assert_eq!(client.alarm_list(&plain()).unwrap().alarms, []);
        put(&client, b"key", b"value").unwrap();

        fill(&client);
        assert_eq!(client.alarm_disarm(raised, &plain()).unwrap().alarms, [raised], "by its name");
        assert_eq!(client.alarm_list(&plain()).unwrap().alarms, []);
    });
}

#[test]
fn where_only_some_of_several_alarms_can_be_disarmed_the_error_says_that_some_may_be() {
    let folder = TempDir::new("socket");
    let (socket, elsewhere) = (folder.path().join("gateway"), folder.path().join("elsewhere"));
    let (asked, path, to) = (AtomicUsize::new(0), socket.clone(), elsewhere.clone());
    let gateway = FakeGateway::start_on_unix(&socket, move |_, reply| {
        let alarms = r#"{"memberID":"1","alarm":"NOSPACE"},{"memberID":"2","alarm":"NOSPACE"}"#;
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => reply.json(format!(r#"{{"alarms":[{alarms}]}}"#)),
            _ => {
                std::fs::rename(&path, &to).unwrap();
                // Says that it ends the connection: else the next request might be sent before the end is seen.
                let body = r#"{"header":{},"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#;
                let length = body.len();
                reply.raw(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"));
                reply.close();
            }
        }
    });
    let client = common::client(gateway.url());
    let error = client.alarm_disarm(Alarm::default(), &plain()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.may_have_applied() && error.is_retryable(), "{error:?}");
}

#[test]
fn a_member_that_is_named_is_the_one_that_is_defragmented() {
    with_each_version(|version| {
        let cluster = Cluster::start(version, 2);
        let client = common::administrator(&cluster.endpoints());
        let value = vec![b'x'; 256 << 10];
        (0..40).for_each(|number| drop(put(&client, format!("key/{number}").as_bytes(), &value).unwrap()));
        let all = delete_request(Keys::Prefix(Cow::Borrowed(b"key/")));
        let revision = client.delete_range(&all, &plain()).unwrap().header.revision;
        client.compact(revision, true, &plain()).unwrap();
        let size = |place: usize| client.status(Some(&cluster.members[place].url()), &plain()).unwrap().db_size;
        let (first, second) = (size(0), size(1));
        wait_until(LONG, || {
            client.defragment(Some(&cluster.members[1].url()), &within(LONG)).unwrap();
            size(1) < second / 4
        });
        assert_eq!(size(0), first, "the other one was left alone");
    });
}

#[test]
fn a_defragmentation_ends_with_its_time_limit_and_is_not_begun_again() {
    let slow = FakeGateway::start(|_, reply| reply.hold());
    let other = FakeGateway::answering("{}");
    let client = common::administrator(&format!("{},{}", slow.url(), other.url()));
    for endpoint in [None, Some(slow.url())] {
        let limit = Duration::from_millis(300);
        let (result, took) = timed(|| client.defragment(endpoint, &within(limit)));
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }) && error.may_have_applied(), "{error:?}");
        assert!(took >= limit && took < Duration::from_secs(5), "{took:?}");
        client.set_endpoints(&format!("{},{}", slow.url(), other.url())).unwrap();
    }
    assert_eq!((slow.count("/v3/maintenance/defragment"), other.count("/v3/maintenance/defragment")), (2, 0));
}

#[test]
fn a_hash_changes_with_what_is_hashed() {
    for_each_version(|etcd| {
        let client = common::administrator(&etcd.url());
        put(&client, b"key", b"value").unwrap();
        let hash = || client.hash(None, &plain()).unwrap().hash;
        let before = hash();
        assert_eq!(client.hash(Some(&etcd.url()), &plain()).unwrap().hash, before);
        put(&client, b"key", b"other").unwrap();
        // What was written is hashed once it is in the database, which it is after a tenth of a second.
        wait_until(LONG, || hash() != before);
    });
}

#[test]
fn members_of_a_cluster_give_the_same_hash_of_their_keys() {
    with_each_version(|version| {
        let cluster = Cluster::start(version, 3);
        let client = common::administrator(&cluster.endpoints());
        let first = put(&client, b"key", b"value").unwrap().header.revision;
        let last = put(&client, b"key", b"other").unwrap().header.revision;
        let at = |place: usize, revision| client.hash_kv(Some(&cluster.members[place].url()), revision, &plain());
        if cluster.members[0].release() < (3, 5) {
            assert_lacks(at(0, 0), "maintenance/hashkv");
            assert_lacks(client.hash_kv(None, 0, &plain()), "maintenance/hashkv");
            return;
        }
        for revision in [first, last] {
            let mut hashes = Vec::new();
            for place in 0..3 {
                // A member may be a little behind the others.
                wait_until(LONG, || at(place, revision).is_ok());
                hashes.push(at(place, revision).unwrap().hash);
            }
            assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
        }
        let (older, newer) = (at(0, first).unwrap(), at(0, last).unwrap());
        assert_ne!(older.hash, newer.hash);
        assert_eq!(at(0, 0).unwrap().hash, newer.hash);
        let tells_revision = cluster.members[0].release() >= (3, 6);
        assert_eq!((older.hash_revision, newer.hash_revision), if tells_revision { (first, last) } else { (0, 0) });
        assert_refused(at(0, last + 100), Code::OutOfRange, Reason::FutureRevision);
        client.compact(last, true, &plain()).unwrap();
        assert_refused(client.hash_kv(None, first, &plain()), Code::OutOfRange, Reason::Compacted);
        put(&client, b"key", b"third").unwrap();
        wait_until(LONG, || client.hash_kv(None, 0, &plain()).unwrap().compact_revision == last);
    });
}

#[test]
fn the_leader_hands_over_to_the_member_that_is_named() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 3);
        let ids = cluster.ids();
        let leader = cluster.leader();
        let target = (leader + 1) % 3;
        // The one in use is no leader, and finds the leader among the others.
        let client = common::administrator(&cluster.endpoints_from(target));
        client.move_leader(ids[target], &plain()).unwrap();
        assert_eq!(client.status(None, &plain()).unwrap().leader, ids[target]);
        client.move_leader(ids[leader], &plain()).unwrap();
        assert_eq!(client.status(None, &plain()).unwrap().leader, ids[leader]);
        client.move_leader(ids[leader], &plain()).unwrap();

        assert_refused(client.move_leader(12345, &plain()), Code::FailedPrecondition, Reason::Other);
        let follower = common::administrator(&cluster.members[target].url());
        assert_refused(follower.move_leader(ids[target], &plain()), Code::FailedPrecondition, Reason::NotLeader);
        let learner = cluster.add_learner();
        assert_refused(client.move_leader(learner, &plain()), Code::FailedPrecondition, Reason::Other);
        assert_eq!(client.status(None, &plain()).unwrap().leader, ids[leader]);
    });
}

/// The release before: `3.5` of `3.6.16`.
fn release_before(etcd: &Etcd) -> String {
    let (major, minor) = etcd.release();
    format!("{major}.{}", minor - 1)
}

#[test]
fn a_downgrade_is_asked_for_prepared_and_given_up() {
    for_each_version(|etcd| {
        let client = common::administrator(&etcd.url());
        let (before, downgrade) =
            (release_before(&etcd), |action, version: &str| client.downgrade(action, version, &plain()));
        if etcd.release() < (3, 5) {
            for action in [DowngradeAction::Validate, DowngradeAction::Enable, DowngradeAction::Cancel] {
                assert_lacks(downgrade(action, &before), "maintenance/downgrade");
            }
            return;
        }
        // Until the cluster has agreed on its version nothing is answered.
        wait_until(LONG, || downgrade(DowngradeAction::Validate, &before).is_ok());
        let (major, minor) = etcd.release();
        let now = downgrade(DowngradeAction::Validate, &before).unwrap().version.clone();
        assert!(now.starts_with(&format!("{major}.{minor}")), "{now}");
        let is_under_way = || client.status(None, &plain()).unwrap().downgrade_enabled;
        assert!(!is_under_way());
        for version in ["3.0", "9.9"] {
            let refused = downgrade(DowngradeAction::Validate, version);
            assert_refused(refused, Code::InvalidArgument, Reason::Other);
        }
        assert_refused(downgrade(DowngradeAction::Enable, "older"), Code::InvalidArgument, Reason::Other);

        // etcd 3.5 does what it is told, and says after 7 s that it may or may not have.
        let is_done = |result: Result<Response<DowngradeResponse>, Error>| match result {
            Ok(_) => etcd.release() != (3, 5),
            Err(error) => etcd.release() == (3, 5) && error.reason() == Reason::Timeout && error.may_have_applied(),
        };
        assert!(is_done(downgrade(DowngradeAction::Enable, &before)));
        assert_refused(downgrade(DowngradeAction::Enable, &before), Code::FailedPrecondition, Reason::Other);
        if etcd.release() >= (3, 6) {
            let status = client.status(None, &plain()).unwrap();
            assert!(status.downgrade_enabled && status.downgrade_target_version.starts_with(&before), "{status:?}");
        }
        assert!(is_done(downgrade(DowngradeAction::Cancel, "")));
        assert!(!is_under_way());
        put(&client, b"key", b"value").unwrap();
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value");
    });
}

#[test]
fn an_endpoint_that_can_be_none_is_refused_and_one_that_is_gone_is_not_replaced_by_another() {
    on_each_version(|etcd| {
        let client = common::administrator(&etcd.url());
        let gone = format!("{}://127.0.0.1:1", etcd.url().split_once("://").unwrap().0);
        for error in [
            client.hash(Some(&gone), &plain()).unwrap_err(),
            client.hash_kv(Some(&gone), 0, &plain()).unwrap_err(),
            client.defragment(Some(&gone), &plain()).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Connect { .. }) && !error.may_have_applied(), "{error:?}");
        }
        assert!(matches!(client.hash(Some("ftp://h"), &plain()), Err(Error::InvalidArgument { .. })));
    });
}

#[test]
fn a_server_without_a_gateway_is_not_taken_for_one_that_is_too_old() {
    let gateway = FakeGateway::start(|_, reply| reply.status("404 Not Found", "404 page not found\n"));
    let client = common::administrator(gateway.url());
    let error = client.hash_kv(None, 0, &plain()).unwrap_err();
    assert!(matches!(error, Error::Protocol { http_status: 404, .. }), "{error:?}");
}

#[test]
fn an_alarm_that_this_release_does_not_know_is_listed_all_the_same() {
    let gateway = FakeGateway::start(|request, reply| {
        let is_list = request.json()["action"] == "GET";
        let known = r#"{"memberID":"7","alarm":"CORRUPT"}"#;
        let unknown = r#",{"memberID":"8","alarm":"TOO_HOT"}"#;
        reply.json(format!(r#"{{"alarms":[{known}{}]}}"#, if is_list { unknown } else { "" }));
    });
    let client = common::administrator(gateway.url());
    let types = |alarms: &[Alarm]| alarms.iter().map(|alarm| alarm.alarm_type).collect::<Vec<_>>();
    let listed = client.alarm_list(&plain()).unwrap();
    assert_eq!(types(&listed.alarms), [AlarmType::Corrupt, AlarmType::Unlisted]);
    assert_eq!(types(&client.alarm_disarm(Alarm::default(), &plain()).unwrap().alarms), [AlarmType::Corrupt]);
    assert_eq!(gateway.requests().len(), 3, "two lists, and the one alarm that has a name");
    let unlisted = Alarm { member_id: 8, alarm_type: AlarmType::Unlisted };
    assert!(matches!(client.alarm_disarm(unlisted, &plain()), Err(Error::InvalidArgument { .. })));
}
