//! Which connection a watch is put on.

use super::{Reactor, Ready, Timer};
use crate::channel::Upgrade;
use crate::config::WebSocketUse;
use crate::deadline::Deadline;
use crate::error::{Error, Reason, Result};
use crate::limits;
use crate::log::Level;
use crate::watch::backoff::Backoff;
use crate::watch::entry::Link;
use crate::watch::errand::Errand;
use crate::watch::interruption::Interruption;
use crate::watch::socket::SharedSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The ways of watches that require a leader, and of those that don't: these may stay with a member that the others
/// leave, and share no connection with them.
#[derive(Default)]
pub(super) struct Routes {
    with_leader: Route,
    without_leader: Route,
}

pub(super) struct Route {
    pub state: State,
    backoff: Backoff,
    /// Whether the next member is asked for its leader before it is used: not where the connection to the last one was
    /// just lost, since a server that has just started takes half a second to answer that.
    pub asks_for_leader: bool,
    /// WebSockets lost one after another that had carried nothing, or in being opened.
    pub mute_sockets: u32,
}

#[derive(Clone, Copy)]
pub(super) enum State {
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
    pub(super) fn of(&mut self, require_leader: bool) -> &mut Route {
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
    pub(super) fn settle(&mut self, require_leader: bool) {
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
    pub(super) fn place_all(&mut self, require_leader: bool) {
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
    pub(super) fn deadline(&self, watches: &[u64]) -> Deadline {
        let longest = Deadline::after(limits::DEFAULT_TIMEOUT);
        let confirmations = watches.iter().filter_map(|watch| Some(self.watches.get(watch)?.confirmation.as_ref()));
        let mut deadlines = confirmations.map(|awaited| awaited.map_or(longest, |awaited| awaited.deadline()));
        deadlines.find(|deadline| !deadline.has_passed()).map_or(longest, |first| first.earlier(longest))
    }

    pub(super) fn open_socket(&mut self, require_leader: bool) {
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
                // What has come along with the answer to the upgrade is read already, and not reported.
                self.unread.push(Ready::Socket(key).token());
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
                self.do_without(&endpoint, require_leader, limits::WEBSOCKET_RETRY_SOONEST);
            }
            Ok(Upgrade::Late { endpoint, error, .. }) if self.settings.websocket == WebSocketUse::Always => {
                self.channel.leave(&endpoint, &error);
                return self.fail_route(require_leader, error);
            }
            Ok(Upgrade::Late { endpoint, waited, error }) => {
                self.channel.logger().log(Level::Debug, format_args!("no WebSocket yet: {}", error.full_message()));
                self.do_without(&endpoint, require_leader, waited);
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

    /// No WebSocket is asked for at an endpoint for that long, or longer where there was none before; then it is, for what
    /// has streams meanwhile.
    fn do_without(&mut self, endpoint: &Arc<str>, require_leader: bool, at_first: Duration) {
        let pause = self.settings.unfit.refuse(endpoint, at_first);
        self.timers.set(pause, Timer::Route { require_leader });
    }

    /// A WebSocket was lost that had carried nothing. Whether it is one too many: what accepts upgrades and then passes
    /// nothing on is no better than what refuses them, but a member that dies at that moment is none of the kind.
    pub(super) fn is_mute_once_more(&mut self, require_leader: bool) -> bool {
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
            } else if let Some(entry) = self.watches.get_mut(&watch) {
                entry.lose(&error);
            }
        }
        if !self.due(require_leader).is_empty() {
            self.rest(require_leader);
        } else if !self.streams(require_leader).is_empty() {
            // Who has a stream meanwhile waits for nothing that would ask again.
            self.timers.set(limits::WEBSOCKET_RETRY_SOONEST, Timer::Route { require_leader });
        }
    }

    /// Whether no other attempt would fare better.
    pub(super) fn is_final(&self, error: &Error) -> bool {
        match Interruption::from(error.clone()) {
            // That is no message of a watch, but what somebody has put in its way.
            Interruption::Ended(Error::TooLarge { .. }) => false,
            Interruption::Ended(_) => true,
            // The next token may not be outdated before it is used.
            Interruption::Refused(error) => error.reason() != Reason::OldAuthRevision || !self.channel.logs_in(),
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

    /// Lets a route rest before the next attempt.
    pub(super) fn rest(&mut self, require_leader: bool) {
        let route = self.routes.of(require_leader);
        if matches!(route.state, State::Unknown) {
            route.state = State::Resting;
            let pause = route.backoff.pause();
            self.timers.set(pause, Timer::Route { require_leader });
        }
    }
}
