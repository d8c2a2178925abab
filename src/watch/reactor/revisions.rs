//! Which revision the store has, where a watch must know: to start after it, to tell a member that lags behind from a
//! cluster that went back in time, or to say how far it has come. One read serves all that wait when it begins.

use super::{Reactor, Timer};
use crate::error::{Error, Result};
use crate::limits;
use crate::rpc::Header;
use crate::watch::entry::{Entry, Link};
use crate::watch::errand::Errand;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Revisions {
    /// Whom the next read is for.
    waiting: Vec<Wait>,
    /// Whom the one under way is for; the first of them is the watch that it is made with the rights of.
    served: Vec<Wait>,
    /// The next one is not to begin before its time.
    pub(super) rests: bool,
}

/// A watch that waits for a read, and how often it had been confirmed then. A read that a watch has waited for tells
/// nothing of a server that has confirmed it since: that may be behind what was seen only after the read.
#[derive(Clone, Copy)]
struct Wait {
    watch: u64,
    creations: u64,
}

impl Reactor {
    /// Has a watch served by the next read, which begins at the end of this turn or later.
    pub(super) fn wait_for_revision(&mut self, watch: u64) {
        let creations = self.watches.get(&watch).map_or(0, |entry| entry.creations);
        self.revisions.waiting.push(Wait { watch, creations });
    }

    /// The same of watches that can do without, and come again: not while somebody waits already, or a read that hangs would
    /// have them wait many times.
    pub(super) fn wait_for_revision_if_idle(&mut self, watches: Vec<u64>) {
        if self.revisions.waiting.is_empty() {
            watches.into_iter().for_each(|watch| self.wait_for_revision(watch));
        }
    }

    /// The same of a watch that a server has confirmed which is behind.
    pub(super) fn doubt(&mut self, watch: u64) {
        self.wait_for_revision(watch);
        if self.revisions.served.is_empty() {
            self.rest_before_read(limits::WATCH_DOUBTS_GATHERED);
        }
    }

    /// Has a watch start after what a read finds, on whatever connection it will be then.
    pub(super) fn read_start(&mut self, watch: u64) {
        self.set_aside(watch);
        if let Some(entry) = self.watches.get_mut(&watch) {
            entry.link = Link::Unpinned;
        }
        self.wait_for_revision(watch);
    }

    /// Places the watches that wait to start once more: they may need no read any more.
    pub(super) fn place_waiting(&mut self) {
        for wait in std::mem::take(&mut self.revisions.waiting) {
            match self.watches.get_mut(&wait.watch) {
                Some(entry) if matches!(entry.link, Link::Unpinned) => {
                    entry.link = Link::Due;
                    self.place(wait.watch);
                }
                _ => self.revisions.waiting.push(wait),
            }
        }
    }

    fn rest_before_read(&mut self, pause: Duration) {
        if !std::mem::replace(&mut self.revisions.rests, true) {
            self.timers.set(pause, Timer::Revision);
        }
    }

    /// Whether a watch still wants what it has waited for.
    fn wants(&self, wait: Wait) -> bool {
        let entry = self.watches.get(&wait.watch).filter(|entry| entry.creations == wait.creations);
        entry.is_some_and(|entry| entry.asks_progress.is_some() || needs_revision(entry))
    }

    /// Begins a read where one is wanted and none is under way.
    pub(super) fn read_revision(&mut self) {
        if self.revisions.rests || !self.revisions.served.is_empty() || self.ask_for_solitude() {
            return;
        }
        let waiting = std::mem::take(&mut self.revisions.waiting);
        self.revisions.served = waiting.into_iter().filter(|wait| self.wants(*wait)).collect();
        let first = self.revisions.served.first().map(|wait| wait.watch);
        if let Some((watch, entry)) = first.and_then(|watch| Some((watch, self.watches.get(&watch)?))) {
            let request = entry.request.clone();
            // One that hangs is not to keep others from theirs when nobody waits for it any more.
            let deadline = self.deadline(&self.revisions.served.iter().map(|wait| wait.watch).collect::<Vec<u64>>());
            self.send_errand(Errand::ReadRevision { watch, request }, deadline);
        }
    }

    /// A read has ended, which was made with the rights of `reader`.
    pub(super) fn take_revision(&mut self, reader: u64, read: Result<Header>) {
        let mut served = std::mem::take(&mut self.revisions.served);
        // Who only asks how far it has come asks again in any case.
        served.retain(|wait| {
            self.wants(*wait) && (read.is_ok() || self.watches.get(&wait.watch).is_some_and(needs_revision))
        });
        match read {
            Ok(header) => served.into_iter().for_each(|wait| self.know_revision(wait.watch, header)),
            Err(error) if self.is_final(&error) => {
                let is_reader = |wait: &Wait| wait.watch == reader;
                let is_wanted = served.iter().any(is_reader);
                // Another one may have other rights.
                self.revisions.waiting.extend(served.into_iter().filter(|wait| !is_reader(wait)));
                // Neither where to start nor whether to believe the server can be told of a watch that may not read.
                if is_wanted {
                    self.end(reader, error);
                }
            }
            Err(error) => self.rest_after_read(served, &error),
        }
    }

    /// A read has failed that another one may succeed after.
    fn rest_after_read(&mut self, served: Vec<Wait>, error: &Error) {
        for wait in served {
            let is_unpinned = self.watches.get(&wait.watch).is_some_and(|entry| matches!(entry.link, Link::Unpinned));
            if is_unpinned {
                self.fail_to_place(wait.watch, error.clone());
            } else {
                self.revisions.waiting.push(wait);
            }
        }
        if !self.revisions.waiting.is_empty() {
            self.rest_before_read(limits::WATCH_BACKOFF_LONGEST);
        }
    }

    fn know_revision(&mut self, watch: u64, found: Header) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        if matches!(entry.link, Link::Unpinned) {
            entry.account.start_after(found.revision);
            entry.mailbox.begin_at(entry.account.next_revision());
            entry.link = Link::Due;
            return self.place(watch);
        }
        if !entry.account.is_behind() {
            return self.tell_of_quiet(watch, found);
        }
        let endpoint = self.channel.base_url();
        let (judged, room) = entry.deliver(|account, deliver| account.judge_revision(found, &endpoint, deliver));
        self.go_on_after(watch, judged, room, &endpoint);
    }
}

/// Whether a watch can't go on without.
fn needs_revision(entry: &Entry) -> bool {
    matches!(entry.link, Link::Unpinned) || entry.account.is_behind()
}
