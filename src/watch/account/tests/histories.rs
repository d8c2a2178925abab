//! Random histories, told by servers in every way that they have: what is delivered is compared with what happened.

use super::*;
use std::collections::VecDeque;

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

const KEYS: [&str; 4] = ["a", "bb", "ccc", "dddd"];
const FIRST: i64 = 5;

/// What happened, by revision from [`FIRST`] on: the keys put, of those that the watch is about.
struct History(Vec<Vec<&'static str>>);

impl History {
    fn new(dice: &mut Dice) -> History {
        let revision = |dice: &mut Dice| {
            let most = if dice.is_one_in(10) { 30 } else { 4 };
            let count = if dice.is_one_in(3) { 0 } else { 1 + dice.below(most) };
            (0..count).map(|_| KEYS[dice.below(KEYS.len())]).collect()
        };
        History((0..40).map(|_| revision(dice)).collect())
    }

    fn last(&self) -> i64 {
        FIRST + self.0.len() as i64 - 1
    }

    /// The events of revisions from `from` up to and not with `to`.
    fn events(&self, from: i64, to: i64) -> Vec<(i64, &'static str)> {
        let keys = |revision: i64| self.0.get((revision - FIRST) as usize).into_iter().flatten();
        (from..to).flat_map(|revision| keys(revision).map(move |key| (revision, *key))).collect()
    }
}

/// What comes over a stream.
enum Sent {
    Line(String),
    /// The answer to a progress request: its revision, and whether it is in order.
    Requested(i64, bool),
}

/// All that a member sends which has the history up to `last`, of a watch from a revision: whole revisions in messages,
/// these in fragments, with progress of all kinds in between. A server with a defect begins with what was there before.
fn stream(dice: &mut Dice, history: &History, start: i64, last: i64) -> VecDeque<Sent> {
    let mut sent = VecDeque::from([Sent::Line(created(dice.between(FIRST, last)))]);
    let mut position = if dice.is_one_in(4) { dice.between(FIRST, start.min(last)) } else { start };
    while position <= last {
        let end = dice.between(position, last.min(position + 9)) + 1;
        let mut events = &history.events(position, end)[..];
        position = end;
        while !events.is_empty() {
            let count = 1 + dice.below(events.len().min(12));
            let (fragment, rest) = events.split_at(count);
            sent.push_back(Sent::Line(puts(fragment, !rest.is_empty())));
            events = rest;
            if dice.is_one_in(10) {
                // Nobody sends it among fragments; if somebody did, it would not be believed.
                sent.push_back(Sent::Requested(last + 50, !events.is_empty()));
            }
        }
        match dice.below(6) {
            0 => sent.push_back(Sent::Line(progress(end - 1))),
            1 => sent.push_back(Sent::Requested(end - 1, true)),
            2 => sent.push_back(Sent::Line(progress(dice.between(FIRST, end - 1)))),
            _ => {}
        }
    }
    sent
}

/// A watch of a history, and what has come of it.
struct Told<'a> {
    history: &'a History,
    watched: Watched,
    delivered: Vec<(i64, String)>,
    resume: i64,
}

impl Told<'_> {
    /// Gives a stream to the account in portions that arrive together, up to where it is cut.
    fn hear(&mut self, dice: &mut Dice, mut sent: VecDeque<Sent>) {
        let cut = if dice.is_one_in(2) { dice.below(sent.len() + 1) } else { sent.len() };
        sent.truncate(cut);
        while !sent.is_empty() {
            let mut lines = Vec::new();
            let most = 1 + dice.below(5);
            while lines.len() < most {
                match sent.pop_front() {
                    Some(Sent::Line(line)) => lines.push(line),
                    Some(Sent::Requested(revision, is_ordered)) => {
                        self.receive(&std::mem::take(&mut lines));
                        // The others are kept from the account.
                        if is_ordered {
                            self.watched.request_progress(revision, true, true);
                        }
                    }
                    None => break,
                }
            }
            self.receive(&lines);
            if dice.is_one_in(2) {
                self.watched.read(CLUSTER, dice.between(FIRST, self.history.last()));
                self.check();
            }
            if dice.is_one_in(3) {
                self.watched.judge(self.history.last()).unwrap();
                self.check();
            }
        }
        if dice.is_one_in(2) {
            let broken = [r#"{"result":{"events":[{"kv":{"mod_revision":"99"}}"#.to_owned()];
            let refused = self.watched.receive(&broken).and_then(|()| self.watched.judge(self.history.last()));
            refused.unwrap_err();
        }
        self.watched.lose();
        self.check();
        assert_eq!(self.watched.account.held_bytes(), 0);
    }

    fn receive(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            self.watched.receive(lines).unwrap();
        }
        self.check();
    }

    /// Each response adds whole revisions, exactly up to the one that it says to resume at.
    fn check(&mut self) {
        for response in self.watched.responses.drain(..) {
            let key =
                |event: &crate::rpc::watch::Event| String::from_utf8(response.bytes(event.kv.key).to_vec()).unwrap();
            self.delivered.extend(response.events.iter().map(|event| (event.kv.mod_revision, key(event))));
            assert!(response.resume_revision >= self.resume);
            self.resume = response.resume_revision;
            assert!(response.kind != WatchKind::Progress || response.header.revision < self.resume);
            let happened = self.history.events(FIRST, self.resume);
            let is_exact =
                |(delivered, event): (&(i64, String), &(i64, &str))| delivered.0 == event.0 && delivered.1 == event.1;
            assert_eq!(self.delivered.len(), happened.len(), "up to {}", self.resume);
            assert!(self.delivered.iter().zip(&happened).all(is_exact), "{:?} {happened:?}", self.delivered);
            said(&response);
        }
        let account = &self.watched.account;
        assert!(account.next_revision() >= self.resume && account.seen_revision() <= self.history.last());
        let whole = self.history.events(FIRST, account.next_revision()).len();
        assert_eq!(whole, self.delivered.len(), "nothing whole is held back");
    }
}

#[test]
fn whatever_servers_do_each_revision_is_delivered_whole_once_and_in_order() {
    for seed in 1..=250 {
        let mut dice = Dice::new(seed);
        let history = History::new(&mut dice);
        let watched = Watched { account: Account::new(FIRST, settings()), responses: Vec::new() };
        let mut told = Told { history: &history, watched, delivered: Vec::new(), resume: FIRST };
        let mut streams = 0;
        let all = history.events(FIRST, history.last() + 1).len();
        while told.delivered.len() < all {
            streams += 1;
            assert!(streams < 1000, "seed {seed}: it doesn't come to an end");
            // A member that lags has less than what was delivered, or a part of what is to come.
            let (start, last) = (told.watched.account.next_revision(), dice.between(FIRST, history.last()));
            let seen = told.watched.account.seen_revision();
            let sent = stream(&mut dice, &history, start, last);
            told.hear(&mut dice, sent);
            assert!(told.watched.account.seen_revision() >= seen);
        }
    }
}

#[test]
fn a_compaction_while_the_stream_is_lost_is_told_after_all_that_was_whole() {
    for seed in 1..=100 {
        let mut dice = Dice::new(seed);
        let history = History::new(&mut dice);
        let watched = Watched { account: Account::new(FIRST, settings()), responses: Vec::new() };
        let mut told = Told { history: &history, watched, delivered: Vec::new(), resume: FIRST };
        let sent = stream(&mut dice, &history, FIRST, history.last());
        told.hear(&mut dice, sent);
        let next = told.watched.account.next_revision();
        let compacted = next + dice.between(1, 5);
        let line = format!(r#"{{"result":{{"canceled":true,"compact_revision":"{compacted}"}}}}"#);
        match told.watched.receive(&[created(history.last()), line]) {
            Err(Interruption::Ended(Error::Compacted { wanted, compact_revision, .. })) => {
                assert_eq!((wanted, compact_revision), (next, compacted));
            }
            other => panic!("{other:?}"),
        }
        told.check();
    }
}
