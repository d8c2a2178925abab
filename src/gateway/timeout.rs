//! The time that a server is given, in gRPC's words.

use super::http::decimal;
use crate::limits;
use std::time::Duration;

/// gRPC allows as many digits (grpc/doc/PROTOCOL-HTTP2.md).
const MOST: u128 = 99_999_999;

/// Appends the line for a call that has so much time left: that and a little more. So the call's own limit is the one
/// that passes, with the error that belongs to it, and the server then gives up what nobody waits for.
pub(crate) fn push_line(left: Duration, lines: &mut String) {
    let told = left.saturating_add(limits::SERVER_TIMEOUT_SLACK);
    let (number, unit) = match told.as_millis() {
        millis @ ..=MOST => (millis, "m\r\n"),
        millis => ((millis / 1000).min(MOST), "S\r\n"),
    };
    lines.push_str("Grpc-Timeout: ");
    lines.extend(decimal(number as usize, &mut [0; 20]).iter().map(|digit| char::from(*digit)));
    lines.push_str(unit);
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
            let mut lines = String::new();
            push_line(left, &mut lines);
            assert_eq!(lines, format!("Grpc-Timeout: {wanted}\r\n"));
        }
    }
}
