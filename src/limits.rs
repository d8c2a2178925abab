//! The library's bounds and default times, each with its reason.

use std::time::Duration;

/// A call's time limit where neither the call nor the client gives one. etcd answers a proposal within 7 s or not at all.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// For one connection attempt, name look-up and TLS handshake included.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For an answer that may carry keys and values.
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 1 << 30;

/// For an answer that carries neither keys nor values, and for every error answer: the largest seen is a member list
/// of a few kilobytes.
pub const MAX_PLAIN_RESPONSE_BYTES: usize = 1 << 20;

/// For an answer that carries a token: one of RS512 has under 1 KiB, and few servers take a longer header line than this.
pub const MAX_LOGIN_BYTES: usize = 8 << 10;

/// How often one request is made again because its token was refused: a new one may be outdated by the next change of
/// users and roles, but a server that refuses what it has just issued will go on so.
pub const MAX_TOKEN_REFUSALS: u32 = 3;

/// For the head of an answer, and for the trailer of a chunked one. Gateways send under 1 KiB.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// Header fields in an answer. Gateways send about ten.
pub const MAX_HEADERS: usize = 100;

/// Connections kept for the next call, per endpoint: a thread pool's worth.
pub const DEFAULT_MAX_IDLE_CONNECTIONS: usize = 32;

/// Read at once from a connection; a watch that catches up fills it.
pub const READ_BYTES: usize = 64 << 10;

/// A request buffer larger than this is not kept with its connection.
pub const KEPT_REQUEST_BYTES: usize = 64 << 10;

/// Members read from a member list, and addresses tried for one name.
pub const MAX_ADDRESSES: usize = 16;

/// Undelivered bytes of one watch before its stream is left unread.
pub const WATCH_BUFFER_BYTES: usize = 16 << 20;

/// First pause before a lost watch is opened again, and the longest; clientv3's `backoff` in watch.go grows alike.
pub const WATCH_BACKOFF_FIRST: Duration = Duration::from_millis(5);
/// See [`WATCH_BACKOFF_FIRST`].
pub const WATCH_BACKOFF_LONGEST: Duration = Duration::from_millis(250);

/// How long to stay away from an endpoint that failed, at first and at most: long enough that a dead one costs little,
/// short enough that one that came back is found while it is needed.
pub const ENDPOINT_BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// See [`ENDPOINT_BACKOFF_FIRST`].
pub const ENDPOINT_BACKOFF_LONGEST: Duration = Duration::from_secs(30);

/// The pause before a call begins another round through the endpoints, at first and at most: clientv3's first one, and
/// a fraction of an election.
pub const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(25);
/// See [`RETRY_PAUSE_FIRST`].
pub const RETRY_PAUSE_LONGEST: Duration = Duration::from_millis(250);

/// How long a member that was asked something may be silent before it is asked whether it is there: at most so long,
/// and nobody asks for less than the shorter time. Reading a large range takes a second; a linearizable read, while a
/// leader is elected, several.
pub const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
/// See [`LONGEST_PATIENCE`].
pub const SHORTEST_PATIENCE: Duration = Duration::from_millis(50);

/// For one synchronisation of the endpoints in the background; clientv3's.
pub const SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// Attempts of one call where the caller sets no bound; clientv3's.
pub const MAX_ATTEMPTS: u32 = 100;

/// A server is told this much more time than the call has, so that the call's own limit is the one that passes.
pub const SERVER_TIMEOUT_SLACK: Duration = Duration::from_millis(100);

/// How long one request to renew leases may take where they have the time; a member that is silent for so long is left.
pub const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before leases are renewed again when nobody could be asked; clientv3's `retryConnWait`.
pub const RENEWAL_PAUSE: Duration = Duration::from_millis(500);

/// For what has no time limit of its caller's to keep to, but must not keep the caller either: giving back what a call
/// that failed or was cancelled has taken. Cancelled calls end within 100 ms.
pub const TIDYING_TIMEOUT: Duration = Duration::from_millis(80);

/// For the end of a session that is freed rather than closed.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
