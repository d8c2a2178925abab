//! A WebSocket that carries many watches, each under a `watch_id` of ours that is never used again on it.

use crate::channel::{self, Grant, OpenSocket};
use crate::error::{Error, Result};
use crate::gateway::frames::{self, Frames};
use crate::gateway::http::Cause;
use crate::gateway::json::{Encode, Reader, Writer};
use crate::gateway::websocket::{Received, WebSocket};
use crate::limits;
use crate::rpc::Header;
use crate::rpc::watch::{NO_WATCH, WatchCancel, WatchCreate, WatchMessage, WatchProgress};
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages of a watch are put together as long as they are not more: each by itself would cost more than copying it.
const MERGED_BYTES: usize = 64 << 10;

/// A WebSocket and what it carries.
pub(super) struct SharedSocket {
    socket: WebSocket,
    /// The token that it was opened with.
    pub grant: Grant,
    pub orders_progress: bool,
    /// Whether its watches are to leave a member without a leader.
    pub require_leader: bool,
    watches: HashMap<i64, u64>,
    /// Creates that the server has not answered yet, in their order, which is the order of its answers.
    unanswered: VecDeque<(i64, Instant)>,
    /// Cancels that the server has not answered yet, and when they were made, in this order: mostly that of its answers.
    leaving: VecDeque<(i64, Instant)>,
    /// Watches that it has ended itself: a cancel of one it will not answer.
    ended: HashSet<i64>,
    /// Watches that wait until the server is no longer [engaged](SharedSocket::is_engaged), and since when, in this order.
    held_back: VecDeque<(u64, Instant)>,
    /// More fragments of a message are to come, of a watch that is here or has left.
    pub is_amid_fragments: bool,
    /// Bytes of such fragments that came for watches that have left.
    pub unwanted_bytes: usize,
    /// When the last create was answered; they may be so many that all take long.
    last_answer: Instant,
    last_id: i64,
    /// Ticks between which nothing has arrived.
    silent_ticks: u32,
    /// It has carried a message of the server's.
    pub has_spoken: bool,
    /// Something was taken and not sent.
    pub is_unsent: bool,
    /// Whether the descriptor's writability is waited for.
    pub waits_for_room: bool,
    /// Progress requests, and answers to them: a server may leave out some, but gives none twice and none too early.
    pub progress_requests: u64,
    /// See there.
    pub progress_answers: u64,
    /// The pause before it is looked whether the owners of watches were answered; twice that is the next one.
    pub progress_pause: Option<Duration>,
}

/// What has arrived in one turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Messages by watch, in their order; of one watch there may be several.
    pub batches: Vec<(u64, Frames)>,
    /// How far all watches of the connection have come.
    pub progress: Option<Header>,
}

/// Where in a turn the messages of each `watch_id` are put.
#[derive(Default)]
struct Places {
    /// Many messages of one watch follow on each other.
    latest: Option<(i64, usize)>,
    by_id: HashMap<i64, usize>,
}

impl Places {
    fn find(&mut self, id: i64) -> Option<usize> {
        match self.latest {
            Some((latest, place)) if latest == id => Some(place),
            _ => {
                let place = *self.by_id.get(&id)?;
                self.latest = Some((id, place));
                Some(place)
            }
        }
    }

    fn put(&mut self, id: i64, place: usize) {
        self.by_id.insert(id, place);
        self.latest = Some((id, place));
    }
}

impl SharedSocket {
    pub(super) fn new(open: Box<OpenSocket>, require_leader: bool) -> SharedSocket {
        let OpenSocket { socket, grant, orders_progress } = *open;
        SharedSocket {
            socket,
            grant,
            orders_progress,
            require_leader,
            watches: HashMap::new(),
            unanswered: VecDeque::new(),
            leaving: VecDeque::new(),
            ended: HashSet::new(),
            held_back: VecDeque::new(),
            is_amid_fragments: false,
            unwanted_bytes: 0,
            last_answer: Instant::now(),
            last_id: 0,
            silent_ticks: 0,
            has_spoken: false,
            is_unsent: false,
            waits_for_room: false,
            progress_requests: 0,
            progress_answers: 0,
            progress_pause: None,
        }
    }

    pub(super) fn endpoint(&self) -> &Arc<str> {
        self.socket.endpoint()
    }

    /// The watches on it.
    pub(super) fn watches(&self) -> Vec<u64> {
        self.watches.values().copied().collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.watches.is_empty()
    }

    /// Creates a watch. Answers its `watch_id`.
    pub(super) fn create(&mut self, watch: u64, create: WatchCreate<'_>) -> Result<i64> {
        self.last_id += 1;
        let id = self.last_id;
        self.watches.insert(id, watch);
        self.unanswered.push_back((id, Instant::now()));
        self.send(&WatchCreate { watch_id: Some(id), ..create })?;
        Ok(id)
    }

    /// Cancels a watch, of which nothing is heard any more.
    pub(super) fn cancel(&mut self, id: i64) -> Result<()> {
        if self.watches.remove(&id).is_none() {
            return Ok(());
        }
        if !self.ended.remove(&id) {
            self.leaving.push_back((id, Instant::now()));
        }
        self.send(&WatchCancel { watch_id: id })
    }

    /// Whether the server is in the midst of something large, for all that is known, or has been since this moment. It sends
    /// one thing after another, and what it finds for a watch before it has told that this is created it keeps, and then
    /// sends as one message, whatever its size: it makes no fragments of that (etcd's `sendLoop`,
    /// server/etcdserver/api/v3rpc/watch.go).
    ///
    /// A cancel that was made later says nothing of that: where watches come and go all the time, one is always unanswered.
    pub(super) fn is_engaged(&self, since: Instant) -> bool {
        self.is_amid_fragments || self.leaving.front().is_some_and(|(_, made)| *made <= since)
    }

    /// Lets a watch wait as long as the server is engaged since this moment, which is now.
    pub(super) fn hold_back(&mut self, watch: u64, now: Instant) {
        self.held_back.push_back((watch, now));
    }

    /// The next watch that need not wait any more, and since when it has.
    pub(super) fn take_held_back(&mut self) -> Option<(u64, Instant)> {
        let next = self.held_back.front().copied().filter(|(_, since)| !self.is_engaged(*since))?;
        self.held_back.pop_front();
        Some(next)
    }

    /// Whether its server goes on sending although nobody is here any more, and somebody waits for the end of that.
    pub(super) fn is_sending_to_nobody(&self) -> bool {
        self.is_idle() && self.is_amid_fragments && !self.held_back.is_empty()
    }

    /// Asks how far the watches have come. The server answers once all of them have caught up, or not at all.
    pub(super) fn ask_progress(&mut self) -> Result<()> {
        self.progress_requests += 1;
        self.send(&WatchProgress)
    }

    fn send(&mut self, message: &impl Encode) -> Result<()> {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes).object(|writer| message.encode(writer));
        self.is_unsent = true;
        self.socket.send(bytes).map_err(|cause| self.error(cause))
    }

    /// Sends what was taken. False: the rest must wait until there is room.
    pub(super) fn flush(&mut self) -> Result<bool> {
        let is_sent = self.socket.flush().map_err(|cause| self.error(cause))?;
        self.is_unsent = !is_sent;
        Ok(is_sent)
    }

    /// A quarter of the time has passed in which a server must show that it is there. It is asked to when it was silent,
    /// and lost when it went on to be.
    pub(super) fn tick(&mut self) -> Result<()> {
        const TICKS_TO_LOSE: u32 = 4;
        // A large message takes its time, and no pong comes in the midst of it: its bytes are a sign as well.
        self.silent_ticks = if self.socket.take_sign() { 1 } else { self.silent_ticks + 1 };
        if self.silent_ticks >= TICKS_TO_LOSE {
            let what = "it has stopped answering".to_owned();
            return Err(self.error(Cause::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what))));
        }
        // The cancel of a watch that it no longer knows it leaves unanswered.
        if !self.is_amid_fragments {
            self.leaving.retain(|(_, made)| made.elapsed() <= limits::DEFAULT_TIMEOUT);
        }
        self.is_unsent = true;
        self.socket.ping().map_err(|cause| self.error(cause))
    }

    /// Whether the server has answered no create for so long, with one to be answered, although it was there between the
    /// last two ticks.
    pub(super) fn ignores_creates(&self, limit: Duration) -> bool {
        let waits = |(_, since): &(i64, Instant)| since.max(&self.last_answer).elapsed() > limit;
        self.silent_ticks <= 1 && self.unanswered.front().is_some_and(waits)
    }

    /// Takes what has arrived, up to a turn's worth. An error comes after what arrived before it.
    pub(super) fn receive(&mut self) -> (Turn, Result<()>) {
        let (mut turn, mut places, mut message) = (Turn::default(), Places::default(), Vec::new());
        self.socket.begin_turn(limits::WATCH_TURN_BYTES);
        loop {
            match self.socket.receive(&mut message) {
                Ok(Received::Message) => {
                    if let Err(error) = self.sort(&mut message, &mut turn, &mut places) {
                        return (turn, Err(error));
                    }
                }
                Ok(Received::Sign) => self.is_unsent = true,
                Ok(Received::Nothing) => return (turn, Ok(())),
                Err(cause) => {
                    let error = self.error(cause);
                    return (turn, Err(error));
                }
            }
        }
    }

    /// Puts a message with the others of its watch: copies it, or takes it away.
    fn sort(&mut self, message: &mut Vec<u8>, turn: &mut Turn, places: &mut Places) -> Result<()> {
        let (id, follows) = match WatchMessage::plain_id(message) {
            Some(plain) => plain,
            None => match self.addressee(message, turn)? {
                Some(id) => (id, &[][..]),
                None => return Ok(()),
            },
        };
        self.is_amid_fragments = follows.starts_with(br#","fragment":true"#);
        // A refusal names the watch where it is of an early etcd 3.5: etcd-io/etcd#14296.
        let canceled = follows.strip_prefix(br#","created":true"#).unwrap_or(follows);
        if canceled.starts_with(br#","canceled":true"#) {
            self.note_end(id);
        }
        let last = places.find(id).and_then(|place| turn.batches.get_mut(place)).map(|(_, frames)| frames);
        if let Some(frames) = last.filter(|frames| frames.arena.len() + message.len() <= MERGED_BYTES) {
            frames.push(message);
            return Ok(());
        }
        self.take_answer(id);
        // What nobody waits for comes from a watch that was cancelled.
        let Some(watch) = self.watches.get(&id) else {
            self.unwanted_bytes = if self.is_amid_fragments { self.unwanted_bytes + message.len() } else { 0 };
            return Ok(());
        };
        places.put(id, turn.batches.len());
        turn.batches.push((*watch, Frames::one(take_or_copy(message))));
        Ok(())
    }

    /// The server knows nothing more of a watch.
    fn note_end(&mut self, id: i64) {
        match self.leaving.iter().position(|(left, _)| *left == id) {
            Some(place) => drop(self.leaving.remove(place)),
            None if self.watches.contains_key(&id) => drop(self.ended.insert(id)),
            None => {}
        }
    }

    /// The `watch_id` that a message concerns. Of those without one it is the first of the creates that are unanswered,
    /// or none: what such a message says of all watches goes to the turn.
    fn addressee(&mut self, message: &[u8], turn: &mut Turn) -> Result<Option<i64>> {
        let mut arena = message.to_vec();
        let peeked = frames::peek(&mut arena, 0..message.len(), WatchMessage::peek_id);
        match peeked.map_err(|error| self.malformed(error.to_string()))? {
            Some(NO_WATCH) => {}
            Some(id) => return Ok(Some(id)),
            None => return Err(self.decode(&mut arena).err().unwrap_or_else(|| self.malformed("no error".to_owned()))),
        }
        let message = self.decode(&mut arena)?;
        if message.created && message.canceled {
            self.has_spoken = true;
            self.last_answer = Instant::now();
            let refused = self.unanswered.pop_front().map(|(id, _)| id);
            if let Some(id) = refused {
                self.note_end(id);
            }
            // It stays on the connection until it is taken off as any other.
            return Ok(refused);
        }
        if message.is_progress() {
            self.progress_answers += 1;
            turn.progress = Some(message.header);
        }
        Ok(None)
    }

    /// The first message of a watch answers its create.
    fn take_answer(&mut self, id: i64) {
        self.has_spoken = true;
        // They are in the order of their IDs.
        if let Ok(place) = self.unanswered.binary_search_by_key(&id, |(unanswered, _)| *unanswered) {
            self.unanswered.remove(place);
            self.last_answer = Instant::now();
        }
    }

    fn decode(&self, arena: &mut [u8]) -> Result<WatchMessage> {
        let length = arena.len();
        let decode = |reader: &mut Reader<'_>| WatchMessage::decode(reader, &mut Vec::new());
        let decoded = frames::message(arena, 0..length, decode);
        let decoded = decoded.map_err(|error| self.malformed(error.to_string()))?;
        decoded.map_err(|status| status.into_error(self.endpoint(), 200).of_a_read())
    }

    fn malformed(&self, error: String) -> Error {
        self.error(Cause::Protocol(format!("a message of a watch is malformed: {error}")))
    }

    fn error(&self, cause: Cause) -> Error {
        channel::stream_error(cause, self.socket.endpoint())
    }
}

/// Takes a message with its buffer, unless that is far too large for it: it may be kept for long.
fn take_or_copy(message: &mut Vec<u8>) -> Vec<u8> {
    if message.capacity() / 2 <= message.len() { std::mem::take(message) } else { message.clone() }
}

impl AsRawFd for SharedSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use crate::fuzzing::Server;
    use crate::net::Epoll;
    use std::io::Write;

    #[test]
    fn a_turn_takes_its_share_and_no_more_also_of_what_is_no_message() {
        const BYTES: usize = 2 * limits::WATCH_TURN_BYTES + (32 << 10);
        let pings = [0x89, 0].repeat(BYTES / 2);
        let endless = [&[0x01, 0][..], &[0x00, 0].repeat(BYTES / 2)].concat();
        let server = Server::new();
        for frames in [pings, endless] {
            let (connection, mut peer) = server.connect();
            let socket = WebSocket::new(Arc::from("unix:a"), connection, 1 << 20).unwrap();
            let open = OpenSocket { socket, grant: Grant::NONE, orders_progress: true };
            let mut socket = SharedSocket::new(Box::new(open), false);
            let epoll = Epoll::new().unwrap();
            epoll.add(socket.as_raw_fd(), 7).unwrap();
            let mut leaves_some = || {
                let mut ready = Vec::new();
                socket.receive().1.unwrap();
                epoll.wait(Deadline::after(Duration::ZERO), &mut ready).unwrap();
                ready == [7]
            };
            // What it reads into grows first. All that is written is there before any is read.
            let (first, then) = frames.split_at(limits::WATCH_TURN_BYTES);
            peer.write_all(first).unwrap();
            while leaves_some() {}
            peer.write_all(then).unwrap();
            assert_eq!([leaves_some(), leaves_some()], [true, false]);
        }
    }
}
