//! Who may do what with which keys: every permission against every operation.

use crate::common::{Certificates, Etcd, EtcdOptions, config, delete_request, plain, versions};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Code, Error, Reason, Result};
use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest, RangeRequest};
use etcdgw::rpc::role::PermissionType;
use etcdgw::rpc::txn::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::WatchOptions;
use std::borrow::Cow;

/// Keys with their bounds: from the first one on, up to the second and without it; none: without end.
struct Span {
    name: &'static str,
    keys: Keys<'static>,
    start: &'static [u8],
    end: Option<&'static [u8]>,
}

impl Span {
    fn holds(&self, other: &Span) -> bool {
        let ends_after = match (self.end, other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(end), Some(other)) => other <= end,
        };
        self.start <= other.start && ends_after
    }

    fn holds_first_of(&self, other: &Span) -> bool {
        self.start <= other.start && self.end.is_none_or(|end| other.start < end)
    }
}

fn spans() -> Vec<Span> {
    let bytes = |bytes: &'static [u8]| Cow::Borrowed(bytes);
    let span = |name, keys, start, end| Span { name, keys, start, end };
    vec![
        span("one", Keys::One(bytes(b"m/2")), &b"m/2"[..], Some(&b"m/2\0"[..])),
        span("prefix", Keys::Prefix(bytes(b"m/")), b"m/", Some(b"m0")),
        span("range", Keys::Range { key: bytes(b"m/1"), end: bytes(b"m/4") }, b"m/1", Some(b"m/4")),
        span("from", Keys::From(bytes(b"m/2")), b"m/2", None),
        span("everything", Keys::Prefix(bytes(b"")), b"\0", None),
        span("elsewhere", Keys::Prefix(bytes(b"n/")), b"n/", Some(b"n0")),
    ]
}

/// What an operation does, whether it reads and whether it writes.
type Operation = (&'static str, bool, bool, fn(&Client, &Keys<'static>) -> Result<()>);

fn first(keys: &Keys<'static>) -> Cow<'static, [u8]> {
    match keys {
        Keys::One(key) | Keys::Prefix(key) | Keys::From(key) | Keys::Range { key, .. } => key.clone(),
    }
}

fn put_of(keys: &Keys<'static>, prev_kv: bool) -> PutRequest<'static> {
    PutRequest { key: first(keys), value: Cow::Borrowed(b"value"), prev_kv, ..PutRequest::default() }
}

fn txn(client: &Client, request: &TxnRequest<'_>) -> Result<()> {
    client.txn(request, &plain()).map(drop)
}

/// With every kind of keys.
const RANGED: &[Operation] = &[
    ("get", true, false, |client, keys| client.range(&RangeRequest::new(keys.clone()), &plain()).map(drop)),
    ("delete", false, true, |client, keys| client.delete_range(&delete_request(keys.clone()), &plain()).map(drop)),
    ("delete and tell", true, true, |client, keys| {
        let request = DeleteRangeRequest { prev_kv: true, ..delete_request(keys.clone()) };
        client.delete_range(&request, &plain()).map(drop)
    }),
    ("compare", true, false, |client, keys| {
        let target = CompareTarget::Version(0);
        let compare = vec![Compare { keys: keys.clone(), op: CompareOp::Equal, target }];
        txn(client, &TxnRequest { compare, ..TxnRequest::default() })
    }),
    ("get in a transaction", true, false, |client, keys| {
        let success = vec![TxnOp::Range(RangeRequest::new(keys.clone()))];
        txn(client, &TxnRequest { success, ..TxnRequest::default() })
    }),
    ("watch", true, false, |client, keys| {
        client.watch_open(WatchOptions::new(WatchRequest::new(keys.clone()))).map(drop)
    }),
];

/// With one key.
const SINGLE: &[Operation] = &[
    ("put", false, true, |client, keys| client.put(&put_of(keys, false), &plain()).map(drop)),
    ("put and tell", true, true, |client, keys| client.put(&put_of(keys, true), &plain()).map(drop)),
    ("put where a transaction fails", false, true, |client, keys| {
        let failure = vec![TxnOp::Put(put_of(keys, false))];
        txn(client, &TxnRequest { failure, ..TxnRequest::default() })
    }),
    ("create", true, true, |client, keys| client.create(put_of(keys, false), &plain()).map(drop)),
];

/// Every kind of permission for every kind of keys, a role and a user of the same name each, and one who has none.
fn grant_everything(client: &Client) {
    add_root(client);
    add_user(client, "nobody", &[]);
    for span in spans() {
        for permission in [PermissionType::Read, PermissionType::Write, PermissionType::ReadWrite] {
            let name = name_of(&span, permission);
            client.role_add(&name, &plain()).unwrap();
            client.role_grant_permission(&name, permission, &span.keys, &plain()).unwrap();
            add_user(client, &name, &[&name]);
        }
    }
}

fn name_of(span: &Span, permission: PermissionType) -> String {
    format!("{}-{permission:?}", span.name)
}

#[track_caller]
fn assert_is(is_permitted: bool, result: Result<()>, what: &str) {
    match (is_permitted, result) {
        (true, Ok(())) => {}
        (false, Err(error)) => {
            assert!(matches!(error, Error::Server { code: Code::PermissionDenied, .. }), "{what}: {error:?}");
            assert!(!error.may_have_applied() && !error.is_retryable(), "{what}: {error:?}");
        }
        (true, Err(error)) => panic!("{what} is refused: {error:?}"),
        (false, Ok(())) => panic!("{what} is not refused"),
    }
}

/// Tries every operation as every user.
fn try_everything(etcd: &Etcd, client_as: &dyn Fn(&str) -> Client) {
    let is_3_4 = etcd.release() < (3, 5);
    let root = client_as("root");
    let nobody = client_as("nobody");
    for keys in spans() {
        let is_one = matches!(keys.keys, Keys::One(_));
        let operations = RANGED.iter().chain(SINGLE.iter().filter(|_| is_one));
        for (operation, _, _, run) in operations {
            assert_is(true, run(&root, &keys.keys), &format!("{operation} {} as root", keys.name));
            assert_is(false, run(&nobody, &keys.keys), &format!("{operation} {} as nobody", keys.name));
        }
    }
    for granted in spans() {
        for permission in [PermissionType::Read, PermissionType::Write, PermissionType::ReadWrite] {
            let name = name_of(&granted, permission);
            let client = client_as(&name);
            let (may_read, may_write) = (permission != PermissionType::Write, permission != PermissionType::Read);
            for keys in spans() {
                let is_one = matches!(keys.keys, Keys::One(_));
                let operations = RANGED.iter().chain(SINGLE.iter().filter(|_| is_one));
                for (operation, reads, writes, run) in operations {
                    // 3.4 looks at the first key only of a watch that has no end.
                    let is_lax = is_3_4 && *operation == "watch" && keys.end.is_none();
                    let holds = granted.holds(&keys) || is_lax && granted.holds_first_of(&keys);
                    let is_permitted = holds && (!reads || may_read) && (!writes || may_write);
                    assert_is(is_permitted, run(&client, &keys.keys), &format!("{operation} {} as {name}", keys.name));
                }
            }
        }
    }
}

#[test]
fn every_permission_lets_what_it_says_and_nothing_else() {
    on_each(|etcd| {
        let bare = crate::common::client(&etcd.url());
        grant_everything(&bare);
        bare.auth_enable(&plain()).unwrap();
        try_everything(&etcd, &|name| client_as(&etcd.url(), name));
    });
}

#[test]
fn it_does_so_over_tls() {
    let certificates = Certificates::new();
    let server = certificates.issue("server", &["127.0.0.1"]);
    let flags = [certificates.flags(&server, false), vec!["--bcrypt-cost=4".to_owned()]].concat();
    let version = versions().pop().unwrap();
    let etcd = Etcd::start_with(&version, EtcdOptions { flags, tls: true, ..EtcdOptions::default() });
    let client_as = |name: &str| {
        let tls = TlsConfig { ca_cert: Some(Pem::File(certificates.ca())), ..TlsConfig::default() };
        let credentials = user(name, &password_of(name));
        Client::new(Config { tls, credentials, ..config(&etcd.url()) }).unwrap()
    };
    let root = client_as("root");
    grant_everything(&root);
    root.auth_enable(&plain()).unwrap();
    try_everything(&etcd, &client_as);
}

#[test]
fn a_permission_that_is_granted_or_revoked_counts_from_the_next_call_on() {
    on_each(|etcd| {
        let bare = crate::common::client(&etcd.url());
        add_root(&bare);
        bare.role_add("role", &plain()).unwrap();
        add_user(&bare, "user", &[]);
        bare.auth_enable(&plain()).unwrap();
        let (root, client) = (client_as(&etcd.url(), "root"), client_as(&etcd.url(), "user"));
        let keys = Keys::Prefix(Cow::Borrowed(&b"app/"[..]));
        let put = || client.put(&put_of(&Keys::One(Cow::Borrowed(b"app/key")), false), &plain());
        let denied = |result: Result<_>| assert_refused(result, Code::PermissionDenied, Reason::Other);
        denied(put().map(drop));
        root.role_grant_permission("role", PermissionType::ReadWrite, &keys, &plain()).unwrap();
        denied(put().map(drop));
        root.user_grant_role("user", "role", &plain()).unwrap();
        put().unwrap();
        root.role_grant_permission("role", PermissionType::Read, &keys, &plain()).unwrap();
        denied(put().map(drop));
        root.role_grant_permission("role", PermissionType::Write, &keys, &plain()).unwrap();
        put().unwrap();
        root.role_revoke_permission("role", &keys, &plain()).unwrap();
        denied(put().map(drop));
        root.role_grant_permission("role", PermissionType::Write, &keys, &plain()).unwrap();
        put().unwrap();
        root.user_revoke_role("user", "role", &plain()).unwrap();
        denied(put().map(drop));
        root.user_grant_role("user", "role", &plain()).unwrap();
        put().unwrap();
        root.role_delete("role", &plain()).unwrap();
        denied(put().map(drop));
    });
}
