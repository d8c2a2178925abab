//! Whether the cluster has one member only. Then none lags behind, and a watch without a start revision starts where it is
//! confirmed; elsewhere the store's revision is read before, or it might tell as new what had happened before it was begun.
//!
//! To know that takes a request as well, so the cluster is asked only while many watches are begun, one after another. It is
//! asked in place of a read, which the answer may spare, so that the two don't take a connection each.

use super::Reactor;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::limits;
use crate::watch::errand::Errand;
use std::time::{Duration, Instant};

/// What is known of that.
#[derive(Default)]
pub(super) struct Solitude {
    /// Watches that were begun lately, and since when they are counted.
    starts: usize,
    counted_since: Option<Instant>,
    /// It is to be asked once no read is under way.
    is_due: bool,
    /// When the cluster was asked, and which it is, while there is no answer.
    asked: Option<(Instant, u64)>,
    /// The same of the last time that it had one member.
    alone: Option<(Instant, u64)>,
    /// It isn't asked before.
    rests_until: Option<Instant>,
}

impl Solitude {
    /// A watch is to start.
    fn count_start(&mut self, now: Instant) {
        if !self.is_counting(now) {
            (self.starts, self.counted_since) = (0, Some(now));
        }
        self.starts += 1;
    }

    fn is_counting(&self, now: Instant) -> bool {
        self.counted_since.is_some_and(|since| now.saturating_duration_since(since) <= limits::WATCH_SOLITUDE_AGE)
    }

    /// Whether this cluster, which isn't being asked, is worth a request now.
    fn is_worth_asking(&self, cluster_id: u64, now: Instant) -> bool {
        let are_many = self.starts >= limits::WATCH_SOLITUDE_STARTS && self.is_counting(now);
        let rests = self.rests_until.is_some_and(|end| now < end);
        are_many && !rests && !self.is_alone(cluster_id, now, limits::WATCH_SOLITUDE_AGE / 2)
    }

    /// The cluster has answered, or nothing that tells.
    fn learn(&mut self, count: Option<usize>, now: Instant) {
        let asked = self.asked.take();
        if count == Some(1) {
            self.alone = asked;
        } else {
            (self.alone, self.rests_until) = (None, Some(now + limits::WATCH_SOLITUDE_REST));
        }
    }

    /// Whether it had one member when it was asked, which is no longer ago than that.
    fn is_alone(&self, cluster_id: u64, now: Instant, at_most: Duration) -> bool {
        self.alone.is_some_and(|(asked, of)| of == cluster_id && now.saturating_duration_since(asked) <= at_most)
    }
}

impl Reactor {
    /// Whether a watch that is to start now does so at whichever member it is put.
    pub(super) fn starts_at_any_member(&mut self) -> bool {
        let (cluster_id, now, solitude) = (self.channel.cluster_id(), Instant::now(), &mut self.solitude);
        solitude.count_start(now);
        solitude.is_due = solitude.asked.is_none() && solitude.is_worth_asking(cluster_id, now);
        solitude.is_alone(cluster_id, now, limits::WATCH_SOLITUDE_AGE)
    }

    /// Asks the cluster where that is due. Whether it is being asked.
    pub(super) fn ask_for_solitude(&mut self) -> bool {
        if std::mem::take(&mut self.solitude.is_due) {
            self.solitude.asked = Some((Instant::now(), self.channel.cluster_id()));
            // A later answer would be of no use.
            self.send_errand(Errand::CountMembers, Deadline::after(limits::WATCH_SOLITUDE_AGE));
        }
        self.solitude.asked.is_some()
    }

    /// How many members the cluster has, as far as it has told.
    pub(super) fn take_members(&mut self, count: Result<usize>) {
        self.solitude.learn(count.ok(), Instant::now());
        if self.solitude.alone.is_some() {
            self.place_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: usize = limits::WATCH_SOLITUDE_STARTS;

    /// Begins so many watches at once. Whether the cluster is asked then.
    fn begin(solitude: &mut Solitude, count: usize, now: Instant) -> bool {
        (0..count).for_each(|_| solitude.count_start(now));
        let asks = solitude.is_worth_asking(7, now);
        if asks {
            solitude.asked = Some((now, 7));
        }
        asks
    }

    #[test]
    fn a_cluster_is_asked_when_many_watches_are_begun_within_a_moment_and_not_after_that() {
        let (mut solitude, now) = (Solitude::default(), Instant::now());
        for second in 0..3 {
            assert!(!begin(&mut solitude, STARTS - 1, now + Duration::from_millis(1001 * second)));
        }
        let last = now + Duration::from_millis(2002);
        assert!(begin(&mut solitude, 1, last));
        assert!(!solitude.is_worth_asking(7, last + Duration::from_millis(1001)));
        assert!(!solitude.is_alone(7, last, Duration::MAX));
    }

    #[test]
    fn what_it_has_answered_holds_for_a_moment_from_the_question_on_and_is_asked_again_before_that_is_over() {
        let (mut solitude, asked) = (Solitude::default(), Instant::now());
        let after = |millis| asked + Duration::from_millis(millis);
        begin(&mut solitude, STARTS, asked);
        solitude.learn(Some(1), after(400));
        let is_alone = |solitude: &Solitude, now| solitude.is_alone(7, now, limits::WATCH_SOLITUDE_AGE);
        assert!(is_alone(&solitude, after(1000)) && !is_alone(&solitude, after(1001)));
        assert!(!begin(&mut solitude, 1, after(500)));
        assert!(begin(&mut solitude, 1, after(501)));
        solitude.learn(Some(1), after(600));
        assert!(is_alone(&solitude, after(1501)) && !is_alone(&solitude, after(1502)));
    }

    #[test]
    fn the_answer_of_one_cluster_says_nothing_of_another() {
        let (mut solitude, now) = (Solitude::default(), Instant::now());
        begin(&mut solitude, STARTS, now);
        solitude.learn(Some(1), now);
        assert!(!solitude.is_alone(8, now, Duration::MAX));
        assert!(solitude.is_worth_asking(8, now));
    }

    #[test]
    fn a_cluster_that_has_several_members_or_does_not_tell_is_not_asked_again_soon() {
        for count in [None, Some(0), Some(2), Some(3)] {
            let (mut solitude, now) = (Solitude::default(), Instant::now());
            begin(&mut solitude, STARTS, now);
            solitude.learn(Some(1), now);
            begin(&mut solitude, STARTS, now + Duration::from_millis(501));
            solitude.learn(count, now + Duration::from_millis(502));
            assert!(!solitude.is_alone(7, now, Duration::MAX), "{count:?}");
            assert!(!begin(&mut solitude, 100, now + Duration::from_secs(59)), "{count:?}");
            assert!(begin(&mut solitude, 100, now + Duration::from_secs(61)), "{count:?}");
        }
    }
}
