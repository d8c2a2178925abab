//! The numbers of the C interface. One that was ever given out is never used for anything else.
//!
//! Each is written out, since cbindgen sees no constant that a macro makes.

use std::ffi::{CStr, c_char};

/// How a call went: `ETCDGW_OK`, one of gRPC's canonical codes as etcd sends them (1 to 16), or one of the library's
/// own (from 100 on). Later versions may add some: treat one that you don't know as a failure.
pub type etcdgw_status = i32;

/// Done.
pub const ETCDGW_OK: i32 = 0;
/// Ended by `etcdgw_cancel_trigger`, or cancelled by the server.
pub const ETCDGW_CANCELLED: i32 = 1;
/// The server could not say what went wrong; its message may.
pub const ETCDGW_UNKNOWN: i32 = 2;
/// An argument can't be right: the message names it. Nothing was sent, unless the server said so.
pub const ETCDGW_INVALID_ARGUMENT: i32 = 3;
/// A time limit passed: this library's or the server's.
pub const ETCDGW_DEADLINE_EXCEEDED: i32 = 4;
/// What the request names doesn't exist: a lease, a member. A missing key is not an error.
pub const ETCDGW_NOT_FOUND: i32 = 5;
/// What was to be made exists.
pub const ETCDGW_ALREADY_EXISTS: i32 = 6;
/// The user may not do this.
pub const ETCDGW_PERMISSION_DENIED: i32 = 7;
/// A quota is used up (the database's space), the request is too large, or the system has no thread or descriptor.
pub const ETCDGW_RESOURCE_EXHAUSTED: i32 = 8;
/// The state of the cluster, or of a handle, doesn't allow it.
pub const ETCDGW_FAILED_PRECONDITION: i32 = 9;
/// The server, or a transaction that met others' writes too often, gave up; the same call may succeed later.
pub const ETCDGW_ABORTED: i32 = 10;
/// A revision that is compacted or in the future: `etcdgw_error_reason` tells which.
pub const ETCDGW_OUT_OF_RANGE: i32 = 11;
/// The server, the kind of connection or this version of the library can't do it.
pub const ETCDGW_UNIMPLEMENTED: i32 = 12;
/// A fault inside the server.
pub const ETCDGW_INTERNAL: i32 = 13;
/// The server can't serve at the moment: no leader, stopping, overloaded.
pub const ETCDGW_UNAVAILABLE: i32 = 14;
/// The server lost data.
pub const ETCDGW_DATA_LOSS: i32 = 15;
/// The server doesn't accept who is asking. Of a wrong password etcd says `ETCDGW_INVALID_ARGUMENT`, with reason
/// `ETCDGW_REASON_AUTH_FAILED`.
pub const ETCDGW_UNAUTHENTICATED: i32 = 16;
/// No endpoint could be reached; nothing was sent.
pub const ETCDGW_CONNECTION_FAILED: i32 = 100;
/// The connection ended after the request was sent and before the answer was complete.
pub const ETCDGW_CONNECTION_LOST: i32 = 101;
/// No secure connection: a certificate, a name or a protocol version doesn't fit.
pub const ETCDGW_TLS_FAILED: i32 = 102;
/// An answer that no etcd gateway gives: something else may answer in its place.
pub const ETCDGW_PROTOCOL_ERROR: i32 = 103;
/// `GET /version` doesn't tell the API path; the option `api_path` makes it unnecessary.
pub const ETCDGW_VERSION_DISCOVERY_FAILED: i32 = 104;
/// The revision that a watch or a scan needs next is compacted away.
pub const ETCDGW_COMPACTED: i32 = 105;
/// The lease has expired or was revoked.
pub const ETCDGW_LEASE_EXPIRED: i32 = 106;
/// The handle was inherited over `fork`: the child has to make its own.
pub const ETCDGW_FORKED: i32 = 107;
/// The client was closed, or the watch has ended.
pub const ETCDGW_CLOSED: i32 = 108;
/// A local file can't be read or written.
pub const ETCDGW_IO: i32 = 109;
/// The cluster went back in time: it was restored from a backup.
pub const ETCDGW_REVISION_REGRESSED: i32 = 110;
/// An endpoint belongs to another cluster.
pub const ETCDGW_CLUSTER_MISMATCH: i32 = 111;
/// A defect in this library, caught; the message says where. Please report it.
pub const ETCDGW_INTERNAL_PANIC: i32 = 199;

/// No particular reason is known.
pub const ETCDGW_REASON_OTHER: i32 = 0;
/// The revision is compacted away.
pub const ETCDGW_REASON_COMPACTED: i32 = 1;
/// The revision is still to come.
pub const ETCDGW_REASON_FUTURE_REVISION: i32 = 2;
/// There is no such lease.
pub const ETCDGW_REASON_LEASE_NOT_FOUND: i32 = 3;
/// A lease of this ID exists.
pub const ETCDGW_REASON_LEASE_EXISTS: i32 = 4;
/// The key doesn't exist, but `ignore_value` or `ignore_lease` needs it.
pub const ETCDGW_REASON_KEY_NOT_FOUND: i32 = 5;
/// The key is empty.
pub const ETCDGW_REASON_EMPTY_KEY: i32 = 6;
/// A transaction writes a key twice.
pub const ETCDGW_REASON_DUPLICATE_KEY: i32 = 7;
/// A transaction has more operations than the server takes.
pub const ETCDGW_REASON_TOO_MANY_OPS: i32 = 8;
/// The request is larger than the server takes.
pub const ETCDGW_REASON_REQUEST_TOO_LARGE: i32 = 9;
/// The database has reached its quota; see etcd's NOSPACE alarm. A write that is told so may have been done.
pub const ETCDGW_REASON_NO_SPACE: i32 = 10;
/// The cluster has no leader.
pub const ETCDGW_REASON_NO_LEADER: i32 = 11;
/// The member asked is not the leader.
pub const ETCDGW_REASON_NOT_LEADER: i32 = 12;
/// The leader changed during the request.
pub const ETCDGW_REASON_LEADER_CHANGED: i32 = 13;
/// The cluster did not agree in time.
pub const ETCDGW_REASON_TIMEOUT: i32 = 14;
/// The server is overloaded.
pub const ETCDGW_REASON_TOO_MANY_REQUESTS: i32 = 15;
/// User name or password is wrong or missing, or the gateway refuses the client certificate for its common name.
pub const ETCDGW_REASON_AUTH_FAILED: i32 = 16;
/// The token is not, or no longer, valid.
pub const ETCDGW_REASON_INVALID_TOKEN: i32 = 17;
/// The token is older than a change of users or roles.
pub const ETCDGW_REASON_OLD_AUTH_REVISION: i32 = 18;
/// Authentication is not switched on.
pub const ETCDGW_REASON_AUTH_NOT_ENABLED: i32 = 19;
/// There is no such user.
pub const ETCDGW_REASON_USER_NOT_FOUND: i32 = 20;
/// There is no such role.
pub const ETCDGW_REASON_ROLE_NOT_FOUND: i32 = 21;
/// There is no such member.
pub const ETCDGW_REASON_MEMBER_NOT_FOUND: i32 = 22;
/// The member asked is a learner, which can't do this.
pub const ETCDGW_REASON_LEARNER: i32 = 23;
/// The server found its data corrupt.
pub const ETCDGW_REASON_CORRUPT: i32 = 24;

/// The key was written.
pub const ETCDGW_EVENT_PUT: i32 = 0;
/// The key was deleted, or its lease ended.
pub const ETCDGW_EVENT_DELETE: i32 = 1;

/// The key's field equals the given one.
pub const ETCDGW_EQUAL: i32 = 0;
/// The key's field is greater than the given one.
pub const ETCDGW_GREATER: i32 = 1;
/// The key's field is less than the given one.
pub const ETCDGW_LESS: i32 = 2;
/// The key's field differs from the given one.
pub const ETCDGW_NOT_EQUAL: i32 = 3;

/// In the order of the server, which is by key.
pub const ETCDGW_SORT_NONE: i32 = 0;
/// Smallest first.
pub const ETCDGW_SORT_ASCEND: i32 = 1;
/// Largest first.
pub const ETCDGW_SORT_DESCEND: i32 = 2;

/// By key.
pub const ETCDGW_SORT_BY_KEY: i32 = 0;
/// By how many times the key was written.
pub const ETCDGW_SORT_BY_VERSION: i32 = 1;
/// By the revision that created the key.
pub const ETCDGW_SORT_BY_CREATE: i32 = 2;
/// By the revision that changed the key last.
pub const ETCDGW_SORT_BY_MOD: i32 = 3;
/// By value.
pub const ETCDGW_SORT_BY_VALUE: i32 = 4;

/// Events, all of the revisions they are of.
pub const ETCDGW_WATCH_EVENTS: i32 = 1;
/// Nothing happened up to the header's revision.
pub const ETCDGW_WATCH_PROGRESS: i32 = 2;
/// The connection is lost; the watch goes on by itself.
pub const ETCDGW_WATCH_DISCONNECTED: i32 = 3;
/// The watch is connected again. It has missed nothing, unless its end follows, which says what.
pub const ETCDGW_WATCH_RESUMED: i32 = 4;
/// The last response of a watch, with the reason.
pub const ETCDGW_WATCH_ENDED: i32 = 5;

/// An event of a watch; `watch` is set.
pub const ETCDGW_SOURCE_WATCH: i32 = 1;
/// An event of a keep-alive; `keepalive` is set.
pub const ETCDGW_SOURCE_KEEPALIVE: i32 = 2;
/// An event of a session; `keepalive` is set.
pub const ETCDGW_SOURCE_SESSION: i32 = 3;
/// An event of an election; `election` is set.
pub const ETCDGW_SOURCE_ELECTION: i32 = 4;
/// An event of a mirror; `mirror` is set.
pub const ETCDGW_SOURCE_MIRROR: i32 = 5;
/// Events of a mirror's keys, all of the revisions they are of.
pub const ETCDGW_MIRROR_EVENTS: i32 = 1;
/// The difference between the copy as it was last told and as it is, without what happened in between: the copy was made
/// anew, since the history from the old one on is gone, or more was untold than may be kept.
pub const ETCDGW_MIRROR_REBUILT: i32 = 2;
/// The last event of a mirror, with the reason; the copy stays as it is.
pub const ETCDGW_MIRROR_ENDED: i32 = 3;

/// A put; `put` is set.
pub const ETCDGW_TXN_PUT: i32 = 1;
/// A get; `get` is set.
pub const ETCDGW_TXN_GET: i32 = 2;
/// A delete; `deleted` is set.
pub const ETCDGW_TXN_DELETE: i32 = 3;
/// A transaction inside; `txn` is set.
pub const ETCDGW_TXN_TXN: i32 = 4;

/// Isolation of an optimistic transaction: all is read at one revision, and neither what was read nor what is written may
/// have changed since.
pub const ETCDGW_STM_SERIALIZABLE_SNAPSHOT: i32 = 0;
/// All is read at one revision, and what was read may not have changed since.
pub const ETCDGW_STM_SERIALIZABLE: i32 = 1;
/// What was read may not have changed since; each key is read on its own.
pub const ETCDGW_STM_REPEATABLE_READS: i32 = 2;
/// Each key is read on its own, and may have changed since.
pub const ETCDGW_STM_READ_COMMITTED: i32 = 3;

/// To read.
pub const ETCDGW_PERMISSION_READ: i32 = 0;
/// To write.
pub const ETCDGW_PERMISSION_WRITE: i32 = 1;
/// To read and to write.
pub const ETCDGW_PERMISSION_READWRITE: i32 = 2;

/// No alarm; as a filter: every alarm.
pub const ETCDGW_ALARM_NONE: i32 = 0;
/// The database has reached its quota.
pub const ETCDGW_ALARM_NOSPACE: i32 = 1;
/// The data are corrupt.
pub const ETCDGW_ALARM_CORRUPT: i32 = 2;

/// What needs somebody's attention.
pub const ETCDGW_LOG_ERROR: i32 = 1;
/// What the library got over by itself, and somebody may want to know.
pub const ETCDGW_LOG_WARN: i32 = 2;
/// What happens rarely and is as it should be.
pub const ETCDGW_LOG_INFO: i32 = 3;
/// What helps to find a fault.
pub const ETCDGW_LOG_DEBUG: i32 = 4;
/// Everything.
pub const ETCDGW_LOG_TRACE: i32 = 5;

/// Asks whether a downgrade would be let.
pub const ETCDGW_DOWNGRADE_VALIDATE: i32 = 0;
/// Begins it.
pub const ETCDGW_DOWNGRADE_ENABLE: i32 = 1;
/// Gives up the one that has begun.
pub const ETCDGW_DOWNGRADE_CANCEL: i32 = 2;

/// Where it is safe and available.
pub const ETCDGW_WEBSOCKET_AUTO: i32 = 0;
/// Never: every watch has an HTTP stream of its own.
pub const ETCDGW_WEBSOCKET_NEVER: i32 = 1;
/// Only so.
pub const ETCDGW_WEBSOCKET_ALWAYS: i32 = 2;

/// The name of a status: `"NOT_FOUND"` for `ETCDGW_NOT_FOUND`; `"UNLISTED"` for a number that is none.
///
/// The string is static. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn etcdgw_status_name(status: etcdgw_status) -> *const c_char {
    super::boundary::infallible(c"UNLISTED".as_ptr(), || name_of(status).as_ptr())
}

fn name_of(status: etcdgw_status) -> &'static CStr {
    match status {
        ETCDGW_OK => c"OK",
        ETCDGW_CANCELLED => c"CANCELLED",
        ETCDGW_UNKNOWN => c"UNKNOWN",
        ETCDGW_INVALID_ARGUMENT => c"INVALID_ARGUMENT",
        ETCDGW_DEADLINE_EXCEEDED => c"DEADLINE_EXCEEDED",
        ETCDGW_NOT_FOUND => c"NOT_FOUND",
        ETCDGW_ALREADY_EXISTS => c"ALREADY_EXISTS",
        ETCDGW_PERMISSION_DENIED => c"PERMISSION_DENIED",
        ETCDGW_RESOURCE_EXHAUSTED => c"RESOURCE_EXHAUSTED",
        ETCDGW_FAILED_PRECONDITION => c"FAILED_PRECONDITION",
        ETCDGW_ABORTED => c"ABORTED",
        ETCDGW_OUT_OF_RANGE => c"OUT_OF_RANGE",
        ETCDGW_UNIMPLEMENTED => c"UNIMPLEMENTED",
        ETCDGW_INTERNAL => c"INTERNAL",
        ETCDGW_UNAVAILABLE => c"UNAVAILABLE",
        ETCDGW_DATA_LOSS => c"DATA_LOSS",
        ETCDGW_UNAUTHENTICATED => c"UNAUTHENTICATED",
        ETCDGW_CONNECTION_FAILED => c"CONNECTION_FAILED",
        ETCDGW_CONNECTION_LOST => c"CONNECTION_LOST",
        ETCDGW_TLS_FAILED => c"TLS_FAILED",
        ETCDGW_PROTOCOL_ERROR => c"PROTOCOL_ERROR",
        ETCDGW_VERSION_DISCOVERY_FAILED => c"VERSION_DISCOVERY_FAILED",
        ETCDGW_COMPACTED => c"COMPACTED",
        ETCDGW_LEASE_EXPIRED => c"LEASE_EXPIRED",
        ETCDGW_FORKED => c"FORKED",
        ETCDGW_CLOSED => c"CLOSED",
        ETCDGW_IO => c"IO",
        ETCDGW_REVISION_REGRESSED => c"REVISION_REGRESSED",
        ETCDGW_CLUSTER_MISMATCH => c"CLUSTER_MISMATCH",
        ETCDGW_INTERNAL_PANIC => c"INTERNAL_PANIC",
        _ => c"UNLISTED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concurrency::mirror::ChangeKind;
    use crate::error::{Code, Reason};
    use crate::event_queue::SourceKind;
    use crate::log::Level;

    #[test]
    fn the_core_and_c_number_alike() {
        assert_eq!(Code::Cancelled as i32, ETCDGW_CANCELLED);
        assert_eq!(Code::Unauthenticated as i32, ETCDGW_UNAUTHENTICATED);
        assert_eq!(Reason::Other as i32, ETCDGW_REASON_OTHER);
        assert_eq!(Reason::Compacted as i32, ETCDGW_REASON_COMPACTED);
        assert_eq!(Reason::NoLeader as i32, ETCDGW_REASON_NO_LEADER);
        assert_eq!(Reason::AuthFailed as i32, ETCDGW_REASON_AUTH_FAILED);
        assert_eq!(Reason::Corrupt as i32, ETCDGW_REASON_CORRUPT);
        assert_eq!(Level::Error as i32, ETCDGW_LOG_ERROR);
        assert_eq!(Level::Trace as i32, ETCDGW_LOG_TRACE);
        assert_eq!(SourceKind::Watch as i32, ETCDGW_SOURCE_WATCH);
        assert_eq!(SourceKind::KeepAlive as i32, ETCDGW_SOURCE_KEEPALIVE);
        assert_eq!(SourceKind::Session as i32, ETCDGW_SOURCE_SESSION);
        assert_eq!(SourceKind::Election as i32, ETCDGW_SOURCE_ELECTION);
        assert_eq!(SourceKind::Mirror as i32, ETCDGW_SOURCE_MIRROR);
        assert_eq!(ChangeKind::Events as i32, ETCDGW_MIRROR_EVENTS);
        assert_eq!(ChangeKind::Rebuilt as i32, ETCDGW_MIRROR_REBUILT);
        assert_eq!(ChangeKind::Ended as i32, ETCDGW_MIRROR_ENDED);
    }
}
