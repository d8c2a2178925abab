//! Content of a known length as it is received, of a body, a chunk or a frame: a long stretch goes straight to its place.

use super::http::Cause;
use crate::net::{Connection, Control};
use crate::spare::{self, Spare};

/// What is left of some content goes straight to its place when it is at least this much.
const DIRECT_BYTES: u64 = 4 << 10;

/// Room that is made for content on the strength of its announced length alone.
const TRUSTED_BYTES: usize = 4 << 20;

thread_local! {
    /// A buffer for content.
    pub(crate) static ARENAS: Spare<u8> = const { Spare::new() };
}

/// Fails where so much more would be beyond the limit of the whole.
pub(super) fn check_limit(have: usize, due: u64, limit: usize) -> Result<(), Cause> {
    if due > limit.saturating_sub(have) as u64 {
        return Err(Cause::TooLarge(limit));
    }
    Ok(())
}

/// Makes room for what is due, and for the end of a line, which has a chunk of its own behind a long one. Beyond what may
/// be trusted it grows with what has arrived, and for one piece after another it grows by doubling.
pub(super) fn make_room(out: &mut Vec<u8>, due: usize) {
    let more = match out.is_empty() {
        true => due.min(TRUSTED_BYTES).saturating_add(1),
        false => due.min(TRUSTED_BYTES.max(out.len())),
    };
    spare::make_room(&ARENAS, out, more);
}

/// Takes off `input` what it has of the `left` bytes that are due.
pub(super) fn take(input: &mut &[u8], out: &mut Vec<u8>, left: &mut u64) {
    let count = due(*left).min(input.len());
    let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
    out.extend_from_slice(taken);
    *left -= taken.len() as u64;
    *input = rest;
}

/// Waits for some of the `left` bytes that are due: straight to `out`, or into the connection's buffer where others come
/// along with them. 0 at the connection's end.
pub(super) fn receive(
    connection: &mut Connection,
    out: &mut Vec<u8>,
    left: &mut u64,
    control: &Control,
) -> Result<usize, Cause> {
    if *left < DIRECT_BYTES || !connection.buffered().is_empty() {
        return connection.fill(control).map_err(Cause::Io);
    }
    make_room(out, due(*left));
    let count = connection.receive_onto(out, due(*left), control).map_err(Cause::Io)?;
    *left -= count as u64;
    Ok(count)
}

/// So many bytes as far as they can be in memory.
pub(super) fn due(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}
