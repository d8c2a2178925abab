//! HTTP streams, each of one watch.

use super::routes::State;
use super::{Reactor, Ready, Timer};
use crate::channel::OpeningStream;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::Level;
use crate::watch::entry::{Entry, Link};
use crate::watch::errand::Errand;
use crate::watch::stream::OwnStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Reactor {
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
        self.timers.set(self.patience(), Timer::Watch(watch));
        self.read_stream(watch);
    }

    /// A watch that is on no connection could not be put on one.
    pub(super) fn fail_to_place(&mut self, watch: u64, error: Error) {
        if self.is_final(&error) || self.is_told(watch, &error) {
            return self.end(watch, error);
        }
        let message = error.full_message();
        self.channel.logger().log(Level::Debug, format_args!("a watch waits for a connection: {message}"));
        self.rest_watch(watch);
    }

    /// Lets a watch rest before the next attempt. All that rest ask no more often than one would alone: the first that a
    /// server confirms wakes the others.
    pub(super) fn rest_watch(&mut self, watch: u64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        self.resting.insert(watch);
        let resting = u32::try_from(self.resting.len()).unwrap_or(u32::MAX);
        let (now, alone) = (Instant::now(), entry.backoff.pause());
        let pause = alone.saturating_mul(resting).min(limits::WATCH_BACKOFF_LONGEST_OF_MANY);
        entry.link = Link::Resting { until: now + pause, alone_until: now + alone };
        self.timers.set(pause, Timer::Watch(watch));
    }

    /// Where a server has confirmed a watch, none rests longer than it would alone: nor shorter, since that server may well
    /// refuse this one.
    pub(super) fn wake_resting(&mut self) {
        if !std::mem::take(&mut self.has_confirmed) {
            return;
        }
        for watch in &self.resting {
            let Some(Entry { link: Link::Resting { until, alone_until }, .. }) = self.watches.get_mut(watch) else {
                continue;
            };
            if until > alone_until {
                *until = *alone_until;
                self.timers.set(until.saturating_duration_since(Instant::now()), Timer::Watch(*watch));
            }
        }
    }

    /// Where some that rested have gone, the others don't rest for those: each rests no longer than it takes for the ones
    /// before it to have their turn.
    pub(super) fn shorten_rests(&mut self) {
        if !std::mem::take(&mut self.has_fewer_resting) {
            return;
        }
        let (now, mut pause) = (Instant::now(), Duration::ZERO);
        for watch in &self.resting {
            pause += limits::WATCH_BACKOFF_LONGEST;
            if pause >= limits::WATCH_BACKOFF_LONGEST_OF_MANY {
                return;
            }
            let Some(Entry { link: Link::Resting { until, .. }, .. }) = self.watches.get_mut(watch) else { continue };
            if *until > now + pause {
                *until = now + pause;
                self.timers.set(pause, Timer::Watch(*watch));
            }
        }
    }

    /// A watch has rested, or its stream has had all the time there is to confirm it.
    pub(super) fn wake_watch(&mut self, watch: u64) {
        let patience = self.patience();
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        match &entry.link {
            // A stream that was lost sooner leaves its time behind, and a watch that is refused again and again many of them.
            Link::Resting { until, .. } if *until <= Instant::now() => {
                entry.link = Link::Due;
                self.resting.remove(&watch);
                self.place(watch);
            }
            // It may be the time of an earlier stream that is up.
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
