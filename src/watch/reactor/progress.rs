//! How far the watches of a WebSocket have come, as its server answers when it is asked, or as a read of the revision tells.

use super::{Reactor, Timer};
use crate::limits;
use crate::rpc::Header;
use crate::watch::account::Asked;
use crate::watch::backlog::Room;
use crate::watch::entry::Link;
use std::time::Duration;

impl Reactor {
    /// The owner of a watch wants to know how far it has come.
    pub(super) fn ask_progress(&mut self, watch: u64) {
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.asks_progress = Some(self.channel.seen_revision());
            self.ask_again(watch);
        }
    }

    /// What the owner of a watch wants to know, on the connection that it has now.
    pub(super) fn ask_again(&mut self, watch: u64) {
        let Some(entry) = self.watches.get(&watch).filter(|entry| entry.asks_progress.is_some()) else { return };
        match entry.link {
            Link::Shared { socket, .. } => self.request_progress(socket, limits::WATCH_PROGRESS_REPEAT),
            // A stream can't be asked. Who begins in the future is owed nothing of what there is, as a read tells.
            Link::Own(_) if entry.apart_since.is_some() => self.wait_for_revision(watch),
            _ => {}
        }
    }

    /// Asks, and asks again until there is an answer: a server gives none while a watch has not caught up.
    fn request_progress(&mut self, key: u64, again_after: Duration) {
        let Some(socket) = self.sockets.get_mut(&key).filter(|socket| socket.orders_progress) else { return };
        self.unsent.push(key);
        // Who asks anew has the pause of others, who have waited long, end like their own.
        if socket.progress_pause.replace(again_after).is_none() {
            self.timers.set(again_after, Timer::Answer(key));
        }
        if let Err(error) = socket.ask_progress() {
            self.break_socket(key, &error);
        }
    }

    /// The pause after a progress request is over.
    pub(super) fn repeat_progress_request(&mut self, key: u64) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let Some(after) = socket.progress_pause.take() else { return };
        let mut asking = socket.watches();
        asking.retain(|watch| self.watches.get(watch).is_some_and(|entry| entry.asks_progress.is_some()));
        if asking.is_empty() {
            return;
        }
        // A watch may wait for a revision that is far in the future, and keep the others from an answer.
        self.request_progress(key, (after * 2).min(limits::WATCH_PROGRESS_REPEAT_LONGEST));
        self.wait_for_revision_if_idle(asking);
    }

    /// A read has found a revision after the owner of a watch had asked how far it has come. While nothing is written after
    /// the creation of a watch its server gives no answer: the revision that it was created at is still to come.
    pub(super) fn tell_of_quiet(&mut self, watch: u64, found: Header) {
        let seen = self.channel.seen_revision();
        let asking = self.watches.get_mut(&watch).filter(|entry| entry.is_answered_by(found.revision, seen));
        let Some(entry) = asking else { return };
        let (is_told, room) = entry.deliver(|account, deliver| account.receive_read(found, deliver));
        if is_told {
            entry.asks_progress = None;
        }
        if room == Room::Full {
            self.fill(watch);
        }
    }

    /// Moves the resume points of quiet watches past what may be compacted.
    pub(super) fn ask_progress_of(&mut self, key: u64) {
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        self.timers.set(self.settings.progress, Timer::Progress(key));
        if socket.orders_progress && !socket.is_idle() && socket.ask_progress().is_ok() {
            self.unsent.push(key);
        }
    }

    /// All watches of a socket have come so far, of those that the server knew when it was asked.
    pub(super) fn progress(&mut self, key: u64, header: Header) {
        let Some(socket) = self.sockets.get(&key) else { return };
        let (is_trusted, answers, watches) = (socket.orders_progress, socket.progress_answers, socket.watches());
        let seen = self.channel.seen_revision();
        for watch in watches {
            let Some(entry) = self.watches.get_mut(&watch) else { continue };
            let by_owner = entry.is_answered_by(header.revision, seen);
            let asked = Asked { is_after_creation: answers > entry.requests_before, by_owner };
            let (is_taken, room) = entry
                .deliver(|account, deliver| is_trusted && account.receive_requested_progress(header, asked, deliver));
            if is_taken && by_owner {
                entry.asks_progress = None;
            }
            if room == Room::Full {
                self.fill(watch);
            }
        }
    }
}
