//! Progress, which moves the account on where nothing happens.

use super::*;

#[test]
fn progress_moves_the_next_revision_on_and_never_back() {
    let mut watched = Watched::from_5();
    watched.receive(&[progress(9)]).unwrap();
    watched.receive(&[progress(3)]).unwrap();
    let shown = |resume| (WatchKind::Progress, String::new(), resume);
    assert_eq!(watched.said(), [shown(10), shown(10)]);
    watched.receive(&[puts(&[(9, "a"), (10, "b")], false)]).unwrap();
    assert_eq!(watched.said(), [events("10:b", 11)]);
}

#[test]
fn progress_is_shown_where_it_was_asked_for_and_says_something_new() {
    let mut watched = Watched::with(Settings { shows_progress: false, ..settings() });
    watched.receive(&[progress(9)]).unwrap();
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 10));

    let mut watched = Watched::from_5();
    watched.receive(&[progress(5), puts(&[(6, "a")], false)]).unwrap();
    watched.receive(&[puts(&[(7, "a")], false), progress(9)]).unwrap();
    let expected = [events("6:a", 7), events("7:a", 10), (WatchKind::Progress, String::new(), 10)];
    assert_eq!(watched.said(), expected);
}

#[test]
fn a_read_tells_how_far_a_watch_has_come_that_is_owed_nothing_of_what_there_was() {
    let mut watched = Watched { account: Account::new(10, settings()), responses: Vec::new() };
    assert!(!watched.read(CLUSTER, 9), "no server has confirmed it");
    watched.receive(&[created(9)]).unwrap();
    assert!(!watched.read(CLUSTER, 10), "10 is owed");
    assert!(!watched.read(CLUSTER, 8), "the store is not what it was");
    assert!(!watched.read(1, 9), "it is another one");
    assert!(watched.read(CLUSTER, 9));
    assert_eq!(watched.said(), [(WatchKind::Progress, String::new(), 10)]);
    watched.lose();
    watched.receive(&[created(8)]).unwrap();
    assert!(!watched.read(CLUSTER, 9), "the server is behind");
}

#[test]
fn no_progress_passes_over_a_message_that_is_not_complete() {
    let mut watched = Watched::from_5();
    watched.receive(&[puts(&[(5, "a"), (6, "a")], true), progress(90)]).unwrap();
    watched.request_progress(90, true, true);
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![events("5:a", 6)], 6));
    watched.receive(&[puts(&[(6, "b")], false), progress(90)]).unwrap();
    assert_eq!(watched.said(), [events("6:a 6:b", 91), (WatchKind::Progress, String::new(), 91)]);
}

#[test]
fn requested_progress_moves_the_account_on_and_is_shown_to_whom_it_concerns() {
    let shown = |resume| vec![(WatchKind::Progress, String::new(), resume)];
    let mut watched = Watched::with(Settings { shows_progress: false, ..settings() });
    assert!(watched.request_progress(20, true, false));
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 21));
    assert!(watched.request_progress(8, true, true));
    assert_eq!(watched.said(), shown(21));
    assert!(!watched.request_progress(0, true, true));
    assert_eq!(watched.said(), []);

    let mut watched = Watched::from_5();
    watched.request_progress(20, true, false);
    assert_eq!(watched.said(), shown(21));
}

#[test]
fn an_answer_to_a_request_from_before_the_confirmation_counts_only_where_it_is_newer_than_the_watch() {
    let mut watched = Watched::from_5();
    // The store was at 9 when the watch began: 5 to 9 may be owed.
    for revision in [8, 9] {
        assert!(!watched.request_progress(revision, false, true));
        assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 5));
    }
    assert!(watched.request_progress(10, false, true));
    assert_eq!(watched.account.next_revision(), 11);
}

#[test]
fn requested_progress_is_not_about_a_watch_that_the_server_has_not_confirmed() {
    let mut watched = Watched::from_5();
    watched.lose();
    watched.said();
    assert!(!watched.request_progress(20, true, true));
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 5));
    let foreign = Header { cluster_id: 7, revision: 20, ..Header::default() };
    watched.receive(&[created(9)]).unwrap();
    watched.said();
    let asked = Asked { is_after_creation: true, by_owner: true };
    let mut silent = |response| panic!("{response:?}");
    assert!(!watched.account.receive_requested_progress(foreign, asked, &mut silent));
    assert_eq!(watched.account.next_revision(), 5);
}

#[test]
fn an_answer_that_nobody_has_vouched_for_is_no_progress() {
    let mut watched = Watched::from_5();
    watched.receive(&[format!(r#"{{"result":{{{},"watch_id":"-1"}}}}"#, header(20))]).unwrap();
    assert_eq!((watched.said(), watched.account.next_revision()), (vec![], 5));
}
