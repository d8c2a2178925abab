//! Large messages in fragments: what an account holds back of them.

use super::*;

/// A message with puts of a key, at these revisions, of values of so many bytes.
fn large(revisions: impl Iterator<Item = i64>, value_bytes: usize, fragment: bool) -> Frames {
    let value = STANDARD.encode_to_string(vec![b'v'; value_bytes]);
    let event = |revision| format!(r#"{{"kv":{{"key":"aw==","mod_revision":"{revision}","value":"{value}"}}}}"#);
    let events: Vec<String> = revisions.map(event).collect();
    let line = format!(r#"{{"result":{{"fragment":{fragment},"events":[{}]}}}}"#, events.join(","));
    frames(&[line])
}

#[test]
fn a_large_catch_up_in_fragments_is_handed_over_as_it_comes() {
    const FRAGMENTS: i64 = 25;
    const EVENTS: i64 = 150;
    let mut watched = Watched::from_5();
    let (mut delivered, mut next) = (0, 5);
    for fragment in 0..FRAGMENTS {
        // Each revision has 8 events of 10 KB and lies across fragments as it happens.
        let revisions = (fragment * EVENTS..(fragment + 1) * EVENTS).map(|event| 5 + event / 8);
        let received = large(revisions, 10_000, fragment < FRAGMENTS - 1);
        assert!(received.arena.len() > 2_000_000);
        let account = &mut watched.account;
        let mut deliver = |response: WatchResponse| {
            assert!(response.events.iter().is_sorted_by_key(|event| event.kv.mod_revision));
            assert!(response.events.iter().all(|event| event.kv.mod_revision >= next));
            assert!(response.events.iter().all(|event| response.bytes(event.kv.value).len() == 10_000));
            next = response.resume_revision;
            delivered += response.events.len() as i64;
        };
        account.receive(received, &endpoint(), &mut deliver).unwrap();
        assert!(watched.account.held_bytes() < 300_000, "{}", watched.account.held_bytes());
        let whole = if fragment < FRAGMENTS - 1 { ((fragment + 1) * EVENTS - 1) / 8 * 8 } else { FRAGMENTS * EVENTS };
        assert_eq!((delivered, next), (whole, watched.account.next_revision()));
    }
    assert_eq!(watched.account.held_bytes(), 0);
}

#[test]
fn one_large_revision_takes_its_own_size_and_no_more_than_as_much_again() {
    let mut watched = Watched::with(Settings { max_revision_bytes: 64 << 20, ..settings() });
    for fragment in 1..=10 {
        let received = large(std::iter::repeat_n(5, 100), 10_000, true);
        let account = &mut watched.account;
        account.receive(received, &endpoint(), &mut |response| panic!("{response:?}")).unwrap();
        assert!(account.held_bytes() < 2 * fragment * 100 * (10_000 + 200), "{}", account.held_bytes());
    }
    let Watched { account, responses } = &mut watched;
    account
        .receive(large([5, 6].into_iter(), 1, false), &endpoint(), &mut |response| responses.push(response))
        .unwrap();
    assert_eq!(responses.iter().map(|response| response.events.len()).collect::<Vec<_>>(), [1001, 1]);
    assert_eq!(account.held_bytes(), 0);
}

#[test]
fn a_fragment_that_makes_a_revision_whole_outdates_progress_before_it_and_lends_it_its_header() {
    let mut watched = Watched::from_5();
    watched.receive(&[progress(5), puts(&[(6, "a"), (7, "a")], true)]).unwrap();
    watched.receive(&[puts(&[(7, "b"), (8, "a")], true)]).unwrap();
    assert!(watched.responses.iter().all(|response| response.header.revision == 900));
    assert_eq!(watched.said(), [events("6:a", 7), events("7:a 7:b", 8)]);
}
