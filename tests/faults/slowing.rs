//! Connections over which everything comes, but not as it was sent.

use crate::common::{Direction, Fault, on_each_version};
use crate::support::{AMPLE, Bench, Call, LIMIT};
use std::time::Duration;

const DIRECTIONS: [Direction; 2] = [Direction::Request, Direction::Answer];

fn succeeds_under(make: impl Fn(Direction) -> Fault + Sync) {
    on_each_version(|etcd| {
        for (call, direction) in Call::ALL.into_iter().flat_map(|call| DIRECTIONS.map(|direction| (call, direction))) {
            let bench = Bench::new(etcd);
            let fault = make(direction);
            bench.proxy.inject(fault);
            for _ in 0..3 {
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, fault);
                seen.succeeded();
            }
            assert_eq!(bench.proxy.connections(), 1);
        }
    });
}

#[test]
fn bytes_that_come_one_at_a_time_make_the_same_call() {
    succeeds_under(|direction| Fault::Drip(direction, Duration::ZERO));
}

#[test]
fn bytes_that_come_all_at_once_make_the_same_call() {
    succeeds_under(|direction| Fault::Merge(direction, Duration::from_millis(5)));
}

#[test]
fn a_delay_within_the_limit_changes_nothing() {
    succeeds_under(|direction| Fault::Delay(direction, Duration::from_millis(30)));
}

#[test]
fn a_delay_beyond_the_limit_costs_the_limit_and_what_comes_late_is_no_ones_answer() {
    on_each_version(|etcd| {
        for (call, direction) in Call::ALL.into_iter().flat_map(|call| DIRECTIONS.map(|direction| (call, direction))) {
            let bench = Bench::new(etcd);
            let fault = Fault::Delay(direction, 2 * LIMIT);
            bench.proxy.inject(fault);
            let seen = bench.call(call, LIMIT);
            bench.check(&seen, fault);
            assert_eq!(seen.ran_out_of_time().may_have_applied(), call != Call::Get);
            bench.proxy.heal();
            // Each call gets its own key's answer, which the call itself compares.
            for _ in 0..3 {
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, "a delay that has passed");
                seen.succeeded();
            }
            bench.settle();
            bench.check(&seen, "a delay that has passed");
        }
    });
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_does_not_hold_a_call_beyond_its_limit() {
    on_each_version(|etcd| {
        for (call, direction) in Call::ALL.into_iter().flat_map(|call| DIRECTIONS.map(|direction| (call, direction))) {
            let bench = Bench::new(etcd);
            let fault = Fault::Drip(direction, Duration::from_millis(50));
            bench.proxy.inject(fault);
            let seen = bench.call(call, LIMIT);
            bench.check(&seen, fault);
            seen.ran_out_of_time();
        }
    });
}
