//! The account of one watch: which revision is owed next, and what a server's messages add to it. No I/O, no threads.
//!
//! Exactly once, in order, whole revisions rests on three rules. The next revision is known before the first stream is
//! opened, so that nothing depends on what a server's `created` message says. It advances only with whole messages, a
//! message in fragments being whole with its last one, so that a stream lost in between is taken up before the first.
//! And an event below it is never delivered.

#[cfg(test)]
mod tests;

use super::batch::Batch;
use super::interruption::Interruption;
use super::response::{WatchKind, WatchResponse};
use crate::error::{Code, Error, Outcome, Reason};
use crate::gateway::frames::Frames;
use crate::gateway::status::ServerStatus;
use crate::rpc::watch::WatchMessage;
use crate::rpc::{Header, Namespace};
use std::sync::Arc;

/// Where the responses of a watch go.
pub(super) type Deliver<'a> = &'a mut dyn FnMut(WatchResponse);

/// The account of one watch.
pub(super) struct Account {
    /// The first revision that is still owed.
    next_revision: i64,
    /// The cluster whose revisions these are; 0: that isn't known yet.
    cluster_id: u64,
    settings: Settings,
    /// Whether a server has confirmed the watch, ever.
    is_confirmed: bool,
    /// Whether the server of the stream in use has.
    is_created: bool,
    batch: Batch,
}

/// What of a watch's options matters here.
pub(super) struct Settings {
    pub namespace: Namespace,
    pub shows_progress: bool,
    pub reports_connection: bool,
    /// The most that fragments of one message may take.
    pub max_message_bytes: usize,
}

impl Account {
    /// `start_revision` 0: to be set before a stream is opened.
    pub(super) fn new(start_revision: i64, settings: Settings) -> Account {
        let batch = Batch::default();
        Account {
            next_revision: start_revision,
            cluster_id: 0,
            settings,
            is_confirmed: false,
            is_created: false,
            batch,
        }
    }

    pub(super) fn next_revision(&self) -> i64 {
        self.next_revision
    }

    /// Starts the account after what the store holds at `revision`.
    pub(super) fn start_after(&mut self, revision: i64) {
        self.advance(revision);
    }

    /// The client is of this cluster: then the watch is, too, unless it has been of one before.
    pub(super) fn belong_to(&mut self, cluster_id: u64) {
        if self.cluster_id == 0 {
            self.cluster_id = cluster_id;
        }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.is_confirmed
    }

    pub(super) fn is_created(&self) -> bool {
        self.is_created
    }

    /// Takes in what a server sent. What it adds to the account is delivered, also where an error follows it.
    pub(super) fn receive(
        &mut self,
        frames: Frames,
        endpoint: &Arc<str>,
        deliver: Deliver<'_>,
    ) -> Result<(), Interruption> {
        let taken = self.take_lines(frames, endpoint, deliver);
        if taken.is_err() {
            self.batch.drop_fragments();
        }
        if !self.batch.is_open {
            self.flush(deliver);
        }
        taken
    }

    /// Gives up the stream in use. What is delivered says so where that was asked for, once for each loss.
    pub(super) fn lose_stream(&mut self, error: &Error, deliver: Deliver<'_>) {
        self.batch = Batch::default();
        if std::mem::take(&mut self.is_created) && self.settings.reports_connection {
            deliver(WatchResponse::disconnected(error.clone(), self.next_revision));
        }
    }

    fn take_lines(&mut self, frames: Frames, endpoint: &Arc<str>, deliver: Deliver<'_>) -> Result<(), Interruption> {
        let Frames { arena, lines } = frames;
        let malformed =
            |what| Error::Protocol { endpoint: endpoint.clone(), http_status: 200, what, outcome: Outcome::NotApplied };
        let added = self.batch.append(arena, lines.len(), self.settings.max_message_bytes).map_err(malformed)?;
        let mut removed = 0;
        for line in lines {
            let line = line.start + added - removed..line.end + added - removed;
            let start = line.start;
            let message = self.batch.decode(line).map_err(malformed)?;
            let message = message.map_err(|status| status.into_error(endpoint, 200).of_a_read())?;
            if message.fragment && self.batch.has_whole_message() {
                // What is whole can't wait for the other fragments: there may be many, and more messages behind them.
                let rest = self.batch.split_off(start);
                removed += start;
                self.flush(deliver);
                self.batch = rest;
            }
            self.take(message, endpoint, deliver)?;
        }
        Ok(())
    }

    fn take(&mut self, message: WatchMessage, endpoint: &Arc<str>, deliver: Deliver<'_>) -> Result<(), Interruption> {
        self.check_cluster(message.header.cluster_id, endpoint)?;
        if message.canceled {
            return Err(self.cancellation(message, endpoint));
        }
        if message.created {
            self.create(message.header, deliver);
            return Ok(());
        }
        self.batch.is_open = message.fragment;
        if message.fragment {
            return Ok(());
        }
        if self.batch.has_more_than_whole() {
            self.complete(message.header);
        } else if message.header.revision > 0 {
            self.progress(message.header);
        }
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
    fn create(&mut self, header: Header, deliver: Deliver<'_>) {
        let was_confirmed = std::mem::replace(&mut self.is_confirmed, true);
        let was_created = std::mem::replace(&mut self.is_created, true);
        if was_confirmed && !was_created && self.settings.reports_connection {
            deliver(WatchResponse::new(WatchKind::Resumed, header, self.next_revision));
        }
    }

    /// A message is whole: its events are accounted for.
    fn complete(&mut self, header: Header) {
        let Some(last) = self.batch.complete(header, self.next_revision, &self.settings.namespace) else { return };
        self.advance(last);
    }

    /// The server says that it has sent everything up to a revision.
    ///
    /// That is believed here because nobody asked for it: what etcd sends at its interval takes the way of the events
    /// and is in order with them. Only an answer to a progress request may overtake events that are still to come
    /// (etcd-io/etcd#15220, before 3.4.25 and 3.5.8), and none is ever made on a stream of this kind.
    fn progress(&mut self, header: Header) {
        self.advance(header.revision);
        if self.settings.shows_progress {
            self.batch.progress = Some(header);
        }
    }

    /// A member that lags behind, or one that has just restarted, may speak of an older revision.
    fn advance(&mut self, revision: i64) {
        self.next_revision = self.next_revision.max(revision.saturating_add(1));
    }

    fn cancellation(&self, message: WatchMessage, endpoint: &Arc<str>) -> Interruption {
        let endpoint = endpoint.clone();
        if message.compact_revision > 0 {
            let (wanted, compact_revision) = (self.next_revision, message.compact_revision);
            return Interruption::Ended(Error::Compacted { endpoint, wanted, compact_revision });
        }
        if !message.cancel_reason.is_empty() {
            let status = ServerStatus::from_cancel_reason(&message.cancel_reason);
            return Interruption::of_refusal(status.into_error(&endpoint, 200).of_a_read());
        }
        let refused = message.created;
        let what = if refused { "the watch is refused without a reason" } else { "the server cancelled the watch" };
        let error = Error::Server {
            endpoint,
            http_status: 200,
            code: if refused { Code::Unknown } else { Code::Cancelled },
            message: what.to_owned(),
            reason: Reason::Other,
            outcome: Outcome::NotApplied,
        };
        if refused { Interruption::Ended(error) } else { Interruption::Lost(error) }
    }

    /// Delivers what is whole.
    fn flush(&mut self, deliver: Deliver<'_>) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.events.is_empty() {
            deliver(WatchResponse::of_events(batch.header, batch.events, batch.arena, self.next_revision));
        }
        if let Some(header) = batch.progress {
            deliver(WatchResponse::new(WatchKind::Progress, header, self.next_revision));
        }
    }
}
