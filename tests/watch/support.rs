//! What the tests of watches share: short forms of options, what was seen of a watch, and messages for fake gateways.

use crate::common::{EtcdFace, FakeGateway, LONG, MEMBER_LIST, Reply, Request, Socket, members, within};
use etcdgw::client::CallOptions;
use etcdgw::error::{Error, Result};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::{EventType, WatchRequest};
use etcdgw::watch::{Consumer, Watch, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What cancelling may take: far less than anything that it could wait for wrongly, and room enough for a busy machine.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// Connections that a client of one watch keeps for its next calls: that of the range, and that on which the gateway has
/// told its version.
pub const IDLE_CONNECTIONS: usize = 2;

pub fn request(keys: Keys<'static>, start_revision: i64) -> WatchRequest {
    WatchRequest { start_revision, ..WatchRequest::new(keys) }
}

/// A watch of one key.
pub fn one(key: &'static [u8]) -> WatchOptions {
    WatchOptions::new(request(Keys::One(Cow::Borrowed(key)), 0))
}

/// A watch of every key that starts so.
pub fn prefix(prefix: &'static [u8]) -> WatchOptions {
    WatchOptions::new(request(Keys::Prefix(Cow::Borrowed(prefix)), 0))
}

/// The same from a revision on.
pub fn from(options: WatchOptions, start_revision: i64) -> WatchOptions {
    WatchOptions { request: WatchRequest { start_revision, ..options.request }, ..options }
}

/// The same with so much time for the confirmation.
pub fn confirmed_within(options: WatchOptions, limit: Duration) -> WatchOptions {
    WatchOptions { call: within(limit), ..options }
}

/// The same without waiting for the confirmation.
pub fn unconfirmed(options: WatchOptions) -> WatchOptions {
    WatchOptions { wait_created: false, call: CallOptions::default(), ..options }
}

/// The same with reports of the connection.
pub fn reporting(options: WatchOptions) -> WatchOptions {
    WatchOptions { report_connection: true, ..options }
}

/// One change, with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: i64,
    pub event_type: EventType,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The value before.
    pub previous: Option<Vec<u8>>,
}

/// One response, with its bytes.
#[derive(Clone, Debug)]
pub struct Said {
    pub kind: WatchKind,
    pub changes: Vec<Change>,
    pub resume_revision: i64,
    pub compact_revision: i64,
    pub error: Option<Error>,
}

impl From<&WatchResponse> for Said {
    fn from(response: &WatchResponse) -> Said {
        let bytes = |span| response.bytes(span).to_vec();
        let changes = response.events.iter().map(|event| Change {
            revision: event.kv.mod_revision,
            event_type: event.event_type,
            key: bytes(event.kv.key),
            value: bytes(event.kv.value),
            previous: event.prev_kv.map(|previous| bytes(previous.value)),
        });
        Said {
            kind: response.kind,
            changes: changes.collect(),
            resume_revision: response.resume_revision,
            compact_revision: response.compact_revision,
            error: response.error.clone(),
        }
    }
}

/// What a callback watch has said so far.
#[derive(Clone, Default)]
pub struct Seen(Arc<(Mutex<Vec<Said>>, Condvar)>);

impl Seen {
    /// Also the consumer that tells it.
    pub fn new() -> (Seen, Consumer) {
        let seen = Seen::default();
        let told = seen.clone();
        (seen, Box::new(move |response| told.add(&response)))
    }

    /// Whether the consumer has been dropped.
    pub fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub fn add(&self, response: &WatchResponse) {
        self.0.0.lock().unwrap().push(response.into());
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<Said> {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits until what was said is enough.
    #[track_caller]
    pub fn wait(&self, is_enough: impl Fn(&[Said]) -> bool) -> Vec<Said> {
        let limit = Instant::now() + LONG;
        let mut said = self.0.0.lock().unwrap();
        while !is_enough(&said) {
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not said within {LONG:?}; so far: {said:#?}");
            said = self.0.1.wait_timeout(said, left).unwrap().0;
        }
        said.clone()
    }

    /// Waits for so many changes.
    #[track_caller]
    pub fn wait_for_changes(&self, count: usize) -> Vec<Change> {
        changes_of(&self.wait(|said| said.iter().map(|said| said.changes.len()).sum::<usize>() >= count))
    }

    /// Waits for a response of this kind and answers the last one.
    #[track_caller]
    pub fn wait_for(&self, kind: WatchKind) -> Said {
        let said = self.wait(|said| said.iter().any(|said| said.kind == kind));
        said.into_iter().rfind(|said| said.kind == kind).unwrap()
    }
}

pub fn changes_of(said: &[Said]) -> Vec<Change> {
    said.iter().flat_map(|said| said.changes.clone()).collect()
}

pub fn values(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| String::from_utf8(change.value.clone()).unwrap()).collect()
}

/// Every response is whole revisions, in order, and tells where to resume.
#[track_caller]
pub fn assert_exact(said: &[Said]) {
    let mut next = 0;
    for response in said {
        if let (Some(first), Some(last)) = (response.changes.first(), response.changes.last()) {
            assert!(first.revision >= next, "revision {} came after it was accounted for: {next}", first.revision);
            assert!(response.changes.is_sorted_by_key(|change| change.revision));
            assert!(response.resume_revision > last.revision);
        }
        assert!(response.resume_revision >= next, "the resume revision went back");
        next = response.resume_revision;
    }
}

/// The next response, which must come.
#[track_caller]
pub fn next(watch: &Watch) -> Said {
    let response = watch.next(Some(LONG)).unwrap();
    (&response.expect("a response within the limit")).into()
}

/// Whether the watch's descriptor is readable within this time.
pub fn is_readable(watch: &Watch, within: Duration) -> bool {
    is_fd_readable(watch.fd().unwrap(), within)
}

/// Whether a descriptor is readable within this time.
#[allow(unsafe_code)]
pub fn is_fd_readable(fd: RawFd, within: Duration) -> bool {
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the one element is live.
    let count = unsafe { libc::poll(&raw mut polled, 1, i32::try_from(within.as_millis()).unwrap()) };
    assert!(count >= 0);
    count == 1 && polled.revents == libc::POLLIN
}

pub fn code(error: &Error) -> Option<etcdgw::error::Code> {
    match error {
        Error::Server { code, .. } => Some(*code),
        _ => None,
    }
}

#[track_caller]
pub fn refusal<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

/// A gateway whose store is at revision 4; each watch goes to the script, with how many came before it.
pub fn watch_gateway(script: impl Fn(usize, &Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
    let watches = AtomicUsize::new(0);
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        "/v3/kv/range" => reply.json(r#"{"header":{"revision":"4"}}"#),
        "/v3/watch" => script(watches.fetch_add(1, Ordering::SeqCst), request, reply),
        other => whereabouts(other, reply),
    })
}

/// What linearizable reads are asked for with.
pub const READ: &str = "/v3/kv/range";

/// A gateway of etcd 3.6, whose WebSockets and reads go to scripts, each with how many came before.
pub fn scripted(
    sockets: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static,
    reads: impl Fn(usize, &Request, &mut Reply<'_>) + Send + Sync + 'static,
) -> FakeGateway {
    let (face, opened, asked) = (EtcdFace::of("3.6.16"), AtomicUsize::new(0), AtomicUsize::new(0));
    FakeGateway::start(move |request, reply| match (&*request.verb, &*request.path) {
        ("GET", "/v3/watch") => {
            let mut socket = reply.upgrade(request);
            sockets(opened.fetch_add(1, Ordering::SeqCst), &mut socket);
            reply.close();
        }
        ("POST", READ) => reads(asked.fetch_add(1, Ordering::SeqCst), request, reply),
        _ => face.answer(request, reply),
    })
}

/// The answer to a read.
pub fn revision(reply: &mut Reply<'_>, revision: i64) {
    reply.json(format!(r#"{{"header":{{"revision":"{revision}"}}}}"#));
}

/// What a gateway says of itself: it is of etcd 3.4, where each watch has a stream, and as late as to lose no deletions.
pub fn whereabouts(path: &str, reply: &mut Reply<'_>) {
    match path {
        "/health" => reply.json(r#"{"health":"true"}"#),
        "/version" => reply.json(r#"{"etcdserver":"3.4.39","etcdcluster":"3.4.0"}"#),
        MEMBER_LIST => members(reply, 3),
        other => panic!("{other} was asked for"),
    }
}

/// The revision that each watch asked to begin at.
pub fn start_revisions(gateway: &FakeGateway) -> Vec<i64> {
    let watches = gateway.requests().into_iter().filter(|request| request.path == "/v3/watch");
    let start = |request: Request| {
        let start = request.json()["create_request"]["start_revision"].clone();
        start.as_str().unwrap().parse().unwrap()
    };
    watches.map(start).collect()
}

pub const CREATED: &str = "{\"result\":{\"header\":{\"revision\":\"9\",\"raft_term\":\"2\"},\"created\":true}}\n";
/// The same of a store of what is before [`puts`] of 5 and more: for further watches, which start after that.
pub const CREATED_AT_4: &str = "{\"result\":{\"header\":{\"revision\":\"4\",\"raft_term\":\"2\"},\"created\":true}}\n";

/// A message with one put of the key `k` for each revision; its value is the revision.
pub fn puts(revisions: &[i64]) -> String {
    format!("{{\"result\":{{\"header\":{{\"revision\":\"99\"}},\"events\":[{}]}}}}\n", events_json(revisions))
}

/// The same as a part of a message that goes on.
pub fn fragment(revisions: &[i64]) -> String {
    let events = events_json(revisions);
    format!("{{\"result\":{{\"header\":{{\"revision\":\"99\"}},\"fragment\":true,\"events\":[{events}]}}}}\n")
}

fn events_json(revisions: &[i64]) -> String {
    let event = |revision: &i64| {
        let value = base64_simd::STANDARD.encode_to_string(revision.to_string());
        format!(r#"{{"kv":{{"key":"aw==","mod_revision":"{revision}","version":"1","value":"{value}"}}}}"#)
    };
    revisions.iter().map(event).collect::<Vec<_>>().join(",")
}

/// The `watch_id` that a create asks for.
pub fn id(create: &serde_json::Value) -> i64 {
    create["watch_id"].as_str().unwrap().parse().unwrap()
}

/// Confirms every watch of a WebSocket and sends it a put at the revision it begins with. Cancels are answered.
pub fn serve(socket: &mut Socket<'_>) {
    while let Some(message) = socket.message() {
        if let Some(create) = message.get("create_request") {
            let (id, start) = (id(create), create["start_revision"].as_str().unwrap().parse().unwrap());
            socket.created(id, 9);
            socket.puts(id, &[start]);
        } else if let Some(cancel) = message.get("cancel_request") {
            let id = cancel["watch_id"].as_str().unwrap().parse().unwrap();
            socket.canceled(id, 9);
        }
    }
}

/// The same as a script for WebSockets.
pub fn serve_sockets(_: usize, socket: &mut Socket<'_>) {
    serve(socket);
}
