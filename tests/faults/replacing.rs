//! A reverse proxy that answers in the server's place.

use crate::common::{Fault, on_each_version};
use crate::support::{AMPLE, Bench, Call, LIMIT};
use etcdgw::error::Error;

#[test]
fn a_page_for_people_with_status_502_is_an_error_at_once_that_shows_it() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::new(etcd);
            bench.proxy.inject(Fault::BadGateway);
            // What may be done twice is tried until its time is over.
            let seen = bench.call(call, if call.is_write() { AMPLE } else { LIMIT });
            bench.check(&seen, Fault::BadGateway);
            let error = seen.failed_at_once();
            match error {
                Error::Protocol { http_status: 502, .. } => {
                    assert!(error.full_message().contains("502 Bad Gateway"), "{}", error.full_message());
                }
                // The last of many attempts may have been under way when the time was over.
                _ => assert!(!call.is_write() && matches!(error, Error::Deadline { .. }), "{error:?}"),
            }
            // A gateway that got no answer can't know what its server did.
            assert_eq!(error.may_have_applied(), call != Call::Get, "{error:?}");
            bench.proxy.heal();
            bench.call(call, AMPLE).succeeded();
        }
    });
}

#[test]
fn with_another_way_to_the_cluster_no_read_and_no_grant_ends_at_a_502() {
    on_each_version(|etcd| {
        for call in Call::ALL {
            let bench = Bench::with_way_out(etcd);
            bench.proxy.inject(Fault::BadGateway);
            let seen = bench.call(call, AMPLE);
            bench.check(&seen, Fault::BadGateway);
            if !call.is_write() {
                seen.succeeded();
            }
            let seen = bench.call(call, AMPLE);
            bench.check(&seen, Fault::BadGateway);
            seen.succeeded();
        }
    });
}
