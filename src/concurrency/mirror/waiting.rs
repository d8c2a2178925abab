//! How a mirror comes to say that it shows a revision at which none of its keys has changed.
//!
//! Its watch is silent about those. That the store has come to a revision proves nothing: events of the mirror's keys up
//! to it may be under way. What proves it is progress, which is in order with the events: it comes at the server's
//! interval, and at once where it can be asked for. Elsewhere a linearizable read of the mirror's keys does it: where none
//! was changed after the copy's revision, and there are as many as the copy has, they are the copy's, at the revision of
//! that read. A key that was changed shows by its modification revision, one that was created as well, and one that
//! was deleted by the number.

use super::keeper::is_final;
use super::shared::{Account, Shared};
use crate::client::{CallOptions, Client, TimeLimit};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::limits;
use crate::net::lock;
use crate::rpc::Keys;
use crate::rpc::kv::RangeRequest;
use std::borrow::Cow;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Somebody who waits.
pub(super) struct Waiting<'a> {
    pub shared: &'a Shared,
    pub client: &'a Client,
    pub deadline: Deadline,
}

impl Waiting<'_> {
    /// Until the copy shows this revision, 0 being the store's at this moment. False: waited in vain.
    pub(super) fn wait(&self, revision: i64) -> Result<bool> {
        if revision < 0 {
            return Err(Error::invalid(format!("revision is negative: {revision}")));
        }
        if revision > 0 && self.shared.revision() >= revision {
            return Ok(true);
        }
        match revision {
            0 => self.wait_for_latest(),
            revision => self.wait_for(revision),
        }
    }

    fn wait_for_latest(&self) -> Result<bool> {
        loop {
            if let Some(error) = &lock(&self.shared.account).ended {
                return Err(error.clone());
            }
            let shown = self.shared.revision();
            match self.latest()? {
                None => return Ok(false),
                Some(latest) if latest >= shown => return self.wait_for(latest),
                // The copy is of a history that the store has lost, or of another cluster: until it is made anew or ends.
                Some(_) if self.deadline.has_passed() => return Ok(false),
                Some(_) => self.rest(),
            }
        }
    }

    fn wait_for(&self, wanted: i64) -> Result<bool> {
        let mut account = lock(&self.shared.account);
        account.probe.next = account.probe.next.max(Instant::now()).min(Instant::now() + limits::MIRROR_PROBE_FIRST);
        account.probe.pause = limits::MIRROR_PROBE_FIRST;
        loop {
            if self.shared.revision() >= wanted {
                return Ok(true);
            }
            if let Some(error) = &account.ended {
                return Err(error.clone());
            }
            if self.deadline.has_passed() {
                return Ok(false);
            }
            let is_due = !account.probe.is_running && Instant::now() >= account.probe.next;
            account = if is_due { self.probe(account, wanted)? } else { self.pause(account) };
        }
    }

    /// Until something has changed, or the next look for a proof is due.
    fn pause<'a>(&self, account: MutexGuard<'a, Account>) -> MutexGuard<'a, Account> {
        let until_probe = account.probe.next.saturating_duration_since(Instant::now());
        let until_probe = if account.probe.is_running { None } else { Some(until_probe) };
        let time = [until_probe, self.deadline.remaining()].into_iter().flatten().min();
        match time {
            None => self.shared.changed.wait(account).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.shared.changed.wait_timeout(account, time);
                waited.map_or_else(|poisoned| poisoned.into_inner().0, |(account, _)| account)
            }
        }
    }

    /// Looks for a proof, on behalf of all who wait.
    fn probe<'a>(&'a self, mut account: MutexGuard<'a, Account>, wanted: i64) -> Result<MutexGuard<'a, Account>> {
        account.probe.is_running = true;
        let requests = !std::mem::take(&mut account.probe.was_request);
        drop(account);
        let running = Running(self.shared);
        let began = Instant::now();
        let was_request = requests && self.request_progress();
        let probed = if was_request { Ok(()) } else { self.look_for_proof(wanted) };
        let cost = began.elapsed();
        drop(running);
        let mut account = lock(&self.shared.account);
        account.probe.was_request = was_request;
        account.probe.pause = account.probe.pause.saturating_mul(2).min(limits::MIRROR_PROBE_LONGEST);
        account.probe.next = Instant::now() + account.probe.pause.max(cost * limits::MIRROR_PROBE_SHARE);
        match probed {
            Err(error) if is_final(&error) => Err(error),
            // It is tried again, as long as there is time.
            _ => Ok(account),
        }
    }

    /// Where the watch can ask the server how far it has come, the answer comes with the events.
    fn request_progress(&self) -> bool {
        self.shared.watch().is_some_and(|watch| watch.request_progress().is_ok())
    }

    fn look_for_proof(&self, wanted: i64) -> Result<()> {
        // Cheap, where reading the mirror's keys is not.
        if self.store_revision()? < wanted {
            return Ok(());
        }
        let (seen, len) = {
            let snapshot = self.shared.snapshot();
            (snapshot.revision(), snapshot.len())
        };
        let request = RangeRequest {
            min_mod_revision: seen.saturating_add(1),
            limit: 1,
            keys_only: true,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(&self.shared.prefix)))
        };
        let changed = self.client.range(&request, &self.call())?;
        if changed.kvs.is_empty() && usize::try_from(changed.count) == Ok(len) {
            self.shared.prove(seen, changed.header.revision);
        }
        Ok(())
    }

    /// The store's revision; `None`: it could not be had in time.
    fn latest(&self) -> Result<Option<i64>> {
        loop {
            match self.store_revision() {
                Ok(revision) => return Ok(Some(revision)),
                Err(error) if is_final(&error) => return Err(error),
                Err(_) if self.deadline.has_passed() => return Ok(None),
                Err(_) => self.rest(),
            }
        }
    }

    /// Asks for no more than may be read: one key that starts so, and hardly exists.
    fn store_revision(&self) -> Result<i64> {
        let key = [&*self.shared.prefix, b"\0"].concat();
        let request = RangeRequest { count_only: true, ..RangeRequest::new(Keys::One(Cow::Owned(key))) };
        Ok(self.client.range(&request, &self.call())?.header.revision)
    }

    fn call(&self) -> CallOptions {
        let timeout = self.deadline.remaining().map_or(TimeLimit::Default, TimeLimit::After);
        CallOptions { timeout, cancel: Some(self.shared.stop.clone()) }
    }

    /// Before the store is asked again.
    fn rest(&self) {
        let left = self.deadline.remaining().unwrap_or(Duration::MAX);
        std::thread::sleep(limits::RETRY_PAUSE_LONGEST.min(left));
    }
}

/// A look for a proof is under way, as long as this lives.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.account).probe.is_running = false;
        self.0.changed.notify_all();
    }
}
