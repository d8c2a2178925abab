//! HTTP streams, each of one watch.

use super::routes::State;
use super::{Reactor, Ready, Timer};
use crate::channel::OpeningStream;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::watch::entry::{Entry, Link};
use crate::watch::errand::Errand;
use crate::watch::stream::OwnStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;

impl Reactor {
    pub(super) fn begin_stream(&mut self, watch: u64) {
        let deadline = self.deadline(&[watch]);
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        entry.link = Link::Beginning;
        entry.account.belong_to(self.channel.cluster_id());
        entry.backoff.begin();
        let (request, start_revision) = (entry.request.clone(), entry.ask(self.channel.loses_deletions()));
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
                return self.fail_to_place(watch, error);
            }
        };
        let stream = OwnStream::new(opening);
        if let Err(source) = self.epoll.add(stream.as_raw_fd(), Ready::Watch(watch).token()) {
            entry.link = Link::Due;
            return self.fail_to_place(watch, Error::System { what: "a wait", source: Arc::new(source) });
        }
        entry.way.set(carrier);
        let endpoint = stream.endpoint.clone();
        entry.link = Link::Own(Box::new(stream));
        self.attend(&endpoint);
        // By then it must have been confirmed.
        self.timers.set(self.patience(), Timer::Patience(watch));
        self.read_stream(watch);
    }

    /// A watch that is on no connection could not be put on one.
    pub(super) fn fail_to_place(&mut self, watch: u64, error: Error) {
        if self.is_final(&error) || self.is_told(watch, &error) {
            return self.end(watch, error);
        }
        let message = error.full_message();
        self.channel.logger().log(Level::Debug, format_args!("a watch waits for a connection: {message}"));
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.lose(&error);
        }
        self.rest_watch(watch);
    }

    /// Lets a watch rest before the next attempt.
    pub(super) fn rest_watch(&mut self, watch: u64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        entry.link = Link::Resting;
        self.rests.begin(watch, Instant::now(), entry.backoff.pause());
    }

    /// Makes the next attempt for those that have rested.
    pub(super) fn go_on_with_rested(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_confirmed) {
            self.rests.let_each_rest_as_alone();
        }
        self.rests.close_up(now);
        while let Some(watch) = self.rests.take(now) {
            if let Some(entry) = self.watches.get_mut(&watch).filter(|entry| matches!(entry.link, Link::Resting)) {
                entry.link = Link::Due;
                self.place(watch);
            }
        }
    }

    /// The stream of a watch has had all the time there is to confirm it, or one that it had before.
    pub(super) fn give_up_unconfirmed(&mut self, watch: u64) {
        let patience = self.patience();
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        match &entry.link {
            Link::Own(stream) if !entry.account.is_created() && entry.backoff.age() >= patience => {
                let endpoint = stream.endpoint.clone();
                self.channel.doubt_token(&stream.grant);
                self.lose_stream(watch, self.silence_of(&endpoint));
            }
            _ => {}
        }
    }

    /// The confirmed watches of a route that have streams of their own for want of a WebSocket.
    pub(super) fn streams(&self, require_leader: bool) -> Vec<u64> {
        let streams = self.watches.iter().filter(|(_, entry)| {
            let is_confirmed = matches!(entry.link, Link::Own(_)) && entry.account.is_created();
            is_confirmed && entry.require_leader == require_leader && entry.apart_since.is_none()
        });
        streams.map(|(watch, _)| *watch).collect()
    }

    /// There is a WebSocket where there was none: the watches with streams move there, and their owners need not know.
    pub(super) fn take_off_streams(&mut self, require_leader: bool) {
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
}
