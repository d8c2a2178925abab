//! Whether the members that carry watches are still there, and have a leader.
//!
//! A WebSocket is asked by ping. An HTTP stream can't be asked at all, and the kernel of a stopped process still
//! acknowledges what it is sent: so the member is asked for its `/health` on another connection. That also tells of a
//! lost leader where the stream itself can't, its request's header not being passed on by an upgrade.

use super::{Reactor, Timer};
use crate::channel::{MemberState, leaderless};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::limits;
use crate::net::{is_failed_lookup, is_shortage};
use crate::watch::entry::Link;
use crate::watch::errand::Errand;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The members that are looked after, and whether each is being asked at the moment.
#[derive(Default)]
pub(super) struct Members(HashMap<Arc<str>, bool>);

impl Reactor {
    /// Looks after a member from now on, as long as it carries watches.
    pub(super) fn attend(&mut self, endpoint: &Arc<str>) {
        if !self.members.0.contains_key(endpoint) {
            self.members.0.insert(endpoint.clone(), false);
            self.timers.set(self.settings.liveness / 3, Timer::Member(endpoint.clone()));
        }
    }

    pub(super) fn tick_member(&mut self, endpoint: Arc<str>) {
        if self.sockets_at(&endpoint).is_empty() && self.streams_at(&endpoint).is_empty() {
            self.members.0.remove(&endpoint);
            return;
        }
        let Some(is_asked) = self.members.0.get_mut(&endpoint) else { return };
        if !std::mem::replace(is_asked, true) {
            let (endpoint, limit) = (endpoint.clone(), self.settings.liveness / 2);
            self.send_errand(Errand::Probe { endpoint, limit }, Deadline::NEVER);
        }
        self.timers.set(self.settings.liveness / 3, Timer::Member(endpoint));
    }

    pub(super) fn take_member_state(&mut self, endpoint: &Arc<str>, state: Result<MemberState>) {
        if let Some(is_asked) = self.members.0.get_mut(endpoint) {
            *is_asked = false;
        }
        let (error, is_leaderless) = match state {
            Ok(MemberState::Serving) => return,
            Ok(MemberState::Leaderless) => (leaderless(endpoint), true),
            Err(Error::Cancelled { .. } | Error::Closed { .. } | Error::System { .. }) => return,
            // It could not be asked. To leave it would take what there is none of, too.
            Err(Error::Connect { source, .. }) if is_shortage(&source) => return,
            Err(Error::Deadline { .. }) => (self.silence_of(endpoint), false),
            Err(error) => (error, false),
        };
        for key in self.sockets_at(endpoint) {
            let requires_leader = self.sockets.get(&key).is_some_and(|socket| socket.require_leader);
            // A socket's own pings tell better whether the member is there, unless it takes no connection any more, which a
            // name that can't be looked up doesn't say.
            if is_leaderless && requires_leader {
                self.lose_leader(key, &error);
            } else if matches!(&error, Error::Connect { source, .. } if !is_failed_lookup(source)) {
                self.lose_socket(key, &error);
            }
        }
        for watch in self.streams_at(endpoint) {
            let requires_leader = self.watches.get(&watch).is_some_and(|entry| entry.require_leader);
            if !is_leaderless || requires_leader {
                self.lose_stream(watch, error.clone());
            }
        }
    }

    fn sockets_at(&self, endpoint: &Arc<str>) -> Vec<u64> {
        let sockets = self.sockets.iter().filter(|(_, socket)| socket.endpoint() == endpoint);
        sockets.map(|(key, _)| *key).collect()
    }

    fn streams_at(&self, endpoint: &Arc<str>) -> Vec<u64> {
        let streams = self.watches.iter().filter(|(_, entry)| match &entry.link {
            Link::Own(stream) => stream.endpoint == *endpoint,
            _ => false,
        });
        streams.map(|(watch, _)| *watch).collect()
    }

    /// How often a socket is looked at.
    pub(super) fn tick(&self) -> Duration {
        self.settings.liveness / 4
    }

    /// How long a server may take to confirm a watch.
    pub(super) fn patience(&self) -> Duration {
        self.settings.liveness.min(limits::DEFAULT_TIMEOUT)
    }

    pub(super) fn tick_socket(&mut self, key: u64) {
        let (tick, patience) = (self.tick(), self.patience());
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        if socket.is_idle() {
            return self.replace_socket(key);
        }
        self.timers.set(tick, Timer::Socket(key));
        self.unsent.push(key);
        let endpoint = socket.endpoint().clone();
        if let Err(error) = socket.tick() {
            self.lose_socket(key, &error);
        } else if socket.ignores_creates(patience / 2) {
            // A request that it could not read has ended its reading without a word.
            let require_leader = socket.require_leader;
            self.channel.doubt_token(&socket.grant);
            self.distrust(&endpoint, require_leader);
            self.lose_socket(key, &self.silence_of(&endpoint));
        } else {
            self.create_held_back(key);
        }
    }

    pub(super) fn silence_of(&self, endpoint: &Arc<str>) -> Error {
        let source = Arc::new(io::Error::new(io::ErrorKind::TimedOut, "it has stopped answering"));
        Error::Lost { endpoint: endpoint.clone(), outcome: Outcome::NotApplied, source }
    }
}
