use super::*;
use crate::deadline::Deadline;
use crate::error::{Outcome, Phase};
use crate::net::{self, Control, Lifeline};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

fn user() -> Credentials {
    Credentials::User { name: "user".to_owned(), password: "password".into() }
}

fn auth() -> Auth {
    Auth::new(user(), Arc::default()).unwrap()
}

/// Of the endpoints that the client has now.
fn guard(auth: &Auth) -> Arc<Guard> {
    lock(&auth.state).guard.clone()
}

fn at(url: &str) -> Arc<str> {
    Arc::from(url)
}

fn never(_: &EventFd) -> Result<()> {
    panic!("nothing is to be waited for")
}

fn issued(token: &str) -> Result<Option<Secret>> {
    Ok(Some(token.into()))
}

fn wrong_password() -> Error {
    Error::Server {
        endpoint: at("a"),
        http_status: 400,
        code: Code::InvalidArgument,
        message: String::new(),
        reason: Reason::AuthFailed,
        outcome: Outcome::NotApplied,
    }
}

/// Lets one thread fetch, lets `count` others come to wait for it, and gives what each of these got.
fn waiting(auth: &Auth, count: usize, fetch: impl Fn() -> Result<Option<Secret>> + Sync) -> Vec<Result<Grant>> {
    let lifeline = Lifeline::new().unwrap();
    let (begun, waiting) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wait = |done: &EventFd| {
        waiting.fetch_add(1, Ordering::SeqCst);
        let control = Control { deadline: Deadline::after(Duration::from_secs(30)), cancel: None };
        net::wait_for_event(done, &lifeline, &control).unwrap();
        Ok(())
    };
    let slowly = |_: &str, _: &Secret| {
        begun.store(true, Ordering::SeqCst);
        until(|| waiting.load(Ordering::SeqCst) == count);
        fetch()
    };
    thread::scope(|scope| {
        scope.spawn(|| auth.grant(&at("a"), &guard(auth), never, slowly));
        until(|| begun.load(Ordering::SeqCst));
        let others: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| auth.grant(&at("a"), &guard(auth), wait, |_, _| issued("of another"))))
            .collect();
        others.into_iter().map(|other| other.join().unwrap()).collect()
    })
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::yield_now();
    }
}

#[test]
fn those_who_waited_for_a_log_in_have_its_token() {
    for grant in waiting(&auth(), 7, || issued("token")) {
        assert_eq!(grant.unwrap().token(), Some("token"));
    }
}

#[test]
fn those_who_waited_for_a_log_in_that_was_refused_are_told_without_one_of_their_own() {
    for grant in waiting(&auth(), 7, || Err(wrong_password())) {
        assert_eq!(grant.unwrap_err().reason(), Reason::AuthFailed);
    }
}

#[test]
fn when_a_thread_gives_up_for_a_reason_of_its_own_another_takes_its_place() {
    let outcome = Outcome::NotApplied;
    for error in
        [Error::Cancelled { outcome }, Error::Deadline { endpoint: Some(at("a")), phase: Phase::Receiving, outcome }]
    {
        for grant in waiting(&auth(), 7, || Err(error.clone())) {
            assert_eq!(grant.unwrap().token(), Some("of another"));
        }
    }
}

#[test]
fn a_log_in_that_hangs_holds_up_nobody_at_another_endpoint_and_those_who_wait_for_it_are_let_go() {
    let auth = auth();
    let grants = waiting(&auth, 7, || {
        let elsewhere = auth.grant(&at("b"), &guard(&auth), never, |_, _| issued("of b"))?;
        assert_eq!(elsewhere.token(), Some("of b"));
        issued("too late")
    });
    for grant in grants {
        assert_eq!(grant.unwrap().token(), Some("of b"));
    }
}

#[test]
fn what_is_fetched_for_credentials_that_were_replaced_is_not_used() {
    let auth = auth();
    let other = || Credentials::User { name: "other".to_owned(), password: "password".into() };
    let fetch = |name: &str, _: &Secret| {
        if name == "user" {
            auth.set(other()).unwrap();
        }
        issued(name)
    };
    assert_eq!(auth.grant(&at("a"), &guard(&auth), never, fetch).unwrap().token(), Some("other"));
}

#[test]
fn a_token_that_another_thread_has_replaced_is_not_withdrawn() {
    let auth = auth();
    let old = auth.grant(&at("a"), &guard(&auth), never, |_, _| issued("old")).unwrap();
    assert_eq!(auth.withdraw(&old), Renewal::Begun);
    let new = auth.grant(&at("a"), &guard(&auth), never, |_, _| issued("new")).unwrap();
    assert_eq!(auth.withdraw(&old), Renewal::UnderWay);
    let kept = auth.grant(&at("a"), &guard(&auth), never, |_, _| panic!("there is a token")).unwrap();
    assert_eq!((kept.token(), kept.generation), (Some("new"), new.generation));
}

#[test]
fn a_token_that_was_not_answered_is_replaced_once_it_is_of_some_age() {
    let auth = auth();
    let old = auth.grant(&at("a"), &guard(&auth), never, |_, _| issued("old")).unwrap();
    let now = Instant::now();
    assert!(!auth.doubt(&old, now) && auth.is_current(&old));
    assert!(!auth.doubt(&Grant::NONE, now + limits::TOKEN_DOUBT_AGE));
    assert!(auth.doubt(&old, now + limits::TOKEN_DOUBT_AGE));
    let new = auth.grant(&at("a"), &guard(&auth), never, |_, _| issued("new")).unwrap();
    assert_eq!(new.token(), Some("new"));
    // Who has used the old one, and whoever comes next at once.
    assert!(!auth.doubt(&old, now + 3 * limits::TOKEN_DOUBT_AGE) && !auth.doubt(&new, Instant::now()));
    assert!(auth.is_current(&new));
    let given = Auth::new(Credentials::Token("token".into()), Arc::default()).unwrap();
    let grant = given.grant(&at("a"), &guard(&given), never, |_, _| panic!("nobody logs in")).unwrap();
    assert!(!given.doubt(&grant, now + limits::TOKEN_DOUBT_AGE), "there is no other one");
}

#[test]
fn nothing_better_can_be_had_than_no_token_or_one_issued_elsewhere() {
    for credentials in [Credentials::Nobody, Credentials::Token("token".into())] {
        let auth = Auth::new(credentials, Arc::default()).unwrap();
        let grant = auth.grant(&at("a"), &guard(&auth), never, |_, _| panic!("nobody logs in")).unwrap();
        assert_eq!(auth.withdraw(&grant), Renewal::None);
        auth.set(user()).unwrap();
        assert_eq!(auth.withdraw(&grant), Renewal::UnderWay, "other credentials have come since");
    }
    assert_eq!(auth().withdraw(&Grant::NONE), Renewal::None);
}

#[test]
fn a_token_of_endpoints_that_were_replaced_is_no_other_calls_and_another_is_had_when_it_is_refused() {
    let (auth, earlier) = (auth(), Arc::default());
    let apart = auth.grant(&at("a"), &earlier, never, |_, _| issued("of the earlier ones")).unwrap();
    assert_eq!(apart.token(), Some("of the earlier ones"));
    assert!(auth.lacks_token() && !auth.is_current(&apart));
    assert_eq!(auth.withdraw(&apart), Renewal::UnderWay, "it can be fetched again");
    let grant = auth.grant(&at("b"), &guard(&auth), never, |_, _| issued("of these")).unwrap();
    assert!(auth.withdraw(&apart) == Renewal::UnderWay && auth.is_current(&grant));
}
