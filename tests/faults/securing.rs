//! Connections that end somewhere between the first byte of a TLS handshake and the last of an answer.

use crate::common::{Certificates, Direction, End, Etcd, EtcdOptions, Fault, versions};
use crate::support::{AMPLE, Bench, Call};
use etcdgw::config::{Pem, TlsConfig};
use etcdgw::error::Error;

/// Cuts at every so many bytes: a handshake is long, and a cut within one of its records is like another.
const STEP: usize = 23;

/// So many bytes either way are part of the handshake still.
const HANDSHAKE: usize = 200;

#[test]
fn a_secure_connection_cut_anywhere_is_an_error_that_tells_whether_the_request_was_sent() {
    let certificates = Certificates::new();
    let flags = certificates.flags(&certificates.issue("server", &["127.0.0.1"]), false);
    let options = EtcdOptions { flags, tls: true, ..EtcdOptions::default() };
    let etcd = Etcd::start_with(versions().last().unwrap(), options);
    let tls = TlsConfig { ca_cert: Some(Pem::File(certificates.ca())), ..TlsConfig::default() };
    for direction in [Direction::Request, Direction::Answer] {
        for call in Call::ALL {
            let mut bench = Bench::over_tls(&etcd, tls.clone());
            bench.call(call, AMPLE).succeeded();
            let length = bench.proxy.forwarded(direction);
            let ends = [End::Close, End::Reset, End::HalfClose].into_iter().cycle();
            for (bytes, end) in (0..length).step_by(STEP).zip(ends) {
                let fault = Fault::After(direction, bytes, end);
                bench.fresh_client();
                bench.proxy.inject_once(fault);
                let seen = bench.call(call, AMPLE);
                bench.check(&seen, fault);
                let Err(error) = &seen.result else { continue };
                // A server that finds half of a request says so.
                let is_expected = matches!(
                    error,
                    Error::Lost { .. } | Error::Connect { .. } | Error::Protocol { http_status: 400, .. }
                );
                assert!(is_expected, "{fault:?}: {error:?}");
                if bytes < HANDSHAKE {
                    assert!(!error.may_have_applied() && error.is_retryable(), "{fault:?}: {error:?}");
                }
                // What was cut short is no reason to distrust the server.
                bench.call(call, AMPLE).succeeded();
            }
        }
    }
}
