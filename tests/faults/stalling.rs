//! Connections that stay open and over which nothing comes any more.

use crate::common::{Direction, End, Fault, on_each_version, put_with, within};
use crate::support::{AMPLE, Bench, Call, LIMIT, UNSURE};
use etcdgw::error::{Error, Phase};

#[test]
fn a_stall_in_the_middle_of_a_request_costs_the_limit() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            let [request, _] = bench.lengths(call);
            for bytes in [0, 30, request / 2, request - UNSURE] {
                let fault = Fault::After(Direction::Request, bytes, End::Stall);
                bench.proxy.inject(fault);
                let seen = bench.call(call, LIMIT);
                bench.check(&seen, fault);
                seen.ran_out_of_time();
                bench.proxy.heal();
                bench.settle();
                bench.check(&seen, "a stall that is over");
            }
        }
    });
}

#[test]
fn a_stall_in_the_middle_of_an_answer_costs_the_limit_and_the_write_may_have_been_made() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            let [_, answer] = bench.lengths(call);
            for bytes in [0, 12, answer / 2, answer - UNSURE] {
                let fault = Fault::After(Direction::Answer, bytes, End::Stall);
                bench.proxy.inject(fault);
                let seen = bench.call(call, LIMIT);
                bench.check(&seen, fault);
                assert_eq!(seen.ran_out_of_time().may_have_applied(), call != Call::Get, "{seen:?}");
                if call != Call::Get {
                    assert_eq!(bench.executed(&seen), 1);
                }
                bench.proxy.heal();
                bench.call(call, AMPLE).succeeded();
            }
        }
    });
}

#[test]
fn a_request_that_is_not_taken_whole_within_the_limit_was_not_made_and_never_will_be() {
    on_each_version(|etcd| {
        let bench = Bench::new(etcd);
        bench.proxy.inject(Fault::After(Direction::Request, 1000, End::Stall));
        // More than the sockets on the way hold.
        let value = vec![b'v'; 24 << 20];
        let key = format!("faults/large/{}", etcd.version());
        let error = put_with(&bench.client, key.as_bytes(), &value, &within(LIMIT)).unwrap_err();
        assert!(matches!(error, Error::Deadline { phase: Phase::Sending, .. }), "{error:?}");
        assert!(!error.may_have_applied() && error.is_retryable());
        bench.proxy.heal();
        bench.settle();
        assert_eq!(crate::common::get(bench.direct(), key.as_bytes()).unwrap(), None);
    });
}
