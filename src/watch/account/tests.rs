//! Every rule of the account, on messages as servers send them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod doubts;
mod endings;
mod fragments;
mod histories;
mod progress;

use super::*;
use crate::error::{Code, Reason};
use base64_simd::STANDARD;

fn endpoint() -> Arc<str> {
    Arc::from("http://a:2379")
}

fn settings() -> Settings {
    Settings {
        namespace: Namespace::default(),
        shows_progress: true,
        reports_connection: true,
        follows_read: false,
        max_revision_bytes: 1 << 20,
    }
}

/// That all of this is of.
const CLUSTER: u64 = 12811601696947692177;

fn header(revision: i64) -> String {
    format!(r#""header":{{"cluster_id":"{CLUSTER}","member_id":"1","revision":"{revision}","raft_term":"2"}}"#)
}

fn created(revision: i64) -> String {
    format!(r#"{{"result":{{{},"created":true}}}}"#, header(revision))
}

fn progress(revision: i64) -> String {
    format!(r#"{{"result":{{{}}}}}"#, header(revision))
}

/// A message with one put of a key for each revision; its value is the revision and the key.
fn puts(events: &[(i64, &str)], fragment: bool) -> String {
    let event = |(revision, key): &(i64, &str)| {
        let value = STANDARD.encode_to_string(format!("{revision}{key}"));
        let key = STANDARD.encode_to_string(key);
        format!(
            r#"{{"kv":{{"key":"{key}","create_revision":"2","mod_revision":"{revision}","version":"1","value":"{value}"}}}}"#
        )
    };
    let events: Vec<String> = events.iter().map(event).collect();
    let fragment = if fragment { r#","fragment":true"# } else { "" };
    format!(r#"{{"result":{{{}{fragment},"events":[{}]}}}}"#, header(900), events.join(","))
}

/// Lines that arrived together.
fn frames(lines: &[String]) -> Frames {
    let (mut arena, mut ranges) = (Vec::new(), Vec::new());
    for line in lines {
        ranges.push(arena.len()..arena.len() + line.len());
        arena.extend_from_slice(line.as_bytes());
        arena.push(b'\n');
    }
    Frames { arena, lines: ranges }
}

/// What a response says: its kind, `revision:key` of its events, and where to resume.
fn said(response: &WatchResponse) -> (WatchKind, String, i64) {
    let event = |event: &crate::rpc::watch::Event| {
        let key = String::from_utf8(response.bytes(event.kv.key).to_vec()).unwrap();
        let value = String::from_utf8(response.bytes(event.kv.value).to_vec()).unwrap();
        assert!(value.is_empty() || value == format!("{}{key}", event.kv.mod_revision), "{value} of {key}");
        format!("{}:{key}", event.kv.mod_revision)
    };
    let events: Vec<String> = response.events.iter().map(event).collect();
    (response.kind, events.join(" "), response.resume_revision)
}

struct Watched {
    account: Account,
    responses: Vec<WatchResponse>,
}

impl Watched {
    /// A confirmed watch that owes revision 5 next.
    fn from_5() -> Watched {
        Watched::with(settings())
    }

    fn with(settings: Settings) -> Watched {
        let mut watched = Watched { account: Account::new(5, settings), responses: Vec::new() };
        watched.receive(&[created(9)]).unwrap();
        assert!(watched.account.is_created());
        watched
    }

    /// One that no server has confirmed.
    fn without_start() -> Watched {
        Watched { account: Account::new(0, settings()), responses: Vec::new() }
    }

    fn receive(&mut self, lines: &[String]) -> Result<(), Interruption> {
        let Watched { account, responses } = self;
        account.receive(frames(lines), &endpoint(), &mut |response| responses.push(response))
    }

    fn lose(&mut self) {
        let error = Error::invalid("lost");
        let Watched { account, responses } = self;
        account.lose_stream(&error, &mut |response| responses.push(response));
    }

    fn request_progress(&mut self, revision: i64, is_after_creation: bool, by_owner: bool) -> bool {
        let header = Header { cluster_id: CLUSTER, revision, ..Header::default() };
        let Watched { account, responses } = self;
        let mut deliver = |response| responses.push(response);
        account.receive_requested_progress(header, Asked { is_after_creation, by_owner }, &mut deliver)
    }

    fn read(&mut self, cluster_id: u64, revision: i64) -> bool {
        let found = Header { cluster_id, revision, ..Header::default() };
        let Watched { account, responses } = self;
        account.receive_read(found, &mut |response| responses.push(response))
    }

    fn judge(&mut self, revision: i64) -> Result<(), Interruption> {
        self.judge_by(1, revision, 0)
    }

    fn judge_by(&mut self, member_id: u64, revision: i64, raft_term: u64) -> Result<(), Interruption> {
        let found = Header { member_id, revision, raft_term, ..Header::default() };
        let Watched { account, responses } = self;
        account.judge_revision(found, &endpoint(), &mut |response| responses.push(response))
    }

    fn said(&mut self) -> Vec<(WatchKind, String, i64)> {
        self.responses.drain(..).map(|response| said(&response)).collect()
    }
}

fn events(text: &str, resume: i64) -> (WatchKind, String, i64) {
    (WatchKind::Events, text.to_owned(), resume)
}

#[test]
fn the_revision_of_the_confirmation_moves_nothing() {
    assert_eq!(Watched::from_5().account.next_revision(), 5);
}

#[test]
fn a_watch_without_a_start_revision_starts_after_the_revision_of_its_first_confirmation() {
    let mut watched = Watched::without_start();
    watched.receive(&[created(9), puts(&[(8, "a"), (9, "a"), (10, "a")], false)]).unwrap();
    assert_eq!(watched.said(), [events("10:a", 11)]);

    let mut watched = Watched::without_start();
    watched.receive(&[created(9)]).unwrap();
    watched.lose();
    assert_eq!(watched.account.next_revision(), 10);
    watched.said();
    watched.receive(&[created(12), puts(&[(10, "a")], false)]).unwrap();
    assert_eq!(watched.said(), [(WatchKind::Resumed, String::new(), 10), events("10:a", 11)]);
}

#[test]
fn a_watch_that_loses_its_stream_before_it_has_started_starts_after_the_next_confirmation() {
    let mut watched = Watched::without_start();
    watched.lose();
    watched.receive(&[created(9), puts(&[(9, "a"), (10, "a")], false)]).unwrap();
    assert_eq!(watched.said(), [events("10:a", 11)]);
}

#[test]
fn nothing_starts_a_watch_but_a_confirmation_with_a_revision() {
    for line in [puts(&[(7, "a")], false), puts(&[(7, "a")], true), created(0)] {
        let mut watched = Watched::without_start();
        let received = watched.receive(std::slice::from_ref(&line));
        assert!(matches!(received, Err(Interruption::Lost(Error::Protocol { .. }))), "{line}: {received:?}");
        assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 0), "{line}");
    }
    let mut watched = Watched::without_start();
    watched.receive(&[progress(7)]).unwrap();
    assert!(!watched.request_progress(7, true, true));
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 0));
}

#[test]
fn messages_that_arrive_together_are_one_response() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a"), (5, "b")], false), puts(&[(7, "a")], false)]).unwrap();
    assert_eq!(watched.said(), [events("5:a 5:b 7:a", 8)]);
    assert_eq!(watched.account.next_revision(), 8);
}

#[test]
fn what_is_older_than_the_next_revision_is_never_delivered() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(3, "a"), (4, "b")], false)]).unwrap();
    assert_eq!(watched.said(), []);
    watched.receive(&[puts(&[(4, "b"), (5, "c")], false), puts(&[(5, "c"), (6, "d")], false)]).unwrap();
    assert_eq!(watched.said(), [events("5:c 6:d", 7)]);
}

#[test]
fn a_revision_in_fragments_is_delivered_when_an_event_of_a_greater_one_has_come() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a"), (5, "b")], true)]).unwrap();
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 5));
    watched.receive(&[puts(&[(5, "c"), (6, "a"), (8, "a")], true)]).unwrap();
    assert_eq!(watched.said(), [events("5:a 5:b 5:c", 6), events("6:a", 8)]);
    watched.receive(&[puts(&[(8, "b")], true)]).unwrap();
    watched.receive(&[puts(&[(9, "a")], true)]).unwrap();
    assert_eq!(watched.said(), [events("8:a 8:b", 9)]);
}

#[test]
fn the_last_fragment_makes_the_last_revision_whole() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a"), (6, "a")], true)]).unwrap();
    assert_eq!(watched.said(), [events("5:a", 6)]);
    watched.receive(&[puts(&[(6, "b")], false), puts(&[(7, "a")], false), progress(9)]).unwrap();
    let expected = [events("6:a 6:b", 7), events("7:a", 10), (WatchKind::Progress, String::new(), 10)];
    assert_eq!(watched.said(), expected);
    assert_eq!(watched.account.held_bytes(), 0);
}

#[test]
fn fragments_that_arrive_together_are_one_response() {
    let mut watched = Watched::from_5();
    watched
        .receive(&[
            puts(&[(5, "a")], false),
            puts(&[(6, "a"), (6, "b")], true),
            puts(&[(6, "c")], false),
            puts(&[(7, "a")], true),
        ])
        .unwrap();
    assert_eq!(watched.said(), [events("5:a 6:a 6:b 6:c", 7)]);
    watched.receive(&[puts(&[(7, "b")], false)]).unwrap();
    assert_eq!(watched.said(), [events("7:a 7:b", 8)]);
}

#[test]
fn an_event_out_of_order_is_never_delivered() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a"), (6, "a"), (5, "b"), (6, "b")], true)]).unwrap();
    assert_eq!(watched.said(), [events("5:a", 6)]);
    watched.receive(&[puts(&[(5, "c"), (6, "c"), (7, "a"), (6, "d")], false)]).unwrap();
    assert_eq!(watched.said(), [events("6:a 6:b 6:c", 7), events("7:a", 8)]);
    watched.receive(&[puts(&[(8, "a"), (8, "b"), (7, "b")], false)]).unwrap();
    assert_eq!(watched.said(), [events("8:a 8:b", 9)]);
    // All that is left of the last fragment is that it was the last.
    watched.receive(&[puts(&[(9, "a")], true)]).unwrap();
    watched.receive(&[puts(&[(8, "c")], false)]).unwrap();
    assert_eq!(watched.said(), [events("9:a", 10)]);
}

#[test]
fn a_cancellation_comes_after_the_revisions_that_are_whole() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a")], true)]).unwrap();
    // What was compacted away is lost, whether or not the message says more.
    let compacted = r#"{"result":{"compact_revision":"21"}}"#.to_owned();
    match watched.receive(&[puts(&[(5, "b"), (6, "a"), (7, "a")], true), compacted]) {
        Err(Interruption::Ended(Error::Compacted { wanted: 7, compact_revision: 21, .. })) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(watched.said(), [events("5:a 5:b", 6), events("6:a", 7)]);
    assert_eq!(watched.account.held_bytes(), 0);
}

#[test]
fn fragments_of_a_lost_stream_are_forgotten() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a")], false), puts(&[(6, "a")], true)]).unwrap();
    watched.lose();
    let expected = [events("5:a", 6), (WatchKind::Disconnected, String::new(), 6)];
    assert_eq!(watched.said(), expected);
    watched.receive(&[created(9), puts(&[(6, "a"), (6, "b")], false)]).unwrap();
    assert_eq!(watched.said(), [(WatchKind::Resumed, String::new(), 6), events("6:a 6:b", 7)]);
}

#[test]
fn a_revision_without_end_is_refused() {
    let mut watched = Watched::with(Settings { max_revision_bytes: 1000, ..settings() });
    let mut refused = Ok(());
    for _ in 0..20 {
        refused = watched.receive(&[puts(&[(5, "a")], true)]);
        if refused.is_err() {
            break;
        }
    }
    assert!(matches!(refused, Err(Interruption::Ended(Error::TooLarge { .. }))), "{refused:?}");
    assert_eq!(watched.said(), []);
}

#[test]
fn a_loss_is_reported_once_and_so_is_its_end() {
    let mut watched = Watched::from_5();
    watched.lose();
    watched.lose();
    watched.receive(&[created(9), created(9)]).unwrap();
    let expected = [(WatchKind::Disconnected, String::new(), 5), (WatchKind::Resumed, String::new(), 5)];
    assert_eq!(watched.said(), expected);

    let mut watched = Watched::with(Settings { reports_connection: false, ..settings() });
    watched.lose();
    watched.receive(&[created(9)]).unwrap();
    assert_eq!(watched.said(), []);
}

#[test]
fn a_stream_that_is_given_up_by_intent_is_told_of_only_where_the_next_one_is_not_to_be_had() {
    let mut watched = Watched::from_5();
    watched.account.suspend();
    watched.receive(&[created(9)]).unwrap();
    assert_eq!(watched.said(), []);

    watched.account.suspend();
    watched.lose();
    watched.account.suspend();
    watched.lose();
    watched.receive(&[created(9)]).unwrap();
    let expected = [(WatchKind::Disconnected, String::new(), 5), (WatchKind::Resumed, String::new(), 5)];
    assert_eq!(watched.said(), expected);
}

#[test]
fn deletions_and_previous_values_come_decoded() {
    let mut watched = Watched::with(Settings { namespace: Namespace::new(b"d".to_vec()), ..settings() });
    let line = r#"{"result":{"header":{"revision":"46"},"events":[{"type":"DELETE","kv":{"key":"dzE=","mod_revision":"46"},"prev_kv":{"key":"dzE=","create_revision":"44","mod_revision":"45","version":"2","value":"Yg=="}}]}}"#;
    watched.receive(&[line.replace("dzE=", &STANDARD.encode_to_string("dw1"))]).unwrap();
    let response = &watched.responses[0];
    let event = &response.events[0];
    let previous = event.prev_kv.unwrap();
    assert_eq!(event.event_type, crate::rpc::watch::EventType::Delete);
    assert_eq!((response.bytes(event.kv.key), response.bytes(event.kv.value)), (&b"w1"[..], &b""[..]));
    assert_eq!((response.bytes(previous.key), response.bytes(previous.value)), (&b"w1"[..], &b"b"[..]));
    assert_eq!((previous.create_revision, previous.mod_revision, previous.version), (44, 45, 2));
    assert_eq!((response.header.revision, response.resume_revision), (46, 47));
}

#[test]
fn what_another_cluster_says_is_lost_and_never_delivered() {
    let mut watched = Watched::from_5();
    let foreign = |line: String| line.replace(&CLUSTER.to_string(), "7");
    let refused = watched.receive(&[puts(&[(5, "a")], false), foreign(puts(&[(6, "b")], false))]).unwrap_err();
    assert!(
        matches!(refused, Interruption::Lost(Error::ClusterMismatch { theirs: 7, ours: CLUSTER, .. })),
        "{refused:?}"
    );
    assert_eq!(watched.said(), [events("5:a", 6)]);
    watched.lose();
    watched.said();
    assert!(watched.receive(&[foreign(created(900))]).is_err() && !watched.account.is_created());
    watched.receive(&[created(9), puts(&[(6, "b")], false)]).unwrap();
    assert_eq!(watched.account.next_revision(), 7);
}

#[test]
fn a_confirmation_behind_events_resumes_at_the_first_of_them() {
    let resumed = |resume| (WatchKind::Resumed, String::new(), resume);
    let mut watched = Watched::from_5();
    watched.lose();
    watched.said();
    watched.receive(&[puts(&[(7, "a")], false), created(9)]).unwrap();
    assert_eq!(watched.said(), [resumed(7), events("7:a", 8)]);
    watched.lose();
    watched.receive(&[puts(&[(8, "a")], true)]).unwrap();
    watched.said();
    watched.receive(&[puts(&[(8, "b")], false), created(9)]).unwrap();
    assert_eq!(watched.said(), [resumed(8), events("8:a 8:b", 9)]);
}

#[test]
fn an_event_of_the_last_revision_that_there_can_be_is_refused_for_none_can_follow() {
    let mut watched = Watched::from_5();
    let refused = watched.receive(&[puts(&[(5, "a")], false), puts(&[(6, "a"), (i64::MAX, "b")], false)]);
    assert!(matches!(refused, Err(Interruption::Lost(Error::Protocol { .. }))), "{refused:?}");
    assert_eq!(watched.said(), [events("5:a", 6)]);
    watched.lose();
    watched.said();
    watched.receive(&[created(9), puts(&[(6, "a"), (i64::MAX - 1, "b")], false)]).unwrap();
    assert_eq!(
        watched.said(),
        [(WatchKind::Resumed, String::new(), 6), events(&format!("6:a {}:b", i64::MAX - 1), i64::MAX)]
    );
}

#[test]
fn an_idle_account_is_small() {
    let watched = Watched::from_5();
    assert!(size_of::<Account>() <= 104, "{}", size_of::<Account>());
    assert_eq!(watched.account.held_bytes(), 0);
}
