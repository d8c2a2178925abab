//! Members, maintenance, users and roles: what C says as it reaches the server, and what comes back.

use crate::common::FakeGateway;
use crate::{TestClient, array, bytes, defaults, ok, read, response, text};
use etcdgw::ffi::*;
use serde_json::{Value, json};
use std::ffi::{CString, c_char};
use std::ptr;

const HEADER: &str = r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}"#;

#[track_caller]
fn assert_header(header: &etcdgw_header) {
    assert_eq!((header.cluster_id, header.member_id, header.revision, header.raft_term), (1, 2, 3, 4));
}

/// A gateway that gives every request this answer, after the header.
fn answering(fields: &str) -> FakeGateway {
    FakeGateway::answering(format!("{{{HEADER}{fields}}}"))
}

#[track_caller]
fn assert_sent(gateway: &FakeGateway, path: &str, request: Value) {
    assert_eq!((gateway.last().path, gateway.last().json()), (format!("/v3/{path}"), request));
}

fn texts(first: *const *const c_char, len: usize) -> Vec<String> {
    array(first, len).iter().map(|one| text(*one)).collect()
}

const MEMBERS: &str = r#","members":[{"ID":"11","name":"one","peerURLs":["http://p1"]},{"ID":"12","isLearner":true}]"#;

#[test]
fn members_are_added_in_one_or_the_other_way() {
    let gateway = answering(&format!(r#","member":{{"ID":"12","peerURLs":["http://p:1","http://p:2"]}}{MEMBERS}"#));
    let client = TestClient::of(gateway.url());
    let urls = c"http://p:1, http://p:2".as_ptr();
    for (is_learner, add) in [(false, etcdgw_member_add as MemberAdd), (true, etcdgw_member_add_learner)] {
        let answer = response(|out, err| unsafe { add(client.0, urls, ptr::null(), out, err) });
        let mut request = json!({"peerURLs": ["http://p:1", "http://p:2"]});
        if is_learner {
            request["isLearner"] = true.into();
        }
        assert_sent(&gateway, "cluster/member/add", request);
        unsafe {
            assert_header(&(*answer).header);
            let member = &*(*answer).member;
            assert_eq!((member.id, text(member.name)), (12, String::new()));
            assert_eq!(texts(member.peer_urls, member.peer_urls_len), ["http://p:1", "http://p:2"]);
            let ids: Vec<u64> =
                array((*answer).members, (*answer).members_len).iter().map(|member| (**member).id).collect();
            assert_eq!(ids, [11, 12]);
            etcdgw_member_add_response_free(answer);
        }
    }
}

type MemberAdd = unsafe extern "C" fn(
    *mut etcdgw_client,
    *const c_char,
    *const etcdgw_call_options,
    *mut *mut etcdgw_member_add_response,
    *mut *mut etcdgw_error,
) -> etcdgw_status;

#[test]
fn members_are_removed_moved_and_promoted_by_their_ids() {
    let gateway = answering(MEMBERS);
    let client = TestClient::of(gateway.url());
    let listed = |answer: *mut etcdgw_member_list_response| unsafe {
        assert_header(&(*answer).header);
        assert_eq!((*answer).members_len, 2);
        etcdgw_member_list_response_free(answer);
    };
    let none = ptr::null();
    // Greater than a signed number of 64 bits.
    let id = u64::MAX - 1;
    listed(response(|out, err| unsafe { etcdgw_member_remove(client.0, id, none, out, err) }));
    assert_sent(&gateway, "cluster/member/remove", json!({"ID": "18446744073709551614"}));
    listed(response(|out, err| unsafe { etcdgw_member_promote(client.0, id, none, out, err) }));
    assert_sent(&gateway, "cluster/member/promote", json!({"ID": "18446744073709551614"}));
    let url = c"http://p:1".as_ptr();
    listed(response(|out, err| unsafe { etcdgw_member_update(client.0, 7, url, none, out, err) }));
    assert_sent(&gateway, "cluster/member/update", json!({"ID": "7", "peerURLs": ["http://p:1"]}));
}

#[test]
fn alarms_are_listed_and_disarmed() {
    let gateway = answering(r#","alarms":[{"memberID":"18446744073709551614","alarm":"CORRUPT"},{"alarm":"NEW"}]"#);
    let client = TestClient::of(gateway.url());
    let checked = |answer: *mut etcdgw_maintenance_alarm_list_response| unsafe {
        assert_header(&(*answer).header);
        let alarms = array((*answer).alarms, (*answer).alarms_len);
        assert_eq!(((*alarms[0]).member_id, (*alarms[0]).alarm), (u64::MAX - 1, ETCDGW_ALARM_CORRUPT));
        assert_eq!(((*alarms[1]).member_id, (*alarms[1]).alarm), (0, -1));
        etcdgw_maintenance_alarm_list_response_free(answer);
    };
    checked(response(|out, err| unsafe { etcdgw_maintenance_alarm_list(client.0, ptr::null(), out, err) }));
    assert_sent(&gateway, "maintenance/alarm", json!({"action": "GET"}));
    checked(response(|out, err| unsafe {
        etcdgw_maintenance_alarm_disarm(client.0, 7, ETCDGW_ALARM_NOSPACE, ptr::null(), out, err)
    }));
    assert_sent(&gateway, "maintenance/alarm", json!({"action": "DEACTIVATE", "memberID": "7", "alarm": "NOSPACE"}));
}

#[test]
fn maintenance_of_one_member_goes_to_it_and_tells_what_it_says() {
    let asked = answering(r#","hash":4294967295,"compact_revision":"-1","hash_revision":"6""#);
    let other = FakeGateway::answering("{}");
    let client = TestClient::of(other.url());
    let url = CString::new(asked.url()).unwrap();
    let (endpoint, none) = (url.as_ptr(), ptr::null());
    ok(|err| unsafe { etcdgw_maintenance_defragment(client.0, endpoint, none, err) });
    assert_sent(&asked, "maintenance/defragment", json!({}));
    let answer = response(|out, err| unsafe { etcdgw_maintenance_hash(client.0, endpoint, none, out, err) });
    assert_sent(&asked, "maintenance/hash", json!({}));
    unsafe {
        assert_header(&(*answer).header);
        assert_eq!((*answer).hash, u32::MAX);
        etcdgw_maintenance_hash_response_free(answer);
    }
    let answer = response(|out, err| unsafe { etcdgw_maintenance_hash_kv(client.0, endpoint, 5, none, out, err) });
    assert_sent(&asked, "maintenance/hashkv", json!({"revision": "5"}));
    unsafe {
        assert_header(&(*answer).header);
        assert_eq!(((*answer).hash, (*answer).compact_revision, (*answer).hash_revision), (u32::MAX, -1, 6));
        etcdgw_maintenance_hash_kv_response_free(answer);
    }
    assert_eq!(other.requests().len(), 0);
    ok(|err| unsafe { etcdgw_maintenance_defragment(client.0, ptr::null(), none, err) });
    assert_sent(&other, "maintenance/defragment", json!({}));
}

#[test]
fn the_leader_is_moved_and_a_downgrade_carries_its_action_and_version() {
    let gateway = answering(r#","version":"3.6.0""#);
    let client = TestClient::of(gateway.url());
    ok(|err| unsafe { etcdgw_maintenance_move_leader(client.0, u64::MAX, ptr::null(), err) });
    assert_sent(&gateway, "maintenance/transfer-leadership", json!({"targetID": "18446744073709551615"}));
    let version = c"3.5".as_ptr();
    for (action, version, sent) in [
        (ETCDGW_DOWNGRADE_VALIDATE, version, json!({"action": "VALIDATE", "version": "3.5"})),
        (ETCDGW_DOWNGRADE_ENABLE, version, json!({"action": "ENABLE", "version": "3.5"})),
        (ETCDGW_DOWNGRADE_CANCEL, ptr::null(), json!({"action": "CANCEL"})),
    ] {
        let answer = response(|out, err| unsafe {
            etcdgw_maintenance_downgrade(client.0, action, version, ptr::null(), out, err)
        });
        assert_sent(&gateway, "maintenance/downgrade", sent);
        unsafe {
            assert_header(&(*answer).header);
            assert_eq!(text((*answer).version), "3.6.0");
            etcdgw_maintenance_downgrade_response_free(answer);
        }
    }
    let mut err = ptr::null_mut();
    unsafe {
        let (action, none) = (ETCDGW_DOWNGRADE_ENABLE, ptr::null());
        let status = etcdgw_maintenance_downgrade(client.0, action, none, ptr::null(), ptr::null_mut(), &mut err);
        assert_eq!(status, ETCDGW_INVALID_ARGUMENT);
        assert!(text(etcdgw_error_message(err)).contains("version is NULL"));
        etcdgw_error_free(err);
    }
}

#[test]
fn authentication_is_enabled_disabled_and_asked_for() {
    let gateway = answering(r#","enabled":true,"authRevision":"18446744073709551615""#);
    let client = TestClient::of(gateway.url());
    ok(|err| unsafe { etcdgw_auth_enable(client.0, ptr::null(), err) });
    assert_sent(&gateway, "auth/enable", json!({}));
    ok(|err| unsafe { etcdgw_auth_disable(client.0, ptr::null(), err) });
    assert_sent(&gateway, "auth/disable", json!({}));
    let answer = response(|out, err| unsafe { etcdgw_auth_status(client.0, ptr::null(), out, err) });
    assert_sent(&gateway, "auth/status", json!({}));
    unsafe {
        assert_header(&(*answer).header);
        assert_eq!(((*answer).enabled, (*answer).auth_revision), (1, u64::MAX));
        etcdgw_auth_status_response_free(answer);
    }
}

#[test]
fn users_carry_their_names_passwords_and_roles() {
    let gateway = answering(r#","roles":["a","b"],"users":["u","v"]"#);
    let client = TestClient::of(gateway.url());
    let (name, role, password, none) = (c"u \"1\"".as_ptr(), c"r".as_ptr(), c"p\"\\\n".as_ptr(), ptr::null());
    ok(|err| unsafe { etcdgw_user_add(client.0, name, password, none, err) });
    assert_sent(&gateway, "auth/user/add", json!({"name": "u \"1\"", "password": "p\"\\\n"}));
    ok(|err| unsafe { etcdgw_user_add(client.0, name, ptr::null(), none, err) });
    assert_sent(&gateway, "auth/user/add", json!({"name": "u \"1\"", "options": {"no_password": true}}));
    ok(|err| unsafe { etcdgw_user_change_password(client.0, name, password, none, err) });
    assert_sent(&gateway, "auth/user/changepw", json!({"name": "u \"1\"", "password": "p\"\\\n"}));
    ok(|err| unsafe { etcdgw_user_delete(client.0, name, none, err) });
    assert_sent(&gateway, "auth/user/delete", json!({"name": "u \"1\""}));
    ok(|err| unsafe { etcdgw_user_grant_role(client.0, name, role, none, err) });
    assert_sent(&gateway, "auth/user/grant", json!({"user": "u \"1\"", "role": "r"}));
    ok(|err| unsafe { etcdgw_user_revoke_role(client.0, name, role, none, err) });
    assert_sent(&gateway, "auth/user/revoke", json!({"name": "u \"1\"", "role": "r"}));
    unsafe {
        let answer = response(|out, err| etcdgw_user_get(client.0, name, none, out, err));
        assert_sent(&gateway, "auth/user/get", json!({"name": "u \"1\""}));
        assert_header(&(*answer).header);
        assert_eq!(texts((*answer).roles, (*answer).roles_len), ["a", "b"]);
        etcdgw_user_get_response_free(answer);
        let answer = response(|out, err| etcdgw_user_list(client.0, none, out, err));
        assert_sent(&gateway, "auth/user/list", json!({}));
        assert_header(&(*answer).header);
        assert_eq!(texts((*answer).users, (*answer).users_len), ["u", "v"]);
        etcdgw_user_list_response_free(answer);
    }
}

#[test]
fn roles_carry_their_names_and_permissions_with_full_keys() {
    let gateway = answering(
        r#","roles":["a","b"],"perm":[{"key":"YQ=="},{"permType":"WRITE","key":"Yg==","range_end":"Yw=="},
            {"permType":"READWRITE","range_end":"AA=="}]"#,
    );
    let prefixed = etcdgw_client_options { key_prefix: bytes(b"p/"), ..defaults() };
    let client = TestClient::with(gateway.url(), prefixed);
    let (role, none) = (c"r".as_ptr(), ptr::null());
    ok(|err| unsafe { etcdgw_role_add(client.0, role, none, err) });
    assert_sent(&gateway, "auth/role/add", json!({"name": "r"}));
    ok(|err| unsafe { etcdgw_role_delete(client.0, role, none, err) });
    assert_sent(&gateway, "auth/role/delete", json!({"role": "r"}));
    let with_prefix = etcdgw_role_permission_options { prefix: 1, ..defaults() };
    let with_end = etcdgw_role_permission_options { range_end: bytes(b"c"), ..defaults() };
    let from = etcdgw_role_permission_options { range_end: bytes(b"\0"), ..defaults() };
    let keys: [(&[u8], *const etcdgw_role_permission_options, Value); 5] = [
        (b"a", ptr::null(), json!({"key": "YQ=="})),
        (b"a", &with_prefix, json!({"key": "YQ==", "range_end": "Yg=="})),
        (b"", &with_prefix, json!({"key": "AA==", "range_end": "AA=="})),
        (b"a", &with_end, json!({"key": "YQ==", "range_end": "Yw=="})),
        (b"a", &from, json!({"key": "YQ==", "range_end": "AA=="})),
    ];
    let types = [(ETCDGW_PERMISSION_READ, "READ"), (ETCDGW_PERMISSION_WRITE, "WRITE")];
    for (key, options, sent) in keys {
        for (permission, word) in types.into_iter().chain([(ETCDGW_PERMISSION_READWRITE, "READWRITE")]) {
            ok(|err| unsafe { etcdgw_role_grant_permission(client.0, role, permission, bytes(key), options, err) });
            let mut granted = sent.clone();
            granted["permType"] = word.into();
            assert_sent(&gateway, "auth/role/grant", json!({"name": "r", "perm": granted}));
        }
        ok(|err| unsafe { etcdgw_role_revoke_permission(client.0, role, bytes(key), options, err) });
        let mut revoked = sent;
        revoked["role"] = "r".into();
        assert_sent(&gateway, "auth/role/revoke", revoked);
    }
    unsafe {
        let answer = response(|out, err| etcdgw_role_get(client.0, role, none, out, err));
        assert_sent(&gateway, "auth/role/get", json!({"role": "r"}));
        assert_header(&(*answer).header);
        let permissions = array((*answer).permissions, (*answer).permissions_len);
        let parts: Vec<_> =
            permissions.iter().map(|one| ((**one).permission, read((**one).key), read((**one).range_end))).collect();
        let wanted: [(i32, &[u8], &[u8]); 3] = [
            (ETCDGW_PERMISSION_READ, b"a", b""),
            (ETCDGW_PERMISSION_WRITE, b"b", b"c"),
            (ETCDGW_PERMISSION_READWRITE, b"", b"\0"),
        ];
        assert_eq!(parts, wanted.map(|(permission, key, end)| (permission, key.to_vec(), end.to_vec())));
        etcdgw_role_get_response_free(answer);
        let answer = response(|out, err| etcdgw_role_list(client.0, none, out, err));
        assert_sent(&gateway, "auth/role/list", json!({}));
        assert_header(&(*answer).header);
        assert_eq!(texts((*answer).roles, (*answer).roles_len), ["a", "b"]);
        etcdgw_role_list_response_free(answer);
    }
}
