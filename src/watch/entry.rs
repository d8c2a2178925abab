//! One watch, as the thread that drives it knows it.

use super::account::Account;
use super::backlog::Room;
use super::backoff::Backoff;
use super::confirmation::Confirmation;
use super::mailbox::Mailbox;
use super::stream::OwnStream;
use crate::error::Error;
use crate::rpc::watch::WatchRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// What a watch begins with.
pub(super) struct Start {
    /// Its number.
    pub watch: u64,
    pub mailbox: Arc<Mailbox>,
    pub account: Account,
    pub request: Arc<WatchRequest>,
    pub require_leader: bool,
    /// Whoever waits for the server to confirm it.
    pub confirmation: Option<Arc<Confirmation>>,
    pub way: Arc<Way>,
}

/// One watch.
pub(super) struct Entry {
    pub mailbox: Arc<Mailbox>,
    pub account: Account,
    pub request: Arc<WatchRequest>,
    pub require_leader: bool,
    pub confirmation: Option<Arc<Confirmation>>,
    pub way: Arc<Way>,
    pub link: Link,
    pub backoff: Backoff,
    /// Streams refused for their token since one that has held for a while.
    pub refusals: u32,
    /// The owner wants to know how far it has come, and had seen this revision when it asked last.
    pub asks_progress: Option<i64>,
    /// Progress requests of its socket before the server had confirmed it there.
    pub requests_before: u64,
    /// How often a server has confirmed it.
    pub creations: u64,
    /// Its consumer could not take all that came.
    pub was_full: bool,
    /// It has a stream although there is a WebSocket, since it would be a burden to the others there: since when, or since
    /// its consumer last could not take all.
    pub apart_since: Option<Instant>,
}

/// How the messages of a watch get here.
pub(super) enum Link {
    /// Not at all before the revision to start after has been read.
    Unpinned,
    /// Not at all: it is to be put on a connection, or waits until the server of its route's WebSocket has time for it.
    Due,
    /// Not at all until it has [rested](super::rests::Rests).
    Resting,
    /// Not at all until the consumer has taken what there is.
    Full,
    /// A helper is sending the request for a stream.
    Beginning,
    /// An HTTP stream.
    Own(Box<OwnStream>),
    /// A WebSocket, by its key, under this `watch_id`.
    Shared { socket: u64, watch_id: i64 },
}

impl Entry {
    pub(super) fn new(start: Start) -> (u64, Entry) {
        let entry = Entry {
            mailbox: start.mailbox,
            account: start.account,
            request: start.request,
            require_leader: start.require_leader,
            confirmation: start.confirmation,
            way: start.way,
            link: Link::Due,
            backoff: Backoff::new(),
            refusals: 0,
            asks_progress: None,
            requests_before: 0,
            creations: 0,
            was_full: false,
            apart_since: None,
        };
        (start.watch, entry)
    }

    /// Whether it may be owed what has happened before it is created.
    pub(super) fn is_owed_history(&self) -> bool {
        self.account.is_confirmed() || self.request.start_revision != 0
    }

    /// The revision to ask the next server for.
    pub(super) fn ask(&mut self, loses_deletions: bool) -> i64 {
        self.account.ask(loses_deletions && !self.request.no_delete)
    }

    /// Whether its owner is answered by hearing that it has come to this revision: who asks once more may have seen more
    /// than an earlier request is answered with. `seen`: by the client until now, which is less where the cluster went back.
    pub(super) fn is_answered_by(&self, revision: i64, seen: i64) -> bool {
        self.asks_progress.is_some_and(|owed| revision >= owed.min(seen))
    }

    /// Whether the caller who started it hears of what goes wrong.
    pub(super) fn is_awaited(&self) -> bool {
        self.confirmation.is_some()
    }

    /// Tells whoever waits that the server has confirmed the watch.
    pub(super) fn confirm(&mut self) {
        if let Some(confirmation) = self.confirmation.take() {
            confirmation.tell(Ok(()));
        }
    }

    /// Changes the account. What comes of it goes to the mailbox, which may be full after the last response.
    pub(super) fn deliver<T>(
        &mut self,
        change: impl FnOnce(&mut Account, super::account::Deliver<'_>) -> T,
    ) -> (T, Room) {
        let (mailbox, mut room) = (&self.mailbox, Room::Left);
        let changed = change(&mut self.account, &mut |response| {
            room = mailbox.push(response);
        });
        (changed, room)
    }

    /// Takes the watch off what has carried it, which is lost or left, or was to.
    pub(super) fn lose(&mut self, error: &Error) {
        self.way.set(Carrier::None);
        // Full or not: nothing more comes of what is lost.
        let _ = self.deliver(|account, deliver| account.lose_stream(error, deliver));
    }

    /// The same where nothing was lost: it will be put on another connection, and its owner need not know, unless that fails.
    pub(super) fn suspend(&mut self) {
        self.way.set(Carrier::None);
        self.account.suspend();
    }
}

/// What carries a watch at the moment, for its owner to see.
pub(super) struct Way(AtomicU8);

/// See [`Way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Carrier {
    /// Nothing, or a stream for a while only.
    None,
    /// An HTTP stream, on which nothing can be asked.
    Stream,
    /// A WebSocket to a server whose answers to progress requests can't be trusted.
    MuteSocket,
    Socket,
}

impl Way {
    pub(super) fn new() -> Way {
        Way(AtomicU8::new(Carrier::None as u8))
    }

    pub(super) fn set(&self, carrier: Carrier) {
        self.0.store(carrier as u8, Ordering::Relaxed);
    }

    /// Whether how far the watch has come could be asked, for all that is known.
    pub(super) fn can_ask(&self) -> bool {
        let carrier = self.0.load(Ordering::Relaxed);
        carrier != Carrier::Stream as u8 && carrier != Carrier::MuteSocket as u8
    }
}
