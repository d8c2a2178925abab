//! Which revision the store has, where a watch must know: to start after it, or to tell a member that lags behind from a
//! cluster that went back in time. One read serves all that wait when it begins.

use super::{Reactor, Timer};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::limits;
use crate::watch::entry::Link;
use crate::watch::errand::Errand;

#[derive(Default)]
pub(super) struct Revisions {
    /// The watches that the next read is for.
    waiting: Vec<u64>,
    /// Those that the one under way is for.
    served: Vec<u64>,
}

impl Revisions {
    /// Has a watch served by the next read.
    pub(super) fn wait(&mut self, watch: u64) {
        self.waiting.push(watch);
    }
}

impl Reactor {
    /// Begins a read where one is wanted and none is under way.
    pub(super) fn read_revision(&mut self) {
        if !self.revisions.served.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.revisions.waiting);
        self.revisions.served = waiting.into_iter().filter(|watch| self.watches.contains_key(watch)).collect();
        let first = self.revisions.served.first().and_then(|watch| Some((*watch, self.watches.get(watch)?)));
        if let Some((watch, entry)) = first {
            let request = entry.request.clone();
            self.send_errand(Errand::ReadRevision { watch, request }, Deadline::after(limits::DEFAULT_TIMEOUT));
        }
    }

    /// A read has ended, which was made with the rights of `reader`.
    pub(super) fn take_revision(&mut self, reader: u64, revision: Result<i64>) {
        let served = std::mem::take(&mut self.revisions.served);
        match revision {
            Ok(revision) => served.into_iter().for_each(|watch| self.know_revision(watch, revision)),
            Err(error) if self.is_final(&error) => {
                // Another one may have other rights.
                self.revisions.waiting.extend(served.into_iter().filter(|watch| *watch != reader));
                let is_unpinned = self.watches.get(&reader).is_some_and(|entry| matches!(entry.link, Link::Unpinned));
                if is_unpinned {
                    self.end(reader, error);
                }
            }
            Err(_) => {
                for watch in served {
                    match self.watches.get(&watch).map(|entry| &entry.link) {
                        Some(Link::Unpinned) => self.rest_watch(watch),
                        Some(_) => self.revisions.waiting.push(watch),
                        None => {}
                    }
                }
                self.timers.set(limits::WATCH_BACKOFF_LONGEST, Timer::Revision);
                return;
            }
        }
        self.read_revision();
    }

    fn know_revision(&mut self, watch: u64, revision: i64) {
        let Some(entry) = self.watches.get_mut(&watch) else { return };
        if matches!(entry.link, Link::Unpinned) {
            entry.account.start_after(revision);
            entry.mailbox.begin_at(entry.account.next_revision());
            entry.link = Link::Due;
            return self.place(watch);
        }
        let endpoint = self.channel.base_url();
        let (judged, room) = entry.deliver(|account, deliver| account.judge_revision(revision, &endpoint, deliver));
        self.go_on_after(watch, judged, room, &endpoint);
    }
}
