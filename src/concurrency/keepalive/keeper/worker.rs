//! What the thread that renews leases does.

use super::{FAR_AWAY, Running, SHORTEST_PATIENCE, State, Work};
use crate::channel::Channel;
use crate::concurrency::keepalive::chores::{Again, Chore};
use crate::concurrency::keepalive::kept::{Kept, seconds};
use crate::concurrency::keepalive::schedule::Schedule;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::net::{BootTime, CancelToken, Control, Timer, lock, no_descriptor};
use crate::rpc::lease::{self, KeepAliveResponse};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What runs on the thread.
pub(super) struct Worker {
    pub state: Arc<Mutex<State>>,
    pub channel: Arc<Channel>,
    pub timer: Timer,
    pub badge: Arc<()>,
}

impl Worker {
    pub(super) fn run(&self) {
        let error = match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(None) => return,
            Ok(Some(error)) => error,
            Err(_) => Error::Panic("the thread that renews leases panicked".to_owned()),
        };
        // There will be no renewal any more, but by another thread of what is kept from now on.
        let mut state = lock(&self.state);
        let Some(running) = state.running.as_mut().filter(|running| self.is_of(running)) else { return };
        running.has_ended = true;
        state.is_closed |= matches!(error, Error::Closed { .. });
        state.schedule = Schedule::default();
        let (kept, chores) = (state.kept.values().cloned().collect::<Vec<_>>(), std::mem::take(&mut state.chores));
        drop(state);
        kept.iter().for_each(|kept| kept.lose(error.clone()));
        drop(chores);
    }

    /// Until it is to end, or ends by an error.
    fn work(&self) -> Option<Error> {
        loop {
            let mut state = lock(&self.state);
            if !state.running.as_ref().is_some_and(|running| self.is_of(running)) {
                return None;
            }
            let now = BootTime::now();
            let lost = state.take_lost(now);
            let (work, until) = state.next_work(now);
            let interrupt = state.interrupt(until, matches!(work, Work::Nothing));
            let trouble = state.trouble.clone().filter(|_| !lost.is_empty());
            drop(state);
            self.tell_lost(lost, trouble);
            let ended = match interrupt {
                Ok(interrupt) => self.do_work(work, until, interrupt),
                Err(error) => self.do_later(work, error),
            };
            match ended {
                Err(error @ Error::Closed { .. }) => return Some(error),
                Err(error) => self.log(Level::Warn, &format!("renewing leases is troubled: {}", error.full_message())),
                Ok(()) => {}
            }
        }
    }

    fn is_of(&self, running: &Running) -> bool {
        Arc::ptr_eq(&running.badge, &self.badge)
    }

    fn do_work(&self, work: Work, until: Option<BootTime>, interrupt: Arc<CancelToken>) -> Result<()> {
        let limit = until.map_or(Duration::ZERO, |until| until.left(BootTime::now()));
        let control = Control { deadline: Deadline::after(limit), cancel: Some(interrupt) };
        match work {
            Work::Renew(batch) => self.renew(&batch, &control),
            Work::Chore(number, chore) => {
                self.do_chore(number, chore, &control);
                Ok(())
            }
            Work::Nothing => self.sleep(until, &Control { deadline: Deadline::NEVER, ..control }),
        }
    }

    /// Puts it off for lack of a descriptor.
    fn do_later(&self, work: Work, error: Error) -> Result<()> {
        let mut state = lock(&self.state);
        let next = BootTime::now() + state.pause(BootTime::now());
        let mut dead = None;
        match work {
            Work::Renew(batch) => batch.iter().for_each(|(number, _)| state.schedule.failed(*number, next)),
            Work::Chore(number, chore) => dead = state.chores.give_back(number, chore, Some(next)),
            Work::Nothing => {}
        }
        drop(state);
        drop(dead);
        std::thread::sleep(SHORTEST_PATIENCE);
        Err(error)
    }

    fn sleep(&self, until: Option<BootTime>, control: &Control) -> Result<()> {
        self.timer.set(until.unwrap_or(FAR_AWAY)).map_err(no_descriptor)?;
        match self.channel.wait_for_timer(&self.timer, control) {
            Err(Error::Cancelled { .. }) => Ok(()),
            waited => waited,
        }
    }

    /// Renews these in one request.
    fn renew(&self, batch: &[(u64, i64)], control: &Control) -> Result<()> {
        let leases: Vec<i64> = batch.iter().map(|(_, lease)| *lease).collect();
        // Before it is sent: the server counts from later on.
        let sent = BootTime::now();
        match lease::refresh_several(&self.channel, &leases, control) {
            Ok(answers) => self.take_in(batch, sent, &answers),
            Err(error @ Error::Closed { .. }) => return Err(error),
            Err(error) => self.put_off(batch, &error),
        }
        Ok(())
    }

    fn take_in(&self, batch: &[(u64, i64)], sent: BootTime, answers: &[KeepAliveResponse]) {
        let mut told = Vec::with_capacity(batch.len());
        let mut state = lock(&self.state);
        let now = BootTime::now();
        let pause = state.pause(now);
        state.trouble = None;
        for (number, lease) in batch {
            let Some(answer) = answers.iter().find(|answer| answer.id == *lease) else {
                state.schedule.refused(*number, now, pause);
                continue;
            };
            // Lost or given up meanwhile.
            let Some(kept) = state.kept.get(number).cloned() else { continue };
            if state.schedule.deadline(*number).is_none() {
                continue;
            }
            if answer.ttl > 0 {
                kept.lives_until(sent + seconds(answer.ttl));
                state.schedule.renewed(*number, sent, seconds(answer.ttl));
            } else {
                state.schedule.remove(*number);
            }
            told.push((kept, answer.ttl));
        }
        drop(state);
        for (kept, ttl) in told {
            match ttl {
                1.. => kept.listener.renewed(kept.lease, ttl),
                _ => kept.lose(Error::LeaseExpired { id: kept.lease }),
            }
        }
    }

    fn put_off(&self, batch: &[(u64, i64)], error: &Error) {
        let mut state = lock(&self.state);
        let now = BootTime::now();
        if matches!(error, Error::Cancelled { .. }) {
            // Interrupted, since something else is more urgent.
            return batch.iter().for_each(|(number, _)| state.schedule.failed(*number, now));
        }
        let pause = state.pause(now);
        if matches!(error, Error::Server { .. }) && !error.is_retryable() {
            // A refusal is of one of them, which must not take the others along.
            batch.iter().for_each(|(number, _)| state.schedule.refused(*number, now, pause));
        } else {
            batch.iter().for_each(|(number, _)| state.schedule.failed(*number, now + pause));
            state.schedule.pause_until(now + pause);
        }
        let why = error.full_message();
        let is_new = state.trouble.is_none();
        state.trouble = Some(why.clone());
        drop(state);
        let level = if is_new { Level::Warn } else { Level::Debug };
        self.log(level, &format!("{} leases are not renewed yet: {why}", batch.len()));
    }

    fn do_chore(&self, number: u64, mut chore: Chore, control: &Control) {
        let again = chore(control);
        let mut state = lock(&self.state);
        let now = BootTime::now();
        let next = match again {
            Again::WhenCalled => None,
            Again::Later => Some(now + state.pause(now)),
            Again::Next => Some(now),
        };
        // Lost meanwhile, or kept no longer.
        let dead = if state.schedule.deadline(number).is_none() {
            (state.chores.remove(number), Some(chore))
        } else {
            (None, state.chores.give_back(number, chore, next))
        };
        drop(state);
        drop(dead);
    }

    fn tell_lost(&self, lost: Vec<Arc<Kept>>, trouble: Option<String>) {
        for kept in lost {
            let id = kept.lease;
            let why = trouble.as_deref().unwrap_or("the process did not run for too long");
            self.log(Level::Error, &format!("lease {id:x} was not renewed in time: {why}"));
            kept.lose(Error::LeaseExpired { id });
        }
    }

    fn log(&self, level: Level, line: &str) {
        self.channel.logger().log(level, format_args!("{line}"));
    }
}
