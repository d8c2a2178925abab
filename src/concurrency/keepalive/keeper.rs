//! The kept leases of a client, and the thread that renews them.

#[cfg(all(test, not(loom)))]
mod tests;
mod worker;

use super::chores::{Chore, Chores};
use super::kept::Kept;
use super::schedule::Schedule;
use crate::channel::Channel;
use crate::error::{Error, Outcome, Result};
use crate::limits;
use crate::net::{self, BootTime, CancelToken, Timer, lock, no_descriptor};
use crate::rpc::lease::MAX_LEASES_REFRESHED;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::Worker;

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
    /// It renews nothing any more, also where somebody still keeps a lease.
    has_ended: bool,
    /// Shared with the thread, which ends when it finds that the state has another one or none.
    badge: Arc<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Keeps a lease. Answers its number.
    pub(super) fn add(&self, channel: &Arc<Channel>, kept: &Arc<Kept>) -> Result<u64> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Error::client_closed(Outcome::NotApplied));
        }
        if state.running.as_ref().is_none_or(|running| running.has_ended) {
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

    /// The pause after a failure.
    fn pause(&self, now: BootTime) -> Duration {
        self.patience(now).min(limits::RENEWAL_PAUSE)
    }
}

/// Later than any moment that comes.
const FAR_AWAY: BootTime = BootTime::since_boot(Duration::from_secs(1 << 40));

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
        Ok(Running { interrupt, looks_at: BootTime::default(), is_asleep: false, has_ended: false, badge, thread })
    }

    /// Waits for the end of the thread, which has come to it once the state has it no more. It waits for nobody else.
    fn end(self) {
        self.interrupt.trigger();
        let _ = self.thread.join();
    }
}

fn new_token() -> Result<CancelToken> {
    CancelToken::new().map_err(no_descriptor)
}
