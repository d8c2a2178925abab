//! What drives all watches of a client: it waits for many connections at once, and for nothing else.
//!
//! ```text
//! routes        which connection a watch is put on: WebSockets shared by many, or HTTP streams
//! sockets       what is created on WebSockets, and what becomes of it when one is left
//! streams       what has an HTTP stream
//! apart         who has one although there is a WebSocket
//! traffic       what arrives, and what becomes of a watch by it
//! progress      how far watches have come, where that can be asked
//! members       whether the members that carry watches are still there, and have a leader
//! revisions     which revision the store has, where a watch must know it
//! solitude      whether it need not, to start a watch
//! ```
//!
//! What a watch has been told lies in its account, never in a connection: those come and go.

mod apart;
mod members;
mod progress;
mod revisions;
mod routes;
mod sockets;
mod solitude;
mod streams;
#[cfg(all(test, not(loom)))]
mod tests;
mod traffic;

use super::entry::{Carrier, Entry, Link, Start};
use super::errand::{Errand, Errands, Report};
use super::helm::Drive;
use super::panicked;
use super::response::WatchResponse;
use super::rests::Rests;
use super::socket::SharedSocket;
use super::switchboard::{Message, Switchboard};
use super::timers::Timers;
use super::unfit::Unfit;
use crate::channel::Channel;
use crate::config::{Config, WebSocketUse};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::net::{Epoll, no_descriptor};
use crate::rpc::Namespace;
use members::Members;
use revisions::Revisions;
use routes::Routes;
use solitude::Solitude;
use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What of a client's settings matters here.
#[derive(Clone)]
pub(crate) struct Settings {
    namespace: Namespace,
    websocket: WebSocketUse,
    /// How long a member may be silent.
    liveness: Duration,
    /// How often the resume points of quiet watches are moved on.
    progress: Duration,
    /// Shared with what drives the client's watches after this.
    unfit: Arc<Unfit>,
}

impl Settings {
    pub(crate) fn new(config: &Config, namespace: Namespace) -> Settings {
        let Config { websocket, watch_liveness: liveness, watch_progress: progress, .. } = *config;
        Settings { namespace, websocket, liveness, progress, unfit: Arc::default() }
    }

    /// Whether a watch may have a stream of its own although there is a WebSocket.
    fn may_be_apart(&self) -> bool {
        self.websocket != WebSocketUse::Always
    }
}

/// See the module.
pub(super) struct Reactor {
    channel: Arc<Channel>,
    board: Arc<Switchboard>,
    settings: Settings,
    epoll: Epoll,
    watches: HashMap<u64, Entry>,
    /// Of those, how many have no callback.
    uncalled: usize,
    /// Of those, how many are apart from the others.
    apart: usize,
    rests: Rests,
    /// A server has confirmed a watch in this turn.
    has_confirmed: bool,
    sockets: HashMap<u64, SharedSocket>,
    /// The keys of sockets are never used again.
    last_socket: u64,
    routes: Routes,
    members: Members,
    revisions: Revisions,
    solitude: Solitude,
    errands: Errands,
    timers: Timers<Timer>,
    /// Sockets that have something to send.
    unsent: Vec<u64>,
    /// What has been read and not looked at.
    unread: Vec<u64>,
    /// What one turn is about: empty in between.
    ready: Vec<u64>,
    messages: Vec<Message>,
    is_closed: bool,
    is_stopped: bool,
    /// Why nothing drives the watches any more, where that is by no wish of theirs.
    failure: Option<Error>,
}

/// What is to be looked at later.
enum Timer {
    /// A route that rests, of the watches that require a leader or of the others.
    Route {
        require_leader: bool,
    },
    /// A watch whose stream should have confirmed it by then.
    Patience(u64),
    /// A watch that is apart from the others.
    Apart(u64),
    /// The liveness of a socket.
    Socket(u64),
    /// Whether the progress requests of a socket were answered.
    Answer(u64),
    /// How far the watches of a socket have come, unasked.
    Progress(u64),
    /// The pause before a read of the revision.
    Revision,
    Member(Arc<str>),
}

/// What a descriptor belongs to, as its token says.
enum Ready {
    Board,
    Socket(u64),
    Watch(u64),
}

impl Ready {
    fn token(&self) -> u64 {
        match self {
            Ready::Board => 0,
            Ready::Socket(key) => key << 2 | 1,
            Ready::Watch(watch) => watch << 2 | 2,
        }
    }

    fn of(token: u64) -> Ready {
        match token & 3 {
            0 => Ready::Board,
            1 => Ready::Socket(token >> 2),
            _ => Ready::Watch(token >> 2),
        }
    }
}

impl Reactor {
    pub(super) fn new(channel: Arc<Channel>, board: Arc<Switchboard>, settings: Settings) -> Result<Reactor> {
        let epoll = Epoll::new().map_err(no_descriptor)?;
        epoll.add(board.as_raw_fd(), Ready::Board.token()).map_err(no_descriptor)?;
        let errands = Errands::new(channel.clone(), board.clone(), settings.namespace.clone());
        Ok(Reactor {
            channel,
            board,
            settings,
            epoll,
            watches: HashMap::new(),
            uncalled: 0,
            apart: 0,
            rests: Rests::default(),
            has_confirmed: false,
            sockets: HashMap::new(),
            last_socket: 0,
            routes: Routes::default(),
            members: Members::default(),
            revisions: Revisions::default(),
            solitude: Solitude::default(),
            errands,
            timers: Timers::new(),
            unsent: Vec::new(),
            unread: Vec::new(),
            ready: Vec::new(),
            messages: Vec::new(),
            is_closed: false,
            is_stopped: false,
            failure: None,
        })
    }

    /// Waits for something to do, and does it.
    fn act(&mut self) {
        let due = self.timers.next().earlier(self.rests.next());
        let deadline = if self.unread.is_empty() { due } else { Deadline::after(Duration::ZERO) };
        let mut ready = std::mem::take(&mut self.ready);
        if let Err(error) = self.epoll.wait(deadline, &mut ready) {
            // It takes no descriptor and no memory: the machine can't go on.
            return self.fail(Error::System { what: "a wait", source: Arc::new(error) });
        }
        for token in self.unread.drain(..) {
            if !ready.contains(&token) {
                ready.push(token);
            }
        }
        for token in ready.drain(..) {
            match Ready::of(token) {
                Ready::Board => self.take_messages(),
                Ready::Socket(key) => self.read_socket(key),
                Ready::Watch(watch) => self.read_stream(watch),
            }
        }
        self.ready = ready;
        let now = Instant::now();
        while let Some(timer) = self.timers.take(now) {
            self.fire(timer);
        }
        self.go_on_with_rested(now);
        // Not sooner: one read is to serve all that have come to want it in this turn.
        self.read_revision();
        self.send_unsent();
    }

    /// This was the last turn.
    fn fail(&mut self, error: Error) {
        self.is_stopped = true;
        self.failure = Some(error);
    }

    fn take_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.board.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Start(start) => self.start(*start),
                Message::Forget(watch) => self.forget(watch),
                Message::GoOn(watch) => self.go_on(watch),
                Message::AskProgress(watch) => self.ask_progress(watch),
                Message::Report(report) => self.take_report(*report),
                Message::Close => self.end_all(&Error::client_closed(Outcome::NotApplied)),
                Message::Stop => self.is_stopped = true,
            }
        }
        self.messages = messages;
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Socket { require_leader, upgrade } => self.take_upgrade(require_leader, upgrade),
            Report::Stream { watch, opening } => self.take_stream(watch, opening),
            Report::Revision { watch, read } => self.take_revision(watch, read),
            Report::Members { count } => self.take_members(count),
            Report::Member { endpoint, state } => self.take_member_state(&endpoint, state),
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Route { require_leader } => self.wake_route(require_leader),
            Timer::Patience(watch) => self.give_up_unconfirmed(watch),
            Timer::Apart(watch) => self.rejoin(watch),
            Timer::Socket(key) => self.tick_socket(key),
            Timer::Answer(key) => self.repeat_progress_request(key),
            Timer::Progress(key) => self.ask_progress_of(key),
            Timer::Revision => self.revisions.rests = false,
            Timer::Member(endpoint) => self.tick_member(endpoint),
        }
    }

    fn start(&mut self, start: Start) {
        let (watch, entry) = Entry::new(start);
        if self.is_closed {
            return finish(entry, Error::client_closed(Outcome::NotApplied));
        }
        self.uncalled += usize::from(!entry.mailbox.is_called());
        self.watches.insert(watch, entry);
        self.place(watch);
    }

    /// Nobody owns this watch any more.
    fn forget(&mut self, watch: u64) {
        self.take_off(watch);
        drop(self.remove(watch));
    }

    fn remove(&mut self, watch: u64) -> Option<Entry> {
        let entry = self.watches.remove(&watch)?;
        self.uncalled -= usize::from(!entry.mailbox.is_called());
        self.apart -= usize::from(entry.apart_since.is_some());
        self.rests.forget(watch);
        Some(entry)
    }

    /// The consumer of a watch that was full has caught up.
    fn go_on(&mut self, watch: u64) {
        if let Some(entry) = self.watches.get_mut(&watch).filter(|entry| matches!(entry.link, Link::Full)) {
            entry.link = Link::Due;
            self.place(watch);
        }
    }

    /// The consumer of this watch can't take more: the server is not to send more. It goes on from its next revision.
    fn fill(&mut self, watch: u64) {
        self.set_aside(watch);
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.link = Link::Full;
            entry.was_full = true;
            entry.apart_since = entry.apart_since.map(|_| Instant::now());
        }
    }

    /// Takes a watch off its connection although nothing is wrong with it.
    fn set_aside(&mut self, watch: u64) {
        self.take_off(watch);
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.suspend();
        }
    }

    /// The last thing that is heard of a watch.
    fn end(&mut self, watch: u64, error: Error) {
        self.take_off(watch);
        if let Some(entry) = self.remove(watch) {
            finish(entry, error);
        }
    }

    fn end_all(&mut self, error: &Error) {
        self.is_closed = true;
        let watches: Vec<u64> = self.watches.keys().copied().collect();
        watches.into_iter().for_each(|watch| self.end(watch, error.clone()));
    }

    /// Takes a watch off its connection, which is closed where nothing else is on it. The watch then waits to be put on
    /// another one.
    fn take_off(&mut self, watch: u64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        match std::mem::replace(&mut entry.link, Link::Due) {
            Link::Own(stream) => self.epoll.remove(stream.as_raw_fd()),
            Link::Shared { socket, watch_id } => {
                let Some(shared) = self.sockets.get_mut(&socket) else { return };
                // What goes wrong with the socket is found when it is read.
                let _ = shared.cancel(watch_id);
                self.unsent.push(socket);
            }
            _ => {}
        }
        entry.way.set(Carrier::None);
    }

    fn send_errand(&mut self, errand: Errand, deadline: Deadline) {
        self.errands.send(errand, deadline);
    }
}

impl Drive for Reactor {
    fn turn(&mut self) -> bool {
        if catch_unwind(AssertUnwindSafe(|| self.act())).is_err() {
            self.fail(panicked());
        }
        !self.is_stopped
    }

    fn suits_delivery(&self) -> bool {
        self.uncalled == 0
    }

    fn finish(mut self: Box<Self>) {
        let left = self.board.hang_up();
        if let Some(error) = self.failure.take() {
            let watches = std::mem::take(&mut self.watches);
            watches.into_values().for_each(|entry| finish(entry, error.clone()));
            for message in left {
                if let Message::Start(start) = message {
                    finish(Entry::new(*start).1, error.clone());
                }
            }
            // Nobody waits for what the helpers are at.
            self.board.stop.trigger();
        }
        self.errands.finish();
    }
}

/// Tells whoever hears of a watch that it is over: the caller who still waits for its start, or its consumer.
fn finish(mut entry: Entry, error: Error) {
    match entry.confirmation.take() {
        Some(confirmation) => confirmation.tell(Err(error)),
        None => entry.mailbox.end(WatchResponse::ended(error, entry.account.next_revision())),
    }
}
