//! The endpoints of a cluster: a list, of which one is in use until it fails.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::endpoint::Endpoint;
use super::guard::Guard;
use super::health::Health;
use crate::error::{Error, Result};
use crate::net::{Target, jitter, lock};
use crate::stats::EndpointStats;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The endpoints of a client.
pub(crate) struct Endpoints {
    state: Mutex<State>,
    /// Certificates were given: then no endpoint may do without.
    uses_tls: bool,
}

/// Never empty.
struct State {
    configured: Vec<Arc<Endpoint>>,
    list: Vec<Member>,
    /// The one in use, of those in `list`.
    current: Arc<Endpoint>,
    /// What has been seen of their cluster.
    guard: Arc<Guard>,
}

#[derive(Clone)]
struct Member {
    endpoint: Arc<Endpoint>,
    health: Health,
}

/// Where a call goes.
#[derive(Debug)]
pub(super) struct Choice {
    pub endpoint: Arc<Endpoint>,
    /// What its answers are judged by.
    pub guard: Arc<Guard>,
    /// It failed last time: a success is to be reported.
    pub is_trial: bool,
    /// It was another cluster's: only what is sure to change nothing there may be asked of it.
    pub is_foreign: bool,
    /// How many there are to go to.
    pub count: usize,
}

impl Member {
    fn new(endpoint: Arc<Endpoint>) -> Member {
        Member { endpoint, health: Health::default() }
    }
}

impl State {
    fn new(list: Vec<Arc<Endpoint>>) -> Result<State> {
        let current = list.first().ok_or_else(|| Error::invalid("endpoints is empty"))?.clone();
        let members = list.iter().cloned().map(Member::new).collect();
        Ok(State { configured: list, list: members, current, guard: Arc::default() })
    }

    /// The members from the one in use on.
    fn ring(&self) -> impl Iterator<Item = &Member> {
        let is_other = |member: &&Member| !Arc::ptr_eq(&member.endpoint, &self.current);
        self.list.iter().skip_while(is_other).chain(self.list.iter().take_while(is_other))
    }

    /// The endpoint to try: a good one, else one that is due again, else the one that is due first. The one in use wins,
    /// then those after it. `None`: there are none that are `wanted`.
    fn best(&self, now: Instant, wanted: impl Fn(&Member) -> bool) -> Option<Arc<Endpoint>> {
        let fitting = || self.ring().filter(|member| wanted(member));
        let good = fitting().find(|member| member.health.is_good());
        let due = || fitting().find(|member| member.health.is_due(now));
        let first_due = || fitting().min_by_key(|member| member.health.due());
        good.or_else(due).or_else(first_due).map(|member| member.endpoint.clone())
    }

    fn choose(&mut self, tried: &[Arc<str>], now: Instant, jitter: f64) -> Choice {
        let is_new = |member: &Member| !tried.contains(&member.endpoint.url);
        let best = self.best(now, is_new).or_else(|| self.best(now, |_| true));
        self.current = best.unwrap_or_else(|| self.current.clone());
        let current = self.current.clone();
        let health = self.find(&current.url).map(|member| {
            member.health.begin_trial(now, jitter);
            member.health.clone()
        });
        self.choice_of_current(&health.unwrap_or_default())
    }

    fn choice_of_current(&self, health: &Health) -> Choice {
        Choice {
            endpoint: self.current.clone(),
            guard: self.guard.clone(),
            is_trial: !health.is_good(),
            is_foreign: health.is_foreign(),
            count: self.list.len(),
        }
    }

    fn find(&mut self, url: &str) -> Option<&mut Member> {
        self.list.iter_mut().find(|member| &*member.endpoint.url == url)
    }

    /// Goes on to a good endpoint where the one in use is not.
    fn settle(&mut self) {
        let good = self.ring().find(|member| member.health.is_good()).map(|member| member.endpoint.clone());
        self.current = good.unwrap_or_else(|| self.current.clone());
    }

    /// Takes in news of an endpoint's health. Answers where calls go then, if that is another one.
    fn update(&mut self, url: &str, change: impl FnOnce(&mut Health, Instant, f64)) -> Option<Arc<str>> {
        let before = self.current.clone();
        if let Some(member) = self.find(url) {
            change(&mut member.health, Instant::now(), jitter());
        }
        self.settle();
        (!Arc::ptr_eq(&before, &self.current)).then(|| self.current.url.clone())
    }
}

impl Endpoints {
    pub(crate) fn new(list: Vec<Arc<Endpoint>>, uses_tls: bool) -> Result<Endpoints> {
        Ok(Endpoints { state: Mutex::new(State::new(list)?), uses_tls })
    }

    /// Reads a comma-separated list; none twice.
    pub(crate) fn parse(text: &str) -> Result<Vec<Arc<Endpoint>>> {
        let mut list: Vec<Arc<Endpoint>> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let endpoint = Endpoint::parse(part, "endpoints")?;
            if !list.iter().any(|known| known.target == endpoint.target) {
                list.push(Arc::new(endpoint));
            }
        }
        Ok(list)
    }

    /// Certificates for connections that use none would give a false sense of safety.
    pub(crate) fn check_tls(list: &[Arc<Endpoint>], uses_tls: bool) -> Result<()> {
        let plain = list.iter().find(|endpoint| matches!(endpoint.target, Target::Tcp { tls: false, .. }));
        match plain.filter(|_| uses_tls) {
            Some(endpoint) => {
                Err(Error::invalid(format!("TLS options are given, but {} does without TLS", endpoint.url)))
            }
            None => Ok(()),
        }
    }

    /// Uses these, of which nothing is known: neither how they are nor of what cluster.
    pub(crate) fn set(&self, text: &str) -> Result<()> {
        let list = Endpoints::parse(text)?;
        Endpoints::check_tls(&list, self.uses_tls)?;
        *lock(&self.state) = State::new(list)?;
        Ok(())
    }

    /// The one in use.
    pub(crate) fn current(&self) -> Arc<Endpoint> {
        lock(&self.state).current.clone()
    }

    /// What has been seen of the cluster of those named last; and by the way whether one of them is at this URL.
    pub(super) fn guard_with(&self, url: &str) -> (Arc<Guard>, bool) {
        let mut state = lock(&self.state);
        (state.guard.clone(), state.find(url).is_some())
    }

    pub(super) fn guard(&self) -> Arc<Guard> {
        lock(&self.state).guard.clone()
    }

    /// Whether each of them is among these.
    pub(super) fn are_all_in(&self, urls: &[Arc<str>]) -> bool {
        lock(&self.state).list.iter().all(|member| urls.contains(&member.endpoint.url))
    }

    /// Whether there is one that may be further than those that are `behind`, and is worth being asked: not one that was
    /// `tried`, or is backed off.
    pub(super) fn may_be_ahead(&self, behind: &[Arc<str>], tried: &[Arc<str>]) -> bool {
        let now = Instant::now();
        lock(&self.state).list.iter().any(|Member { endpoint, health }| {
            let is_new = !behind.contains(&endpoint.url) && !tried.contains(&endpoint.url);
            is_new && (health.is_good() || health.is_due(now))
        })
    }

    pub(crate) fn urls(&self) -> Vec<Arc<str>> {
        lock(&self.state).list.iter().map(|member| member.endpoint.url.clone()).collect()
    }

    pub(crate) fn stats(&self) -> Vec<EndpointStats> {
        let (state, now) = (lock(&self.state), Instant::now());
        let stats = state.list.iter().map(|Member { endpoint, health }| EndpointStats {
            url: endpoint.url.clone(),
            requests: endpoint.counters.requests.get(),
            errors: endpoint.counters.errors.get(),
            connections_opened: endpoint.counters.connections_opened.get(),
            connections_failed: endpoint.counters.connections_failed.get(),
            is_current: Arc::ptr_eq(endpoint, &state.current),
            backed_off: health.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(now)),
        });
        stats.collect()
    }

    pub(crate) fn has(&self, url: &str) -> bool {
        lock(&self.state).list.iter().any(|member| &*member.endpoint.url == url)
    }

    /// The endpoint for the next attempt of a call that has `tried` these in vain. It is in use from here on.
    pub(super) fn choose(&self, tried: &[Arc<str>]) -> Choice {
        let mut state = lock(&self.state);
        let in_use = state.ring().next().filter(|member| tried.is_empty() && member.health.is_good());
        if let Some(member) = in_use {
            return state.choice_of_current(&member.health);
        }
        state.choose(tried, Instant::now(), jitter())
    }

    /// A call failed at this endpoint: the next ones go elsewhere for a while. Answers where, if that is news.
    pub(super) fn fail(&self, url: &str) -> Option<Arc<str>> {
        lock(&self.state).update(url, Health::fail)
    }

    /// This endpoint answered as one of another cluster than `ours`. As [`fail`](Endpoints::fail); but where the
    /// endpoints named last are not known to be of `ours`, that is no news of them.
    pub(super) fn be_foreign(&self, url: &str, ours: u64) -> Option<Arc<str>> {
        let mut state = lock(&self.state);
        let change = if state.guard.cluster_id() == ours { Health::be_foreign } else { Health::fail };
        state.update(url, change)
    }

    /// A call succeeded at an endpoint that had failed. One of the same URL that was named since is another one.
    pub(super) fn recover(&self, endpoint: &Arc<Endpoint>) {
        let mut state = lock(&self.state);
        if let Some(member) = state.list.iter_mut().find(|member| Arc::ptr_eq(&member.endpoint, endpoint)) {
            member.health.recover();
        }
        state.settle();
    }

    /// The endpoint of one URL, of the same security as the configured ones.
    pub(crate) fn single(&self, url: &str) -> Result<Arc<Endpoint>> {
        let endpoint = Arc::new(Endpoint::parse(url, "endpoint")?);
        Endpoints::check_tls(std::slice::from_ref(&endpoint), self.uses_tls)?;
        Ok(endpoint)
    }

    /// Those of a member list that can be used: readable, none twice, and none without TLS where the configured ones
    /// have it.
    pub(crate) fn fitting(&self, urls: &[String]) -> Vec<Arc<Endpoint>> {
        let wants_tls = lock(&self.state).configured.iter().all(|endpoint| endpoint.is_tls());
        let mut fitting: Vec<Arc<Endpoint>> = Vec::new();
        for endpoint in urls.iter().filter_map(|url| Endpoint::parse(url, "endpoint").ok()) {
            let is_known = fitting.iter().any(|known| known.target == endpoint.target);
            if !is_known && (endpoint.is_tls() || !wants_tls) {
                fitting.push(Arc::new(endpoint));
            }
        }
        fitting
    }

    /// Uses these, and the configured ones as a last resort. What is known of their health stays, and the one in use
    /// stays in use if it is among these. False: it was for other ones than those named last that these were found.
    pub(super) fn adopt(&self, found: Vec<Arc<Endpoint>>, found_for: &Arc<Guard>) -> bool {
        let mut state = lock(&self.state);
        if !Arc::ptr_eq(&state.guard, found_for) {
            return false;
        }
        let stays = found.iter().any(|endpoint| endpoint.target == state.current.target);
        let mut list: Vec<Member> = Vec::new();
        for endpoint in found.into_iter().chain(state.configured.iter().cloned()) {
            if list.iter().all(|listed| listed.endpoint.target != endpoint.target) {
                let known = state.list.iter().find(|known| known.endpoint.target == endpoint.target);
                list.push(known.cloned().unwrap_or_else(|| Member::new(endpoint)));
            }
        }
        let in_use = list.iter().find(|member| stays && member.endpoint.target == state.current.target);
        if let Some(member) = in_use.or_else(|| list.first()) {
            state.current = member.endpoint.clone();
        }
        state.list = list;
        state.settle();
        true
    }
}
