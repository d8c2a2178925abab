//! What fails during a test: the ways to the members, and the members.

use crate::common::{End, Etcd, Fault, Proxy, Random};
use etcdgw::client::Client;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Tells the threads of a test that it is over.
#[derive(Default)]
pub struct Stop(Mutex<bool>, Condvar);

impl Stop {
    pub fn stop(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        *self.0.lock().unwrap()
    }

    /// Lets time pass. False: it is over.
    pub fn pause(&self, time: Duration) -> bool {
        !*self.1.wait_timeout_while(self.0.lock().unwrap(), time, |stopped| !*stopped).unwrap().0
    }
}

/// Cuts connections every 50 to 500 ms, and does other harm now and then. In the end all ways are whole.
pub fn over_the_ways(stop: &Stop, proxies: &[Proxy], mut random: Random) {
    while stop.pause(random.time(50, 500)) {
        let proxy = random.pick(proxies);
        match random.below(10) {
            0..6 => proxy.cut(*random.pick(&[End::Close, End::Reset])),
            6..8 => proxy.inject_once(Fault::random(&mut random)),
            _ => proxy.inject(Fault::random(&mut random)),
        }
        if random.percent(60) {
            random.pick(proxies).heal();
        }
    }
    proxies.iter().for_each(Proxy::heal);
}

/// Kills, freezes and restarts members every few seconds. In the end all run.
pub fn over_the_members(stop: &Stop, members: &mut [Etcd], proxies: &[Proxy], client: &Client, mut random: Random) {
    while stop.pause(random.time(1000, 4000)) {
        let any = random.below(members.len());
        let in_use = proxies.iter().position(|proxy| *proxy.url() == *client.base_url()).unwrap_or(any);
        let time = random.time(200, 2500);
        match random.below(10) {
            0..3 => {
                members[any].kill();
                stop.pause(time);
                members[any].restart();
            }
            3..5 => {
                members[in_use].kill();
                stop.pause(time);
                members[in_use].restart();
            }
            5 => {
                members[any].terminate();
                stop.pause(time);
                members[any].restart();
            }
            6..9 => freeze(stop, &[&members[in_use]], time),
            // The others are no quorum.
            _ => freeze(stop, &[&members[in_use], &members[(in_use + 1) % members.len()]], time),
        }
    }
}

fn freeze(stop: &Stop, members: &[&Etcd], time: Duration) {
    members.iter().for_each(|member| member.stop());
    stop.pause(time);
    members.iter().for_each(|member| member.cont());
}
