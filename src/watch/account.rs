//! The account of one watch: which revision is owed next, and what a server's messages add to it. No I/O, no threads.
//!
//! Exactly once, in order, whole revisions rests on four rules. The next revision is set, for good, when the first server
//! confirms the watch at the latest. An event below it is never delivered.
//! A revision is delivered when it is whole: when an event of a greater one has come, or the message has ended that it is
//! in, which with fragments is the last of them. And the next revision is the one that is not whole, so that a stream
//! lost in between is taken up at its first event.
//!
//! A watch without a start revision starts after the revision in the confirmation. etcd reads that when it has registered
//! the watch, or before and registers it for what follows: either way it sends all that is above, and what it sends of below
//! was there before the confirmation, which is all that the watch is for.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

use super::batch::{Batch, OpenRevision};
use super::interruption::Interruption;
use super::response::{WatchKind, WatchResponse};
use crate::error::{Error, Outcome};
use crate::gateway::frames::Frames;
use crate::rpc::watch::{Event, NO_WATCH, WatchMessage};
use crate::rpc::{Header, Namespace};
use std::ops::Range;
use std::sync::Arc;

/// Where the responses of a watch go.
pub(super) type Deliver<'a> = &'a mut dyn FnMut(WatchResponse);

/// The account of one watch. There may be very many, nearly all of them idle: what is used at times only is allocated
/// only then.
pub(super) struct Account {
    /// The first revision that is still owed.
    next_revision: i64,
    /// The highest revision that the cluster has provably had. The next one may be far above it: callers may wait for
    /// the future.
    seen_revision: i64,
    /// The member that confirmed the watch last.
    member_id: u64,
    /// The highest Raft term that it has told, which is that of the last entry it has applied. It goes back where the
    /// cluster does, also where the store has overtaken what was lost; another member's may lag.
    member_term: u64,
    /// The cluster whose revisions these are; 0: that isn't known yet.
    cluster_id: u64,
    settings: Settings,
    /// The revision of the store when the server of the stream in use had begun the watch.
    created_revision: i64,
    /// Whether the server of the stream in use was asked for the revision before the next one, too.
    looks_back: bool,
    /// Whether a server has confirmed the watch, ever.
    is_confirmed: bool,
    /// Whether the server of the stream in use has.
    is_created: bool,
    /// Whether the stream before was given up by intent.
    is_suspended: bool,
    /// Whether the last fragment of a message is missing.
    is_open: bool,
    /// What has come of the next revision, in fragments.
    open: Option<Box<OpenRevision>>,
    /// Whether the cluster has gone back in time.
    doubt: Option<Box<Doubt>>,
}

/// A server that is behind what was seen has confirmed the watch.
struct Doubt {
    /// What had been seen then.
    seen_revision: i64,
    /// The term that this very member had told, where it tells a lower one now; else 0.
    member_term: u64,
    /// What it has sent since, which may be of a history that is not the watch's.
    withheld: Vec<Frames>,
}

/// How a progress request came about that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Certainly after the server had confirmed the watch.
    pub is_after_creation: bool,
    /// By the owner of the watch, too, who hears of the answer.
    pub by_owner: bool,
}

/// What of a watch's options matters here.
#[derive(Clone)]
pub(super) struct Settings {
    pub namespace: Namespace,
    pub shows_progress: bool,
    pub reports_connection: bool,
    /// What was before the start revision has been read, so that the watch has to tell all that has happened since.
    pub follows_read: bool,
    /// The most that one revision may take, where it comes in fragments.
    pub max_revision_bytes: usize,
}

impl Account {
    /// `start_revision` 0: what comes after the revision at which the first server confirms the watch.
    pub(super) fn new(start_revision: i64, settings: Settings) -> Account {
        Account {
            next_revision: start_revision,
            seen_revision: 0,
            member_id: 0,
            member_term: 0,
            cluster_id: 0,
            created_revision: 0,
            looks_back: false,
            settings,
            is_confirmed: false,
            is_created: false,
            is_suspended: false,
            is_open: false,
            open: None,
            doubt: None,
        }
    }

    pub(super) fn next_revision(&self) -> i64 {
        self.next_revision
    }

    /// The revision to ask the next server for.
    ///
    /// One that [loses deletions](crate::gateway::version::ServerVersion::loses_deletions) tells of no gap where its
    /// history was compacted at the very revision that is owed next. Asked for the one before, which is dropped when it
    /// comes, it does. Where the caller has chosen the first revision that would be more than was asked for.
    pub(super) fn ask(&mut self, loses_deletions: bool) -> i64 {
        let follows = self.is_confirmed || self.settings.follows_read;
        self.looks_back = loses_deletions && follows && self.next_revision > 1;
        self.wanted_revision()
    }

    /// The first revision that the server must not have compacted away.
    fn wanted_revision(&self) -> i64 {
        self.next_revision - i64::from(self.looks_back)
    }

    /// The highest revision that the cluster has provably had.
    pub(super) fn seen_revision(&self) -> i64 {
        self.seen_revision
    }

    /// Has no server that is behind this revision, which the client has seen, tell where the watch starts: what the client
    /// knows of already is no news. Such a one [is behind](Account::is_behind), and confirms nothing.
    pub(super) fn start_no_earlier_than(&mut self, revision: i64) {
        if self.next_revision == 0 {
            self.see(revision);
        }
    }

    /// Starts the account after what the store holds at `revision`, whatever was seen before.
    pub(super) fn start_after(&mut self, revision: i64) {
        self.seen_revision = revision;
        self.advance(revision);
    }

    /// The client is of this cluster: then the watch is, too, unless it has been of one before.
    pub(super) fn belong_to(&mut self, cluster_id: u64) {
        if self.cluster_id == 0 {
            self.cluster_id = cluster_id;
        }
    }

    /// The cluster that it is of; 0: no server has told it yet.
    pub(super) fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    pub(super) fn is_created(&self) -> bool {
        self.is_created
    }

    /// Whether the server that has confirmed the watch is behind what was seen before: it lags, or the cluster went back
    /// in time. Until [`judge_revision`](Account::judge_revision) tells which, what it sends is withheld. Of a watch that has
    /// not started yet, what it sends is of no use.
    pub(super) fn is_behind(&self) -> bool {
        self.doubt.is_some()
    }

    /// Takes in what a linearizable read has told, which began after the server that
    /// [is behind](Account::is_behind) confirmed the watch. Delivers what was withheld, or says that the cluster went
    /// back in time.
    pub(super) fn judge_revision(
        &mut self,
        found: Header,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        let Some(doubt) = self.doubt.take() else { return Ok(()) };
        let seen = doubt.seen_revision;
        let goes_back = found.member_id == self.member_id && is_term_behind(found.raft_term, doubt.member_term);
        if found.revision < seen || goes_back {
            let (endpoint, found) = (endpoint.clone(), found.revision);
            return Err(Interruption::Ended(Error::RevisionRegressed { endpoint, seen, found }));
        }
        self.see(found.revision);
        doubt.withheld.into_iter().try_for_each(|frames| self.receive(frames, endpoint, deliver))
    }

    /// What it holds back, in bytes: of events never more than one revision, and what is withheld while the server is
    /// behind.
    pub(super) fn held_bytes(&self) -> usize {
        let withheld = self.doubt.iter().flat_map(|doubt| &doubt.withheld).map(|frames| frames.arena.capacity());
        self.open.as_ref().map_or(0, |open| open.held_bytes()) + withheld.sum::<usize>()
    }

    /// Takes in what a server sent about this watch. What it adds to the account is delivered, also where an error
    /// follows it.
    pub(super) fn receive(
        &mut self,
        frames: Frames,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        if let Some(doubt) = &mut self.doubt {
            doubt.withheld.push(frames);
            return Ok(());
        }
        let Frames { arena, lines } = frames;
        let mut batch = Batch::new(arena, lines.len());
        let taken = self.take_lines(lines, &mut batch, endpoint, deliver);
        let open = batch.split_open();
        self.flush_open(&mut batch, deliver);
        if taken.is_ok() {
            self.open = batch.keep(open, self.open.take());
        } else {
            self.drop_open();
        }
        self.flush(batch, deliver);
        taken.and_then(|()| self.check_size(endpoint))
    }

    /// Takes in the answer to a progress request of a server whose answers are in order with the events, as etcd's are
    /// from 3.4.25 and 3.5.8 on (etcd-io/etcd#15220). False: it says nothing of this watch.
    ///
    /// It is about the watches that the server had when it read the request, and may yet overtake the confirmation of
    /// one that it got later: etcd sends the two from different queues. So it counts only where the request was made
    /// after the confirmation, or the answer is of a revision that the store did not have when the watch began. It counts
    /// for nothing, too, among fragments, and while the server is behind.
    pub(super) fn receive_requested_progress(&mut self, header: Header, asked: Asked, deliver: Deliver<'_>) -> bool {
        let is_of_this_cluster = header.cluster_id == 0 || header.cluster_id == self.cluster_id;
        let is_up_to_date = self.is_created && !self.is_open && self.doubt.is_none();
        let is_about_it = asked.is_after_creation || header.revision > self.created_revision;
        if !is_up_to_date || !is_about_it || !is_of_this_cluster || header.revision <= 0 {
            return false;
        }
        self.see(header.revision);
        self.advance(header.revision);
        if self.settings.shows_progress || asked.by_owner {
            deliver(WatchResponse::new(WatchKind::Progress, header, self.next_revision));
        }
        true
    }

    /// Takes in what a linearizable read has told that began after the owner had asked for progress. False: the watch is
    /// still owed something of what the store had then, or it isn't certain that it is not.
    pub(super) fn receive_read(&mut self, found: Header, deliver: Deliver<'_>) -> bool {
        let is_of_this_history = found.cluster_id == self.cluster_id && found.revision >= self.seen_revision;
        if !is_of_this_history || !self.is_created || self.doubt.is_some() || found.revision >= self.next_revision {
            return false;
        }
        deliver(WatchResponse::new(WatchKind::Progress, found, self.next_revision));
        true
    }

    /// Gives up the stream in use, or what was to follow one that was [given up by intent](Account::suspend). What is
    /// delivered says so where that was asked for, once for each loss.
    pub(super) fn lose_stream(&mut self, error: &Error, deliver: Deliver<'_>) {
        self.drop_open();
        self.doubt = None;
        let had_stream = std::mem::take(&mut self.is_created) | std::mem::take(&mut self.is_suspended);
        if had_stream && self.settings.reports_connection {
            deliver(WatchResponse::disconnected(error.clone(), self.next_revision));
        }
    }

    /// Takes in lines, up to one that raises a doubt: what follows it is withheld.
    fn take_lines(
        &mut self,
        lines: Vec<Range<usize>>,
        batch: &mut Batch,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            self.take_line(line, batch, endpoint, deliver)?;
            if let Some(doubt) = &mut self.doubt {
                doubt.withheld.extend(batch.copy_of(lines.as_slice()));
                break;
            }
        }
        Ok(())
    }

    /// Gives up the stream in use by intent. Nobody is told, of its end or of the next one's beginning, unless there is none
    /// to be had.
    pub(super) fn suspend(&mut self) {
        self.drop_open();
        self.doubt = None;
        self.is_suspended |= std::mem::take(&mut self.is_created);
    }

    fn take_line(
        &mut self,
        line: Range<usize>,
        batch: &mut Batch,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        let message = batch.decode(line).map_err(|what| malformed(what, endpoint))?;
        let message = message.map_err(|status| status.into_error(endpoint, 200).of_a_read())?;
        self.check_cluster(message.header.cluster_id, endpoint)?;
        if message.canceled || message.compact_revision > 0 {
            return Err(Interruption::of_cancellation(&message, self.wanted_revision(), endpoint));
        }
        if message.created {
            batch.drop_decoded();
            self.create(message.header, batch, endpoint, deliver)?;
        } else if message.fragment || !batch.decoded().is_empty() {
            if batch.decoded().iter().any(is_of_the_last_revision) {
                let what = "an event is of the last revision that there can be";
                return Err(malformed(what.to_owned(), endpoint).into());
            }
            if self.next_revision == 0 {
                let what = "an event came before the confirmation of a watch";
                return Err(malformed(what.to_owned(), endpoint).into());
            }
            self.add_events(&message, batch);
        } else if message.is_progress() {
            self.progress(&message, batch);
        }
        self.member_term = self.member_term.max(message.header.raft_term);
        Ok(())
    }

    /// The revisions of another cluster mean nothing in this account.
    fn check_cluster(&mut self, cluster_id: u64, endpoint: &Arc<str>) -> Result<(), Interruption> {
        self.belong_to(cluster_id);
        if cluster_id == 0 || cluster_id == self.cluster_id {
            return Ok(());
        }
        Err(Interruption::Lost(Error::ClusterMismatch {
            endpoint: endpoint.clone(),
            ours: self.cluster_id,
            theirs: cluster_id,
            outcome: Outcome::NotApplied,
        }))
    }

    /// The server has confirmed the watch.
    fn create(
        &mut self,
        header: Header,
        batch: &Batch,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        let is_behind = header.revision > 0 && header.revision < self.seen_revision;
        if self.next_revision == 0 {
            if header.revision <= 0 {
                return Err(malformed("the confirmation of a watch has no revision".to_owned(), endpoint).into());
            }
            if is_behind {
                self.doubt(0);
                return Ok(());
            }
            self.start_after(header.revision);
        }
        let was_confirmed = std::mem::replace(&mut self.is_confirmed, true);
        let was_created = std::mem::replace(&mut self.is_created, true);
        if header.member_id != self.member_id {
            (self.member_id, self.member_term) = (header.member_id, 0);
        }
        let goes_back = is_term_behind(header.raft_term, self.member_term);
        if !was_created && (is_behind || goes_back) {
            self.doubt(if goes_back { self.member_term } else { 0 });
        }
        self.see(header.revision);
        self.created_revision = header.revision;
        let was_suspended = std::mem::take(&mut self.is_suspended);
        if was_confirmed && !was_created && !was_suspended && self.settings.reports_connection {
            deliver(WatchResponse::new(WatchKind::Resumed, header, self.undelivered_revision(batch)));
        }
        Ok(())
    }

    /// What this server sends is not to be believed yet. It had told that term before; 0: no higher one than now.
    fn doubt(&mut self, member_term: u64) {
        let seen_revision = self.seen_revision;
        self.doubt = Some(Box::new(Doubt { seen_revision, member_term, withheld: Vec::new() }));
    }

    /// The first revision that is not delivered: below the next one where events have come before the confirmation, as
    /// they should not.
    fn undelivered_revision(&self, batch: &Batch) -> i64 {
        let kept = self.open.as_ref().map(|open| open.revision);
        let first = || batch.events.first().map(|event| event.kv.mod_revision);
        kept.or_else(first).unwrap_or(self.next_revision)
    }

    /// Events have come, the last of which may be of a revision that has more.
    fn add_events(&mut self, message: &WatchMessage, batch: &mut Batch) {
        let (header, namespace) = (message.header, &self.settings.namespace);
        if let Some(last) = batch.account_for(self.next_revision, header, namespace) {
            self.next_revision = last;
            self.see(last);
        }
        self.is_open = message.fragment;
        let kept = self.open.as_ref().is_some_and(|open| open.revision == self.next_revision);
        if !message.fragment && (batch.complete(header) || kept) {
            self.advance(self.next_revision);
        }
    }

    /// The server says that it has sent everything up to a revision.
    ///
    /// That is believed here because nobody asked for it: what etcd sends at its interval, with the watch's own ID, takes
    /// the way of the events and is in order with them. It can't be among the fragments of a message.
    fn progress(&mut self, message: &WatchMessage, batch: &mut Batch) {
        if message.watch_id == NO_WATCH || self.is_open || self.next_revision == 0 {
            return;
        }
        self.see(message.header.revision);
        self.advance(message.header.revision);
        if self.settings.shows_progress {
            batch.progress = Some(message.header);
        }
    }

    fn see(&mut self, revision: i64) {
        self.seen_revision = self.seen_revision.max(revision);
    }

    /// A member that lags behind, or one that has just restarted, may speak of an older revision.
    fn advance(&mut self, revision: i64) {
        self.next_revision = self.next_revision.max(revision.saturating_add(1));
    }

    /// Delivers the revision that was kept, if it is whole now, with what has come of it since.
    fn flush_open(&mut self, batch: &mut Batch, deliver: Deliver<'_>) {
        let whole = self.open.take_if(|open| open.revision < self.next_revision);
        let Some(mut open) = whole else { return };
        batch.move_first(&mut open);
        let next = batch.events.first().map_or(self.next_revision, |event| event.kv.mod_revision);
        deliver(WatchResponse::of_events(open.header, open.events, open.arena, next));
    }

    /// Delivers what is whole.
    fn flush(&mut self, mut batch: Batch, deliver: Deliver<'_>) {
        if !batch.events.is_empty() {
            batch.give_back_room();
            deliver(WatchResponse::of_events(batch.header, batch.events, batch.arena, self.next_revision));
        }
        if let Some(header) = batch.progress {
            deliver(WatchResponse::new(WatchKind::Progress, header, self.next_revision));
        }
    }

    fn drop_open(&mut self) {
        self.open = None;
        self.is_open = false;
    }

    fn check_size(&mut self, endpoint: &Arc<str>) -> Result<(), Interruption> {
        let limit = self.settings.max_revision_bytes;
        if self.open.as_ref().is_none_or(|open| open.size() <= limit) {
            return Ok(());
        }
        self.drop_open();
        let what = format!("the events of revision {} are", self.next_revision);
        let (endpoint, outcome) = (endpoint.clone(), Outcome::NotApplied);
        Err(Error::TooLarge { endpoint, http_status: 200, what, limit, outcome }.into())
    }
}

/// Behind the greatest number there is no revision to go on from.
fn is_of_the_last_revision(event: &Event) -> bool {
    event.kv.mod_revision == i64::MAX
}

/// 0 says nothing.
fn is_term_behind(found: u64, seen: u64) -> bool {
    found != 0 && found < seen
}

fn malformed(what: String, endpoint: &Arc<str>) -> Error {
    Error::Protocol { endpoint: endpoint.clone(), http_status: 200, what, outcome: Outcome::NotApplied }
}
