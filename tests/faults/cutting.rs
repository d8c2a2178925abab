//! Connections that end while a call is under way, at every byte.

use crate::common::{Direction, End, Etcd, Fault, on_each_version};
use crate::support::{AMPLE, Bench, Call, LIMIT, Seen, UNSURE, share_of};
use etcdgw::error::Error;

const ENDS: [End; 2] = [End::Close, End::Reset];

/// Makes a call with the connection ended after so many bytes, for each of this server's share, and checks what always
/// holds.
#[track_caller]
fn cut_at_every_byte(bench: &Bench, call: Call, direction: Direction, length: usize, end: End) -> Vec<Seen> {
    let cut = |bytes| {
        let fault = Fault::After(direction, bytes, end);
        bench.proxy.inject_once(fault);
        let seen = bench.call(call, AMPLE);
        bench.check(&seen, fault);
        seen
    };
    share_of(bench.etcd, length).map(cut).collect()
}

/// Runs something for every call and end, with the lengths of the call's request and answer.
fn for_each_call(etcd: &Etcd, run: impl Fn(&Bench, Call, [usize; 2], End)) {
    for call in Call::ALL {
        for end in ENDS {
            let bench = Bench::new(etcd);
            let lengths = bench.lengths(call);
            run(&bench, call, lengths, end);
        }
    }
}

#[test]
fn a_request_cut_at_any_byte_is_known_to_be_executed_or_not_or_said_to_be_open() {
    on_each_version(|etcd| {
        for_each_call(etcd, |bench, call, [request, _], end| {
            for seen in cut_at_every_byte(bench, call, Direction::Request, request, end) {
                if let Err(error) = &seen.result {
                    assert!(matches!(error, Error::Lost { .. }), "{seen:?}");
                    assert!(call.is_write() && error.may_have_applied(), "{seen:?}");
                }
            }
        });
    });
}

#[test]
fn an_answer_cut_at_any_byte_is_no_answer_and_no_proof_of_anything() {
    on_each_version(|etcd| {
        for_each_call(etcd, |bench, call, [_, answer], end| {
            for seen in cut_at_every_byte(bench, call, Direction::Answer, answer - UNSURE, end) {
                match &seen.result {
                    Ok(()) => assert!(!call.is_write(), "{seen:?}"),
                    Err(error) => {
                        assert!(matches!(error, Error::Lost { .. }), "{seen:?}");
                        assert_eq!(error.may_have_applied(), call.is_write(), "{seen:?}");
                    }
                }
            }
        });
    });
}

#[test]
fn with_another_way_to_the_cluster_no_read_and_no_grant_notices_a_cut() {
    on_each_version(|etcd| {
        for call in [Call::Get, Call::LeaseGrant] {
            for end in ENDS {
                for bytes in [0, 1, 17, 150] {
                    for direction in [Direction::Request, Direction::Answer] {
                        let bench = Bench::with_way_out(etcd);
                        let fault = Fault::After(direction, bytes, end);
                        bench.proxy.inject(fault);
                        let seen = bench.call(call, AMPLE);
                        bench.check(&seen, fault);
                        seen.succeeded();
                    }
                }
            }
        }
    });
}

#[test]
fn after_a_cut_the_next_call_works() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            for _ in 0..20 {
                bench.proxy.inject_once(Fault::After(Direction::Answer, 30, End::Reset));
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, "a cut in the answer");
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, "nothing after a cut");
                seen.succeeded();
            }
        }
    });
}

#[test]
fn an_answer_that_is_cut_short_in_an_orderly_way_is_lost_and_not_taken_for_whole() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            let [_, answer] = bench.lengths(call);
            for bytes in [1, 20, answer / 2, answer - UNSURE] {
                let fault = Fault::After(Direction::Answer, bytes, End::HalfClose);
                bench.proxy.inject(fault);
                let seen = bench.call(call, LIMIT);
                bench.check(&seen, fault);
                let error = seen.error();
                assert!(matches!(error, Error::Lost { .. } | Error::Deadline { .. }), "{error:?}");
                assert_eq!(error.may_have_applied(), call != Call::Get, "{error:?}");
                bench.proxy.heal();
            }
        }
    });
}

#[test]
fn a_request_whose_end_never_comes_is_not_executed_and_made_again_where_the_gateway_says_so() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            let [request, _] = bench.lengths(call);
            let cut_at = |bytes| {
                let fault = Fault::After(Direction::Request, bytes, End::HalfClose);
                bench.proxy.inject_once(fault);
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, fault);
                seen
            };
            // To a part of its head there is no answer, and to a part of its body one that blames its JSON.
            for bytes in [1, 20] {
                let seen = cut_at(bytes);
                assert!(seen.result.is_err() || !call.is_write(), "{seen:?}");
            }
            cut_at(request / 2);
            cut_at(request - UNSURE).succeeded();
        }
    });
}
