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

/// For a piece of a snapshot: servers send 32 KiB, in base64 and a line around it.
pub const MAX_PIECE_BYTES: usize = 1 << 20;

/// Brought to the disk at once of a snapshot's file: a call that is to end waits for no more than that.
pub const SNAPSHOT_SYNC_BYTES: usize = 8 << 20;

/// For an answer that carries a token: one of RS512 has under 1 KiB, and few servers take a longer header line than this.
pub const MAX_LOGIN_BYTES: usize = 8 << 10;

/// How often one request is made again because its token was refused: a new one may be outdated by the next change of
/// users and roles, but a server that refuses what it has just issued will go on so.
pub const MAX_TOKEN_REFUSALS: u32 = 3;

/// How old a token is at least when it is taken for the reason that there was no answer. To give one costs a server much, and
/// one that is late with everything is not to be asked for it all the time.
pub const TOKEN_DOUBT_AGE: Duration = Duration::from_secs(5);

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

/// Undelivered bytes of one watch before no more is read for it: what a server may send in one message and a bit more.
pub const DEFAULT_WATCH_BUFFER_BYTES: usize = 16 << 20;

/// Undelivered bytes of all watches of a client: a few that are stopped, and not a thousand.
pub const DEFAULT_WATCH_BUFFER_TOTAL_BYTES: usize = 64 << 20;

/// First pause before a lost watch is opened again, and the longest; clientv3's `backoff` in watch.go grows alike.
pub const WATCH_BACKOFF_FIRST: Duration = Duration::from_millis(5);
/// See [`WATCH_BACKOFF_FIRST`].
pub const WATCH_BACKOFF_LONGEST: Duration = Duration::from_millis(100);
/// The longest for watches with streams of their own, however many there are.
pub const WATCH_BACKOFF_LONGEST_OF_MANY: Duration = Duration::from_secs(30);

/// How long a member that carries watches may be silent.
pub const DEFAULT_WATCH_LIVENESS: Duration = Duration::from_secs(10);

/// How long callbacks keep watches with callbacks from being read, before another thread does that: once or twice. To set a
/// timer to much less would cost as much as to wake a thread.
pub const DELIVERY_PATIENCE: Duration = Duration::from_millis(20);

/// Received over one connection before others have their turn.
pub const WATCH_TURN_BYTES: usize = 128 << 10;

/// How long the read that finds out whether a cluster went back in time waits for further watches to serve: those of a
/// connection are confirmed one after another.
pub const WATCH_DOUBTS_GATHERED: Duration = Duration::from_millis(5);

/// Held back of a watch while it is found out whether its cluster went back in time.
pub const WATCH_DOUBTED_BYTES: usize = 1 << 20;

/// How often the resume points of quiet watches are moved on. A compaction that leaves less history than this may end one
/// that loses its connection; applications keep history for minutes at least.
pub const DEFAULT_WATCH_PROGRESS: Duration = Duration::from_secs(60);

/// How soon a progress request that nobody answered is made again, while the owner of a watch waits for it, at first and
/// at last: a watch that begins in the future keeps the others of its connection without an answer until then.
pub const WATCH_PROGRESS_REPEAT: Duration = Duration::from_millis(100);
/// See [`WATCH_PROGRESS_REPEAT`].
pub const WATCH_PROGRESS_REPEAT_LONGEST: Duration = Duration::from_secs(3);

/// How long the upgrade to a WebSocket may be unanswered: etcd has nothing to do for it, and has just told its version.
/// What stands before it may keep it for ever.
pub const UPGRADE_PATIENCE: Duration = Duration::from_secs(3);

/// WebSockets lost one after another before any of them has carried a message, until their endpoint is used without.
pub const MAX_MUTE_SOCKETS: u32 = 5;

/// What a server may send over a shared connection to a watch that has left, while the others wait: no more is kept from
/// being sent by a cancel.
pub const WATCH_UNWANTED_BYTES: usize = 4 << 20;

/// How long a watch has a connection of its own that could not keep up, after that, or that begins in the future.
pub const WATCH_APART: Duration = Duration::from_secs(60);

/// Watches that have such a connection at a time: each takes a descriptor.
pub const WATCHES_APART: usize = 16;

/// Of those, how many may be there before another gets one that begins in the future: such a watch delays progress only,
/// where one that could not keep up delays events.
pub const WATCHES_APART_IF_AHEAD: usize = WATCHES_APART / 2;

/// How long an endpoint without a WebSocket that works is used without one: it may be replaced by one that has it.
pub const WEBSOCKET_RETRY: Duration = Duration::from_secs(300);

/// The same at first where it has refused one: a member that ends or begins does that, and a cluster has agreed on its
/// version a few seconds after its start.
pub const WEBSOCKET_RETRY_SOONEST: Duration = Duration::from_secs(3);

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

/// Keys in the first page of a scan: with the largest values that etcd takes by default they are 100 MB.
pub const SCAN_FIRST_PAGE: i64 = 64;

/// The most keys that a page is asked for where the caller doesn't say: a server counts what is left of the range for
/// every page, so that small pages of a large range cost it a multiple; many more keys than this would be much at once
/// should their values be large after all.
pub const SCAN_LARGEST_PAGE: i64 = 10_000;

/// What a page of a scan is to weigh: enough that its request costs nothing beside it, and little memory.
pub const SCAN_PAGE_BYTES: usize = 4 << 20;

/// By how much a page of a scan may exceed the one before, and falls below one that was too large.
pub const SCAN_PAGE_GROWTH: i64 = 8;

/// The pause before a mirror is tried to be made anew once more, at first and at most: reading all of it is much to ask
/// of a server that is in trouble.
pub const MIRROR_PAUSE_FIRST: Duration = Duration::from_millis(50);
/// See [`MIRROR_PAUSE_FIRST`].
pub const MIRROR_PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// How long somebody who waits for a revision of a mirror trusts in an event that is under way; most take less.
pub const MIRROR_PROBE_FIRST: Duration = Duration::from_millis(10);

/// The longest time between two looks for a proof that a mirror has come to a revision that is waited for.
pub const MIRROR_PROBE_LONGEST: Duration = Duration::from_secs(1);

/// A look that costs the server so much is not made again before so many times that time has passed.
pub const MIRROR_PROBE_SHARE: u32 = 5;
/// How long one request to renew leases may take where they have the time; a member that is silent for so long is left.
pub const RENEWAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before leases are renewed again when nobody could be asked; clientv3's `retryConnWait`.
pub const RENEWAL_PAUSE: Duration = Duration::from_millis(500);

/// For what has no time limit of its caller's to keep to, but must not keep the caller either: giving back what a call
/// that failed or was cancelled has taken. Cancelled calls end within 100 ms.
pub const TIDYING_TIMEOUT: Duration = Duration::from_millis(80);

/// The longest time for the same where the caller has it: round the world and back, more than once.
pub const TIDYING_LONGEST: Duration = Duration::from_secs(1);

/// Keys that failed calls left behind, deleted in one request; servers take 128 operations.
pub const LEFTOVERS_DELETED: usize = 64;

/// How long a request that nobody waits for any more may take to reach the server and be done there: see
/// [`DEFAULT_TIMEOUT`].
pub const LATE_REQUEST: Duration = Duration::from_secs(10);

/// Participants in a double barrier that are known to be there when it opens; servers take 128 conditions.
pub const BARRIER_CONDITIONS: usize = 100;

/// The longest key that an etcd's database takes. A user or a role of a longer name, which is such a key, ends every member
/// that applies it, and none starts again.
pub const LONGEST_STORED_NAME: usize = 32_768;

/// For the end of a session that is freed rather than closed.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Watches begun within [`WATCH_SOLITUDE_AGE`] that it is worth a request for to know whether the cluster has one member.
pub const WATCH_SOLITUDE_STARTS: usize = 8;

/// How long a cluster is taken for one that still has one member only, or rather none that lags: within that time another
/// one would have to be added, to start, and to be made the leader.
pub const WATCH_SOLITUDE_AGE: Duration = Duration::from_secs(1);

/// How long it isn't asked again of a cluster that has several, or doesn't tell.
pub const WATCH_SOLITUDE_REST: Duration = Duration::from_secs(60);
