//! Arbitrary histories of one watch, as servers tell them that keep to no rule.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::{Account, Asked, Settings};
use crate::error::Error;
use crate::fuzzing::Choices;
use crate::gateway::frames::Frames;
use crate::rpc::{Header, Namespace};
use crate::watch::interruption::Interruption;
use crate::watch::{WatchKind, WatchResponse};
use std::collections::HashSet;
use std::sync::Arc;

/// The cluster that the watch is of, mostly.
const CLUSTER: u64 = 7;

/// Small, so that it is reached.
const MAX_REVISION_BYTES: usize = 4000;

/// What the reactor lets a watch withhold.
const MAX_WITHHELD_BYTES: usize = 20_000;

/// Numbers of events are beyond this, where those in lines of the input's own aren't.
const FIRST_EVENT: i64 = 1 << 40;

/// Whatever servers say: revisions rise from one response to the next, no event comes twice, none comes below the
/// revision that the watch resumes at, which never falls, and what is held back is bounded.
pub fn watch(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let options = choices.byte();
    let start = match (options & 1, options & 16) {
        (0, 0) => 5,
        (0, _) => 0,
        _ => choices.int64(),
    };
    let settings = Settings {
        namespace: if options & 2 == 0 { Namespace::default() } else { Namespace::new(b"k".to_vec()) },
        shows_progress: options & 4 == 0,
        reports_connection: options & 8 == 0,
        follows_read: false,
        max_revision_bytes: MAX_REVISION_BYTES,
    };
    let mut told = Told {
        account: Account::new(start, settings),
        lines: Vec::new(),
        sent: FIRST_EVENT,
        consumer: Consumer { resume: start, seen: HashSet::new() },
    };
    while !choices.is_empty() && told.step(&mut choices).is_ok() {}
    let _ = told.flush();
}

/// The watch has ended.
struct Ended;

struct Told {
    account: Account,
    /// What a server has sent and the account has not got.
    lines: Vec<Vec<u8>>,
    /// The number of the last event that was sent; its version tells it.
    sent: i64,
    consumer: Consumer,
}

impl Told {
    fn step(&mut self, choices: &mut Choices<'_>) -> Result<(), Ended> {
        let kind = choices.byte();
        match kind & 15 {
            0 => self.line(choices, r#","created":true"#),
            1 => self.line(choices, ""),
            2 => {
                let reason = ["", r#","cancel_reason":"etcdserver: no leader""#][choices.below(2)];
                self.line(choices, &format!(r#","canceled":true{reason}"#));
            }
            3 => {
                let revision = self.revision(choices);
                self.line(choices, &format!(r#","compact_revision":"{revision}""#));
            }
            4 => self.lines.push(choices.field(b'\n').unwrap_or_default().to_vec()),
            5 => {
                self.flush()?;
                let header = Header { cluster_id: CLUSTER, revision: self.revision(choices), ..Header::default() };
                let asked = Asked { is_after_creation: choices.flag(), by_owner: choices.flag() };
                let Told { account, consumer, .. } = self;
                account.receive_requested_progress(header, asked, &mut |response| consumer.take(&response));
            }
            6 => {
                self.flush()?;
                self.lose();
            }
            7 => {
                self.flush()?;
                self.account.suspend();
            }
            8 => {
                self.flush()?;
                let found = Header { revision: self.revision(choices), ..Header::default() };
                let Told { account, consumer, .. } = self;
                let judged = account.judge_revision(found, &endpoint(), &mut |response| consumer.take(&response));
                self.draw_consequences(judged)?;
            }
            9 => self.lines.push(br#"{"error":{"code":14,"message":"etcdserver: no leader"}}"#.to_vec()),
            10 if self.account.next_revision() == 0 => {
                self.flush()?;
                self.account.suspend();
                if self.account.next_revision() == 0 {
                    self.account.start_after(self.revision(choices).max(1));
                }
            }
            11 => self.account.start_no_earlier_than(self.revision(choices)),
            _ => self.events(choices),
        }
        // Some of what arrives arrives together.
        if kind & 16 == 0 { self.flush() } else { Ok(()) }
    }

    /// A revision near the one that is owed next, or any other.
    fn revision(&self, choices: &mut Choices<'_>) -> i64 {
        match choices.byte() {
            255 => choices.int64(),
            254 => i64::MAX,
            near => self.account.next_revision().saturating_add(i64::from(near % 64) - 16),
        }
    }

    fn line(&mut self, choices: &mut Choices<'_>, rest: &str) {
        let cluster = if choices.below(32) == 1 { 8 } else { CLUSTER };
        let revision = self.revision(choices);
        let line = format!(r#"{{"result":{{"header":{{"cluster_id":"{cluster}","revision":"{revision}"}}{rest}}}}}"#);
        self.lines.push(line.into_bytes());
    }

    fn events(&mut self, choices: &mut Choices<'_>) {
        let (count, fragment) = (choices.below(8), choices.flag());
        let filling = "A".repeat(choices.below(64) * 4);
        let mut events = Vec::new();
        for _ in 0..count {
            self.sent += 1;
            let (number, revision) = (self.sent, self.revision(choices));
            let event_type = ["PUT", "DELETE"][choices.below(2)];
            // The version tells the event, the value is a load.
            events.push(format!(
                r#"{{"type":"{event_type}","kv":{{"key":"a2V5","mod_revision":"{revision}","version":"{number}","value":"{filling}"}}}}"#
            ));
        }
        self.line(choices, &format!(r#","fragment":{fragment},"events":[{}]"#, events.join(",")));
    }

    /// Gives the account what has arrived.
    fn flush(&mut self) -> Result<(), Ended> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let (mut arena, mut lines) = (Vec::new(), Vec::new());
        for line in self.lines.drain(..) {
            lines.push(arena.len()..arena.len() + line.len());
            arena.extend_from_slice(&line);
            arena.push(b'\n');
        }
        let size = arena.len();
        let Told { account, consumer, .. } = self;
        let received = account.receive(Frames { arena, lines }, &endpoint(), &mut |response| consumer.take(&response));
        self.draw_consequences(received)?;
        if self.account.is_behind() {
            if self.account.held_bytes() > MAX_WITHHELD_BYTES {
                self.lose();
            }
        } else {
            assert!(self.account.held_bytes() <= 4 * (MAX_REVISION_BYTES + size), "{}", self.account.held_bytes());
        }
        Ok(())
    }

    fn draw_consequences(&mut self, received: Result<(), Interruption>) -> Result<(), Ended> {
        assert!(self.account.next_revision() >= self.consumer.resume);
        match received {
            Ok(()) => Ok(()),
            Err(Interruption::Ended(error)) => {
                assert!(!error.full_message().is_empty());
                Err(Ended)
            }
            Err(Interruption::Lost(_) | Interruption::Refused(_)) => {
                self.lose();
                Ok(())
            }
        }
    }

    fn lose(&mut self) {
        let Told { account, consumer, .. } = self;
        account.lose_stream(&Error::invalid("lost"), &mut |response| consumer.take(&response));
        assert_eq!(account.held_bytes(), 0);
        assert!(!account.is_created() && !account.is_behind());
    }
}

/// Whom responses go to.
struct Consumer {
    resume: i64,
    /// The versions of the events that have come.
    seen: HashSet<i64>,
}

impl Consumer {
    fn take(&mut self, response: &WatchResponse) {
        assert!(response.resume_revision >= self.resume, "the resume point falls: {response:?}");
        assert_eq!(response.kind == WatchKind::Events, !response.events.is_empty());
        assert!(response.events.is_sorted_by_key(|event| event.kv.mod_revision), "{response:?}");
        for event in &response.events {
            let revision = event.kv.mod_revision;
            assert!(revision >= self.resume, "{revision} is below {}", self.resume);
            assert!(revision < response.resume_revision, "{revision} would come again: {response:?}");
            let is_new = event.kv.version <= FIRST_EVENT || self.seen.insert(event.kv.version);
            assert!(is_new, "it comes twice: {response:?}");
            response.bytes(event.kv.key);
        }
        self.resume = response.resume_revision;
    }
}

fn endpoint() -> Arc<str> {
    Arc::from("http://a:2379")
}
