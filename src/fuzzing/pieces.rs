//! What a server says, in pieces.

use super::Choices;

/// So much fits into the buffer of a socket, so that nobody waits for its other end to read.
const MOST_BYTES: usize = 100_000;

/// The most bytes of a line or a message, as a choice.
const LIMITS: [usize; 4] = [1 << 20, 64, 1000, 5000];

/// An input as such a limit and what a server says, behind how many pieces that is cut into beside the last and the length
/// of each. `None`: it is too long.
pub(super) fn limit_and_pieces(bytes: &[u8]) -> Option<(usize, Vec<&[u8]>)> {
    let mut choices = Choices::new(bytes);
    let limit = LIMITS[choices.below(LIMITS.len())];
    let cuts = choices.byte() & 31;
    let lengths: Vec<usize> = (0..cuts).map(|_| length_of(choices.byte())).collect();
    let mut rest = choices.rest();
    if rest.len() > MOST_BYTES {
        return None;
    }
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, others) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    pieces.push(rest);
    Some((limit, pieces))
}

/// Short pieces byte by byte, and longer ones.
fn length_of(choice: u8) -> usize {
    match choice {
        0..128 => choice.into(),
        128.. => usize::from(choice - 127) * 100,
    }
}
