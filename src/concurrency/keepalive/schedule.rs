//! When each of a client's leases is to be renewed, and when it is lost.

use crate::net::BootTime;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// A lease that is kept is renewed when a third of its time has passed, as clientv3 does: two more attempts have as
/// much time as this one.
const RENEWALS_PER_TTL: u32 = 3;

/// A request that goes out takes those along that would be due so soon. From then on they are due together.
const EARLY: Duration = Duration::from_millis(200);

/// The kept leases of a client, each known by a number: one lease may be kept twice.
#[derive(Default)]
pub(super) struct Schedule {
    items: HashMap<u64, Item>,
    /// Those that wait for their time.
    waiting: BTreeSet<(BootTime, u64)>,
    /// Those whose time has come, the one that is lost first first.
    due: BTreeSet<(BootTime, u64)>,
    /// All, by when they are lost.
    deadlines: BTreeSet<(BootTime, u64)>,
    /// Nothing is renewed before.
    not_before: BootTime,
}

struct Item {
    lease: i64,
    deadline: BootTime,
    /// When its time comes, or came.
    next: BootTime,
    /// It is renewed in a request of its own, since one with others was refused.
    is_alone: bool,
}

impl Schedule {
    /// Keeps a lease whose last renewal was sent at this moment and gave it so much time. Answers when its next is due.
    pub(super) fn add(&mut self, number: u64, lease: i64, sent: BootTime, ttl: Duration) -> BootTime {
        let (deadline, next) = (sent + ttl, sent + ttl / RENEWALS_PER_TTL);
        self.items.insert(number, Item { lease, deadline, next, is_alone: false });
        self.deadlines.insert((deadline, number));
        self.waiting.insert((next, number));
        next
    }

    /// Keeps it no longer.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(item) = self.items.remove(&number) {
            self.waiting.remove(&(item.next, number));
            self.due.remove(&(item.deadline, number));
            self.deadlines.remove(&(item.deadline, number));
        }
    }

    /// Those that are lost by now, which are kept no longer.
    pub(super) fn take_lost(&mut self, now: BootTime) -> Vec<u64> {
        let mut lost = Vec::new();
        while let Some((_, number)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.remove(number);
            lost.push(number);
        }
        lost
    }

    /// Those to be renewed now in one request, with their leases: what is lost soonest first, so that after an outage
    /// long leases don't keep short ones waiting. Each is to be told what became of it.
    pub(super) fn take_due(&mut self, now: BootTime, most: usize) -> Vec<(u64, i64)> {
        if now < self.not_before {
            return Vec::new();
        }
        while self.move_one(now) {}
        while !self.due.is_empty() && self.due.len() < most && self.move_one(now + EARLY) {}
        let is_alone = |number: u64| self.items.get(&number).is_some_and(|item| item.is_alone);
        let taken: Vec<(BootTime, u64)> = match self.due.first().copied() {
            Some(first) if is_alone(first.1) => vec![first],
            _ => self.due.iter().filter(|(_, number)| !is_alone(*number)).take(most).copied().collect(),
        };
        self.due.retain(|entry| !taken.contains(entry));
        taken.into_iter().filter_map(|(_, number)| Some((number, self.items.get(&number)?.lease))).collect()
    }

    /// The time of the first that waits has come, where it comes by this moment.
    fn move_one(&mut self, moment: BootTime) -> bool {
        let Some((next, number)) = self.waiting.first().copied().filter(|(next, _)| *next <= moment) else {
            return false;
        };
        self.waiting.remove(&(next, number));
        if let Some(item) = self.items.get(&number) {
            self.due.insert((item.deadline, number));
        }
        true
    }

    /// A renewal sent at this moment gave it so much time.
    pub(super) fn renewed(&mut self, number: u64, sent: BootTime, ttl: Duration) {
        let Some(lease) = self.items.get(&number).map(|item| item.lease) else { return };
        self.remove(number);
        self.add(number, lease, sent, ttl);
    }

    /// Its renewal failed, and is to be tried again then.
    pub(super) fn failed(&mut self, number: u64, next: BootTime) {
        if let Some(item) = self.items.get_mut(&number) {
            item.next = next;
            self.waiting.insert((next, number));
        }
    }

    /// Its renewal, or that of another in the same request, was refused. It is to be tried again after this pause, in a
    /// request of its own; when that is refused as well, only so often that it doesn't become a flood.
    pub(super) fn refused(&mut self, number: u64, now: BootTime, pause: Duration) {
        let Some(item) = self.items.get_mut(&number) else { return };
        let rarely = item.deadline.left(now) / RENEWALS_PER_TTL;
        let pause = if item.is_alone { pause.max(rarely) } else { pause };
        item.is_alone = true;
        self.failed(number, now + pause);
    }

    /// Nothing is renewed before: there is nobody to ask.
    pub(super) fn pause_until(&mut self, moment: BootTime) {
        self.not_before = moment;
    }

    /// When there is something to do; `None`: never.
    pub(super) fn wakes(&self) -> Option<BootTime> {
        let waiting = self.waiting.first().map(|(next, _)| *next);
        let due = if self.due.is_empty() { waiting } else { Some(BootTime::default()) };
        let renewal = due.map(|moment| moment.max(self.not_before));
        let loss = self.deadlines.first().map(|(deadline, _)| *deadline);
        renewal.into_iter().chain(loss).min()
    }

    /// When the next is lost that is not renewed.
    pub(super) fn first_deadline(&self) -> Option<BootTime> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// When this one is lost.
    pub(super) fn deadline(&self, number: u64) -> Option<BootTime> {
        self.items.get(&number).map(|item| item.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::since_boot(Duration::from_secs(seconds))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn numbers(taken: Vec<(u64, i64)>) -> Vec<u64> {
        taken.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_lease_is_due_after_a_third_of_its_time_counted_from_the_sending() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.add(1, 77, at(100), seconds(60)), at(120));
        assert_eq!(schedule.wakes(), Some(at(120)));
        assert!(schedule.take_due(at(119), 10).is_empty());
        assert_eq!(schedule.take_due(at(120), 10), [(1, 77)]);
        assert_eq!(schedule.wakes(), Some(at(160)), "under way: only its loss is waited for");
        schedule.renewed(1, at(120), seconds(60));
        assert_eq!((schedule.wakes(), schedule.deadline(1)), (Some(at(140)), Some(at(180))));
    }

    #[test]
    fn one_that_is_not_renewed_is_lost_once_at_its_deadline() {
        let mut schedule = Schedule::default();
        schedule.add(1, 77, at(0), seconds(60));
        schedule.add(2, 78, at(0), seconds(90));
        assert_eq!(numbers(schedule.take_due(at(25), 10)), [1]);
        schedule.failed(1, at(26));
        assert_eq!(schedule.wakes(), Some(at(26)));
        assert!(schedule.take_lost(at(59)).is_empty());
        assert_eq!(schedule.take_lost(at(60)), [1]);
        assert!(schedule.take_lost(at(60)).is_empty());
        assert_eq!(numbers(schedule.take_due(at(60), 10)), [2]);
        schedule.renewed(1, at(60), seconds(60));
        assert_eq!(schedule.deadline(1), None, "an answer that comes too late changes nothing");
    }

    #[test]
    fn of_many_that_are_due_those_lost_soonest_go_first() {
        let mut schedule = Schedule::default();
        for (number, ttl) in [(1, 60), (2, 30), (3, 90), (4, 31)] {
            schedule.add(number, 0, at(0), seconds(ttl));
        }
        assert_eq!(numbers(schedule.take_due(at(29), 2)), [2, 4]);
        assert_eq!(schedule.wakes(), Some(at(0)), "more is due");
        assert_eq!(numbers(schedule.take_due(at(29), 2)), [1]);
        assert_eq!(schedule.wakes(), Some(at(30)));
        assert_eq!(numbers(schedule.take_due(at(30), 2)), [3]);
    }

    #[test]
    fn a_refused_one_goes_alone_and_the_others_together_without_it() {
        let mut schedule = Schedule::default();
        for number in 1..=4 {
            schedule.add(number, 0, at(0), seconds(30 + number));
        }
        assert_eq!(numbers(schedule.take_due(at(20), 2)), [1, 2]);
        schedule.refused(1, at(20), seconds(1));
        schedule.refused(2, at(20), seconds(1));
        assert_eq!(numbers(schedule.take_due(at(21), 10)), [1]);
        assert_eq!(numbers(schedule.take_due(at(21), 10)), [2]);
        assert_eq!(numbers(schedule.take_due(at(21), 10)), [3, 4]);
        schedule.renewed(1, at(21), seconds(30));
        schedule.renewed(2, at(21), seconds(30));
        assert_eq!(numbers(schedule.take_due(at(40), 10)), [1, 2], "renewed: it may go with others again");
        schedule.refused(1, at(40), seconds(1));
        assert_eq!(numbers(schedule.take_due(at(41), 10)), [1]);
        schedule.refused(1, at(42), seconds(1));
        assert!(schedule.take_due(at(44), 10).is_empty(), "it has nine seconds left, and waits for three");
        assert_eq!(numbers(schedule.take_due(at(45), 10)), [1]);
    }

    #[test]
    fn those_that_are_due_a_little_later_go_along_and_stay_together() {
        let mut schedule = Schedule::default();
        let start = |milliseconds| at(0) + Duration::from_millis(milliseconds);
        for (number, milliseconds) in [(1, 0), (2, 50), (3, 150), (4, 900)] {
            schedule.add(number, 0, start(milliseconds), seconds(30));
        }
        assert!(schedule.take_due(at(9), 10).is_empty());
        assert_eq!(numbers(schedule.take_due(at(10), 2)), [1, 2]);
        assert!(schedule.take_due(at(10), 10).is_empty(), "nobody goes early alone");
        for number in [1, 2] {
            schedule.renewed(number, at(10), seconds(30));
        }
        assert_eq!(numbers(schedule.take_due(start(10_150), 10)), [3]);
        assert_eq!(numbers(schedule.take_due(at(20), 10)), [4, 1, 2]);
    }

    #[test]
    fn while_nobody_answers_nothing_is_due_but_losses_are_told_in_time() {
        let mut schedule = Schedule::default();
        schedule.add(1, 0, at(0), seconds(30));
        schedule.pause_until(at(25));
        assert!(schedule.take_due(at(20), 10).is_empty());
        assert_eq!(schedule.wakes(), Some(at(25)));
        schedule.pause_until(at(40));
        assert_eq!(schedule.wakes(), Some(at(30)));
        assert_eq!(schedule.take_lost(at(30)), [1]);
        assert_eq!(schedule.wakes(), None);
    }

    #[test]
    fn what_is_removed_is_neither_due_nor_lost() {
        let mut schedule = Schedule::default();
        for number in 1..=3 {
            schedule.add(number, 0, at(0), seconds(30));
        }
        schedule.remove(1);
        assert_eq!(numbers(schedule.take_due(at(10), 1)), [2]);
        schedule.remove(2);
        schedule.remove(3);
        assert!(schedule.take_due(at(30), 10).is_empty() && schedule.take_lost(at(99)).is_empty());
        assert_eq!((schedule.wakes(), schedule.first_deadline()), (None, None));
    }
}
