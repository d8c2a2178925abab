//! Defects of calls.

use crate::common::{
    Certificates, FakeGateway, LONG, client_without_retries, config, get, get_with, on_each_version, one, plain,
    prefix, put, put_request, wait_until, within,
};
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{DeleteRangeRequest, RangeRequest};
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest, TxnResult};
use std::borrow::Cow;
use std::net::TcpListener;
use std::time::Duration;

fn client_of(gateway: &FakeGateway) -> Client {
    crate::common::client(gateway.url())
}

fn discovering(url: &str) -> Client {
    Client::new(Config { api_path: None, ..config(url) }).unwrap()
}

/// D1: a server of version 3.8.0-alpha.0 was "can't find out the API version".
#[test]
fn a_pre_release_server_can_be_used() {
    for version in ["3.8.0-alpha.0", "3.6.0-rc.1", "3.5.0-beta.4"] {
        let gateway = FakeGateway::start(move |request, reply| match request.path.as_str() {
            "/version" => reply.json(format!(r#"{{"etcdserver":"{version}","etcdcluster":"{version}"}}"#)),
            _ => reply.json("{}"),
        });
        put(&discovering(gateway.url()), b"k", b"v").unwrap();
        assert_eq!(gateway.last().path, "/v3/kv/put", "{version}");
    }
}

/// D2: `/v3` without the slash at the end made `/v3maintenance/status`.
#[test]
fn an_api_path_works_without_its_last_slash() {
    on_each_version(|etcd| {
        let client = Client::new(Config { api_path: Some("/v3".to_owned()), ..config(&etcd.url()) }).unwrap();
        assert_eq!(client.status(None, &plain()).unwrap().version, etcd.version());
    });
}

/// D18: in the last second of a lease, when the server leaves out a TTL of 0, asking for it was a KeyError.
#[test]
fn the_last_second_of_a_lease_has_a_time_to_live_of_zero() {
    let gateway = FakeGateway::answering(r#"{"header":{"revision":"2"},"ID":"7","grantedTTL":"2"}"#);
    let left = client_of(&gateway).lease_time_to_live(7, true, &plain()).unwrap();
    assert_eq!((left.id, left.ttl, left.granted_ttl), (7, 0, 2));
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        let id = Client::new_lease_id().unwrap();
        client.lease_grant(2, id, &plain()).unwrap();
        wait_until(LONG, || client.lease_time_to_live(id, true, &plain()).unwrap().ttl == -1);
    });
}

/// D19: `put('ключ')` was a UnicodeEncodeError, and `put('é')` stored the byte E9.
#[test]
fn keys_and_values_are_the_bytes_that_were_given() {
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        for text in ["ключ", "é", "日本"] {
            put(&client, text.as_bytes(), text.as_bytes()).unwrap();
            assert_eq!(get(&client, text.as_bytes()).unwrap().unwrap(), text.as_bytes());
        }
        assert_eq!(client.range(&one(b"\xe9"), &plain()).unwrap().count, 0);
        assert_eq!(client.range(&one(b"\xc3\xa9"), &plain()).unwrap().count, 1);
    });
}

/// D20: prefixes that are empty, end in 0xff or are not ASCII raised IndexError, ValueError or UnicodeDecodeError.
#[test]
fn any_prefix_can_be_read_and_deleted() {
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        for name in [&b""[..], b"a\xff", b"a\x7f", b"\x80a", "ÿ".as_bytes(), "¿".as_bytes(), b"\xff\xff"] {
            let name = [b"D20/", name].concat();
            let key = [&name[..], b"/k"].concat();
            put(&client, &key, b"v").unwrap();
            let found = client.range(&prefix(&name), &plain()).unwrap();
            assert!(found.kvs.iter().any(|kv| found.bytes(kv.key) == key), "{name:?}");
            let request = DeleteRangeRequest { keys: Keys::Prefix(Cow::Borrowed(&name)), prev_kv: false, all: false };
            assert!(client.delete_range(&request, &plain()).unwrap().deleted >= 1, "{name:?}");
            assert_eq!(get(&client, &key).unwrap(), None);
        }
        assert!(client.range(&prefix(b""), &plain()).is_ok());
        assert!(client.range(&prefix(b"\xff"), &plain()).is_ok());
    });
}

/// D21: `count_only=True` answered `[]`; a limit cut off keys without a word; the header's revision was not to be had.
#[test]
fn a_range_tells_its_count_whether_there_is_more_and_its_revision() {
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        let mut last = 0;
        for i in 0..5 {
            last = put(&client, format!("D21/{i}").as_bytes(), b"v").unwrap().header.revision;
        }
        let counted = client.range(&RangeRequest { count_only: true, ..prefix(b"D21/") }, &plain()).unwrap();
        assert_eq!(counted.count, 5);
        assert!(counted.header.revision >= last);
        let limited = client.range(&RangeRequest { limit: 2, ..prefix(b"D21/") }, &plain()).unwrap();
        assert_eq!((limited.kvs.len(), limited.more, limited.count), (2, true, 5));
    });
}

/// D22: `delete(prev_kv=True)` answered True, and how many were deleted was lost.
#[test]
fn a_delete_tells_how_many_and_what_they_were() {
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        for key in [&b"D22/a"[..], b"D22/b"] {
            put(&client, key, key).unwrap();
        }
        let request = DeleteRangeRequest { keys: Keys::Prefix(Cow::Borrowed(b"D22/")), prev_kv: true, all: false };
        let deleted = client.delete_range(&request, &plain()).unwrap();
        let before: Vec<_> = deleted.prev_kvs.iter().map(|kv| deleted.bytes(kv.value)).collect();
        assert_eq!((deleted.deleted, &before[..]), (2, &[&b"D22/a"[..], b"D22/b"][..]));
    });
}

/// D23: keys and values in the answer to a transaction were left in base64, and numbers were left as text.
#[test]
fn the_answer_to_a_transaction_is_decoded() {
    on_each_version(|etcd| {
        let client = crate::common::client(&etcd.url());
        let revision = put(&client, b"D23", b"\0\xff").unwrap().header.revision;
        let condition = Compare {
            keys: Keys::One(Cow::Borrowed(b"D23")),
            op: CompareOp::Equal,
            target: CompareTarget::ModRevision(revision),
        };
        let request =
            TxnRequest { compare: vec![condition], success: vec![TxnOp::Range(one(b"D23"))], failure: Vec::new() };
        let response = client.txn(&request, &plain()).unwrap();
        let [TxnResult::Range(range)] = &response.results[..] else { panic!("{:?}", response.results) };
        let kv = range.kvs[0];
        assert_eq!((response.bytes(kv.key), response.bytes(kv.value)), (&b"D23"[..], &b"\0\xff"[..]));
        assert_eq!(kv.mod_revision, revision);
    });
}

/// D24: an answer of status 200 with a page in it raised a JSONDecodeError of another library, for `/version` too.
#[test]
fn a_page_in_place_of_an_answer_is_an_error_of_this_library() {
    let gateway = FakeGateway::answering("<html>login</html>");
    let error = get(&client_of(&gateway), b"k").unwrap_err();
    assert!(matches!(error, Error::Protocol { http_status: 200, .. }), "{error:?}");
    let error = get(&discovering(gateway.url()), b"k").unwrap_err();
    assert!(matches!(error, Error::VersionDiscovery { .. }), "{error:?}");
}

/// D26: an error object in the answer to a keep-alive was KeyError: 'result'.
#[test]
fn an_error_in_a_keep_alive_is_the_servers_error() {
    for line in [
        r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#,
        "{\"error\":{\"code\":14,\"message\":\"etcdserver: no leader\"}}\n",
    ] {
        let gateway = FakeGateway::start(move |_, reply| {
            reply.stream_head();
            reply.chunk(line);
            reply.end();
        });
        // That it is tried again until time is over is another matter, and ends now so and now so.
        let error = client_without_retries(gateway.url()).lease_refresh(1, &plain()).unwrap_err();
        assert!(matches!(error, Error::Server { code: Code::Unavailable, .. }), "{error:?}");
        assert_eq!(error.reason(), Reason::NoLeader);
    }
}

/// D27: a 412 was expected that no current gateway sends, a 503 counted as a failed connection, and nearly everything
/// else was one exception with text to be searched.
#[test]
fn errors_are_told_apart_by_their_code_and_not_by_the_http_status() {
    let answers = [
        ("400 Bad Request", 9, "etcdserver: lease already exists", Code::FailedPrecondition, Reason::LeaseExists),
        (
            "412 Precondition Failed",
            9,
            "etcdserver: lease already exists",
            Code::FailedPrecondition,
            Reason::LeaseExists,
        ),
        (
            "400 Bad Request",
            11,
            "etcdserver: mvcc: required revision has been compacted",
            Code::OutOfRange,
            Reason::Compacted,
        ),
        ("401 Unauthorized", 16, "etcdserver: invalid auth token", Code::Unauthenticated, Reason::InvalidToken),
        ("403 Forbidden", 7, "etcdserver: permission denied", Code::PermissionDenied, Reason::Other),
        ("404 Not Found", 5, "etcdserver: requested lease not found", Code::NotFound, Reason::LeaseNotFound),
        (
            "429 Too Many Requests",
            8,
            "etcdserver: mvcc: database space exceeded",
            Code::ResourceExhausted,
            Reason::NoSpace,
        ),
        ("501 Not Implemented", 12, "Method Not Allowed", Code::Unimplemented, Reason::Other),
        ("503 Service Unavailable", 14, "etcdserver: no leader", Code::Unavailable, Reason::NoLeader),
        ("503 Service Unavailable", 14, "etcdserver: request timed out", Code::Unavailable, Reason::Timeout),
    ];
    for (status, number, message, code, reason) in answers {
        let gateway = FakeGateway::start(move |_, reply| {
            reply.status(status, format!(r#"{{"error":"{message}","code":{number},"message":"{message}"}}"#));
        });
        let error = get(&client_of(&gateway), b"k").unwrap_err();
        assert!(matches!(&error, Error::Server { code: got, message: text, .. } if *got == code && text == message));
        assert_eq!(error.reason(), reason, "{message}");
    }
}

/// D28: a certificate without a key was ignored without a word, and `ca_cert` with `http` was plain text.
#[test]
fn tls_settings_that_would_not_protect_are_refused() {
    let certificates = Certificates::new();
    let identity = certificates.issue("client", &[]);
    let without_key = TlsConfig { cert: Some(Pem::File(identity.cert)), ..TlsConfig::default() };
    let error = Client::new(Config { tls: without_key, ..config("https://127.0.0.1:1") }).err().unwrap();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
    let for_nothing = TlsConfig { ca_cert: Some(Pem::File(certificates.ca())), ..TlsConfig::default() };
    let error = Client::new(Config { tls: for_nothing, ..config("http://127.0.0.1:1") }).err().unwrap();
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error:?}");
}

/// D29: the API path was found out once and never again, whatever server came to stand there.
#[test]
fn the_api_path_is_found_again_after_an_upgrade() {
    let gateway = FakeGateway::start(|request, reply| match (request.path.as_str(), request.connection) {
        ("/version", 0) => reply.json(r#"{"etcdserver":"3.3.27"}"#),
        ("/version", _) => reply.json(r#"{"etcdserver":"3.4.23"}"#),
        ("/v3beta/kv/range", 0) | ("/v3/kv/range", _) => reply.json("{}"),
        _ => reply.status("404 Not Found", "404 page not found\n"),
    });
    let client = discovering(gateway.url());
    get(&client, b"k").unwrap();
    gateway.close_connections();
    assert_eq!(get(&client, b"k").unwrap_err().http_status(), 404);
    get(&client, b"k").unwrap();
}

/// D30: leases were revoked and asked about by paths that are to be removed.
#[test]
fn leases_have_the_paths_that_will_stay() {
    let gateway = FakeGateway::answering(r#"{"ID":"1","TTL":"1"}"#);
    let client = client_of(&gateway);
    client.lease_revoke(1, &plain()).unwrap();
    client.lease_time_to_live(1, true, &plain()).unwrap();
    client.lease_list(&plain()).unwrap();
    client.lease_grant(1, 1, &plain()).unwrap();
    let paths: Vec<String> = gateway.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/v3/lease/revoke", "/v3/lease/timetolive", "/v3/lease/leases", "/v3/lease/grant"]);
}

/// D14, of calls: a refused port was an exception of another library.
#[test]
fn a_refused_port_is_a_failed_connection() {
    let url = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let client = crate::common::client(&url);
    assert!(matches!(put(&client, b"k", b"v"), Err(Error::Connect { .. })));
    assert!(matches!(client.lease_grant(1, 1, &plain()), Err(Error::Connect { .. })));
    assert!(matches!(client.create(put_request(b"k", b"v"), &plain()), Err(Error::Connect { .. })));
}

/// D13, of calls: some requests had no time limit.
#[test]
fn every_call_has_a_time_limit() {
    let gateway = FakeGateway::start(|_, reply| reply.hold());
    let client = client_of(&gateway);
    let soon = within(Duration::from_millis(100));
    let keys = || Keys::One(Cow::Borrowed(&b"k"[..]));
    let deleted =
        client.delete_range(&DeleteRangeRequest { keys: keys(), prev_kv: false, all: false }, &soon).map(drop);
    for ended in [
        get_with(&client, b"k", &soon).map(drop),
        client.put(&put_request(b"k", b"v"), &soon).map(drop),
        deleted,
        client.txn(&TxnRequest::default(), &soon).map(drop),
        client.compact(1, false, &soon),
        client.create(put_request(b"k", b"v"), &soon).map(drop),
        client.replace(put_request(b"k", b"v"), b"o", &soon).map(drop),
        client.lease_grant(1, 1, &soon).map(drop),
        client.lease_revoke(1, &soon),
        client.lease_refresh(1, &soon).map(drop),
        client.lease_time_to_live(1, false, &soon).map(drop),
        client.lease_list(&soon).map(drop),
        client.member_list(true, &soon).map(drop),
        client.sync_endpoints(&soon),
        client.status(None, &soon).map(drop),
        client.status(Some(gateway.url()), &soon).map(drop),
        client.post("/kv/put", b"{}", &soon).map(drop),
        client.txn_json(b"{}", &soon).map(drop),
        discovering(gateway.url()).api_path(&soon).map(drop),
    ] {
        assert!(matches!(ended, Err(Error::Deadline { .. })), "{ended:?}");
    }
}
