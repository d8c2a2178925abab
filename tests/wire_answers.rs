//! The answers that real gateways gave, in both dialects: what is decoded from them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{ServedCaptures, capture_names, plain};
use etcdgw::client::Client;
use etcdgw::error::{Code, Error};
use etcdgw::rpc::alarm::{Alarm, AlarmType};
use etcdgw::rpc::downgrade::DowngradeAction;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse};
use etcdgw::rpc::role::PermissionType;
use etcdgw::rpc::txn::{TxnRequest, TxnResult};
use etcdgw::rpc::{Header, Keys, Response};
use std::borrow::Cow;

/// Runs something on the recordings of a case, one of each of six servers; it gets the server's label, too.
#[track_caller]
fn on_each(case: &str, run: impl Fn(Client, &str)) {
    let served = ServedCaptures::start();
    let names = capture_names();
    let of_case: Vec<_> = names.iter().filter(|name| name.split_once('-').unwrap().1 == case).collect();
    assert_eq!(of_case.len(), 6, "{case}");
    for name in of_case {
        run(served.client(name), name.split_once('-').unwrap().0);
    }
}

fn range(client: &Client) -> Response<RangeResponse> {
    client.range(&RangeRequest::new(Keys::One(Cow::Borrowed(b"foo"))), &plain()).unwrap()
}

fn put(client: &Client, prev_kv: bool) -> Response<etcdgw::rpc::kv::PutResponse> {
    client.put(&PutRequest { key: Cow::Borrowed(b"foo"), prev_kv, ..PutRequest::default() }, &plain()).unwrap()
}

fn delete(client: &Client) -> Response<etcdgw::rpc::kv::DeleteRangeResponse> {
    let keys = Keys::One(Cow::Borrowed(&b"foo"[..]));
    client.delete_range(&DeleteRangeRequest { keys, prev_kv: true, all: false }, &plain()).unwrap()
}

fn assert_is_told(header: Header, revision: i64) {
    assert_eq!((header.revision, header.raft_term), (revision, 2));
    assert!(header.cluster_id > 1 << 53 && header.member_id > 1 << 53, "{header:?}");
}

#[test]
fn a_range_has_its_keys_with_all_their_fields() {
    on_each("range", |client, _| {
        let response = range(&client);
        assert_is_told(response.header, 4);
        assert_eq!((response.count, response.more, response.kvs.len()), (1, false, 1));
        let kv = response.kvs[0];
        assert_eq!((response.bytes(kv.key), response.bytes(kv.value)), (&b"foo"[..], &b"bar2"[..]));
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (2, 3, 2, 0));
    });
}

#[test]
fn what_a_server_leaves_out_of_a_range_is_zero_or_empty() {
    on_each("range-missing", |client, _| {
        let response = range(&client);
        assert_eq!((response.count, response.more, response.kvs.len()), (0, false, 0));
    });
    on_each("range-count", |client, _| {
        let response = range(&client);
        assert_eq!((response.count, response.kvs.len()), (1, 0));
    });
    on_each("range-empty-value", |client, _| {
        let response = range(&client);
        assert_eq!(response.bytes(response.kvs[0].key), b"empty");
        assert_eq!(response.bytes(response.kvs[0].value), b"");
    });
}

#[test]
fn a_limited_range_says_that_there_is_more() {
    on_each("range-more", |client, _| {
        let response = range(&client);
        assert_eq!((response.count, response.more), (3, true));
        let keys: Vec<_> = response.kvs.iter().map(|kv| response.bytes(kv.key)).collect();
        assert_eq!(keys, [b"p/0", b"p/1"]);
    });
}

#[test]
fn a_leased_key_names_its_lease_to_the_last_digit() {
    on_each("range-leased", |client, _| assert_eq!(range(&client).kvs[0].lease, 7_587_848_390_000_000_001));
}

#[test]
fn a_put_has_its_revision_and_where_asked_for_the_key_before() {
    on_each("put", |client, _| {
        let response = put(&client, false);
        assert_is_told(response.header, 2);
        assert!(response.prev_kv.is_none());
    });
    on_each("put-prevkv", |client, _| {
        let response = put(&client, true);
        let before = response.prev_kv.unwrap();
        assert_eq!((response.bytes(before.key), response.bytes(before.value)), (&b"foo"[..], &b"bar"[..]));
        assert_eq!((before.create_revision, before.mod_revision, before.version), (2, 2, 1));
    });
}

#[test]
fn a_delete_counts_what_it_deleted_and_shows_it() {
    on_each("deleterange", |client, _| {
        let response = delete(&client);
        assert_is_told(response.header, 8);
        assert_eq!((response.deleted, response.prev_kvs.len()), (1, 1));
        assert_eq!(response.bytes(response.prev_kvs[0].key), b"p/1");
    });
    on_each("deleterange-none", |client, _| {
        let response = delete(&client);
        assert_eq!((response.deleted, response.prev_kvs.len()), (0, 0));
    });
    on_each("compaction", |client, _| client.compact(22, false, &plain()).unwrap());
}

#[test]
fn a_transaction_has_the_answer_of_each_operation() {
    on_each("txn-success", |client, _| {
        let response = client.txn(&TxnRequest::default(), &plain()).unwrap();
        assert_is_told(response.header, 9);
        assert!(response.succeeded);
        let [TxnResult::Put(put), TxnResult::Range(range), TxnResult::DeleteRange(delete)] = &response.results[..]
        else {
            panic!("{:?}", response.results)
        };
        assert_eq!((put.header.revision, range.count, delete.deleted), (9, 1, 0));
        assert_eq!(response.bytes(range.kvs[0].value), b"x");
    });
    on_each("txn-failure", |client, _| {
        let response = client.txn(&TxnRequest::default(), &plain()).unwrap();
        assert!(!response.succeeded);
        assert!(matches!(&response.results[..], [TxnResult::Range(range)] if range.kvs[0].version == 3));
    });
    on_each("txn-failure-empty", |client, _| {
        let response = client.txn(&TxnRequest::default(), &plain()).unwrap();
        assert!(!response.succeeded && response.results.is_empty());
    });
}

#[test]
fn a_transaction_in_a_transaction_has_answers_of_its_own() {
    on_each("txn-nested", |client, _| {
        let response = client.txn(&TxnRequest::default(), &plain()).unwrap();
        let [TxnResult::Txn(inner)] = &response.results[..] else { panic!("{:?}", response.results) };
        assert!(inner.succeeded);
        assert_eq!(inner.header, Header::default());
        let [TxnResult::Put(_), TxnResult::Range(range)] = &inner.results[..] else { panic!("{:?}", inner.results) };
        assert_eq!(response.bytes(range.kvs[0].key), b"nest");
    });
}

#[test]
fn a_lease_is_granted_refreshed_and_revoked() {
    on_each("lease-grant", |client, _| {
        let response = client.lease_grant(60, 7_587_848_390_000_000_001, &plain()).unwrap();
        assert_eq!((response.id, response.ttl), (7_587_848_390_000_000_001, 60));
        assert_is_told(response.header, 12);
    });
    on_each("lease-keepalive", |client, _| assert_eq!(client.lease_refresh(1, &plain()).unwrap(), 60));
    on_each("lease-revoke", |client, _| client.lease_revoke(1, &plain()).unwrap());
}

#[test]
fn a_refreshed_lease_that_is_gone_has_expired() {
    on_each("lease-keepalive-unknown", |client, _| {
        let error = client.lease_refresh(424_242, &plain()).unwrap_err();
        assert!(matches!(error, Error::LeaseExpired { id: 424_242 }), "{error:?}");
    });
}

#[test]
fn a_lease_tells_its_time_and_its_keys() {
    on_each("lease-ttl", |client, _| {
        let response = client.lease_time_to_live(7_587_848_390_000_000_001, true, &plain()).unwrap();
        assert_eq!((response.id, response.ttl, response.granted_ttl), (7_587_848_390_000_000_001, 59, 60));
        let keys: Vec<_> = response.keys.iter().map(|key| response.bytes(*key)).collect();
        assert_eq!(keys, [b"leased"]);
    });
    on_each("lease-ttl-unknown", |client, _| {
        let response = client.lease_time_to_live(424_242, true, &plain()).unwrap();
        assert_eq!((response.id, response.ttl, response.granted_ttl, response.keys.len()), (424_242, -1, 0, 0));
    });
    on_each("lease-leases", |client, _| {
        let response = client.lease_list(&plain()).unwrap();
        assert_eq!(response.ids.len(), 6);
        assert!(response.ids.contains(&7_587_848_390_000_000_002));
    });
}

#[test]
fn members_have_names_and_urls_and_learners_and_the_unstarted_are_told_from_voters() {
    on_each("member-list", |client, _| {
        let response = client.member_list(true, &plain()).unwrap();
        let member = &response.members[0];
        assert_eq!((response.members.len(), member.id), (1, response.header.member_id));
        assert!(member.name.starts_with('n') && !member.is_learner);
        assert!(member.client_urls[0].starts_with("http://127.0.0.1:"));
        assert_eq!((member.client_urls.len(), member.peer_urls.len()), (1, 1));
        assert_eq!(response.header.revision, 0);
    });
    on_each("member-add-learner", |client, _| {
        let response = client.member_list(true, &plain()).unwrap();
        assert_eq!(response.members.len(), 2);
        let learner = response.members.iter().find(|member| member.is_learner).unwrap();
        assert!(learner.name.is_empty() && learner.client_urls.is_empty());
    });
    on_each("noleader-member_list", |client, _| {
        assert_eq!(client.member_list(false, &plain()).unwrap().members.len(), 3);
    });
}

#[test]
fn a_member_tells_its_state_as_far_as_its_version_knows_it() {
    on_each("status", |client, label| {
        let status = client.status(None, &plain()).unwrap();
        assert_eq!(status.version, label.trim_end_matches("deb"));
        assert_eq!(status.leader, status.header.member_id);
        assert!(status.db_size >= status.db_size_in_use && status.db_size_in_use > 0);
        assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 0);
        assert_eq!((status.raft_term, status.errors.len(), status.is_learner), (2, 0, false));
        let knows_storage = label.starts_with("3.6") || label.starts_with("3.7");
        assert_eq!(status.storage_version.is_empty(), !knows_storage);
        assert_eq!(status.db_size_quota, if knows_storage { 2_147_483_648 } else { 0 });
        assert!(!status.downgrade_enabled && status.downgrade_target_version.is_empty());
    });
    on_each("status-nospace", |client, _| {
        let status = client.status(None, &plain()).unwrap();
        assert!(status.errors.len() == 1 && status.errors[0].contains("NOSPACE"));
    });
    on_each("noleader-status", |client, _| {
        let status = client.status(None, &plain()).unwrap();
        assert_eq!((status.leader, &status.errors[..]), (0, &["etcdserver: no leader".to_owned()][..]));
    });
}

#[test]
fn a_serializable_range_is_answered_without_a_leader() {
    on_each("noleader-range_serializable", |client, _| {
        let response = range(&client);
        assert_eq!(response.bytes(response.kvs[0].key), b"a");
    });
}

/// What a server lacks that is too old for it.
#[track_caller]
fn assert_lacks<T>(answer: Result<T, Error>, label: &str) {
    let error = answer.err().unwrap();
    assert!(label.starts_with("3.4") && error.to_string().contains("came with etcd 3.5"), "{label}: {error}");
    assert!(matches!(error, Error::Server { code: Code::Unimplemented, .. }), "{label}: {error:?}");
}

#[test]
fn a_member_that_was_added_stands_beside_all_the_others() {
    on_each("member-add-learner", |client, _| {
        let added = client.member_add_learner(&["http://127.0.0.1:1"], &plain()).unwrap();
        assert!(added.member.is_learner && added.member.name.is_empty() && added.member.id > 1 << 53);
        let listed = added.members.iter().find(|member| member.id == added.member.id).unwrap();
        assert_eq!((added.members.len(), &listed.peer_urls), (2, &added.member.peer_urls));
    });
}

#[test]
fn maintenance_answers_as_far_as_a_version_knows_it() {
    on_each("alarm-none", |client, _| assert_eq!(client.alarm_list(&plain()).unwrap().alarms, []));
    on_each("alarm-nospace", |client, label| {
        let response = client.alarm_list(&plain()).unwrap();
        let member_id = response.alarms[0].member_id;
        assert_eq!(response.alarms, [Alarm { member_id, alarm_type: AlarmType::NoSpace }]);
        assert_eq!(response.header.member_id, if label.starts_with("3.4") { 0 } else { member_id });
    });
    on_each("defrag", |client, _| client.defragment(None, &plain()).unwrap());
    on_each("hash", |client, _| assert!(client.hash(None, &plain()).unwrap().hash > 1));
    on_each("hashkv", |client, label| match client.hash_kv(None, 0, &plain()) {
        Ok(response) => {
            assert!(response.hash > 1 && response.compact_revision > 0);
            let tells_revision = label.starts_with("3.6") || label.starts_with("3.7");
            assert_eq!(response.hash_revision, if tells_revision { response.header.revision } else { 0 });
        }
        refused => assert_lacks(refused, label),
    });
    on_each("downgrade-validate", |client, label| match client.downgrade(DowngradeAction::Validate, "3.4", &plain()) {
        Ok(response) => assert!(label.starts_with(&response.version[..3]), "{label}: {}", response.version),
        refused => assert_lacks(refused, label),
    });
}

#[test]
fn users_and_roles_have_their_names_and_permissions() {
    on_each("auth-status-disabled", |client, label| match client.auth_status(&plain()) {
        Ok(response) => assert_eq!((response.enabled, response.auth_revision), (false, 1)),
        refused => assert_lacks(refused, label),
    });
    on_each("auth-enable", |client, _| client.auth_enable(&plain()).unwrap());
    on_each("auth-user-add", |client, _| client.user_add("u", Some(&"password".into()), &plain()).unwrap());
    on_each("auth-user-get", |client, _| assert_eq!(client.user_get("u", &plain()).unwrap().roles, ["r"]));
    on_each("auth-user-list", |client, _| {
        assert_eq!(client.user_list(&plain()).unwrap().users, ["nopw", "root", "u"]);
    });
    on_each("auth-role-get", |client, _| {
        let role = client.role_get("r", &plain()).unwrap();
        let permissions: Vec<_> =
            role.permissions.iter().map(|one| (one.permission_type, role.bytes(one.key))).collect();
        assert_eq!(permissions, [(PermissionType::ReadWrite, &b"a/"[..]), (PermissionType::Read, b"ro")]);
        let ends: Vec<_> = role.permissions.iter().map(|one| role.bytes(one.range_end)).collect();
        assert_eq!(ends, [&b"a0"[..], b""]);
    });
}
