//! Watches that are created while the revision to start after is being read: they are as if it had been read before.

use crate::common::{FakeGateway, Gate, LONG, Reply, Socket, client, timed, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::error::{Code, Error, Result};
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A gateway whose store is quiet at revision 4, for all that the first two watches have found.
struct Quiet {
    client: Client,
    first: Watch,
    _second: Watch,
    gateway: FakeGateway,
}

impl Quiet {
    /// What comes after those two goes to the scripts, with how many WebSockets and reads came before.
    fn start(
        sockets: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static,
        reads: impl Fn(usize, &mut Reply<'_>) + Send + Sync + 'static,
    ) -> Quiet {
        let gateway = scripted(
            move |number, socket| {
                if number == 0 {
                    (0..2).for_each(|_| assert_eq!(confirm(socket, 4).1, 5));
                }
                sockets(number, socket);
            },
            move |number, _, reply| match number.checked_sub(2) {
                None => revision(reply, 4),
                Some(number) => reads(number, reply),
            },
        );
        let client = client(gateway.url());
        let [first, second] = [(); 2].map(|()| client.watch_open(one(b"k")).unwrap());
        Quiet { client, first, _second: second, gateway }
    }

    fn watch(&self) -> Result<Watch> {
        self.client.watch_open(reporting(one(b"k")))
    }
}

/// Takes a create. Answers its ID and the revision that it begins with.
#[track_caller]
fn create(socket: &mut Socket<'_>) -> (i64, i64) {
    let create = socket.create().unwrap();
    (id(&create), create["start_revision"].as_str().unwrap().parse().unwrap())
}

/// Takes a create and confirms it at this revision.
#[track_caller]
fn confirm(socket: &mut Socket<'_>, revision: i64) -> (i64, i64) {
    let (id, start) = create(socket);
    socket.created(id, revision);
    (id, start)
}

#[test]
fn a_watch_is_created_while_its_start_is_being_read_once_the_store_is_quiet() {
    let (created, begun) = (Gate::new(), Gate::new());
    let (is_created, has_begun) = (created.clone(), begun.clone());
    let quiet = Quiet::start(
        move |_, socket| {
            let (id, start) = confirm(socket, 4);
            assert_eq!(start, 5);
            created.open();
            has_begun.wait();
            socket.puts(id, &[5]);
            let other = socket.message().filter(|message| message.get("create_request").is_some());
            assert_eq!(other, None, "the watch that was confirmed is the one that goes on");
            serve(socket);
        },
        move |_, reply| {
            is_created.wait();
            revision(reply, 4);
        },
    );
    let watch = quiet.watch().unwrap();
    begun.open();
    assert_eq!(values(&next(&watch).changes), ["5"]);
}

#[test]
fn a_guessed_start_is_confirmed_after_it_was_read_as_well() {
    let (asked, read) = (Gate::new(), Gate::new());
    let is_asked = asked.clone();
    let quiet = Quiet::start(
        move |_, socket| {
            let (id, start) = create(socket);
            assert_eq!(start, 5);
            is_asked.wait();
            socket.created(id, 4);
            read.open();
            serve(socket);
        },
        move |_, reply| {
            revision(reply, 4);
            asked.open();
        },
    );
    quiet.watch().unwrap();
}

#[test]
fn a_start_guessed_wrongly_is_created_anew_after_what_was_read_and_what_came_of_the_first_is_not_delivered() {
    for has_events in [false, true] {
        let created = Gate::new();
        let is_created = created.clone();
        let quiet = Quiet::start(
            move |_, socket| {
                let (guessed, start) = confirm(socket, 4);
                assert_eq!(start, 5);
                if has_events {
                    socket.puts(guessed, &[5, 6]);
                }
                created.open();
                assert_eq!(socket.cancel(), Some(guessed));
                let (id, start) = create(socket);
                assert_eq!(start, 8);
                socket.puts(guessed, &[7]);
                socket.canceled(guessed, 7);
                socket.created(id, 7);
                socket.puts(guessed, &[8]);
                socket.puts(id, &[8]);
                serve(socket);
            },
            move |_, reply| {
                is_created.wait();
                revision(reply, 7);
            },
        );
        let watch = quiet.watch().unwrap();
        let said = next(&watch);
        assert_eq!((values(&said.changes), said.resume_revision), (vec!["8".to_owned()], 9), "events: {has_events}");
        assert!(watch.next(Some(Duration::from_millis(20))).unwrap().is_none());
    }
}

#[test]
fn nothing_is_guessed_after_a_wrong_guess_before_two_reads_have_found_the_same() {
    let answers = Arc::new(AtomicUsize::new(0));
    let answered = answers.clone();
    let guesses = [Gate::new(), Gate::new()];
    let guessed = guesses.clone();
    let quiet = Quiet::start(
        move |_, socket| {
            let (wrong, start) = confirm(socket, 4);
            assert_eq!(start, 5);
            guesses[0].open();
            assert_eq!(socket.cancel(), Some(wrong));
            assert_eq!(confirm(socket, 7).1, 8);
            // It has waited for the second read that finds it.
            assert_eq!((confirm(socket, 7).1, answered.load(Ordering::SeqCst)), (8, 2));
            assert_eq!(confirm(socket, 7).1, 8);
            guesses[1].open();
            serve(socket);
        },
        move |number, reply| {
            match number {
                0 => guessed[0].wait(),
                1 => {}
                _ => guessed[1].wait(),
            }
            answers.fetch_add(1, Ordering::SeqCst);
            revision(reply, 7);
        },
    );
    let _watches = [(); 3].map(|()| quiet.watch().unwrap());
}

#[test]
fn an_event_that_comes_before_the_read_has_told_its_revision_is_delivered_once_the_guess_is_right() {
    let set_aside = Gate::new();
    let is_set_aside = set_aside.clone();
    let quiet = Quiet::start(
        move |_, socket| {
            let (id, start) = confirm(socket, 4);
            assert_eq!(start, 5);
            socket.puts(id, &[5]);
            assert_eq!(socket.cancel(), Some(id));
            set_aside.open();
            let (id, start) = confirm(socket, 6);
            assert_eq!(start, 5);
            socket.puts(id, &[5]);
            socket.puts(id, &[6]);
            serve(socket);
        },
        move |_, reply| {
            is_set_aside.wait();
            revision(reply, 4);
        },
    );
    let watch = quiet.watch().unwrap();
    let mut said = vec![next(&watch)];
    while said.last().unwrap().resume_revision < 7 {
        said.push(next(&watch));
    }
    // Nothing twice, and its owner hears nothing of the other create.
    assert_eq!(values(&changes_of(&said)), ["5", "6"]);
    assert!(said.iter().all(|said| said.kind == WatchKind::Events), "{said:?}");
}

/// What becomes of a create, and whether the watch is cancelled at the server for it.
type Fate = (&'static str, bool, fn(&mut Socket<'_>, i64));

const FATES: [Fate; 8] = [
    ("compacted", true, |socket, id| socket.compacted(id, 9)),
    ("refused", true, |socket, _| socket.refused("rpc error: code = PermissionDenied desc = permission denied")),
    ("cancelled", true, |socket, id| {
        socket.created(id, 4);
        socket.canceled(id, 4);
    }),
    ("cancelled with a reason", true, |socket, id| {
        socket.created(id, 4);
        socket.result(id, 4, r#""canceled":true,"cancel_reason":"etcdserver: permission denied""#);
    }),
    ("behind", true, |socket, id| socket.created(id, 3)),
    ("malformed", true, |socket, id| socket.result(id, 4, r#""events":7"#)),
    ("lost unanswered", false, |socket, _| socket.close()),
    ("lost", false, |socket, id| {
        socket.created(id, 4);
        socket.close();
    }),
];

#[test]
fn whatever_becomes_of_a_guess_is_not_judged_and_the_watch_finds_out_what_is_true() {
    for (case, is_cancelled, befall) in FATES {
        for found in [4, 10] {
            let (gone, served) = (Gate::new(), Gate::new());
            let (is_gone, is_served) = (gone.clone(), served.clone());
            let serve_anew = move |socket: &mut Socket<'_>| {
                while let Some(message) = socket.message() {
                    let Some(create) = message.get("create_request") else { continue };
                    let start: i64 = create["start_revision"].as_str().unwrap().parse().unwrap();
                    socket.created(id(create), 10);
                    if is_served.is_open() {
                        socket.puts(id(create), &[start]);
                    }
                }
            };
            let quiet = Quiet::start(
                move |number, socket| {
                    if number == 0 {
                        let (id, start) = create(socket);
                        assert_eq!(start, 5, "{case}");
                        served.open();
                        befall(socket, id);
                        if !is_cancelled {
                            return;
                        }
                        assert_eq!(socket.cancel(), Some(id), "{case}");
                    }
                    // Of a connection that was lost the others have come here.
                    gone.open();
                    serve_anew(socket);
                },
                move |_, reply| {
                    is_gone.wait();
                    revision(reply, found);
                },
            );
            let watch = quiet.watch().unwrap_or_else(|error| panic!("{case}, {found}: {error:?}"));
            let said = next(&watch);
            assert_eq!(said.kind, WatchKind::Events, "{case}, {found}: {said:?}");
            assert_eq!(said.changes[0].revision, found + 1, "{case}, {found}");
        }
    }
}

#[test]
fn what_is_true_of_a_watch_is_the_error_of_the_call_where_its_start_was_guessed_too() {
    const REASON: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    for (found, is_confirmed) in [(4, false), (10, false), (10, true)] {
        let answered = Gate::new();
        let is_answered = answered.clone();
        let quiet = Quiet::start(
            move |_, socket| {
                let (guessed, _) = create(socket);
                if is_confirmed {
                    socket.created(guessed, 4);
                    answered.open();
                } else {
                    socket.refused(REASON);
                }
                assert_eq!(socket.cancel(), Some(guessed));
                answered.open();
                assert_eq!(create(socket).1, found + 1);
                socket.refused(REASON);
                socket.idle();
            },
            move |_, reply| {
                is_answered.wait();
                revision(reply, found);
            },
        );
        assert_eq!(code(&refusal(quiet.watch())), Some(Code::PermissionDenied), "{found}, {is_confirmed}");
    }
}

#[test]
fn a_watch_that_was_confirmed_before_its_start_was_read_is_told_later_what_ends_it() {
    const FIRST: i64 = 1;
    let (confirmed, set_aside) = (Gate::new(), Gate::new());
    let (is_confirmed, is_set_aside) = (confirmed.clone(), set_aside.clone());
    let quiet = Quiet::start(
        move |_, socket| {
            let (id, _) = confirm(socket, 4);
            socket.puts(FIRST, &[5]);
            is_confirmed.wait();
            socket.compacted(id, 9);
            assert_eq!(socket.cancel(), Some(id));
            set_aside.open();
            let (id, start) = create(socket);
            assert_eq!(start, 5);
            socket.compacted(id, 9);
            socket.idle();
        },
        move |_, reply| {
            is_set_aside.wait();
            revision(reply, 4);
        },
    );
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| quiet.watch().unwrap());
        // It was sent after the confirmation.
        assert_eq!(values(&next(&quiet.first).changes), ["5"]);
        confirmed.open();
        let ended = next(&watching.join().unwrap());
        assert_eq!((ended.kind, ended.compact_revision, ended.resume_revision), (WatchKind::Ended, 9, 5));
    });
}

#[test]
fn a_watch_whose_connection_is_replaced_while_its_start_is_a_guess_waits_until_it_is_known() {
    let (created, moved) = (Gate::new(), Gate::new());
    let (is_created, has_moved) = (created.clone(), moved.clone());
    let quiet = Quiet::start(
        move |number, socket| {
            if number == 0 {
                assert_eq!(confirm(socket, 4).1, 5);
                created.open();
                return socket.idle();
            }
            // Of the two that the store was quiet for and of the one that brings about the move.
            assert_eq!([(); 3].map(|()| confirm(socket, 10).1), [5, 5, 7]);
            moved.open();
            let (id, start) = confirm(socket, 10);
            assert_eq!(start, 11);
            socket.puts(id, &[11]);
            serve(socket);
        },
        move |_, reply| {
            has_moved.wait();
            revision(reply, 10);
        },
    );
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| quiet.watch().unwrap());
        is_created.wait();
        quiet.client.set_endpoints(&quiet.gateway.url().replace("127.0.0.1", "localhost")).unwrap();
        let _another = quiet.client.watch_open(from(one(b"k"), 7)).unwrap();
        assert_eq!(values(&next(&watching.join().unwrap()).changes), ["11"]);
    });
}

#[test]
fn a_watch_begins_in_a_cluster_that_was_restored_to_an_older_revision_although_a_later_one_was_guessed() {
    let set_aside = Gate::new();
    let is_set_aside = set_aside.clone();
    let quiet = Quiet::start(
        move |_, socket| {
            let (id, start) = confirm(socket, 2);
            assert_eq!(start, 5);
            assert_eq!(socket.cancel(), Some(id));
            set_aside.open();
            let (id, start) = confirm(socket, 2);
            assert_eq!(start, 3);
            socket.puts(id, &[3, 4]);
            serve(socket);
        },
        move |_, reply| {
            is_set_aside.wait();
            revision(reply, 2);
        },
    );
    assert_eq!(values(&next(&quiet.watch().unwrap()).changes), ["3", "4"]);
}

#[test]
fn an_answer_to_a_progress_request_is_none_about_a_watch_whose_start_is_a_guess() {
    let (created, told) = (Gate::new(), Gate::new());
    let (is_created, is_told) = (created.clone(), told.clone());
    let quiet = Quiet::start(
        move |_, socket| {
            let (guessed, _) = confirm(socket, 4);
            created.open();
            assert!(socket.message().unwrap().get("progress_request").is_some());
            socket.progress(-1, 9);
            assert_eq!(socket.cancel(), Some(guessed));
            let (id, start) = confirm(socket, 4);
            assert_eq!(start, 7);
            socket.puts(id, &[7]);
            serve(socket);
        },
        move |_, reply| {
            is_told.wait();
            revision(reply, 6);
        },
    );
    let options = WatchOptions { progress_notify: true, ..one(b"k") };
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| quiet.client.watch_open(options).unwrap());
        is_created.wait();
        quiet.first.request_progress().unwrap();
        let progress = next(&quiet.first);
        assert_eq!((progress.kind, progress.resume_revision), (WatchKind::Progress, 10));
        told.open();
        let said = next(&watching.join().unwrap());
        assert_eq!((said.kind, values(&said.changes)), (WatchKind::Events, vec!["7".to_owned()]));
    });
}

#[test]
fn a_read_that_fails_fails_the_call_and_leaves_no_watch_at_the_server() {
    type Failure = (fn(&mut Reply<'_>), fn(&Error) -> bool);
    let failures: [Failure; 2] = [
        (
            |reply| reply.status("403 Forbidden", r#"{"error":"etcdserver: permission denied","code":7}"#),
            |error| code(error) == Some(Code::PermissionDenied),
        ),
        (|reply| reply.hold(), |error| matches!(error, Error::Deadline { .. })),
    ];
    for (fail, is_expected) in failures {
        let (created, cancelled) = (Gate::new(), Gate::new());
        let (is_created, is_cancelled) = (created.clone(), cancelled.clone());
        let quiet = Quiet::start(
            move |_, socket| {
                let (id, _) = confirm(socket, 4);
                created.open();
                assert_eq!(socket.cancel(), Some(id));
                cancelled.open();
                serve(socket);
            },
            move |number, reply| {
                if number > 0 {
                    return revision(reply, 4);
                }
                is_created.wait();
                fail(reply);
            },
        );
        let error = refusal(quiet.client.watch_open(confirmed_within(one(b"k"), Duration::from_secs(1))));
        assert!(is_expected(&error), "{error:?}");
        is_cancelled.wait();
        // The next one is none the worse.
        assert_eq!(values(&next(&quiet.watch().unwrap()).changes), ["5"]);
    }
}

#[test]
fn a_call_whose_client_is_closed_while_its_start_is_read_ends_at_once_whatever_was_guessed() {
    for round in 0..100 {
        let (created, read) = (Gate::new(), Gate::new());
        let (is_created, is_read) = (created.clone(), read.clone());
        let quiet = Quiet::start(
            move |number, socket| {
                if number == 0 {
                    confirm(socket, 4);
                    created.open();
                }
                while socket.message().is_some() {}
            },
            move |_, reply| {
                is_created.wait();
                if round % 4 > 0 {
                    revision(reply, 10);
                }
                read.open();
                reply.hold();
            },
        );
        std::thread::scope(|scope| {
            // Without the end of the client it would wait for a confirmation that never comes.
            let watching = scope.spawn(|| timed(|| quiet.client.watch_open(confirmed_within(one(b"k"), LONG))));
            is_read.wait();
            (0..round).for_each(|_| std::thread::yield_now());
            quiet.client.close();
            let (result, elapsed) = watching.join().unwrap();
            assert!(matches!(refusal(result), Error::Closed { .. }));
            assert!(elapsed < AT_ONCE, "{elapsed:?}");
        });
        wait_until(LONG, || quiet.gateway.open_connections() == 0);
    }
}
