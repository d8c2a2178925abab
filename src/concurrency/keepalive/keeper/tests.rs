#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::concurrency::keepalive::Listener;
use crate::concurrency::keepalive::chores::Again;
use crate::config::Config;
use std::sync::mpsc::{Sender, channel};

/// Passes on why its lease is lost.
struct Heir(Sender<Error>);

impl Listener for Heir {
    fn renewed(&self, _: i64, _: i64) {}

    fn lost(&self, _: i64, error: Error) {
        let _ = self.0.send(error);
    }
}

#[test]
fn after_a_panic_the_leases_that_were_kept_are_lost_and_others_can_be_kept() {
    let endpoints = "http://127.0.0.1:1".to_owned();
    let (keeper, at) = (Keeper::default(), Arc::new(Channel::new(Config { endpoints, ..Config::default() }).unwrap()));
    let (sender, lost) = channel();
    let keep = || {
        let kept = Kept::new(7, BootTime::now(), 60, Box::new(Heir(sender.clone())));
        keeper.add(&at, &Arc::new(kept)).unwrap()
    };
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let number = keep();
        keeper.add_chore(number, Box::new(|_| panic!("as told")));
        keeper.call_chore(number);
        let error = lost.recv_timeout(limits::DEFAULT_TIMEOUT).unwrap();
        assert!(matches!(error, Error::Panic(_)), "{error:?}");
        numbers.push(number);
    }
    let (done, is_done) = channel();
    let number = keep();
    let chore = move |_: &_| {
        done.send(()).unwrap();
        Again::WhenCalled
    };
    keeper.add_chore(number, Box::new(chore));
    keeper.call_chore(number);
    is_done.recv_timeout(limits::DEFAULT_TIMEOUT).unwrap();
    numbers.into_iter().chain([number]).for_each(|number| keeper.remove(number));
    assert!(lost.try_recv().is_err() && lock(&keeper.state).running.is_none());
}
