//! What arrives, and what becomes of a watch by it.

use super::{Reactor, Ready};
use crate::config::WebSocketUse;
use crate::error::{Error, Reason};
use crate::gateway::frames::Frames;
use crate::limits;
use crate::log::Level;
use crate::watch::backlog::Room;
use crate::watch::entry::{Entry, Link};
use crate::watch::interruption::Interruption;
use std::os::fd::AsRawFd;
use std::sync::Arc;

impl Reactor {
    pub(super) fn read_socket(&mut self, key: u64) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let endpoint = socket.endpoint().clone();
        let (turn, received) = socket.receive();
        // It may be writable again, or have answers of its own to send.
        if socket.waits_for_room || socket.is_unsent {
            self.unsent.push(key);
        }
        for (watch, frames) in turn.batches {
            // What came of another watch may have put this one on another connection, where it is sent all that again.
            if self.is_on(watch, key) {
                self.receive(watch, frames, &endpoint);
            }
        }
        if let Some(header) = turn.progress {
            self.progress(key, header);
        }
        self.create_held_back(key);
        self.leave_behind_unwanted(key);
        if let Err(error) = received {
            self.break_socket(key, &error);
        }
    }

    fn is_on(&self, watch: u64, key: u64) -> bool {
        let link = self.watches.get(&watch).map(|entry| &entry.link);
        matches!(link, Some(Link::Shared { socket, .. }) if *socket == key)
    }

    /// A socket has ended, or its server speaks of nothing that a watch is about.
    pub(super) fn break_socket(&mut self, key: u64, error: &Error) {
        let Some(socket) = self.sockets.get(&key) else { return };
        let works_elsewhere = match Interruption::from(error.clone()) {
            Interruption::Lost(error) => matches!(error, Error::Protocol { .. }),
            Interruption::Refused(refusal) => !self.channel.renews_token(&socket.grant, &refusal),
            // It may be about one watch only. On a stream each learns what is true of it.
            Interruption::Ended(_) => true,
        };
        if works_elsewhere {
            self.distrust(&socket.endpoint().clone(), socket.require_leader);
        }
        self.lose_socket(key, error);
    }

    pub(super) fn read_stream(&mut self, watch: u64) {
        if let Some(Link::Own(stream)) = self.watches.get_mut(&watch).map(|entry| &mut entry.link) {
            stream.begin_turn(limits::WATCH_TURN_BYTES);
        }
        while let Some(entry) = self.watches.get_mut(&watch) {
            let Link::Own(stream) = &mut entry.link else { return };
            let endpoint = stream.endpoint.clone();
            match stream.receive(&self.channel) {
                Ok(Some(frames)) => self.receive(watch, frames, &endpoint),
                Ok(None) => return,
                Err(error) => return self.interrupt(watch, Interruption::from(error)),
            }
        }
    }

    /// Takes in what a server sent of a watch.
    fn receive(&mut self, watch: u64, frames: Frames, endpoint: &Arc<str>) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        let (was_confirmed, was_created) = (entry.account.is_confirmed(), entry.account.is_created());
        let (received, room) = entry.deliver(|account, deliver| account.receive(frames, endpoint, deliver));
        entry.mailbox.begin_at(entry.account.next_revision());
        let (is_created, is_behind) = (entry.account.is_created(), entry.account.is_behind());
        if is_behind && !is_created {
            return self.read_start(watch);
        }
        if is_created && !was_created {
            self.channel.learn_cluster(endpoint, entry.account.cluster_id());
            self.note_creation(watch);
            if is_behind {
                self.doubt(watch);
            }
            if was_confirmed {
                self.note_resume(watch, endpoint);
            }
            self.ask_again(watch);
        }
        self.go_on_after(watch, received, room, endpoint);
        if is_created && !was_created {
            self.set_apart_if_ahead(watch);
            self.leave_stream(watch);
        }
    }

    /// The server has confirmed a watch.
    pub(super) fn note_creation(&mut self, watch: u64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        if let Link::Shared { socket, .. } = entry.link {
            entry.requests_before = self.sockets.get(&socket).map_or(0, |socket| socket.progress_requests);
        }
        entry.creations += 1;
        self.has_confirmed = true;
        entry.confirm();
    }

    /// Draws the consequences of what a watch has received.
    pub(super) fn go_on_after(
        &mut self,
        watch: u64,
        received: Result<(), Interruption>,
        room: Room,
        endpoint: &Arc<str>,
    ) {
        match received {
            Err(interruption) => self.interrupt(watch, interruption),
            Ok(()) if room == Room::Full => self.fill(watch),
            Ok(()) => self.bound_doubt(watch, endpoint),
        }
    }

    /// What is withheld while it isn't known whether the cluster went back in time can't become ever more.
    fn bound_doubt(&mut self, watch: u64, endpoint: &Arc<str>) {
        let is_behind = |entry: &&Entry| entry.account.is_behind();
        let withheld = self.watches.get(&watch).filter(is_behind).map_or(0, |entry| entry.account.held_bytes());
        if withheld > limits::WATCH_DOUBTED_BYTES {
            self.lose_stream(watch, self.silence_of(endpoint));
        }
    }

    fn note_resume(&mut self, watch: u64, endpoint: &Arc<str>) {
        self.channel.counters().resumes.add(1);
        if let Some(entry) = self.watches.get_mut(&watch) {
            let next = entry.account.next_revision();
            // Of a connection with many watches its own line tells.
            let level = if matches!(entry.link, Link::Own(_)) { Level::Info } else { Level::Debug };
            self.channel.logger().log(level, format_args!("a watch goes on from revision {next} at {endpoint}"));
        }
    }

    /// Something has ended what a watch gets, or the watch itself.
    pub(super) fn interrupt(&mut self, watch: u64, interruption: Interruption) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        if entry.account.is_created() && entry.backoff.has_held() {
            entry.refusals = 0;
        }
        match interruption {
            Interruption::Ended(error) if self.lacks_token(watch, &error) => self.renew(watch, error),
            Interruption::Ended(error) => self.end(watch, error),
            Interruption::Refused(error) => self.renew(watch, error),
            // The client has been sent to another cluster: no member of this one is to come.
            Interruption::Lost(error) if self.channel.is_of_the_other(&error) => self.end(watch, error),
            Interruption::Lost(error) => self.lose_stream(watch, error),
        }
    }

    /// A watch gets no more of its stream; on a socket the others go on.
    pub(super) fn lose_stream(&mut self, watch: u64, error: Error) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        match &entry.link {
            Link::Own(stream) => self.channel.leave(&stream.endpoint, &error),
            // What one watch has found out of the server is true for all of them.
            Link::Shared { socket, .. } if matches!(error, Error::ClusterMismatch { .. }) => {
                let key = *socket;
                return self.lose_socket(key, &error);
            }
            _ => {}
        }
        let (next, message) = (entry.account.next_revision(), error.full_message());
        self.channel.logger().log(Level::Warn, format_args!("a watch is to go on from revision {next}: {message}"));
        self.take_off(watch);
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.lose(&error);
            // Who still waits for the start hears why it is delayed, as of any call.
            if entry.is_awaited() && !matches!(error, Error::Deadline { .. }) && !self.channel.has_several_endpoints() {
                return self.end(watch, error);
            }
        }
        self.rest_watch(watch);
    }

    /// Whether a watch was created without a token, since nobody needed one then, and may be had with one.
    fn lacks_token(&self, watch: u64, error: &Error) -> bool {
        let grant = match self.watches.get(&watch).map(|entry| &entry.link) {
            Some(Link::Own(stream)) => Some(&stream.grant),
            Some(Link::Shared { socket, .. }) => self.sockets.get(socket).map(|socket| &socket.grant),
            _ => None,
        };
        grant.is_some_and(|grant| grant.is_refused_by(error) && self.channel.renews_token(grant, error))
    }

    /// A server refuses the token that a watch was created with.
    fn renew(&mut self, watch: u64, error: Error) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        // While users and roles change all the time every token is outdated before it is used. That passes, and ends no
        // watch that somebody has.
        let passes = error.reason() == Reason::OldAuthRevision && !entry.is_awaited();
        entry.refusals += u32::from(!passes);
        let may_repeat = entry.refusals <= limits::MAX_TOKEN_REFUSALS;
        match &entry.link {
            Link::Own(stream) => {
                if !self.channel.renews_token(&stream.grant, &error) || !may_repeat {
                    return self.end(watch, error);
                }
                self.take_off(watch);
                if let Some(entry) = self.watches.get_mut(&watch) {
                    entry.lose(&error);
                }
                self.rest_watch(watch);
            }
            Link::Shared { socket, .. } => {
                let key = *socket;
                self.renew_socket(watch, key, may_repeat, error);
            }
            _ => self.end(watch, error),
        }
    }

    /// The same of a watch on a socket. The others move along to a new token: there is one connection, and it has one.
    fn renew_socket(&mut self, watch: u64, key: u64, may_repeat: bool, error: Error) {
        let Some(socket) = self.sockets.get(&key) else { return };
        let can_renew = self.channel.renews_token(&socket.grant, &error);
        if !(can_renew && may_repeat) {
            let is_outdated = can_renew && error.reason() == Reason::OldAuthRevision;
            if is_outdated || self.settings.websocket == WebSocketUse::Always {
                return self.end(watch, error);
            }
            // Whoever stands between may have lost the token: a stream can say for certain.
            self.distrust(&socket.endpoint().clone(), socket.require_leader);
        }
        self.set_aside(watch);
        if can_renew {
            self.replace_socket_later(key);
        } else {
            // The others were created while the token was good, and go on without it.
            self.begin_stream(watch);
        }
    }

    /// Sends what the sockets have taken.
    pub(super) fn send_unsent(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        unsent.sort_unstable();
        unsent.dedup();
        for key in unsent.drain(..) {
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            let flushed = socket.flush();
            let waits = matches!(flushed, Ok(false));
            if waits != socket.waits_for_room {
                socket.waits_for_room = waits;
                let fd = socket.as_raw_fd();
                // A socket whose room can't be waited for is flushed with what it is sent next.
                let _ = self.epoll.set_wants_write(fd, Ready::Socket(key).token(), waits);
            }
            if let Err(error) = flushed {
                self.break_socket(key, &error);
            }
        }
        if self.unsent.is_empty() {
            self.unsent = unsent;
        }
    }
}
