//! Watches that are apart from the others: each has a stream although there is a WebSocket, since it would be a burden
//! to the others there.

use super::routes::State;
use super::{Reactor, Timer};
use crate::limits;
use crate::watch::entry::{Carrier, Entry, Link};
use std::time::Instant;

impl Reactor {
    /// Takes a watch off the others' connection that begins at a revision which the store has not come to: as long as it
    /// waits for that, its server answers no request for progress there.
    pub(super) fn set_apart_if_ahead(&mut self, watch: u64) {
        let Some(entry) = self.watches.get(&watch) else { return };
        let reached = entry.account.seen_revision().max(self.channel.seen_revision());
        let is_ahead = reached > 0 && entry.account.next_revision() > reached.saturating_add(1);
        let is_shared = matches!(entry.link, Link::Shared { .. });
        if is_ahead && is_shared && self.apart < limits::WATCHES_APART_IF_AHEAD && self.set_apart(watch) {
            self.set_aside(watch);
            self.place(watch);
        }
    }

    /// Moves the watches of a socket to another one where its server goes on and on sending to one that has left.
    pub(super) fn leave_behind_unwanted(&mut self, key: u64) {
        let Some(socket) = self.sockets.get(&key) else { return };
        if socket.unwanted_bytes <= limits::WATCH_UNWANTED_BYTES || !self.settings.may_be_apart() {
            return;
        }
        let require_leader = socket.require_leader;
        // Or was it a moment ago, and waits for the end of that.
        let is_full = |entry: &Entry| entry.was_full && matches!(entry.link, Link::Full | Link::Due);
        let full = self.watches.iter().filter(|(_, entry)| is_full(entry) && entry.require_leader == require_leader);
        let full = full.map(|(watch, _)| *watch);
        for watch in full.collect::<Vec<_>>() {
            self.set_apart(watch);
        }
        self.replace_socket(key);
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
        (entry.apart_since, entry.was_full) = (None, false);
        self.apart -= 1;
        // What is just being opened is left once it is confirmed.
        if matches!(entry.link, Link::Own(_)) {
            self.set_aside(watch);
            self.place(watch);
        }
    }

    /// What a stream is to a watch. Who is apart from the others may ask for its progress where they may: it is asked for once
    /// the watch is with them again, where a read doesn't tell it before.
    pub(super) fn carrier_of_stream(&mut self, watch: u64) -> Carrier {
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
}
