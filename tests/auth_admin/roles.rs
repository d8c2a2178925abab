//! Roles and what they permit, as it is listed; the matrix shows what that means.

use crate::common::{config, plain};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::role::PermissionType;
use std::borrow::Cow;

const REFUSED: Code = Code::FailedPrecondition;

/// What a role permits: type, key and range end.
fn permissions(client: &Client, role: &str) -> Vec<(PermissionType, Vec<u8>, Vec<u8>)> {
    let role = client.role_get(role, &plain()).unwrap();
    let parts = role.permissions.iter().map(|permission| {
        let (key, end) = (role.bytes(permission.key).to_vec(), role.bytes(permission.range_end).to_vec());
        (permission.permission_type, key, end)
    });
    parts.collect()
}

fn bytes(bytes: &'static [u8]) -> Cow<'static, [u8]> {
    Cow::Borrowed(bytes)
}

#[test]
fn roles_are_added_listed_and_deleted() {
    on_each(|etcd| {
        let client = crate::common::client(&etcd.url());
        assert_eq!(client.role_list(&plain()).unwrap().roles, Vec::<String>::new());
        for role in ["one", "two"] {
            client.role_add(role, &plain()).unwrap();
        }
        assert_eq!(client.role_list(&plain()).unwrap().roles, ["one", "two"]);
        assert_eq!(permissions(&client, "one"), []);
        assert_refused(client.role_add("one", &plain()), REFUSED, Reason::Other);
        client.role_delete("one", &plain()).unwrap();
        assert_refused(client.role_delete("one", &plain()), REFUSED, Reason::RoleNotFound);
        assert_refused(client.role_get("one", &plain()), REFUSED, Reason::RoleNotFound);
        assert_eq!(client.role_list(&plain()).unwrap().roles, ["two"]);
    });
}

#[test]
fn permissions_are_those_granted_and_not_revoked_whatever_the_clients_key_prefix_is() {
    on_each(|etcd| {
        let bare = crate::common::client(&etcd.url());
        let below = Client::new(Config { key_prefix: b"below/".to_vec(), ..config(&etcd.url()) }).unwrap();
        bare.role_add("role", &plain()).unwrap();
        use PermissionType::{Read, ReadWrite, Write};
        let grants = [
            (Read, Keys::One(bytes(b"a\0\xff")), (&b"a\0\xff"[..], &b""[..])),
            (Write, Keys::Prefix(bytes(b"b/")), (b"b/", b"b0")),
            (ReadWrite, Keys::Range { key: bytes(b"c"), end: bytes(b"d") }, (b"c", b"d")),
            (Read, Keys::From(bytes(b"x")), (b"x", b"\0")),
            (Write, Keys::Prefix(bytes(b"")), (b"\0", b"\0")),
        ];
        for (permission, keys, _) in &grants {
            below.role_grant_permission("role", *permission, keys, &plain()).unwrap();
        }
        let mut wanted: Vec<_> =
            grants.iter().map(|(permission, _, (key, end))| (*permission, key.to_vec(), end.to_vec())).collect();
        wanted.sort_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(permissions(&below, "role"), wanted);
        assert_eq!(permissions(&bare, "role"), wanted);

        // Granted again for exactly these keys it takes the place of the first.
        bare.role_grant_permission("role", ReadWrite, &grants[0].1, &plain()).unwrap();
        assert_eq!(permissions(&bare, "role").iter().filter(|permission| permission.0 == ReadWrite).count(), 2);
        for (_, keys, _) in &grants {
            below.role_revoke_permission("role", keys, &plain()).unwrap();
            assert_refused(below.role_revoke_permission("role", keys, &plain()), REFUSED, Reason::Other);
        }
        assert_eq!(permissions(&bare, "role"), []);
        let missing = bare.role_grant_permission("missing", Read, &grants[0].1, &plain());
        assert_refused(missing, REFUSED, Reason::RoleNotFound);
        let missing = bare.role_revoke_permission("missing", &grants[0].1, &plain());
        assert_refused(missing, REFUSED, Reason::RoleNotFound);
    });
}
