//! What the handle of a mirror, its keeper and those who wait have in common.

use super::change::MirrorEvent;
use super::entry::Entry;
use super::snapshot::{Snapshot, State};
use super::tree::Tree;
use crate::error::Error;
use crate::net::{CancelToken, lock};
use crate::rpc::Header;
use crate::rpc::watch::EventType;
use crate::watch::{Watch, WatchResponse};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One mirror.
///
/// Its two locks are never held together, neither of them while foreign code or a call to the server runs, and none is
/// taken by who looks something up.
pub(super) struct Shared {
    pub prefix: Vec<u8>,
    published: ArcSwap<State>,
    began: Instant,
    /// When the copy was last known to be the latest there was: milliseconds from the beginning.
    proved: AtomicU64,
    pub account: Mutex<Account>,
    /// The revision has advanced, or the mirror has ended.
    pub changed: Condvar,
    /// Ends what is done in the background.
    pub stop: Arc<CancelToken>,
    source: Mutex<Source>,
}

/// Where the copy stands.
pub(super) struct Account {
    /// With every event that has come. Usually what is published; see [`Shared::prove`].
    tree: Tree,
    /// Why nothing more will come.
    pub ended: Option<Error>,
    /// When somebody who waits is to look for a proof next.
    pub probe: Probe,
}

/// The looks for a proof that the copy is of a later revision; one at a time.
pub(super) struct Probe {
    pub is_running: bool,
    pub next: Instant,
    pub pause: Duration,
    /// Whether the last one was a request to the watch.
    pub was_request: bool,
}

/// What the copy is fed by.
#[derive(Default)]
struct Source {
    watch: Option<Watch>,
    /// Makes the copy anew.
    rebuilder: Option<JoinHandle<()>>,
    /// The owner has freed the mirror.
    is_freed: bool,
}

impl Shared {
    pub(super) fn new(prefix: Vec<u8>, stop: CancelToken) -> Shared {
        let now = Instant::now();
        let probe = Probe { is_running: false, next: now, pause: Duration::ZERO, was_request: false };
        Shared {
            prefix,
            published: ArcSwap::from_pointee(State::default()),
            began: now,
            proved: AtomicU64::new(0),
            account: Mutex::new(Account { tree: Tree::default(), ended: None, probe }),
            changed: Condvar::new(),
            stop: Arc::new(stop),
            source: Mutex::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.published.load())
    }

    pub(super) fn revision(&self) -> i64 {
        self.published.load().header.revision
    }

    pub(super) fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.proved.load(Ordering::Relaxed)))
    }

    fn is_current(&self) {
        self.proved.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Publishes a copy that was made anew, whatever there was before.
    pub(super) fn replace(&self, tree: Tree, header: Header) {
        let mut account = lock(&self.account);
        let old = std::mem::replace(&mut account.tree, tree.clone());
        self.published.store(Arc::new(State { tree, header }));
        self.is_current();
        self.changed.notify_all();
        drop(account);
        // It takes a while, where nobody else has it.
        drop(old);
    }

    /// Takes in what the watch tells; answers the events with what was there before, where somebody wants to know, and the
    /// copy after them.
    pub(super) fn apply(&self, response: &WatchResponse, is_told: bool) -> (Vec<MirrorEvent>, Tree) {
        let mut account = lock(&self.account);
        let mut events = Vec::with_capacity(if is_told { response.events.len() } else { 0 });
        for event in &response.events {
            let (key, value) = (response.bytes(event.kv.key), response.bytes(event.kv.value));
            let (kv, prev_kv) = match event.event_type {
                EventType::Put => {
                    let kv = Entry::new(&event.kv, key, value);
                    (kv.clone(), account.tree.insert(kv))
                }
                EventType::Delete => (Entry::deleted(key, event.kv.mod_revision), account.tree.remove(key)),
            };
            if is_told {
                events.push(MirrorEvent { event_type: event.event_type, kv, prev_kv });
            }
        }
        self.publish(&account, response.resume_revision.saturating_sub(1));
        // A server that catches up sends what is old: then there is more than it has sent.
        if response.resume_revision > response.header.revision {
            self.is_current();
        }
        self.changed.notify_all();
        (events, account.tree.clone())
    }

    /// Publishes the account, unless what is published is proved to be of a later revision.
    fn publish(&self, account: &Account, revision: i64) {
        let published = self.published.load();
        if revision >= published.header.revision {
            let next = published.at(account.tree.clone(), revision);
            drop(published);
            self.published.store(Arc::new(next));
        }
    }

    /// A proof that the keys are at `revision` what the copy of `seen` shows.
    ///
    /// The watch may still bring events of revisions up to that one, which cancel each other out: a key that was created
    /// and deleted again. Until all have come, the copy is not what the account says then.
    pub(super) fn prove(&self, seen: i64, revision: i64) {
        let _account = lock(&self.account);
        let published = self.published.load();
        if published.header.revision == seen && revision >= seen {
            let next = published.at(published.tree.clone(), revision);
            drop(published);
            self.published.store(Arc::new(next));
            self.is_current();
            self.changed.notify_all();
        }
    }

    pub(super) fn end(&self, error: Error) {
        lock(&self.account).ended.get_or_insert(error);
        self.changed.notify_all();
    }

    pub(super) fn watch(&self) -> Option<Watch> {
        lock(&self.source).watch.clone()
    }

    /// Keeps the first watch that feeds the copy, unless it has ended meanwhile and the copy is made anew.
    pub(super) fn follow_first(&self, watch: &Watch) {
        let mut source = lock(&self.source);
        if source.rebuilder.is_none() {
            source.watch = Some(watch.clone());
        }
    }

    /// Keeps the watch that feeds the copy from now on, unless the mirror is freed.
    pub(super) fn follow(&self, watch: &Watch) {
        let mut source = lock(&self.source);
        if !source.is_freed {
            let before = source.watch.replace(watch.clone());
            drop(source);
            drop(before);
        }
    }

    /// Keeps the thread that `start` starts, unless the mirror is freed. It is given the one before, to be waited for.
    pub(super) fn rebuild_with<E>(
        &self,
        start: impl FnOnce(Option<JoinHandle<()>>) -> Result<JoinHandle<()>, E>,
    ) -> Result<(), E> {
        let mut source = lock(&self.source);
        if !source.is_freed {
            let before = source.rebuilder.take();
            source.rebuilder = Some(start(before)?);
        }
        Ok(())
    }

    /// Ends everything that goes on for the mirror, on behalf of its owner.
    pub(super) fn free(&self) {
        let freed = Source { is_freed: true, ..Source::default() };
        let Source { watch, rebuilder, .. } = std::mem::replace(&mut *lock(&self.source), freed);
        self.stop.trigger();
        drop(watch);
        // It runs no foreign code.
        if let Some(rebuilder) = rebuilder {
            let _ = rebuilder.join();
        }
    }
}
