//! What the thread that renews leases does between renewals: of each lease's owner one chore at most, so that however
//! often something is to be done, there is a bound to what waits.

use crate::net::{BootTime, Control};
use std::collections::{BTreeSet, HashMap};

/// Does within these bounds what one request can do, once it has been called. Dropped with the lease.
pub(crate) type Chore = Box<dyn FnMut(&Control) -> Again + Send>;

/// When a chore is to be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Once it is called.
    WhenCalled,
    /// After a pause.
    Later,
    /// In the thread's next turn: renewals that are due go before.
    Next,
}

/// The chores of a client's leases, by the leases' numbers.
#[derive(Default)]
pub(super) struct Chores {
    all: HashMap<u64, Slot>,
    /// Those that are to be done, by when that may begin.
    waiting: BTreeSet<(BootTime, u64)>,
}

struct Slot {
    /// None: it is being done.
    chore: Option<Chore>,
    /// In `waiting` since, or from then on.
    next: Option<BootTime>,
}

impl Chores {
    pub(super) fn add(&mut self, number: u64, chore: Chore) {
        self.all.insert(number, Slot { chore: Some(chore), next: None });
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Chore> {
        let slot = self.all.remove(&number)?;
        if let Some(next) = slot.next {
            self.waiting.remove(&(next, number));
        }
        slot.chore
    }

    /// It is to be done from this moment on, if not from an earlier one. Those called earlier go before. False: there is
    /// none.
    pub(super) fn call(&mut self, number: u64, moment: BootTime) -> bool {
        let Some(slot) = self.all.get_mut(&number) else { return false };
        if let Some(next) = slot.next {
            self.waiting.remove(&(next, number));
        }
        let next = slot.next.map_or(moment, |next| next.min(moment));
        slot.next = Some(next);
        self.waiting.insert((next, number));
        true
    }

    /// The one to be done now, which is to be given back.
    pub(super) fn take_due(&mut self, now: BootTime) -> Option<(u64, Chore)> {
        let (next, number) = self.waiting.first().copied().filter(|(next, _)| *next <= now)?;
        let slot = self.all.get_mut(&number)?;
        let chore = slot.chore.take()?;
        slot.next = None;
        self.waiting.remove(&(next, number));
        Some((number, chore))
    }

    /// Back from being done, or from not being done after all, to be done again from this moment on, or when it is
    /// called; it may have been meanwhile. Answers it where its lease is kept no longer.
    pub(super) fn give_back(&mut self, number: u64, chore: Chore, next: Option<BootTime>) -> Option<Chore> {
        let Some(slot) = self.all.get_mut(&number) else { return Some(chore) };
        slot.chore = Some(chore);
        if let Some(next) = next {
            self.call(number, next);
        }
        None
    }

    /// When the first may begin; `None`: there is nothing to do.
    pub(super) fn wakes(&self) -> Option<BootTime> {
        self.waiting.first().map(|(next, _)| *next)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> BootTime {
        BootTime::since_boot(Duration::from_secs(seconds))
    }

    fn chores(numbers: &[u64]) -> Chores {
        let mut chores = Chores::default();
        for number in numbers {
            chores.add(*number, Box::new(|_| Again::WhenCalled));
        }
        chores
    }

    #[test]
    fn a_chore_is_done_once_however_often_it_is_called_before() {
        let mut chores = chores(&[1]);
        assert!(chores.take_due(at(9)).is_none());
        for moment in [5, 3, 4] {
            assert!(chores.call(1, at(moment)));
        }
        assert_eq!(chores.wakes(), Some(at(3)));
        assert!(chores.take_due(at(2)).is_none());
        let (number, chore) = chores.take_due(at(3)).unwrap();
        assert!(chores.take_due(at(9)).is_none() && chores.wakes().is_none());
        assert!(chores.give_back(number, chore, None).is_none() && chores.wakes().is_none());
        assert!(!chores.call(2, at(0)), "no such chore");
    }

    #[test]
    fn one_that_is_called_while_it_is_done_is_done_again() {
        let mut chores = chores(&[1]);
        chores.call(1, at(1));
        let (number, chore) = chores.take_due(at(1)).unwrap();
        chores.call(1, at(2));
        assert!(chores.take_due(at(3)).is_none(), "it is being done");
        chores.give_back(number, chore, Some(at(7)));
        assert_eq!(chores.wakes(), Some(at(2)));
    }

    #[test]
    fn those_that_are_called_again_and_again_leave_the_others_their_turn() {
        let mut chores = chores(&[1, 2]);
        for moment in 0..4 {
            chores.call(1, at(moment));
            chores.call(2, at(moment));
            for number in [1, 2] {
                let (taken, chore) = chores.take_due(at(moment)).unwrap();
                assert_eq!(taken, number);
                chores.give_back(taken, chore, Some(at(moment + 1)));
            }
        }
    }

    #[test]
    fn one_that_is_removed_is_not_done_and_does_not_come_back() {
        let mut chores = chores(&[1, 2]);
        chores.call(1, at(1));
        chores.call(2, at(2));
        assert!(chores.remove(1).is_some() && chores.wakes() == Some(at(2)));
        let (number, chore) = chores.take_due(at(2)).unwrap();
        assert!(chores.remove(2).is_none(), "it is being done");
        assert!(chores.give_back(number, chore, Some(at(0))).is_some() && chores.wakes().is_none());
    }
}
