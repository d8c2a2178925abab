//! Which connection a watch is put on.

use super::{Reactor, Ready, Timer};
use crate::channel::{OpeningStream, Upgrade};
use crate::config::WebSocketUse;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::Level;
use crate::rpc::watch::WatchCreate;
use crate::watch::backoff::Backoff;
use crate::watch::entry::{Carrier, Entry, Link};
use crate::watch::errand::Errand;
use crate::watch::interruption::Interruption;
use crate::watch::socket::SharedSocket;
use crate::watch::stream::OwnStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

/// The ways of watches that require a leader, and of those that don't: these may stay with a member that the others
/// leave, and share no connection with them.
#[derive(Default)]
pub(super) struct Routes {
    with_leader: Route,
    without_leader: Route,
}

struct Route {
    state: State,
    backoff: Backoff,
    /// Whether the next member is asked for its leader before it is used: not where the connection to the last one was
    /// just lost, since a server that has just started takes half a second to answer that.
    asks_for_leader: bool,
    /// WebSockets lost one after another that had carried nothing, or in being opened.
    mute_sockets: u32,
}

#[derive(Clone, Copy)]
enum State {
    /// It is to be found out.
    Unknown,
    /// A helper is finding out.
    Opening,
    /// Not before some time has passed.
    Resting,
    /// A WebSocket, by its key.
    Socket(u64),
    /// HTTP streams.
    Streams,
}

impl Default for Route {
    fn default() -> Route {
        Route { state: State::Unknown, backoff: Backoff::new(), asks_for_leader: true, mute_sockets: 0 }
    }
}

impl Routes {
    fn of(&mut self, require_leader: bool) -> &mut Route {
        if require_leader { &mut self.with_leader } else { &mut self.without_leader }
    }
}

impl Reactor {
    /// Puts a watch that is due on a connection, or sees to it that there will be one.
    pub(super) fn place(&mut self, watch: u64) {
        let Some(entry) = self.watches.get(&watch).filter(|entry| matches!(entry.link, Link::Due)) else { return };
        let (require_leader, is_apart) = (entry.require_leader, entry.apart_since.is_some());
        if entry.account.next_revision() == 0 && !self.starts_at_any_member() {
            return self.read_start(watch);
        }
        self.settle(require_leader);
        match self.routes.of(require_leader).state {
            State::Socket(_) if is_apart => self.begin_stream(watch),
            State::Socket(key) => self.create(watch, key, Instant::now()),
            State::Streams => self.begin_stream(watch),
            State::Unknown => self.open_socket(require_leader),
            State::Opening | State::Resting => {}
        }
    }

    /// Decides between WebSocket and streams where that can be told at once: the endpoint in use may have changed.
    fn settle(&mut self, require_leader: bool) {
        if !matches!(self.routes.of(require_leader).state, State::Unknown | State::Streams) {
            return;
        }
        let wants_streams = match self.settings.websocket {
            WebSocketUse::Never => true,
            WebSocketUse::Always => false,
            WebSocketUse::Auto => self.settings.unfit.has(&self.channel.base_url()),
        };
        let route = self.routes.of(require_leader);
        match route.state {
            State::Unknown if wants_streams => route.state = State::Streams,
            State::Streams if !wants_streams => route.state = State::Unknown,
            _ => {}
        }
    }

    /// Puts all watches that are due on connections.
    fn place_all(&mut self, require_leader: bool) {
        self.due(require_leader).into_iter().for_each(|watch| self.place(watch));
    }

    /// The watches that are due, in the order in which they were begun.
    fn due(&self, require_leader: bool) -> Vec<u64> {
        let due = self
            .watches
            .iter()
            .filter(|(_, entry)| matches!(entry.link, Link::Due) && entry.require_leader == require_leader);
        let mut due: Vec<u64> = due.map(|(watch, _)| *watch).collect();
        due.sort_unstable();
        due
    }

    /// By when a helper is to have done something for these watches: as long as the first of them can wait, whose caller
    /// must hear of it in time, and for whom a member that doesn't answer is left for another. Not sooner: callers with
    /// little time, coming one after another, would let nobody have what takes longer.
    fn deadline(&self, watches: &[u64]) -> Deadline {
        let longest = Deadline::after(limits::DEFAULT_TIMEOUT);
        let confirmations = watches.iter().filter_map(|watch| Some(self.watches.get(watch)?.confirmation.as_ref()));
        let mut deadlines = confirmations.map(|awaited| awaited.map_or(longest, |awaited| awaited.deadline()));
        deadlines.find(|deadline| !deadline.has_passed()).map_or(longest, |first| first.earlier(longest))
    }

    fn open_socket(&mut self, require_leader: bool) {
        let deadline = self.deadline(&self.due(require_leader));
        let insist = self.settings.websocket == WebSocketUse::Always;
        let route = self.routes.of(require_leader);
        route.state = State::Opening;
        route.backoff.begin();
        let asks_for_leader = require_leader && route.asks_for_leader;
        self.send_errand(Errand::OpenSocket { require_leader, asks_for_leader, insist }, deadline);
    }

    pub(super) fn take_upgrade(&mut self, require_leader: bool, upgrade: Result<Upgrade>) {
        self.routes.of(require_leader).state = State::Unknown;
        match upgrade {
            Ok(Upgrade::Open(open)) => {
                self.last_socket += 1;
                let key = self.last_socket;
                let socket = SharedSocket::new(open, require_leader);
                if let Err(source) = self.epoll.add(socket.as_raw_fd(), Ready::Socket(key).token()) {
                    let error = Error::System { what: "a wait", source: Arc::new(source) };
                    return self.fail_route(require_leader, error);
                }
                let endpoint = socket.endpoint().clone();
                self.channel.logger().log(Level::Info, format_args!("watches share a WebSocket to {endpoint}"));
                self.attend(&endpoint);
                self.timers.set(self.tick(), Timer::Socket(key));
                self.timers.set(self.settings.progress, Timer::Progress(key));
                self.sockets.insert(key, socket);
                let route = self.routes.of(require_leader);
                (route.state, route.asks_for_leader) = (State::Socket(key), false);
                self.take_off_streams(require_leader);
            }
            Ok(Upgrade::Unfit { endpoint }) if self.settings.websocket == WebSocketUse::Always => {
                let what = "no member in use has a WebSocket that is safe, and the client is to use nothing else";
                self.channel.leave(&endpoint, &Error::Unimplemented { what });
                return self.fail_route(require_leader, Error::Unimplemented { what });
            }
            Ok(Upgrade::Unfit { endpoint }) => {
                let pause = self.settings.unfit.refuse(&endpoint);
                self.timers.set(pause, Timer::Route { require_leader });
            }
            Ok(Upgrade::Lost { endpoint, error }) => {
                self.channel.leave(&endpoint, &error);
                if !self.is_mute_once_more(require_leader) {
                    self.channel.logger().log(Level::Debug, format_args!("{}", error.full_message()));
                    return self.rest(require_leader);
                }
                if self.settings.websocket == WebSocketUse::Always {
                    return self.fail_route(require_leader, error);
                }
                self.distrust(&endpoint, require_leader);
            }
            Err(error) => return self.fail_route(require_leader, error),
        }
        self.place_all(require_leader);
    }

    /// A WebSocket was lost that had carried nothing. Whether it is one too many: what accepts upgrades and then passes
    /// nothing on is no better than what refuses them, but a member that dies at that moment is none of the kind.
    fn is_mute_once_more(&mut self, require_leader: bool) -> bool {
        let route = self.routes.of(require_leader);
        route.mute_sockets += 1;
        let is_too_many = route.mute_sockets >= limits::MAX_MUTE_SOCKETS;
        if is_too_many {
            route.mute_sockets = 0;
        }
        is_too_many
    }

    /// No WebSocket is used at an endpoint for a while; what gets streams for that is moved when it is over.
    pub(super) fn distrust(&mut self, endpoint: &Arc<str>, require_leader: bool) {
        self.settings.unfit.add(endpoint);
        self.timers.set(limits::WEBSOCKET_RETRY, Timer::Route { require_leader });
    }

    /// No connection could be opened. Who waits for the start of a watch hears of it; the others try again.
    fn fail_route(&mut self, require_leader: bool, error: Error) {
        let is_final = self.is_final(&error);
        for watch in self.due(require_leader) {
            if is_final || self.is_told(watch, &error) {
                self.end(watch, error.clone());
            }
        }
        if !self.due(require_leader).is_empty() {
            self.rest(require_leader);
        }
    }

    /// Whether no other attempt would fare better.
    pub(super) fn is_final(&self, error: &Error) -> bool {
        match Interruption::from(error.clone()) {
            // That is no message of a watch, but what somebody has put in its way.
            Interruption::Ended(Error::TooLarge { .. }) => false,
            Interruption::Ended(_) | Interruption::Refused(_) => true,
            Interruption::Lost(error) => self.channel.is_of_the_other(&error),
        }
    }

    /// Whether a caller waits for this watch and is to hear of an error now. That time is over is each caller's own
    /// business.
    pub(super) fn is_told(&self, watch: u64, error: &Error) -> bool {
        let is_awaited = self.watches.get(&watch).is_some_and(|entry| entry.is_awaited());
        is_awaited && !matches!(error, Error::Deadline { .. })
    }

    /// A route has rested, or it is time to ask again for a WebSocket where there was none.
    pub(super) fn wake_route(&mut self, require_leader: bool) {
        let route = self.routes.of(require_leader);
        if matches!(route.state, State::Resting) {
            route.state = State::Unknown;
            self.place_all(require_leader);
        }
        // Who has a stream is due for nothing.
        if !self.streams(require_leader).is_empty() {
            self.settle(require_leader);
            if matches!(self.routes.of(require_leader).state, State::Unknown) {
                self.open_socket(require_leader);
            }
        }
    }

    /// The confirmed watches of a route that have streams of their own for want of a WebSocket.
    fn streams(&self, require_leader: bool) -> Vec<u64> {
        let streams = self.watches.iter().filter(|(_, entry)| {
            let is_confirmed = matches!(entry.link, Link::Own(_)) && entry.account.is_created();
            is_confirmed && entry.require_leader == require_leader && entry.apart_since.is_none()
        });
        streams.map(|(watch, _)| *watch).collect()
    }

    /// There is a WebSocket where there was none: the watches with streams move there, and their owners need not know.
    fn take_off_streams(&mut self, require_leader: bool) {
        self.streams(require_leader).into_iter().for_each(|watch| self.set_aside(watch));
    }

    /// A stream has been confirmed, which its watch may have got for want of a WebSocket: there may be one meanwhile, or
    /// it may be time to ask for one.
    pub(super) fn leave_stream(&mut self, watch: u64) {
        let waits = |entry: &&Entry| matches!(entry.link, Link::Own(_)) && entry.apart_since.is_none();
        let Some(entry) = self.watches.get(&watch).filter(waits) else { return };
        let require_leader = entry.require_leader;
        self.settle(require_leader);
        let state = self.routes.of(require_leader).state;
        match state {
            State::Unknown => self.open_socket(require_leader),
            State::Socket(key) if !self.is_distrusted(key) => {
                self.set_aside(watch);
                self.place(watch);
            }
            _ => {}
        }
    }

    /// Whether a socket is only for the watches that it has.
    fn is_distrusted(&self, key: u64) -> bool {
        self.sockets.get(&key).is_some_and(|socket| self.settings.unfit.has(socket.endpoint()))
    }

    /// Whether what a socket was opened with, and where, is no more what the client uses.
    fn is_outdated(&self, key: u64) -> bool {
        let socket = self.sockets.get(&key);
        socket.is_some_and(|socket| !self.channel.still_uses(socket.endpoint(), &socket.grant))
    }

    /// Creates a watch on a socket, where it has waited for that since this moment.
    fn create(&mut self, watch: u64, key: u64, since: Instant) {
        if self.is_outdated(key) {
            return self.replace_socket(key);
        }
        let (Some(entry), Some(socket)) = (self.watches.get_mut(&watch), self.sockets.get_mut(&key)) else { return };
        if entry.is_owed_history() && socket.is_engaged(since) {
            // What the server sends may well be this one's own, and would be sent again as often as its consumer pauses.
            let is_burden = entry.was_full && socket.is_amid_fragments && !socket.is_idle();
            if is_burden && self.set_apart(watch) {
                return self.begin_stream(watch);
            }
            return self.hold_back(watch, key, since);
        }
        entry.account.belong_to(self.channel.cluster_id());
        entry.backoff.begin();
        let (request, start_revision) = (&*entry.request, entry.account.next_revision());
        let create = WatchCreate { request, start_revision, namespace: &self.settings.namespace, watch_id: None };
        match socket.create(watch, create) {
            Ok(watch_id) => {
                entry.link = Link::Shared { socket: key, watch_id };
                entry.way.set(if socket.orders_progress { Carrier::Socket } else { Carrier::MuteSocket });
                self.unsent.push(key);
            }
            Err(error) => self.lose_socket(key, &error),
        }
    }

    /// Lets a watch wait from now on until the server of a socket has time for it.
    fn hold_back(&mut self, watch: u64, key: u64, now: Instant) {
        if let Some(socket) = self.sockets.get_mut(&key) {
            socket.hold_back(watch, now);
        }
        self.leave_to_itself(key);
    }

    /// Creates the watches for which the server of a socket has time again.
    pub(super) fn create_held_back(&mut self, key: u64) {
        while let Some((watch, since)) = self.sockets.get_mut(&key).and_then(SharedSocket::take_held_back) {
            // It may have gone meanwhile, or have got a stream.
            if self.watches.get(&watch).is_some_and(|entry| matches!(entry.link, Link::Due)) {
                self.create(watch, key, since);
            }
        }
        self.leave_to_itself(key);
    }

    /// Replaces a socket that nobody needs: its server is to stop what it sends to nobody.
    fn leave_to_itself(&mut self, key: u64) {
        if self.sockets.get(&key).is_some_and(SharedSocket::is_sending_to_nobody) {
            self.replace_socket(key);
        }
    }

    /// A socket is gone, or is to be left. Its watches are put on another connection.
    pub(super) fn lose_socket(&mut self, key: u64, error: &Error) {
        let Some(socket) = self.close_socket(key) else { return };
        let (endpoint, count) = (socket.endpoint(), socket.watches().len());
        self.channel.leave(endpoint, error);
        let why = error.full_message();
        self.channel.logger().log(Level::Warn, format_args!("{count} watches are to go on elsewhere: {why}"));
        self.note_mute(&socket);
        let is_final = self.is_final_on_sockets(error);
        for watch in socket.watches() {
            let Some(entry) = self.watches.get_mut(&watch) else { continue };
            entry.link = Link::Due;
            entry.lose(error);
            if is_final {
                self.end(watch, error.clone());
            }
        }
        self.rest(socket.require_leader);
    }

    /// The member of a socket has lost its leader.
    pub(super) fn lose_leader(&mut self, key: u64, error: &Error) {
        let Some(socket) = self.sockets.get(&key) else { return };
        self.routes.of(socket.require_leader).asks_for_leader = true;
        self.lose_socket(key, error);
    }

    fn note_mute(&mut self, socket: &SharedSocket) {
        if socket.has_spoken {
            self.routes.of(socket.require_leader).mute_sockets = 0;
        } else if self.is_mute_once_more(socket.require_leader) {
            self.distrust(socket.endpoint(), socket.require_leader);
        }
    }

    /// Whether what has ended a socket ends its watches, for which there is no other way.
    fn is_final_on_sockets(&self, error: &Error) -> bool {
        match Interruption::from(error.clone()) {
            Interruption::Ended(Error::Cancelled { .. } | Error::Closed { .. }) => true,
            Interruption::Ended(_) => self.settings.websocket == WebSocketUse::Always,
            Interruption::Lost(error) => self.channel.is_of_the_other(&error),
            Interruption::Refused(_) => false,
        }
    }

    /// A socket is to be replaced by another one, with another token or at another member; nothing was lost.
    pub(super) fn replace_socket(&mut self, key: u64) {
        let Some(socket) = self.close_socket(key) else { return };
        for watch in socket.watches() {
            let Some(entry) = self.watches.get_mut(&watch) else { continue };
            entry.link = Link::Due;
            entry.suspend();
        }
        self.place_all(socket.require_leader);
    }

    fn close_socket(&mut self, key: u64) -> Option<SharedSocket> {
        let socket = self.sockets.remove(&key)?;
        self.epoll.remove(socket.as_raw_fd());
        let route = self.routes.of(socket.require_leader);
        if matches!(route.state, State::Socket(current) if current == key) {
            route.state = State::Unknown;
        }
        Some(socket)
    }

    /// Lets a route rest before the next attempt.
    fn rest(&mut self, require_leader: bool) {
        let route = self.routes.of(require_leader);
        if matches!(route.state, State::Unknown) {
            route.state = State::Resting;
            let pause = route.backoff.pause();
            self.timers.set(pause, Timer::Route { require_leader });
        }
    }

    pub(super) fn begin_stream(&mut self, watch: u64) {
        let deadline = self.deadline(&[watch]);
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        entry.link = Link::Beginning;
        entry.account.belong_to(self.channel.cluster_id());
        entry.backoff.begin();
        let (request, start_revision) = (entry.request.clone(), entry.account.next_revision());
        let require_leader = entry.require_leader;
        self.send_errand(Errand::BeginStream { watch, request, start_revision, require_leader }, deadline);
    }

    pub(super) fn take_stream(&mut self, watch: u64, opening: Result<OpeningStream>) {
        let carrier = self.carrier_of_stream(watch);
        let Some(entry) = self.watches.get_mut(&watch).filter(|entry| matches!(entry.link, Link::Beginning)) else {
            return;
        };
        let opening = match opening {
            Ok(opening) => opening,
            Err(error) => {
                entry.link = Link::Due;
                return self.fail_stream(watch, error);
            }
        };
        let stream = OwnStream::new(opening);
        if let Err(source) = self.epoll.add(stream.as_raw_fd(), Ready::Watch(watch).token()) {
            entry.link = Link::Due;
            return self.fail_stream(watch, Error::System { what: "a wait", source: Arc::new(source) });
        }
        entry.way.set(carrier);
        let endpoint = stream.endpoint.clone();
        entry.link = Link::Own(Box::new(stream));
        self.attend(&endpoint);
        // By then it must have been confirmed.
        self.timers.set(self.patience(), Timer::Watch(watch));
        self.read_stream(watch);
    }

    /// What a stream is to a watch. Who is apart from the others may ask for its progress where they may: it is asked for once
    /// the watch is with them again.
    fn carrier_of_stream(&mut self, watch: u64) -> Carrier {
        let Some(apart) = self.watches.get(&watch).filter(|entry| entry.apart_since.is_some()) else {
            return Carrier::Stream;
        };
        match self.routes.of(apart.require_leader).state {
            State::Streams => Carrier::Stream,
            State::Socket(key) if self.sockets.get(&key).is_some_and(|socket| !socket.orders_progress) => {
                Carrier::MuteSocket
            }
            _ => Carrier::None,
        }
    }

    /// A watch that is on no connection could not be put on one.
    pub(super) fn fail_stream(&mut self, watch: u64, error: Error) {
        if self.is_final(&error) || self.is_told(watch, &error) {
            return self.end(watch, error);
        }
        let message = error.full_message();
        self.channel.logger().log(Level::Debug, format_args!("a watch waits for a connection: {message}"));
        self.rest_watch(watch);
    }

    /// Lets a watch rest before the next attempt.
    pub(super) fn rest_watch(&mut self, watch: u64) {
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.link = Link::Resting;
            let pause = entry.backoff.pause();
            self.timers.set(pause, Timer::Watch(watch));
        }
    }

    /// Gives a watch a stream of its own from the next time on that it is put on a connection. False: it can't have one, or
    /// enough others have.
    pub(super) fn set_apart(&mut self, watch: u64) -> bool {
        let may_be_apart = self.settings.may_be_apart() && self.apart < limits::WATCHES_APART;
        let Some(entry) = self.watches.get_mut(&watch) else { return false };
        let is_new = entry.apart_since.is_none();
        if is_new && !may_be_apart {
            return false;
        }
        entry.apart_since = Some(Instant::now());
        if is_new {
            self.apart += 1;
            self.timers.set(limits::WATCH_APART, Timer::Apart(watch));
        }
        true
    }

    /// Lets a watch that is apart from the others be with them again, once its consumer has kept up for a while.
    pub(super) fn rejoin(&mut self, watch: u64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        let Some(since) = entry.apart_since else { return };
        let left = limits::WATCH_APART.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return self.timers.set(left, Timer::Apart(watch));
        }
        // What is just being opened is not to be its stream for good.
        if matches!(entry.link, Link::Beginning) {
            return self.timers.set(limits::WATCH_APART, Timer::Apart(watch));
        }
        (entry.apart_since, entry.was_full) = (None, false);
        self.apart -= 1;
        if matches!(entry.link, Link::Own(_)) {
            self.set_aside(watch);
            self.place(watch);
        }
    }

    /// A watch has rested, or its stream has had all the time there is to confirm it.
    pub(super) fn wake_watch(&mut self, watch: u64) {
        let patience = self.patience();
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        match &entry.link {
            Link::Resting => {
                entry.link = Link::Due;
                self.place(watch);
            }
            // It may be the time of an earlier stream that is up.
            Link::Own(stream) if !entry.account.is_created() && entry.backoff.age() >= patience => {
                let endpoint = stream.endpoint.clone();
                self.lose_stream(watch, self.silence_of(&endpoint));
            }
            _ => {}
        }
    }
}
