//! WebSockets, which many watches share: what is created on them, and what becomes of it when one is left.

use super::Reactor;
use super::routes::State;
use crate::config::WebSocketUse;
use crate::error::Error;
use crate::log::Level;
use crate::rpc::watch::WatchCreate;
use crate::watch::entry::{Carrier, Link};
use crate::watch::interruption::Interruption;
use crate::watch::socket::SharedSocket;
use std::os::fd::AsRawFd;
use std::time::Instant;

impl Reactor {
    /// Creates a watch on a socket, where it has waited for that since this moment.
    pub(super) fn create(&mut self, watch: u64, key: u64, since: Instant) {
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
        let start_revision = entry.ask(self.channel.loses_deletions());
        let request = &*entry.request;
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

    /// Whether what a socket was opened with, and where, is no more what the client uses.
    fn is_outdated(&self, key: u64) -> bool {
        let socket = self.sockets.get(&key);
        socket.is_some_and(|socket| !self.channel.still_uses(socket.endpoint(), &socket.grant))
    }

    /// Whether a socket is only for the watches that it has.
    pub(super) fn is_distrusted(&self, key: u64) -> bool {
        self.sockets.get(&key).is_some_and(|socket| self.settings.unfit.has(socket.endpoint()))
    }

    /// The member of a socket has lost its leader.
    pub(super) fn lose_leader(&mut self, key: u64, error: &Error) {
        let Some(socket) = self.sockets.get(&key) else { return };
        self.routes.of(socket.require_leader).asks_for_leader = true;
        self.lose_socket(key, error);
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
        if let Some(require_leader) = self.vacate(key) {
            self.place_all(require_leader);
        }
    }

    /// The same after a pause: what it is replaced for may be true of the next one, too.
    pub(super) fn replace_socket_later(&mut self, key: u64) {
        if let Some(require_leader) = self.vacate(key) {
            self.rest(require_leader);
        }
    }

    /// Closes a socket, whose watches are due then. Answers which route's it was.
    fn vacate(&mut self, key: u64) -> Option<bool> {
        let socket = self.close_socket(key)?;
        for watch in socket.watches() {
            let Some(entry) = self.watches.get_mut(&watch) else { continue };
            entry.link = Link::Due;
            entry.suspend();
        }
        Some(socket.require_leader)
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
}
