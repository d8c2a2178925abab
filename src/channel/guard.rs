//! Whether an answer comes from this cluster, and from a member that is not behind what the client has seen.
//!
//! A header tells the cluster's ID, the term of the last entry that the member has applied, and its revision. Terms
//! and revisions never go back in one cluster, but a single member may be behind the others: after a restart, or cut
//! off from them. What it then says in answer to a linearizable read is still right, since etcd lets it catch up
//! first; its term may lag nevertheless, for one that caught up by a snapshot learns the term only with the next
//! entry. So being behind is never an error here: it is a reason to ask another member, and to keep the answer for the
//! case that none has a better one. When all members that answer are behind, the cluster was restored from a backup.
//!
//! A foreign cluster is an error, always: it knows nothing of the keys asked for.
//!
//! A guard belongs to the endpoints that the caller has named, and is replaced together with them: an answer that was
//! asked for before is judged by what was seen before, and says nothing of the cluster of the new ones.

use crate::gateway::Header;
use crate::net::lock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What has been seen of the cluster of the endpoints named last.
#[derive(Debug, Default)]
pub(super) struct Guard {
    cluster_id: AtomicU64,
    raft_term: AtomicU64,
    revision: AtomicI64,
    /// The endpoints found behind since one was not; the flag saves looking. Locked before the endpoints are.
    behind: Mutex<Vec<Arc<str>>>,
    any_behind: AtomicBool,
}

/// The furthest that was seen before a request went out: what arrives meanwhile may be ahead of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    raft_term: u64,
    pub revision: i64,
}

/// What an answer's header says of the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fits,
    Behind,
    /// Of another cluster than the client's.
    Foreign {
        ours: u64,
    },
}

impl Guard {
    /// The cluster that the client is of; 0: that isn't known yet.
    pub(super) fn cluster_id(&self) -> u64 {
        self.cluster_id.load(Ordering::Relaxed)
    }

    pub(super) fn seen(&self) -> Seen {
        Seen { raft_term: self.raft_term.load(Ordering::Relaxed), revision: self.revision.load(Ordering::Relaxed) }
    }

    /// Judges an answer from its header; what the header doesn't say is zero. `checks_revision`: the request was one
    /// whose answer can't be of an older revision than those before it.
    pub(super) fn judge(&self, header: &Header, seen: Seen, checks_revision: bool, endpoint: &Arc<str>) -> Verdict {
        if header.cluster_id == 0 {
            return Verdict::Fits;
        }
        let ours = self.cluster_or_first(header.cluster_id);
        if ours != header.cluster_id {
            return Verdict::Foreign { ours };
        }
        let term_is_behind = header.raft_term != 0 && header.raft_term < seen.raft_term;
        let revision_is_behind = checks_revision && header.revision != 0 && header.revision < seen.revision;
        if term_is_behind || revision_is_behind {
            self.note_behind(endpoint);
            return Verdict::Behind;
        }
        self.raft_term.fetch_max(header.raft_term, Ordering::Relaxed);
        self.revision.fetch_max(header.revision, Ordering::Relaxed);
        if self.any_behind.load(Ordering::Relaxed) {
            self.any_behind.store(false, Ordering::Relaxed);
            lock(&self.behind).clear();
        }
        Verdict::Fits
    }

    /// Takes the cluster for restored, and what this header says for the furthest that it has come, unless there are
    /// other endpoints than those behind that `may_be_ahead`, or one was found that is not behind. Whether it did.
    pub(super) fn believe_restored(&self, header: &Header, may_be_ahead: impl FnOnce(&[Arc<str>]) -> bool) -> bool {
        let mut behind = lock(&self.behind);
        if behind.is_empty() || may_be_ahead(&behind) {
            return false;
        }
        self.raft_term.store(header.raft_term, Ordering::Relaxed);
        self.revision.store(header.revision, Ordering::Relaxed);
        behind.clear();
        true
    }

    /// The cluster that the client is of. The first answer decides.
    pub(super) fn cluster_or_first(&self, cluster_id: u64) -> u64 {
        match self.cluster_id.load(Ordering::Relaxed) {
            0 => match self.cluster_id.compare_exchange(0, cluster_id, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => cluster_id,
                Err(first) => first,
            },
            known => known,
        }
    }

    fn note_behind(&self, endpoint: &Arc<str>) {
        let mut behind = lock(&self.behind);
        self.any_behind.store(true, Ordering::Relaxed);
        if !behind.contains(endpoint) {
            behind.push(endpoint.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cluster_id: u64, raft_term: u64, revision: i64) -> Header {
        Header { cluster_id, member_id: 1, revision, raft_term }
    }

    /// Judges an answer to a request that is sent and answered before anything else happens.
    fn judge(guard: &Guard, at: &str, header: Header, checks_revision: bool) -> Verdict {
        guard.judge(&header, guard.seen(), checks_revision, &Arc::from(at))
    }

    #[test]
    fn terms_and_revisions_that_go_on_fit() {
        let guard = Guard::default();
        for (term, revision) in [(2, 10), (2, 10), (2, 11), (3, 11), (7, 500)] {
            assert_eq!(judge(&guard, "a", header(1, term, revision), true), Verdict::Fits);
        }
    }

    #[test]
    fn a_term_that_goes_back_is_behind_whatever_was_asked() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), false);
        assert_eq!(judge(&guard, "b", header(1, 4, 10), false), Verdict::Behind);
        assert_eq!(judge(&guard, "b", header(1, 5, 10), false), Verdict::Fits);
    }

    #[test]
    fn a_revision_that_goes_back_counts_only_where_it_can_not() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), true);
        assert_eq!(judge(&guard, "b", header(1, 5, 9), false), Verdict::Fits);
        assert_eq!(judge(&guard, "b", header(1, 5, 9), true), Verdict::Behind);
    }

    #[test]
    fn an_answer_that_was_overtaken_on_its_way_is_not_behind() {
        let guard = Guard::default();
        let seen = guard.seen();
        judge(&guard, "a", header(1, 9, 90), true);
        let verdict = guard.judge(&header(1, 8, 80), seen, true, &Arc::from("b"));
        assert_eq!(verdict, Verdict::Fits);
        assert_eq!(judge(&guard, "b", header(1, 8, 90), true), Verdict::Behind, "the furthest is kept");
    }

    #[test]
    fn a_header_that_says_nothing_fits() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), true);
        assert_eq!(judge(&guard, "a", header(0, 0, 0), true), Verdict::Fits);
        assert_eq!(judge(&guard, "a", header(1, 0, 0), true), Verdict::Fits);
    }

    /// Whether the cluster is taken for restored where only these may be ahead.
    fn believes(guard: &Guard, others: &[&str]) -> bool {
        let may_be_ahead =
            |behind: &[Arc<str>]| others.iter().any(|other| behind.iter().all(|known| **known != **other));
        guard.believe_restored(&header(1, 2, 4), may_be_ahead)
    }

    #[test]
    fn when_every_member_that_answers_is_behind_the_cluster_was_restored() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), true);
        assert_eq!(judge(&guard, "b", header(1, 2, 4), true), Verdict::Behind);
        assert_eq!(judge(&guard, "b", header(1, 2, 4), true), Verdict::Behind);
        assert!(!believes(&guard, &["a", "b"]));
        assert_eq!(judge(&guard, "a", header(1, 2, 4), true), Verdict::Behind);
        assert!(believes(&guard, &["a", "b"]));
        assert_eq!(judge(&guard, "a", header(1, 2, 5), true), Verdict::Fits);
        assert_eq!(judge(&guard, "b", header(1, 2, 5), true), Verdict::Fits);
    }

    #[test]
    fn one_member_that_is_ahead_clears_the_suspicion_of_a_restore() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), true);
        judge(&guard, "b", header(1, 2, 4), true);
        judge(&guard, "a", header(1, 5, 11), true);
        assert!(!believes(&guard, &[]), "a is ahead");
        judge(&guard, "c", header(1, 2, 4), true);
        assert!(!believes(&guard, &["a", "b"]), "b was not asked again");
    }

    #[test]
    fn another_cluster_is_foreign_and_nothing_is_learnt_from_it() {
        let guard = Guard::default();
        judge(&guard, "a", header(1, 5, 10), true);
        assert_eq!(judge(&guard, "b", header(2, 9, 99), true), Verdict::Foreign { ours: 1 });
        assert_eq!(judge(&guard, "a", header(1, 5, 10), true), Verdict::Fits);
    }
}
