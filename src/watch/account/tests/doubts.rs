//! Members that lag, and clusters that went back in time.

use super::*;

#[test]
fn a_server_that_is_behind_what_the_client_has_seen_starts_no_watch() {
    // What is read then is no older, if the server lags; if the cluster went back, it is.
    for (read, is_behind) in [(21, true), (9, false)] {
        let mut watched = Watched::without_start();
        watched.account.start_no_earlier_than(20);
        watched.receive(&[created(9), puts(&[(10, "a")], false)]).unwrap();
        assert!(watched.account.is_behind() && !watched.account.is_created() && !watched.account.is_confirmed());
        watched.account.suspend();
        assert_eq!((watched.account.next_revision(), watched.account.held_bytes()), (0, 0));

        watched.account.start_after(read);
        watched.receive(&[created(9), puts(&[(read, "a"), (read + 1, "a")], false)]).unwrap();
        assert_eq!(watched.account.is_behind(), is_behind, "after {read}");
        watched.judge(read).unwrap();
        let next = read + 1;
        assert_eq!(watched.said(), [events(&format!("{next}:a"), next + 1)]);
    }
}

#[test]
fn what_the_client_has_seen_is_no_matter_for_a_watch_with_a_start_revision() {
    let mut watched = Watched { account: Account::new(5, settings()), responses: Vec::new() };
    watched.account.start_no_earlier_than(20);
    watched.receive(&[created(9), puts(&[(5, "a")], false)]).unwrap();
    assert_eq!(watched.said(), [events("5:a", 6)]);
}

#[test]
fn what_was_seen_is_what_the_cluster_has_had_and_not_what_is_waited_for() {
    let mut account = Account::new(0, settings());
    account.start_after(4);
    assert_eq!((account.seen_revision(), account.next_revision()), (4, 5));

    let mut watched = Watched { account: Account::new(1000, settings()), responses: Vec::new() };
    watched.receive(&[created(9)]).unwrap();
    assert_eq!((watched.account.seen_revision(), watched.account.is_behind()), (9, false));
    watched.receive(&[progress(12)]).unwrap();
    watched.request_progress(14, true, false);
    assert_eq!((watched.account.seen_revision(), watched.account.next_revision()), (14, 1000));
    watched.receive(&[puts(&[(1001, "a")], true)]).unwrap();
    assert_eq!(watched.account.seen_revision(), 1001);
}

#[test]
fn a_member_that_lags_is_told_from_a_cluster_that_went_back_in_time() {
    let confirmed_at_8_after_20 = || {
        let mut watched = Watched::from_5();
        watched.receive(&[puts(&[(20, "a")], false)]).unwrap();
        watched.lose();
        watched.receive(&[created(8)]).unwrap();
        assert!(watched.account.is_behind());
        watched
    };
    let mut lags = confirmed_at_8_after_20();
    lags.judge(20).unwrap();
    assert!(!lags.account.is_behind());

    let mut restored = confirmed_at_8_after_20();
    match restored.judge(19) {
        Err(Interruption::Ended(error @ Error::RevisionRegressed { seen: 20, found: 19, .. })) => {
            assert_eq!(error.endpoint().map(|url| &**url), Some("http://a:2379"));
            assert!(!error.is_retryable() && !error.may_have_applied());
            assert!(matches!(Interruption::from(error), Interruption::Ended(_)));
        }
        other => panic!("{other:?}"),
    }

    let mut lost = confirmed_at_8_after_20();
    lost.lose();
    assert!(!lost.account.is_behind());
    lost.receive(&[created(20)]).unwrap();
    assert!(!lost.account.is_behind());
}

#[test]
fn a_cluster_that_has_overtaken_what_it_lost_is_known_by_the_term_of_a_member() {
    let created = |member: u64, revision: i64, term: u64| {
        let position = format!(r#""member_id":"{member}","revision":"{revision}","raft_term":"{term}""#);
        format!(r#"{{"result":{{"header":{{"cluster_id":"7",{position}}},"created":true}}}}"#)
    };
    let confirmed_in_3_after_6 = |member: u64| {
        let mut watched = Watched { account: Account::new(5, settings()), responses: Vec::new() };
        watched.receive(&[created(1, 9, 6)]).unwrap();
        watched.lose();
        watched.receive(&[created(member, 40, 3)]).unwrap();
        watched
    };
    let judged = confirmed_in_3_after_6(1).judge_by(1, 40, 3);
    let is_told = matches!(judged, Err(Interruption::Ended(Error::RevisionRegressed { seen: 9, found: 40, .. })));
    assert!(is_told, "{judged:?}");

    let mut lags = confirmed_in_3_after_6(1);
    lags.judge_by(1, 40, 6).unwrap();
    lags.lose();
    lags.receive(&[created(1, 41, 7)]).unwrap();
    assert!(!lags.account.is_behind());

    // Another one may have caught up by a snapshot, which leaves its term as it was.
    confirmed_in_3_after_6(1).judge_by(2, 40, 3).unwrap();
    assert!(!confirmed_in_3_after_6(2).account.is_behind());
}

#[test]
fn what_a_server_sends_that_is_behind_is_withheld_until_it_is_judged() {
    let behind = || {
        let mut watched = Watched::from_5();
        watched.receive(&[puts(&[(20, "a")], false)]).unwrap();
        watched.lose();
        watched.receive(&[created(8), puts(&[(21, "a")], false), puts(&[(22, "a")], true)]).unwrap();
        watched.receive(&[puts(&[(22, "b")], false)]).unwrap();
        watched.request_progress(30, true, true);
        let expected =
            [events("20:a", 21), (WatchKind::Disconnected, String::new(), 21), (WatchKind::Resumed, String::new(), 21)];
        assert_eq!(watched.said(), expected);
        assert!(watched.account.held_bytes() > 0);
        watched
    };
    let mut lags = behind();
    lags.judge(20).unwrap();
    assert_eq!(lags.said(), [events("21:a", 22), events("22:a 22:b", 23)]);

    let mut restored = behind();
    restored.judge(8).unwrap_err();
    let mut lost = behind();
    lost.lose();
    for watched in [&mut restored, &mut lost] {
        assert!(watched.said().iter().all(|(kind, ..)| *kind != WatchKind::Events));
        assert_eq!((watched.account.next_revision(), watched.account.held_bytes()), (21, 0));
    }

    let mut broken = behind();
    broken.receive(&["<html>".to_owned()]).unwrap();
    assert!(matches!(broken.judge(20), Err(Interruption::Lost(Error::Protocol { .. }))));
    assert_eq!(broken.said(), [events("21:a", 22), events("22:a 22:b", 23)]);
}
