//! Watches over connections that fail: every change once, in order, whatever happens to the way.

use crate::common::{
    Direction, End, Etcd, Fault, LONG, Proxy, client, on_each_version, put_revision, wait_until, within,
};
use crate::support::{AT_ONCE, GRACE, LIMIT, share_of, unique};
use etcdgw::client::Client;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// A watch of a key of its own through a proxy, and a client that writes the key without one.
struct Bench {
    proxy: Proxy,
    direct: Client,
    key: String,
    /// The revisions written.
    written: Vec<i64>,
}

impl Bench {
    fn new(etcd: &Etcd) -> Bench {
        let key = format!("faults/watch/{}", unique());
        Bench { proxy: Proxy::start(&etcd.url()), direct: client(&etcd.url()), key, written: Vec::new() }
    }

    fn write(&mut self) {
        let value = self.written.len().to_string();
        self.written.push(put_revision(&self.direct, self.key.as_bytes(), value.as_bytes()));
    }

    /// A watch of everything that was written to the key from its beginning on.
    fn options(&self) -> WatchOptions {
        let keys = Keys::One(Cow::Owned(self.key.clone().into_bytes()));
        let start_revision = self.written.first().copied().unwrap_or(0);
        let request = WatchRequest { start_revision, ..WatchRequest::new(keys) };
        WatchOptions { wait_created: false, ..WatchOptions::new(request) }
    }

    fn watch(&self) -> Watch {
        client(&self.proxy.url()).watch_open(self.options()).unwrap()
    }

    /// The watch delivers everything that was written, each once, in order, and nothing else.
    #[track_caller]
    fn check(&self, watch: &Watch, fault: impl std::fmt::Debug) {
        let mut seen = Vec::new();
        let end = Instant::now() + LONG;
        while seen.len() < self.written.len() {
            assert!(Instant::now() < end, "{fault:?}: {seen:?} of {:?}", self.written);
            let Some(response) = watch.next(Some(Duration::from_secs(1))).unwrap() else { continue };
            assert_ne!(response.kind, WatchKind::Ended, "{fault:?}: {:?}", response.error);
            seen.extend(response.events.iter().map(|event| event.kv.mod_revision));
        }
        assert_eq!(seen, self.written, "{fault:?}");
    }
}

#[test]
fn a_watch_whose_answer_is_cut_at_any_byte_misses_nothing_and_repeats_nothing() {
    on_each_version(|etcd| {
        let ends = [End::Close, End::Reset, End::HalfClose];
        std::thread::scope(|scope| {
            for (number, end) in ends.into_iter().enumerate() {
                scope.spawn(move || {
                    let mut bench = Bench::new(etcd);
                    (0..3).for_each(|_| bench.write());
                    bench.check(&bench.watch(), "nothing");
                    let length = bench.proxy.forwarded(Direction::Answer);
                    // A server takes its time with what was to be told long ago: one end for each byte.
                    for bytes in share_of(etcd, length).skip(number).step_by(ends.len()) {
                        let fault = Fault::After(Direction::Answer, bytes, end);
                        bench.proxy.inject_once(fault);
                        bench.check(&bench.watch(), fault);
                    }
                });
            }
        });
    });
}

#[test]
fn a_watch_whose_request_is_cut_at_any_byte_begins_where_it_was_to_begin() {
    on_each_version(|etcd| {
        let mut bench = Bench::new(etcd);
        (0..3).for_each(|_| bench.write());
        bench.check(&bench.watch(), "nothing");
        let length = bench.proxy.forwarded(Direction::Request);
        for (bytes, end) in share_of(etcd, length).zip([End::Close, End::Reset].into_iter().cycle()) {
            let fault = Fault::After(Direction::Request, bytes, end);
            bench.proxy.inject_once(fault);
            bench.check(&bench.watch(), fault);
        }
    });
}

#[test]
fn a_watch_goes_on_after_cuts_refusals_and_pages_for_people_between_its_events() {
    on_each_version(|etcd| {
        let mut bench = Bench::new(etcd);
        bench.write();
        let watch = bench.watch();
        for fault in [Fault::None, Fault::Refuse, Fault::BadGateway, Fault::Hole] {
            for end in [End::Close, End::Reset, End::HalfClose] {
                bench.write();
                bench.proxy.inject(fault);
                bench.proxy.cut(end);
                bench.write();
                std::thread::sleep(Duration::from_millis(20));
                // A watch in a hole waits for an answer that the hole has swallowed: the connection must go, too.
                bench.proxy.heal();
                bench.write();
            }
        }
        bench.check(&watch, "one fault after another");
    });
}

#[test]
fn a_watch_takes_events_that_come_byte_by_byte_merged_or_late() {
    on_each_version(|etcd| {
        for fault in [
            Fault::Drip(Direction::Answer, Duration::ZERO),
            Fault::Drip(Direction::Request, Duration::ZERO),
            Fault::Merge(Direction::Answer, Duration::from_millis(20)),
            Fault::Delay(Direction::Answer, Duration::from_millis(50)),
        ] {
            let mut bench = Bench::new(etcd);
            bench.proxy.inject(fault);
            bench.write();
            let watch = bench.watch();
            bench.check(&watch, fault);
            bench.written.clear();
            let connections = bench.proxy.connections();
            (0..20).for_each(|_| bench.write());
            bench.check(&watch, fault);
            assert_eq!(bench.proxy.connections(), connections, "{fault:?}");
        }
    });
}

#[test]
fn a_watch_that_stalls_goes_on_where_it_stopped() {
    on_each_version(|etcd| {
        let mut bench = Bench::new(etcd);
        bench.write();
        let watch = bench.watch();
        bench.check(&watch, "nothing");
        bench.proxy.inject(Fault::Hole);
        let before = std::mem::take(&mut bench.written);
        (0..5).for_each(|_| bench.write());
        assert!(watch.next(Some(Duration::from_millis(100))).unwrap().is_none(), "{before:?}");
        bench.proxy.heal();
        bench.check(&watch, "a stall that is over");
    });
}

#[test]
fn a_watch_that_can_not_be_confirmed_says_so_within_its_limit() {
    on_each_version(|etcd| {
        for fault in [Fault::Hole, Fault::Refuse, Fault::After(Direction::Answer, 40, End::Stall)] {
            let bench = Bench::new(etcd);
            bench.proxy.inject(fault);
            let options = WatchOptions { wait_created: true, call: within(LIMIT), ..bench.options() };
            let (result, took) = crate::common::timed(|| client(&bench.proxy.url()).watch_open(options));
            let error = result.err().expect("nothing confirms it");
            assert!(took < LIMIT + GRACE, "{fault:?}: {took:?}");
            assert!(matches!(error, Error::Deadline { .. } | Error::Connect { .. }), "{fault:?}: {error:?}");
            assert!(!error.may_have_applied());
        }
    });
}

#[test]
fn a_watch_in_a_hole_is_cancelled_at_once() {
    on_each_version(|etcd| {
        let mut bench = Bench::new(etcd);
        bench.write();
        let watch = bench.watch();
        bench.check(&watch, "nothing");
        bench.proxy.inject(Fault::Hole);
        let ((), took) = crate::common::timed(|| drop(watch));
        assert!(took < AT_ONCE, "{took:?}");
        wait_until(LONG, || bench.proxy.connections() > 0);
    });
}
