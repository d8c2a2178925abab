//! Faults before a request is under way.

use crate::common::{End, Fault, on_each_version};
use crate::support::{AMPLE, Bench, Call, LIMIT};
use etcdgw::error::Error;

#[test]
fn a_refused_connection_is_an_error_at_once_and_nothing_was_sent() {
    on_each_version(|etcd| {
        let mut bench = Bench::new(etcd);
        for call in Call::ALL {
            bench.fresh_client();
            bench.proxy.inject(Fault::Refuse);
            let seen = bench.call(call, LIMIT);
            bench.check(&seen, Fault::Refuse);
            let error = seen.failed_at_once();
            assert!(matches!(error, Error::Connect { .. } | Error::Deadline { .. }), "{error:?}");
            assert!(error.is_retryable() && !error.may_have_applied());
            bench.proxy.heal();
            bench.call(call, AMPLE).succeeded();
        }
    });
}

#[test]
fn with_another_way_to_the_cluster_a_refused_connection_goes_unnoticed() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::with_way_out(etcd);
            bench.proxy.inject(Fault::Refuse);
            let seen = bench.call(call, AMPLE);
            bench.check(&seen, Fault::Refuse);
            seen.succeeded();
        }
    });
}

#[test]
fn an_idle_connection_that_was_cut_fails_no_call() {
    on_each_version(|etcd| {
        for (call, end) in Call::ALL.into_iter().flat_map(|call| [(call, End::Close), (call, End::Reset)]) {
            let bench = Bench::new(etcd);
            bench.call(call, AMPLE).succeeded();
            bench.proxy.cut(end);
            crate::common::wait_until(crate::common::LONG, || bench.proxy.open_connections() == 0);
            let seen = bench.call(call, AMPLE);
            bench.check(&seen, end);
            seen.succeeded();
        }
    });
}

#[test]
fn a_server_that_takes_connections_and_answers_nothing_costs_the_limit_and_no_more() {
    on_each_version(|etcd| {
        let bench = Bench::new(etcd);
        bench.proxy.inject(Fault::Hole);
        let seen = Call::ALL.map(|call| bench.call(call, LIMIT));
        for seen in &seen {
            bench.check(seen, Fault::Hole);
            seen.ran_out_of_time();
        }
        // What was held back reaches the server after all: an unknown outcome is just that.
        bench.proxy.heal();
        bench.settle();
        seen.iter().for_each(|seen| bench.check(seen, "a hole that gave everything back"));
    });
}

#[test]
fn with_another_way_to_the_cluster_a_call_is_not_lost_in_a_hole_for_longer_than_its_limit() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::with_way_out(etcd);
            bench.proxy.inject(Fault::Hole);
            let seen = bench.call(call, LIMIT);
            bench.check(&seen, Fault::Hole);
            // Whoever fell into it goes elsewhere the next time.
            let seen = bench.call(call, AMPLE);
            bench.check(&seen, Fault::Hole);
            seen.succeeded();
        }
    });
}
