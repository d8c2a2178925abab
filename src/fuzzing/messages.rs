//! Every message that servers send: a table of its fields, and what ours says of it in the same terms.

use super::reference::Kind::{Bool, Bytes, Int64, List, Name, OneOf, Optional, Text, Uint32, Uint64};
use super::reference::{Kind, Message, show_bytes};
use crate::gateway::authenticate::AuthenticateResponse;
use crate::gateway::json::{Decode, JsonError, Reader, Span};
use crate::rpc::alarm::{AlarmResponse, AlarmType};
use crate::rpc::auth::AuthStatusResponse;
use crate::rpc::cluster::{Member, MemberAddResponse, MemberListResponse};
use crate::rpc::downgrade::DowngradeResponse;
use crate::rpc::kv::{DeleteRangeResponse, KeyValue, PutResponse, RangeResponse};
use crate::rpc::lease::{KeepAliveResponse, LeaseGrantResponse, LeaseLeasesResponse, LeaseTimeToLiveResponse};
use crate::rpc::maintenance::{HashKvResponse, HashResponse, StatusResponse};
use crate::rpc::role::{PermissionType, RoleGetResponse, RoleListResponse};
use crate::rpc::txn::{TxnResponse, TxnResult};
use crate::rpc::user::{UserGetResponse, UserListResponse};
use crate::rpc::watch::{Event, EventType, WatchMessage};
use crate::rpc::{Headed, Header, HeaderOnly};
use serde_json::{Value, json};

/// Reads a message, and shows it with the buffer that it was read in.
type Read = fn(&mut [u8]) -> Result<Value, JsonError>;

/// Each message's fields, and how it is read.
pub(super) const MESSAGES: &[(&Message, Read)] = &[
    (&[HEADER], |bytes| read(bytes, |message: HeaderOnly, _| json!({ "header": header(message.header()) }))),
    (RANGE, |bytes| read(bytes, |message, bytes| range(&message, bytes))),
    (PUT, |bytes| read(bytes, |message, bytes| put(&message, bytes))),
    (DELETE_RANGE, |bytes| read(bytes, |message, bytes| delete_range(&message, bytes))),
    (TXN, |bytes| read(bytes, |message, bytes| txn(&message, bytes))),
    (LEASE_GRANT, |bytes| {
        read(
            bytes,
            |message: LeaseGrantResponse, _| json!({ "header": header(message.header), "ID": message.id, "TTL": message.ttl }),
        )
    }),
    (LEASE_GRANT, |bytes| {
        read(
            bytes,
            |message: KeepAliveResponse, _| json!({ "header": header(message.header()), "ID": message.id, "TTL": message.ttl }),
        )
    }),
    (LEASE_TTL, |bytes| {
        read(bytes, |message: LeaseTimeToLiveResponse, bytes| {
            json!({
                "header": header(message.header), "ID": message.id, "TTL": message.ttl,
                "grantedTTL": message.granted_ttl,
                "keys": list(&message.keys, |key| shown(*key, bytes)),
            })
        })
    }),
    (LEASES, |bytes| {
        read(
            bytes,
            |message: LeaseLeasesResponse, _| json!({ "header": header(message.header), "leases": list(&message.ids, |id| json!({ "ID": id })) }),
        )
    }),
    (MEMBER_LIST, |bytes| {
        read(
            bytes,
            |message: MemberListResponse, _| json!({ "header": header(message.header), "members": list(&message.members, member) }),
        )
    }),
    (MEMBER_ADD, |bytes| {
        read(bytes, |message: MemberAddResponse, _| {
            json!({
                "header": header(message.header), "member": member(&message.member),
                "members": list(&message.members, member),
            })
        })
    }),
    (STATUS, |bytes| read(bytes, |message, _| status(&message))),
    (HASH, |bytes| {
        read(bytes, |message: HashResponse, _| json!({ "header": header(message.header), "hash": message.hash }))
    }),
    (HASH_KV, |bytes| {
        read(bytes, |message: HashKvResponse, _| {
            json!({
                "header": header(message.header), "hash": message.hash,
                "compact_revision": message.compact_revision, "hash_revision": message.hash_revision,
            })
        })
    }),
    (ALARMS, |bytes| {
        read(bytes, |message: AlarmResponse, _| {
            let alarm_type = |alarm_type| match alarm_type {
                AlarmType::None => "NONE",
                AlarmType::NoSpace => "NOSPACE",
                AlarmType::Corrupt => "CORRUPT",
                AlarmType::Unlisted => "unlisted",
            };
            let alarms = list(
                &message.alarms,
                |alarm| json!({ "memberID": alarm.member_id, "alarm": alarm_type(alarm.alarm_type) }),
            );
            json!({ "header": header(message.header), "alarms": alarms })
        })
    }),
    (DOWNGRADE, |bytes| {
        read(
            bytes,
            |message: DowngradeResponse, _| json!({ "header": header(message.header), "version": message.version }),
        )
    }),
    (AUTH_STATUS, |bytes| {
        read(bytes, |message: AuthStatusResponse, _| {
            json!({
                "header": header(message.header), "enabled": message.enabled, "authRevision": message.auth_revision,
            })
        })
    }),
    (AUTHENTICATE, |bytes| read(bytes, |message: AuthenticateResponse, _| json!({ "token": message.token.expose() }))),
    (USER_LIST, |bytes| {
        read(bytes, |message: UserListResponse, _| json!({ "header": header(message.header), "users": message.users }))
    }),
    (ROLE_LIST, |bytes| {
        read(bytes, |message: UserGetResponse, _| json!({ "header": header(message.header), "roles": message.roles }))
    }),
    (ROLE_LIST, |bytes| {
        read(bytes, |message: RoleListResponse, _| json!({ "header": header(message.header), "roles": message.roles }))
    }),
    (ROLE_GET, |bytes| {
        read(bytes, |message: RoleGetResponse, bytes| {
            let permission_type = |permission_type| match permission_type {
                PermissionType::Read => "READ",
                PermissionType::Write => "WRITE",
                PermissionType::ReadWrite => "READWRITE",
            };
            let permissions = list(&message.permissions, |permission| {
                json!({
                    "permType": permission_type(permission.permission_type),
                    "key": shown(permission.key, bytes), "range_end": shown(permission.range_end, bytes),
                })
            });
            json!({ "header": header(message.header), "perm": permissions })
        })
    }),
    (WATCH, |bytes| {
        let mut events = Vec::new();
        let mut reader = Reader::new(bytes);
        let message = WatchMessage::decode(&mut reader, &mut events)?;
        reader.finish()?;
        Ok(watch(&message, &events, bytes))
    }),
];

const HEADER: (&str, Kind) = ("header", Kind::Message(HEADER_FIELDS));
const HEADER_FIELDS: &Message =
    &[("cluster_id", Uint64), ("member_id", Uint64), ("revision", Int64), ("raft_term", Uint64)];
const KEY_VALUE: &Message = &[
    ("key", Bytes),
    ("value", Bytes),
    ("create_revision", Int64),
    ("mod_revision", Int64),
    ("version", Int64),
    ("lease", Int64),
];
const RANGE: &Message = &[HEADER, ("kvs", List(&Kind::Message(KEY_VALUE))), ("more", Bool), ("count", Int64)];
const PUT: &Message = &[HEADER, ("prev_kv", Optional(KEY_VALUE))];
const DELETE_RANGE: &Message = &[HEADER, ("deleted", Int64), ("prev_kvs", List(&Kind::Message(KEY_VALUE)))];
const TXN: &Message = &[HEADER, ("succeeded", Bool), ("responses", List(&OneOf(TXN_RESULTS)))];
const TXN_RESULTS: &Message = &[
    ("response_range", Kind::Message(RANGE)),
    ("response_put", Kind::Message(PUT)),
    ("response_delete_range", Kind::Message(DELETE_RANGE)),
    ("response_txn", Kind::Nested(|| TXN)),
];
const LEASE_GRANT: &Message = &[HEADER, ("ID", Int64), ("TTL", Int64)];
const LEASE_TTL: &Message = &[HEADER, ("ID", Int64), ("TTL", Int64), ("grantedTTL", Int64), ("keys", List(&Bytes))];
const LEASES: &Message = &[HEADER, ("leases", List(&Kind::Message(&[("ID", Int64)])))];
const MEMBER: &Message =
    &[("ID", Uint64), ("name", Text), ("peerURLs", List(&Text)), ("clientURLs", List(&Text)), ("isLearner", Bool)];
const MEMBER_LIST: &Message = &[HEADER, ("members", List(&Kind::Message(MEMBER)))];
const MEMBER_ADD: &Message = &[HEADER, ("member", Kind::Message(MEMBER)), ("members", List(&Kind::Message(MEMBER)))];
const STATUS: &Message = &[
    HEADER,
    ("version", Text),
    ("dbSize", Int64),
    ("leader", Uint64),
    ("raftIndex", Uint64),
    ("raftTerm", Uint64),
    ("raftAppliedIndex", Uint64),
    ("errors", List(&Text)),
    ("dbSizeInUse", Int64),
    ("isLearner", Bool),
    ("storageVersion", Text),
    ("dbSizeQuota", Int64),
    ("downgradeInfo", Kind::Message(&[("enabled", Bool), ("targetVersion", Text)])),
];
const HASH: &Message = &[HEADER, ("hash", Uint32)];
const HASH_KV: &Message = &[HEADER, ("hash", Uint32), ("compact_revision", Int64), ("hash_revision", Int64)];
const ALARM: &Message = &[("memberID", Uint64), ("alarm", Name(&["NONE", "NOSPACE", "CORRUPT"], Some("unlisted")))];
const ALARMS: &Message = &[HEADER, ("alarms", List(&Kind::Message(ALARM)))];
const DOWNGRADE: &Message = &[HEADER, ("version", Text)];
const AUTH_STATUS: &Message = &[HEADER, ("enabled", Bool), ("authRevision", Uint64)];
/// Without a token it is none.
const AUTHENTICATE: &Message = &[("token", Kind::Required(&Text))];
const USER_LIST: &Message = &[HEADER, ("users", List(&Text))];
const ROLE_LIST: &Message = &[HEADER, ("roles", List(&Text))];
const PERMISSION: &Message =
    &[("permType", Name(&["READ", "WRITE", "READWRITE"], None)), ("key", Bytes), ("range_end", Bytes)];
const ROLE_GET: &Message = &[HEADER, ("perm", List(&Kind::Message(PERMISSION)))];
const EVENT: &Message =
    &[("type", Name(&["PUT", "DELETE"], None)), ("kv", Kind::Message(KEY_VALUE)), ("prev_kv", Optional(KEY_VALUE))];
/// Of gateways of v2.
pub(super) const ERROR: &Message = &[("code", Kind::Required(&Int64)), ("message", Text)];
const WATCH: &Message = &[
    HEADER,
    ("watch_id", Int64),
    ("created", Bool),
    ("canceled", Bool),
    ("compact_revision", Int64),
    ("cancel_reason", Text),
    ("fragment", Bool),
    ("events", List(&Kind::Message(EVENT))),
];

fn read<T: Decode>(bytes: &mut [u8], show: impl FnOnce(T, &[u8]) -> Value) -> Result<Value, JsonError> {
    let mut reader = Reader::new(bytes);
    let message = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(show(message, bytes))
}

fn list<T>(elements: &[T], show: impl FnMut(&T) -> Value) -> Value {
    elements.iter().map(show).collect()
}

fn shown(span: Span, bytes: &[u8]) -> Value {
    let content = span.of(bytes);
    assert_eq!(content.len(), span.len(), "a place outside of the buffer");
    show_bytes(content)
}

fn header(header: Header) -> Value {
    json!({
        "cluster_id": header.cluster_id, "member_id": header.member_id, "revision": header.revision,
        "raft_term": header.raft_term,
    })
}

fn key_value(kv: &KeyValue, bytes: &[u8]) -> Value {
    json!({
        "key": shown(kv.key, bytes), "value": shown(kv.value, bytes), "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision, "version": kv.version, "lease": kv.lease,
    })
}

fn range(message: &RangeResponse, bytes: &[u8]) -> Value {
    json!({
        "header": header(message.header), "kvs": list(&message.kvs, |kv| key_value(kv, bytes)),
        "more": message.more, "count": message.count,
    })
}

fn put(message: &PutResponse, bytes: &[u8]) -> Value {
    json!({ "header": header(message.header), "prev_kv": message.prev_kv.map(|kv| key_value(&kv, bytes)) })
}

fn delete_range(message: &DeleteRangeResponse, bytes: &[u8]) -> Value {
    json!({
        "header": header(message.header), "deleted": message.deleted,
        "prev_kvs": list(&message.prev_kvs, |kv| key_value(kv, bytes)),
    })
}

fn txn(message: &TxnResponse, bytes: &[u8]) -> Value {
    let results = list(&message.results, |result| match result {
        TxnResult::Range(message) => json!({ "response_range": range(message, bytes) }),
        TxnResult::Put(message) => json!({ "response_put": put(message, bytes) }),
        TxnResult::DeleteRange(message) => json!({ "response_delete_range": delete_range(message, bytes) }),
        TxnResult::Txn(message) => json!({ "response_txn": txn(message, bytes) }),
    });
    json!({ "header": header(message.header), "succeeded": message.succeeded, "responses": results })
}

fn member(member: &Member) -> Value {
    json!({
        "ID": member.id, "name": member.name, "peerURLs": member.peer_urls, "clientURLs": member.client_urls,
        "isLearner": member.is_learner,
    })
}

fn status(status: &StatusResponse) -> Value {
    json!({
        "header": header(status.header), "version": status.version, "dbSize": status.db_size,
        "leader": status.leader, "raftIndex": status.raft_index, "raftTerm": status.raft_term,
        "raftAppliedIndex": status.raft_applied_index, "errors": status.errors,
        "dbSizeInUse": status.db_size_in_use, "isLearner": status.is_learner,
        "storageVersion": status.storage_version, "dbSizeQuota": status.db_size_quota,
        "downgradeInfo": { "enabled": status.downgrade_enabled, "targetVersion": status.downgrade_target_version },
    })
}

pub(super) fn watch(message: &WatchMessage, events: &[Event], bytes: &[u8]) -> Value {
    let event_type = |event_type| match event_type {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    };
    let events = list(events, |event| {
        json!({
            "type": event_type(event.event_type), "kv": key_value(&event.kv, bytes),
            "prev_kv": event.prev_kv.map(|kv| key_value(&kv, bytes)),
        })
    });
    json!({
        "header": header(message.header), "watch_id": message.watch_id, "created": message.created,
        "canceled": message.canceled, "compact_revision": message.compact_revision,
        "cancel_reason": message.cancel_reason, "fragment": message.fragment, "events": events,
    })
}
