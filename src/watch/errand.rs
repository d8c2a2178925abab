//! What the thread that drives watches must not wait for: helpers do it, who start when there is something to do and end
//! when there is nothing more.

use super::switchboard::{Message, Switchboard};
use crate::channel::{Channel, Kind, MemberState, Method, OpeningStream, Size, Upgrade};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::gateway::json::{Encode, Writer};
use crate::net::{self, Control, lock};
use crate::rpc::cluster::count_members;
use crate::rpc::kv::RangeResponse;
use crate::rpc::watch::{WATCH, WatchCreate, WatchRequest};
use crate::rpc::{Header, Namespace, Response};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Something to do that takes a while.
#[derive(Clone)]
pub(super) enum Errand {
    /// Open a WebSocket for watches that require a leader, or for those that don't.
    OpenSocket { require_leader: bool, asks_for_leader: bool, insist: bool },
    /// Ask for the stream of a watch.
    BeginStream { watch: u64, request: Arc<WatchRequest>, start_revision: i64, require_leader: bool },
    /// Read the revision of the store, from what this watch may read.
    ReadRevision { watch: u64, request: Arc<WatchRequest> },
    /// Count the members of the cluster.
    CountMembers,
    /// Ask a member how it is.
    Probe { endpoint: Arc<str>, limit: Duration },
}

/// What came of an errand.
pub(super) enum Report {
    Socket {
        require_leader: bool,
        upgrade: Result<Upgrade>,
    },
    Stream {
        watch: u64,
        opening: Result<OpeningStream>,
    },
    /// Read with the rights of this watch.
    Revision {
        watch: u64,
        read: Result<Header>,
    },
    Members {
        count: Result<usize>,
    },
    Member {
        endpoint: Arc<str>,
        state: Result<MemberState>,
    },
}

/// Helpers that open streams at once: more would only wait longer for the same server. All else has a helper of its own:
/// there is one of a kind at a time, or one for each member, and what many watches wait for is not to wait for streams.
const MOST_OPENERS: usize = 4;

/// The errands of a client's watches.
pub(super) struct Errands {
    desk: Arc<Desk>,
    helpers: Vec<JoinHandle<()>>,
}

/// What the helpers share.
struct Desk {
    channel: Arc<Channel>,
    board: Arc<Switchboard>,
    namespace: Namespace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Streams to be opened.
    waiting: VecDeque<(Errand, Deadline)>,
    openers: usize,
}

impl Errands {
    pub(super) fn new(channel: Arc<Channel>, board: Arc<Switchboard>, namespace: Namespace) -> Errands {
        let desk = Desk { channel, board, namespace, state: Mutex::default() };
        Errands { desk: Arc::new(desk), helpers: Vec::new() }
    }

    /// Has an errand done by then. Its report comes as a message.
    pub(super) fn send(&mut self, errand: Errand, deadline: Deadline) {
        self.helpers.retain(|helper| !helper.is_finished());
        let desk = self.desk.clone();
        if !matches!(errand, Errand::BeginStream { .. }) {
            let own = errand.clone();
            if let Err(error) = self.spawn("etcdgw-errand", move || desk.run(own, deadline)) {
                self.desk.report(errand.failed(error));
            }
            return;
        }
        let mut state = lock(&desk.state);
        state.waiting.push_back((errand, deadline));
        if state.openers < MOST_OPENERS {
            state.openers += 1;
            drop(state);
            if let Err(error) = self.spawn("etcdgw-open", move || desk.open_streams()) {
                self.desk.give_up(&error);
            }
        }
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        self.helpers.push(net::spawn(name, run)?);
        Ok(())
    }

    /// Waits for the helpers, whom the switchboard has told to stop.
    pub(super) fn finish(self) {
        lock(&self.desk.state).waiting.clear();
        for helper in self.helpers {
            let _ = helper.join();
        }
    }
}

impl Desk {
    fn open_streams(&self) {
        while let Some((errand, deadline)) = self.next() {
            self.run(errand, deadline);
        }
    }

    fn next(&self) -> Option<(Errand, Deadline)> {
        let mut state = lock(&self.state);
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.openers -= 1;
        }
        next
    }

    /// No helper can be had. The streams fail unless another one is there to open them.
    fn give_up(&self, error: &Error) {
        let mut state = lock(&self.state);
        state.openers = state.openers.saturating_sub(1);
        let orphans = if state.openers == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        drop(state);
        for (errand, _) in orphans {
            self.report(errand.failed(error.clone()));
        }
    }

    fn report(&self, report: Report) {
        self.board.send(Message::Report(Box::new(report)));
    }

    fn run(&self, errand: Errand, deadline: Deadline) {
        let name = errand.name();
        let done = catch_unwind(AssertUnwindSafe(|| self.outcome(&errand, deadline)));
        self.report(done.unwrap_or_else(|_| errand.failed(Error::Panic(format!("a watch's helper panicked: {name}")))));
    }

    fn outcome(&self, errand: &Errand, deadline: Deadline) -> Report {
        let control = Control { deadline, cancel: Some(self.board.stop.clone()) };
        match errand {
            Errand::OpenSocket { require_leader, asks_for_leader, insist } => {
                let upgrade = self.channel.open_socket(WATCH, *insist, *asks_for_leader, &control);
                Report::Socket { require_leader: *require_leader, upgrade }
            }
            Errand::BeginStream { watch, request, start_revision, require_leader } => {
                let (start_revision, namespace) = (*start_revision, &self.namespace);
                let create = WatchCreate { request, start_revision, namespace, watch_id: None };
                let opening = self.channel.begin_stream(WATCH, &create, *require_leader, &control);
                Report::Stream { watch: *watch, opening }
            }
            Errand::ReadRevision { watch, request } => {
                let read = read_revision(&self.channel, request, &self.namespace, &control);
                Report::Revision { watch: *watch, read }
            }
            Errand::CountMembers => Report::Members { count: count_members(&self.channel, &control) },
            Errand::Probe { endpoint, limit } => {
                let state = self.channel.ask_health(endpoint, &control.at_most(*limit));
                Report::Member { endpoint: endpoint.clone(), state }
            }
        }
    }
}

impl Errand {
    fn name(&self) -> &'static str {
        match self {
            Errand::OpenSocket { .. } => "opening a WebSocket",
            Errand::BeginStream { .. } => "opening a stream",
            Errand::ReadRevision { .. } => "reading the revision",
            Errand::CountMembers => "counting the members",
            Errand::Probe { .. } => "probing a member",
        }
    }

    fn failed(&self, error: Error) -> Report {
        match self {
            Errand::OpenSocket { require_leader, .. } => {
                Report::Socket { require_leader: *require_leader, upgrade: Err(error) }
            }
            Errand::BeginStream { watch, .. } => Report::Stream { watch: *watch, opening: Err(error) },
            Errand::ReadRevision { watch, .. } => Report::Revision { watch: *watch, read: Err(error) },
            Errand::CountMembers => Report::Members { count: Err(error) },
            Errand::Probe { endpoint, .. } => Report::Member { endpoint: endpoint.clone(), state: Err(error) },
        }
    }
}

const RANGE: Method = Method::new("kv/range", Kind::Read, Size::Plain).with_leader();

/// The header of an answer that is no older than this call: it tells the revision of the store.
fn read_revision(
    channel: &Channel,
    request: &WatchRequest,
    namespace: &Namespace,
    control: &Control,
) -> Result<Header> {
    let response: Response<RangeResponse> = channel.call(RANGE, &FirstKey(request, namespace), control)?;
    if response.header.revision <= 0 {
        let what = "the answer to a range has no revision".to_owned();
        let endpoint = channel.base_url();
        return Err(Error::Protocol { endpoint, http_status: 200, what, outcome: Outcome::NotApplied });
    }
    Ok(response.header)
}

/// Asks for the store's revision at the price of one key, and with no permission that the watch doesn't need as well.
struct FirstKey<'a>(&'a WatchRequest, &'a Namespace);

impl Encode for FirstKey<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        let FirstKey(request, namespace) = self;
        out.bytes_field("key", &request.keys.first_in(namespace));
        out.int64_field("limit", 1);
        out.bool_field("count_only", true);
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::net::TcpListener;

    #[test]
    fn what_many_wait_for_does_not_wait_for_streams_that_a_member_keeps_waiting() {
        let member = TcpListener::bind("127.0.0.1:0").unwrap();
        member.set_nonblocking(true).unwrap();
        // The API path is not given: it is asked for before a stream is, and nobody answers.
        let endpoints = format!("http://{}", member.local_addr().unwrap());
        let channel = Arc::new(Channel::new(Config { endpoints, ..Config::default() }).unwrap());
        let board = Arc::new(Switchboard::new().unwrap());
        let mut errands = Errands::new(channel, board.clone(), Namespace::default());
        let deadline = Deadline::after(Duration::from_secs(10));
        let request = Arc::new(WatchRequest::new(crate::rpc::Keys::one(b"k").into_owned()));
        let stream =
            |watch| Errand::BeginStream { watch, request: request.clone(), start_revision: 1, require_leader: false };
        let socket = Errand::OpenSocket { require_leader: false, asks_for_leader: false, insist: false };
        let others = [socket, Errand::ReadRevision { watch: 0, request: request.clone() }, Errand::CountMembers];
        let count = MOST_OPENERS + others.len();
        (0..20).for_each(|watch| errands.send(stream(watch), deadline));
        others.into_iter().for_each(|errand| errands.send(errand, deadline));
        let mut asked = Vec::new();
        while asked.len() < count && !deadline.has_passed() {
            match member.accept() {
                Ok(connection) => asked.push(connection),
                Err(_) => std::thread::yield_now(),
            }
        }
        assert_eq!(asked.len(), count);
        board.stop.trigger();
        errands.finish();
    }
}
