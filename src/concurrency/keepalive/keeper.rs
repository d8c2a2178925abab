//! The thread that renews the leases of a client.

use super::Listener;
use super::chores::{Again, Chore, Chores};
use super::schedule::Schedule;
use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::limits;
use crate::log::Level;
use crate::net::{self, BootTime, CancelToken, Control, Timer, lock, no_descriptor};
use crate::rpc::lease::{self, KeepAliveResponse, MAX_LEASES_REFRESHED};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A lease as its owner and the keeper share it.
pub(crate) struct Kept {
    lease: i64,
    /// Nanoseconds by the boot clock.
    deadline: AtomicU64,
    /// Told, or about to be.
    is_lost: AtomicBool,
    listener: Box<dyn Listener>,
}

impl Kept {
    pub(super) fn new(lease: i64, sent: BootTime, ttl: i64, listener: Box<dyn Listener>) -> Kept {
        let kept = Kept { lease, deadline: AtomicU64::new(0), is_lost: AtomicBool::new(false), listener };
        kept.lives_until(sent + seconds(ttl));
        kept
    }

    pub(super) fn lease(&self) -> i64 {
        self.lease
    }

    /// Also where the keeper has not come to say so.
    pub(super) fn is_lost(&self) -> bool {
        self.remaining().is_zero()
    }

    pub(super) fn remaining(&self) -> Duration {
        if self.is_lost.load(Ordering::SeqCst) {
            return Duration::ZERO;
        }
        self.deadline().left(BootTime::now())
    }

    fn deadline(&self) -> BootTime {
        BootTime::since_boot(Duration::from_nanos(self.deadline.load(Ordering::SeqCst)))
    }

    fn lives_until(&self, deadline: BootTime) {
        let nanos = u64::try_from(deadline.get().as_nanos()).unwrap_or(u64::MAX);
        self.deadline.store(nanos, Ordering::SeqCst);
    }

    pub(super) fn give_up(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
    }

    fn lose(&self, error: Error) {
        if !self.is_lost.swap(true, Ordering::SeqCst) {
            self.listener.lost(self.lease, error);
        }
    }
}

/// The kept leases of a client.
///
/// Its lock is never held while a request is made, a listener is told or anything of another's is dropped.
#[derive(Default)]
pub(crate) struct Keeper {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Those that are not lost.
    schedule: Schedule,
    /// Those that have an owner, lost or not: the thread ends with the last.
    kept: HashMap<u64, Arc<Kept>>,
    /// Those of kept leases.
    chores: Chores,
    last_number: u64,
    /// Why the last renewal failed, if it did.
    trouble: Option<String>,
    is_closed: bool,
    running: Option<Running>,
}

/// The thread, while there is one.
struct Running {
    /// Ends what it waits for. Made anew once it is triggered.
    interrupt: Arc<CancelToken>,
    /// When it will look again by itself.
    looks_at: BootTime,
    /// It waits for its time, and for no answer.
    is_asleep: bool,
    /// Shared with the thread, which ends when it finds that the state has another one or none.
    badge: Arc<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Keeps a lease. Answers its number.
    pub(super) fn add(&self, channel: &Arc<Channel>, kept: &Arc<Kept>) -> Result<u64> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Error::Closed { outcome: Outcome::NotApplied });
        }
        if state.running.is_none() {
            state.running = Some(Running::start(&self.state, channel)?);
        }
        state.last_number += 1;
        let number = state.last_number;
        // What it has when it is added: its owner may have taken time since the renewal.
        let now = BootTime::now();
        let next = state.schedule.add(number, kept.lease, now, kept.deadline().left(now));
        state.kept.insert(number, kept.clone());
        state.look_at(next);
        Ok(number)
    }

    /// Keeps it no longer. A second time does nothing.
    pub(super) fn remove(&self, number: u64) {
        let mut state = lock(&self.state);
        let Some(kept) = state.kept.remove(&number) else { return };
        state.schedule.remove(number);
        let chore = state.chores.remove(number);
        let running = if state.kept.is_empty() { state.running.take() } else { None };
        drop(state);
        if let Some(running) = running {
            running.end();
        }
        drop((kept, chore));
    }

    /// Has this done on the thread, whenever it is called, as long as the lease is kept.
    pub(super) fn add_chore(&self, number: u64, chore: Chore) {
        let mut state = lock(&self.state);
        if !state.kept.contains_key(&number) {
            drop(state);
            return drop(chore);
        }
        state.chores.add(number, chore);
    }

    /// Has a lease's chore done in the thread's next turn. A renewal under way goes on, as does another chore: who calls
    /// often enough would else end each before its answer comes.
    pub(super) fn call_chore(&self, number: u64) {
        let mut state = lock(&self.state);
        let now = BootTime::now();
        if state.chores.call(number, now) && state.running.as_ref().is_some_and(|running| running.is_asleep) {
            state.look_at(now);
        }
    }
}

impl State {
    /// Lets the thread look again then at the latest.
    fn look_at(&mut self, moment: BootTime) {
        if let Some(running) = self.running.as_ref().filter(|running| moment < running.looks_at) {
            running.interrupt.trigger();
        }
    }

    /// What is lost by now.
    fn take_lost(&mut self, now: BootTime) -> Vec<Arc<Kept>> {
        let lost = self.schedule.take_lost(now);
        lost.iter().filter_map(|number| self.kept.get(number).cloned()).collect()
    }

    /// What to do now, and until when.
    fn next_work(&mut self, now: BootTime) -> (Work, Option<BootTime>) {
        let batch = self.schedule.take_due(now, MAX_LEASES_REFRESHED);
        if !batch.is_empty() {
            return (Work::Renew(batch), Some(now + self.patience(now)));
        }
        if let Some((number, chore)) = self.chores.take_due(now) {
            return (Work::Chore(number, chore), Some(now + self.patience(now)));
        }
        (Work::Nothing, self.schedule.wakes().into_iter().chain(self.chores.wakes()).min())
    }

    /// How long one request may take: however it ends, there is time for others for the lease that is lost soonest.
    fn patience(&self, now: BootTime) -> Duration {
        let left = self.schedule.first_deadline().map_or(Duration::ZERO, |deadline| deadline.left(now));
        (left / 3).clamp(SHORTEST_PATIENCE, limits::RENEWAL_TIMEOUT)
    }

    /// The pause after a failure.
    fn pause(&self, now: BootTime) -> Duration {
        self.patience(now).min(limits::RENEWAL_PAUSE)
    }
}

/// Below this a request would not even reach a member nearby.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(20);

enum Work {
    Nothing,
    /// These, in one request: numbers and leases.
    Renew(Vec<(u64, i64)>),
    /// Of the lease of this number.
    Chore(u64, Chore),
}

impl Running {
    fn start(state: &Arc<Mutex<State>>, channel: &Arc<Channel>) -> Result<Running> {
        let interrupt = Arc::new(new_token()?);
        let timer = Timer::new().map_err(no_descriptor)?;
        let badge = Arc::new(());
        let worker = Worker { state: state.clone(), channel: channel.clone(), timer, badge: badge.clone() };
        let thread = net::spawn("etcdgw-keepalive", move || worker.run())?;
        Ok(Running { interrupt, looks_at: BootTime::default(), is_asleep: false, badge, thread })
    }

    /// Waits for the end of the thread, which has come to it once the state has it no more. It waits for nobody else.
    fn end(self) {
        self.interrupt.trigger();
        let _ = self.thread.join();
    }
}

/// What runs on the thread.
struct Worker {
    state: Arc<Mutex<State>>,
    channel: Arc<Channel>,
    timer: Timer,
    badge: Arc<()>,
}

impl Worker {
    fn run(&self) {
        let error = match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(None) => return,
            Ok(Some(error)) => error,
            Err(_) => Error::Panic("the thread that renews leases panicked".to_owned()),
        };
        // There will be no renewal any more.
        let mut state = lock(&self.state);
        state.is_closed = true;
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
            if !state.running.as_ref().is_some_and(|running| Arc::ptr_eq(&running.badge, &self.badge)) {
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

impl State {
    /// What ends the thread's next wait, which lasts until then.
    fn interrupt(&mut self, until: Option<BootTime>, is_asleep: bool) -> Result<Arc<CancelToken>> {
        let Some(running) = &mut self.running else { return new_token().map(Arc::new) };
        if running.interrupt.is_triggered() {
            running.interrupt = Arc::new(new_token()?);
        }
        running.looks_at = until.unwrap_or(FAR_AWAY);
        running.is_asleep = is_asleep;
        Ok(running.interrupt.clone())
    }
}

/// Later than any moment that comes.
const FAR_AWAY: BootTime = BootTime::since_boot(Duration::from_secs(1 << 40));

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}

fn new_token() -> Result<CancelToken> {
    CancelToken::new().map_err(no_descriptor)
}
