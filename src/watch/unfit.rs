//! Endpoints whose watches get streams of their own.

use crate::backoff;
use crate::limits;
use crate::net::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Endpoints that have no WebSocket, or none that works, until it is tried again. A client's watches may come and go one
/// at a time: what was found out for one holds for the next.
#[derive(Default)]
pub(super) struct Unfit {
    /// The lock is held for a look-up.
    endpoints: Mutex<HashMap<Arc<str>, Rest>>,
}

/// An endpoint is left alone until then, which is so long.
struct Rest {
    until: Instant,
    pause: Duration,
}

impl Unfit {
    /// No WebSocket is tried there for as long as one that has none is left alone: there seemed to be one, and watches were
    /// disturbed.
    pub(super) fn add(&self, endpoint: &Arc<str>) {
        self.rest(endpoint, Instant::now(), |_| limits::WEBSOCKET_RETRY);
    }

    /// The same where it was refused, which disturbs no watch and may be over soon: for that long at first, and twice as
    /// long as the last time. Answers how long.
    pub(super) fn refuse(&self, endpoint: &Arc<str>, at_first: Duration) -> Duration {
        self.refuse_at(endpoint, Instant::now(), at_first)
    }

    fn refuse_at(&self, endpoint: &Arc<str>, now: Instant, at_first: Duration) -> Duration {
        let longer = |pause| backoff::doubled(pause, limits::WEBSOCKET_RETRY, 1);
        self.rest(endpoint, now, |last| last.map_or(at_first, longer))
    }

    /// Leaves an endpoint alone from now on, for as long as is said of the pause before, where that counts.
    fn rest(&self, endpoint: &Arc<str>, now: Instant, pause: impl FnOnce(Option<Duration>) -> Duration) -> Duration {
        let mut endpoints = lock(&self.endpoints);
        endpoints.retain(|_, rest| rest.counts(now));
        let pause = pause(endpoints.get(endpoint).map(|rest| rest.pause));
        endpoints.insert(endpoint.clone(), Rest { until: now + pause, pause });
        pause
    }

    pub(super) fn has(&self, endpoint: &str) -> bool {
        lock(&self.endpoints).get(endpoint).is_some_and(|rest| rest.until > Instant::now())
    }
}

impl Rest {
    /// Whether it was not so long ago that it says nothing any more of how long the next one is to be.
    fn counts(&self, now: Instant) -> bool {
        self.until + limits::WEBSOCKET_RETRY > now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_again_and_again_is_asked_for_less_and_less() {
        let (unfit, endpoint, mut now) = (Unfit::default(), Arc::from("here"), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = unfit.refuse_at(&endpoint, now, limits::WEBSOCKET_RETRY_SOONEST);
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [3, 6, 12, 24, 48, 96, 192, 300, 300]);
        now += limits::WEBSOCKET_RETRY;
        let short = Duration::from_millis(1);
        assert_eq!([0, 1].map(|_| unfit.refuse_at(&endpoint, now, short)), [short, short * 2]);
    }
}
