//! The changes of a mirror that have not been told: in order, bounded, and whole in the sense that what is told, applied
//! to the state before it, gives the next one. No threads.

use super::change::{ChangeKind, MirrorChange, MirrorEvent, difference};
use super::tree::Tree;
use crate::error::Error;
use crate::rpc::watch::EventType;
use crate::watch::Buffers;
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module.
pub(super) struct Untold {
    changes: VecDeque<MirrorChange>,
    bytes: usize,
    /// What they came to when that was all that may be kept, until half of it has been taken.
    full_at: Option<usize>,
    /// After them comes the difference to `latest`, which has everything that was added.
    is_lost: bool,
    latest: Tree,
    revision: i64,
    /// What comes last.
    ended: Option<Error>,
    buffers: Arc<Buffers>,
}

/// What a change takes the place of; to be dropped where nobody waits for it.
#[derive(Default)]
#[must_use]
pub(super) struct Dropped {
    _latest: Tree,
    _changes: VecDeque<MirrorChange>,
}

/// What is to be told next.
pub(super) enum Next {
    /// A change, and the copy after it unless there are more to come.
    Change(MirrorChange, Option<Tree>),
    /// The difference to this copy, of this revision.
    Difference(Tree, i64),
    /// The end, and nothing after it.
    Ended(MirrorChange),
}

impl Untold {
    pub(super) fn new(buffers: Arc<Buffers>) -> Untold {
        Untold {
            changes: VecDeque::new(),
            bytes: 0,
            full_at: None,
            is_lost: false,
            latest: Tree::default(),
            revision: 0,
            ended: None,
            buffers,
        }
    }

    /// The copy that the consumer knows.
    pub(super) fn begin(&mut self, tree: Tree, revision: i64) {
        (self.latest, self.revision) = (tree, revision);
    }

    /// What has happened to the keys, and the copy after it.
    pub(super) fn add(&mut self, events: Vec<MirrorEvent>, latest: Tree, revision: i64) -> Dropped {
        let change = MirrorChange { kind: ChangeKind::Events, events, revision, error: None };
        let before = std::mem::replace(&mut self.latest, latest);
        self.revision = revision;
        let changes = if self.full_at.is_some() { self.lose() } else { VecDeque::new() };
        if !self.is_lost {
            let held = self.bytes;
            self.bytes += cost(&change);
            self.full_at = self.buffers.hold(held, self.bytes).then_some(self.bytes);
            self.changes.push_back(change);
        }
        Dropped { _latest: before, _changes: changes }
    }

    fn lose(&mut self) -> VecDeque<MirrorChange> {
        self.buffers.let_go(std::mem::take(&mut self.bytes));
        (self.full_at, self.is_lost) = (None, true);
        std::mem::take(&mut self.changes)
    }

    /// The copy is another one, and how it came about isn't known.
    pub(super) fn rebuilt(&mut self, latest: Tree, revision: i64) -> Dropped {
        (self.is_lost, self.revision) = (true, revision);
        Dropped { _latest: std::mem::replace(&mut self.latest, latest), ..Dropped::default() }
    }

    /// The last that is told.
    pub(super) fn end(&mut self, error: Error) {
        self.ended.get_or_insert(error);
    }

    /// Nothing is to be told any more.
    pub(super) fn clear(&mut self) -> Dropped {
        let changes = self.lose();
        (self.is_lost, self.ended) = (false, None);
        Dropped { _latest: std::mem::take(&mut self.latest), _changes: changes }
    }

    pub(super) fn has_more(&self) -> bool {
        !self.changes.is_empty() || self.is_lost || self.ended.is_some()
    }

    pub(super) fn next(&mut self) -> Option<Next> {
        if let Some(change) = self.changes.pop_front() {
            let cost = cost(&change);
            self.bytes = self.bytes.saturating_sub(cost);
            self.buffers.let_go(cost);
            self.full_at = self.full_at.filter(|full| self.bytes > full / 2);
            let is_last = self.changes.is_empty() && !self.is_lost;
            return Some(Next::Change(change, is_last.then(|| self.latest.clone())));
        }
        let revision = self.revision;
        if std::mem::take(&mut self.is_lost) {
            return Some(Next::Difference(self.latest.clone(), revision));
        }
        let error = Some(self.ended.take()?);
        Some(Next::Ended(MirrorChange { kind: ChangeKind::Ended, events: Vec::new(), revision, error }))
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.buffers.let_go(self.bytes);
    }
}

impl Next {
    /// What to tell whoever knows `told`, and will know what that is changed to. May take a while.
    pub(super) fn tell(self, told: &mut Tree) -> MirrorChange {
        match self {
            Next::Change(change, latest) => {
                match latest {
                    // Of which it shares all.
                    Some(latest) => *told = latest,
                    None => apply(told, &change.events),
                }
                change
            }
            Next::Difference(latest, revision) => {
                let events = difference(told, &latest, revision);
                *told = latest;
                MirrorChange { kind: ChangeKind::Rebuilt, events, revision, error: None }
            }
            Next::Ended(change) => change,
        }
    }
}

/// What a change takes of memory: what was there before its events is the copy's, or another change's.
fn cost(change: &MirrorChange) -> usize {
    let entries: usize = change.events.iter().map(|event| event.kv.size()).sum();
    size_of::<MirrorChange>() + change.events.capacity() * size_of::<MirrorEvent>() + entries
}

fn apply(tree: &mut Tree, events: &[MirrorEvent]) {
    for event in events {
        match event.event_type {
            EventType::Put => drop(tree.insert(event.kv.clone())),
            EventType::Delete => drop(tree.remove(event.kv.key())),
        }
    }
}
