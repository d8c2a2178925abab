//! What the server says, as C reads it.

use crate::common::FakeGateway;
use crate::{TestClient, array, bytes, ok, read, response, text};
use etcdgw::ffi::*;
use std::ptr;

const HEADER: &str = r#""header":{"cluster_id":"18446744073709551615","member_id":"2","revision":"3","raft_term":"4"}"#;

fn assert_header(header: &etcdgw_header) {
    let etcdgw_header { cluster_id, member_id, revision, raft_term } = *header;
    assert_eq!((cluster_id, member_id, revision, raft_term), (u64::MAX, 2, 3, 4));
}

/// A key as the gateway writes it: a, value NUL 0xff, and one number after another from `first` on.
fn kv(first: i64) -> String {
    let [create, modified, version, lease] = [first, first + 1, first + 2, first + 3];
    format!(
        r#"{{"key":"YQ==","create_revision":"{create}","mod_revision":"{modified}","version":"{version}",
           "value":"AP8=","lease":"{lease}"}}"#
    )
}

fn assert_kv(kv: &etcdgw_kv, first: i64) {
    assert_eq!((read(kv.key), read(kv.value)), (b"a".to_vec(), b"\0\xff".to_vec()));
    let numbers = [kv.create_revision, kv.mod_revision, kv.version, kv.lease];
    assert_eq!(numbers, [first, first + 1, first + 2, first + 3]);
}

#[test]
fn a_put_response_has_every_field() {
    let gateway = FakeGateway::answering(format!(r#"{{{HEADER},"prev_kv":{}}}"#, kv(5)));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_put(client.0, bytes(b"a"), bytes(b""), ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        assert_kv(&*(*answer).prev_kv, 5);
        etcdgw_put_response_free(answer);
    }
}

#[test]
fn a_get_response_has_every_field() {
    let gateway =
        FakeGateway::answering(format!(r#"{{{HEADER},"kvs":[{},{{"key":"Yg=="}}],"more":true,"count":"9"}}"#, kv(5)));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_get_all(client.0, ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        let kvs = array((*answer).kvs, (*answer).kvs_len);
        assert_eq!((kvs.len(), (*answer).count, (*answer).more), (2, 9, 1));
        assert_kv(&kvs[0], 5);
        assert_eq!((read(kvs[1].key), read(kvs[1].value)), (b"b".to_vec(), Vec::new()));
        etcdgw_get_response_free(answer);
    }
}

#[test]
fn a_key_that_is_not_there_is_an_empty_response() {
    let gateway = FakeGateway::answering(format!("{{{HEADER}}}"));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_get(client.0, bytes(b"a"), ptr::null(), out, err) });
    unsafe {
        assert!((*answer).kvs.is_null());
        assert_eq!(((*answer).kvs_len, (*answer).count, (*answer).more), (0, 0, 0));
        etcdgw_get_response_free(answer);
    }
}

#[test]
fn a_delete_response_has_every_field() {
    let gateway = FakeGateway::answering(format!(r#"{{{HEADER},"deleted":"2","prev_kvs":[{},{}]}}"#, kv(5), kv(50)));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_delete(client.0, bytes(b"a"), ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        let kvs = array((*answer).prev_kvs, (*answer).prev_kvs_len);
        assert_eq!((kvs.len(), (*answer).deleted), (2, 2));
        assert_kv(&kvs[0], 5);
        assert_kv(&kvs[1], 50);
        etcdgw_delete_response_free(answer);
    }
}

#[test]
fn a_transactions_results_come_in_their_order_with_everything_inside() {
    let put = format!(r#"{{"response_put":{{"header":{{"revision":"3"}},"prev_kv":{}}}}}"#, kv(5));
    let get = format!(r#"{{"response_range":{{"kvs":[{}],"count":"1"}}}}"#, kv(50));
    let delete = format!(r#"{{"response_delete_range":{{"deleted":"1","prev_kvs":[{}]}}}}"#, kv(500));
    let inner = format!(r#"{{"response_txn":{{"succeeded":true,"responses":[{get}]}}}}"#);
    let gateway =
        FakeGateway::answering(format!(r#"{{{HEADER},"succeeded":true,"responses":[{put},{get},{delete},{inner}]}}"#));
    let client = TestClient::of(gateway.url());
    let txn = response(|out, err| unsafe { etcdgw_txn_new(client.0, out, err) });
    ok(|err| unsafe { etcdgw_txn_then_get(txn, bytes(b"a"), ptr::null(), err) });
    let answer = response(|out, err| unsafe { etcdgw_txn_commit(txn, ptr::null(), out, err) });
    unsafe {
        etcdgw_txn_free(txn);
        assert_header(&(*answer).header);
        assert_eq!((*answer).succeeded, 1);
        let results = array((*answer).results, (*answer).results_len);
        let operations: Vec<i32> = results.iter().map(|result| (**result).operation).collect();
        assert_eq!(operations, [ETCDGW_TXN_PUT, ETCDGW_TXN_GET, ETCDGW_TXN_DELETE, ETCDGW_TXN_TXN]);
        assert_kv(&*(*(*results[0]).put).prev_kv, 5);
        assert_kv(&*(*(*results[1]).get).kvs, 50);
        assert_kv(&*(*(*results[2]).deleted).prev_kvs, 500);
        let inside = array((*(*results[3]).txn).results, (*(*results[3]).txn).results_len);
        assert_kv(&*(*(*inside[0]).get).kvs, 50);
        for (index, result) in results.iter().enumerate() {
            let result = &**result;
            let set = [!result.put.is_null(), !result.get.is_null(), !result.deleted.is_null(), !result.txn.is_null()];
            assert_eq!(set.iter().filter(|is_set| **is_set).count(), 1, "result {index}");
            assert!(set[index]);
        }
        etcdgw_txn_response_free(answer);
    }
}

#[test]
fn lease_responses_have_every_field() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        "/v3/lease/timetolive" => {
            reply.json(format!(r#"{{{HEADER},"ID":"7","TTL":"55","grantedTTL":"60","keys":["YQ==","Yg=="]}}"#));
        }
        _ => reply.json(format!(r#"{{{HEADER},"leases":[{{"ID":"7"}},{{"ID":"8"}}]}}"#)),
    });
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_lease_ttl(client.0, 7, ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        assert_eq!(((*answer).id, (*answer).ttl, (*answer).granted_ttl), (7, 55, 60));
        let keys: Vec<_> = array((*answer).keys, (*answer).keys_len).iter().map(|key| read(*key)).collect();
        assert_eq!(keys, [b"a", b"b"]);
        etcdgw_lease_ttl_response_free(answer);
    }
    let answer = response(|out, err| unsafe { etcdgw_lease_list(client.0, ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        assert_eq!(array((*answer).ids, (*answer).ids_len), [7, 8]);
        etcdgw_lease_list_response_free(answer);
    }
}

#[test]
fn a_member_list_has_every_field() {
    let gateway = FakeGateway::answering(format!(
        r#"{{{HEADER},"members":[
            {{"ID":"11","name":"one","peerURLs":["http://p1","http://p2"],"clientURLs":["http://c1"]}},
            {{"ID":"12","isLearner":true}}]}}"#
    ));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe { etcdgw_member_list(client.0, ptr::null(), out, err) });
    unsafe {
        assert_header(&(*answer).header);
        let members = array((*answer).members, (*answer).members_len);
        let (one, two) = (&*members[0], &*members[1]);
        assert_eq!((one.id, text(one.name), one.is_learner), (11, "one".to_owned(), 0));
        let texts = |first, len| array(first, len).iter().map(|url| text(*url)).collect::<Vec<_>>();
        assert_eq!(texts(one.peer_urls, one.peer_urls_len), ["http://p1", "http://p2"]);
        assert_eq!(texts(one.client_urls, one.client_urls_len), ["http://c1"]);
        assert_eq!((two.id, text(two.name), two.is_learner), (12, String::new(), 1));
        assert!(two.peer_urls.is_null() && two.client_urls.is_null());
        etcdgw_member_list_response_free(answer);
    }
}

#[test]
fn a_status_has_every_field() {
    let gateway = FakeGateway::answering(format!(
        r#"{{{HEADER},"version":"3.6.16","dbSize":"1","leader":"2","raftIndex":"3","raftTerm":"4","raftAppliedIndex":"5",
            "errors":["NOSPACE"],"dbSizeInUse":"6","isLearner":true,"storageVersion":"3.6.0","dbSizeQuota":"7",
            "downgradeInfo":{{"enabled":true,"targetVersion":"3.5.0"}}}}"#
    ));
    let client = TestClient::of(gateway.url());
    let answer =
        response(|out, err| unsafe { etcdgw_maintenance_status(client.0, ptr::null(), ptr::null(), out, err) });
    unsafe {
        let status = &*answer;
        assert_header(&status.header);
        assert_eq!(text(status.version), "3.6.16");
        assert_eq!((status.db_size, status.db_size_in_use, status.db_size_quota), (1, 6, 7));
        assert_eq!((status.leader, status.raft_index, status.raft_term, status.raft_applied_index), (2, 3, 4, 5));
        assert_eq!(text(array(status.errors, status.errors_len)[0]), "NOSPACE");
        assert_eq!(
            (text(status.storage_version), text(status.downgrade_target_version)),
            ("3.6.0".into(), "3.5.0".into())
        );
        assert_eq!((status.downgrade_enabled, status.is_learner), (1, 1));
        etcdgw_maintenance_status_response_free(answer);
    }
}

#[test]
fn a_status_may_be_asked_of_one_member() {
    let asked = FakeGateway::answering("{}");
    let other = FakeGateway::answering("{}");
    let client = TestClient::of(other.url());
    let url = std::ffi::CString::new(asked.url()).unwrap();
    ok(|err| unsafe { etcdgw_maintenance_status(client.0, url.as_ptr(), ptr::null(), ptr::null_mut(), err) });
    assert_eq!((asked.count("/v3/maintenance/status"), other.connections()), (1, 0));
}

#[test]
fn a_raw_response_is_what_came() {
    let gateway = FakeGateway::start(|_, reply| reply.status("200 OK", "{ \"x\": 1 }\n"));
    let client = TestClient::of(gateway.url());
    let answer = response(|out, err| unsafe {
        etcdgw_post(client.0, c"/kv/range".as_ptr(), bytes(b"{}"), ptr::null(), out, err)
    });
    unsafe {
        assert_eq!(((*answer).http_status, read((*answer).body)), (200, b"{ \"x\": 1 }\n".to_vec()));
        etcdgw_raw_response_free(answer);
    }
}

#[test]
fn urls_are_those_of_the_endpoint_in_use() {
    let gateway = FakeGateway::answering("{}");
    let client = TestClient::of(gateway.url());
    let url = |path: &std::ffi::CStr| unsafe {
        let url = response(|out, err| etcdgw_client_url(client.0, path.as_ptr(), ptr::null(), out, err));
        let read = text(url);
        etcdgw_string_free(url);
        read
    };
    assert_eq!(url(c"/kv/range"), format!("{}/v3/kv/range", gateway.url()));
    assert_eq!(url(c"kv/range"), format!("{}/v3/kv/range", gateway.url()));
}
