//! What a proxy does to the connections through it.

use crate::common::Random;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Answer,
}

/// A fault. It holds for connections that are open as well as for new ones, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Forwards everything as it comes.
    None,
    /// Takes no new connection.
    Refuse,
    /// Takes connections and whatever comes over them, and forwards nothing.
    Hole,
    /// The same for connections from the etcd member of this ID, which other members tell in each request.
    HoleFor(u64),
    /// Answers every request itself, with status 502 and a page for people.
    BadGateway,
    /// Forwards what comes one way only after so long.
    Delay(Direction, Duration),
    /// Forwards byte after byte, each in a packet of its own, with so long between them.
    Drip(Direction, Duration),
    /// Holds back until nothing has come for so long, and forwards that at once.
    Merge(Direction, Duration),
    /// Forwards so many bytes one way, counted from when the fault was set, and then ends the connection in some way.
    After(Direction, usize, End),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In an orderly way, both ways.
    Close,
    /// With a reset to both sides (SO_LINGER 0).
    Reset,
    /// In an orderly way, in the direction concerned; the other one goes on.
    HalfClose,
    /// Not at all: it stays open, and nothing comes any more that way.
    Stall,
}

impl Fault {
    /// A fault that a caller can survive; those that last go away with the next.
    pub fn random(random: &mut Random) -> Fault {
        let direction = *random.pick(&[Direction::Request, Direction::Answer]);
        match random.below(10) {
            0 => Fault::Refuse,
            1 => Fault::Hole,
            2 => Fault::BadGateway,
            3 => Fault::Delay(direction, random.time(1, 100)),
            4 => Fault::Drip(direction, Duration::from_micros(random.next() % 300)),
            5 => Fault::Merge(direction, random.time(1, 20)),
            _ => {
                let end = *random.pick(&[End::Close, End::Reset, End::HalfClose, End::Stall]);
                Fault::After(direction, random.below(2000), end)
            }
        }
    }
}
