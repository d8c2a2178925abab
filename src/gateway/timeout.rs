//! The time that a server is given, in gRPC's words.

use crate::limits;
use std::fmt;
use std::time::Duration;

/// The value of a `Grpc-Timeout` line: what is left of a call and a little more. So the call's own limit is the one
/// that passes, with the error that belongs to it, and the server then gives up what nobody waits for.
pub(crate) struct GrpcTimeout(pub Duration);

/// gRPC allows as many digits (grpc/doc/PROTOCOL-HTTP2.md).
const MOST: u128 = 99_999_999;

impl fmt::Display for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.0.saturating_add(limits::SERVER_TIMEOUT_SLACK);
        match told.as_millis() {
            millis @ ..=MOST => write!(f, "{millis}m"),
            millis => write!(f, "{}S", (millis / 1000).min(MOST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_a_little_more_time_than_the_call_in_eight_digits_at_most() {
        for (left, wanted) in [
            (Duration::ZERO, "100m"),
            (Duration::from_micros(1_999), "101m"),
            (Duration::from_secs(10), "10100m"),
            (Duration::from_millis(99_999_899), "99999999m"),
            (Duration::from_millis(99_999_900), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(GrpcTimeout(left).to_string(), wanted);
        }
    }
}
