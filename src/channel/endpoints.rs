//! The endpoints of a cluster: a list, of which one is in use until it fails.

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::limits;
    use std::time::Duration;

    fn three() -> Endpoints {
        Endpoints::new(Endpoints::parse("http://a,http://b,http://c,http://a").unwrap(), false).unwrap()
    }

    /// Which endpoint is chosen at a moment, after these were tried.
    fn chosen(endpoints: &Endpoints, tried: &[&str], now: Instant) -> (String, bool) {
        let tried: Vec<Arc<str>> = tried.iter().map(|url| Arc::from(*url)).collect();
        let choice = lock(&endpoints.state).choose(&tried, now, 0.0);
        (choice.endpoint.url.to_string(), choice.is_trial)
    }

    fn fail_at(endpoints: &Endpoints, url: &str, now: Instant) {
        lock(&endpoints.state).find(url).unwrap().health.fail(now, 0.0);
    }

    #[test]
    fn a_list_of_nothing_is_refused() {
        assert!(Endpoints::new(Endpoints::parse(" , ").unwrap(), false).is_err());
    }

    #[test]
    fn an_endpoint_stays_in_use_until_it_fails_and_is_left_once_however_many_threads_saw_it() {
        let endpoints = three();
        assert_eq!(endpoints.urls().len(), 3);
        for _ in 0..3 {
            assert_eq!(&*endpoints.choose(&[]).endpoint.url, "http://a:2379");
        }
        endpoints.fail("http://a:2379");
        endpoints.fail("http://a:2379");
        assert_eq!(&*endpoints.current().url, "http://b:2379");
        assert_eq!(&*endpoints.choose(&[]).endpoint.url, "http://b:2379");
    }

    #[test]
    fn an_endpoint_that_failed_is_not_gone_back_to_while_another_one_is_good() {
        let (endpoints, now) = (three(), Instant::now());
        fail_at(&endpoints, "http://a:2379", now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(chosen(&endpoints, &[], later), ("http://b:2379".to_owned(), false));
        fail_at(&endpoints, "http://b:2379", later);
        assert_eq!(chosen(&endpoints, &[], later), ("http://c:2379".to_owned(), false));
    }

    #[test]
    fn when_all_are_backed_off_the_one_due_first_is_tried_and_a_trial_is_one_calls_alone() {
        let (endpoints, now) = (three(), Instant::now());
        for (url, after) in [("http://b:2379", 0), ("http://c:2379", 100), ("http://a:2379", 200)] {
            fail_at(&endpoints, url, now + Duration::from_millis(after));
        }
        let soon = now + Duration::from_millis(250);
        assert_eq!(chosen(&endpoints, &[], soon), ("http://b:2379".to_owned(), true));
        let b_is_due = now + limits::ENDPOINT_BACKOFF_FIRST;
        assert_eq!(chosen(&endpoints, &[], b_is_due), ("http://b:2379".to_owned(), true));
        assert_eq!(chosen(&endpoints, &[], b_is_due), ("http://c:2379".to_owned(), true), "b is being tried");
    }

    #[test]
    fn a_call_tries_every_endpoint_once_before_one_twice() {
        let (endpoints, now) = (three(), Instant::now());
        let (a, b, c) = ("http://a:2379", "http://b:2379", "http://c:2379");
        fail_at(&endpoints, b, now);
        assert_eq!(chosen(&endpoints, &[], now).0, a);
        assert_eq!(chosen(&endpoints, &[a], now).0, c);
        assert_eq!(chosen(&endpoints, &[a, c], now).0, b);
        assert_eq!(chosen(&endpoints, &[a, c, b], now).0, c, "from the one in use on");
    }

    /// Tells the guard in use that its cluster is this one.
    fn belong_to(endpoints: &Endpoints, cluster_id: u64) {
        assert_eq!(endpoints.guard().cluster_or_first(cluster_id), cluster_id);
    }

    #[test]
    fn an_endpoint_of_another_cluster_is_told_as_such_until_it_recovers() {
        let endpoints = three();
        belong_to(&endpoints, 1);
        endpoints.be_foreign("http://a:2379", 1);
        let choice = endpoints.choose(&[]);
        assert_eq!((&*choice.endpoint.url, choice.is_foreign), ("http://b:2379", false));
        let choice = endpoints.choose(&["http://b:2379", "http://c:2379"].map(Arc::from));
        assert_eq!((&*choice.endpoint.url, choice.is_foreign, choice.is_trial), ("http://a:2379", true, true));
        endpoints.recover(&choice.endpoint);
        let choice = endpoints.choose(&[]);
        assert_eq!((&*choice.endpoint.url, choice.is_foreign, choice.is_trial), ("http://a:2379", false, false));
    }

    #[test]
    fn what_was_found_out_of_endpoints_says_nothing_of_those_named_since() {
        let endpoints = Endpoints::new(Endpoints::parse("http://a").unwrap(), false).unwrap();
        let before = endpoints.choose(&[]);
        belong_to(&endpoints, 1);
        endpoints.set("http://a").unwrap();
        assert!(!endpoints.adopt(endpoints.fitting(&["http://b".to_owned()]), &before.guard));
        assert_eq!(endpoints.urls(), [Arc::from("http://a:2379")]);
        endpoints.be_foreign("http://a:2379", 1);
        assert!(!endpoints.choose(&[]).is_foreign, "nobody knows of what cluster it is to be");
        belong_to(&endpoints, 2);
        endpoints.be_foreign("http://a:2379", 2);
        endpoints.recover(&before.endpoint);
        assert!(endpoints.choose(&[]).is_foreign);
    }

    #[test]
    fn members_that_are_adopted_come_first_and_what_is_known_of_them_stays() {
        let endpoints = three();
        endpoints.fail("http://a:2379");
        let members = endpoints.fitting(&["http://c:2379", "http://d:2379", "http://d:2379/"].map(str::to_owned));
        assert!(endpoints.adopt(members, &endpoints.guard()));
        let urls = ["http://c:2379", "http://d:2379", "http://a:2379", "http://b:2379"].map(Arc::from);
        assert_eq!(endpoints.urls(), urls);
        assert_eq!(&*endpoints.current().url, "http://c:2379", "b, which was in use, is no member's");
        endpoints.fail("http://c:2379");
        endpoints.adopt(endpoints.fitting(&["http://c:2379", "http://d:2379"].map(str::to_owned)), &endpoints.guard());
        assert_eq!(&*endpoints.current().url, "http://d:2379");
    }
}
