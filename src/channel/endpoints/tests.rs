use super::*;
use crate::limits;
use std::time::Duration;

fn three() -> Endpoints {
    Endpoints::new(Endpoints::parse("http://a,http://b,http://c,http://a").unwrap(), false).unwrap()
}

/// Which endpoint is chosen at a moment, after these were tried.
fn chosen(endpoints: &Endpoints, tried: &[&str], now: Instant) -> (String, bool) {
    let tried: Vec<Arc<str>> = tried.iter().map(|url| Arc::from(*url)).collect();
    let choice = lock(&endpoints.state).choose(&tried, now, 0.0);
    (choice.endpoint.url.to_string(), choice.is_trial)
}

fn fail_at(endpoints: &Endpoints, url: &str, now: Instant) {
    lock(&endpoints.state).find(url).unwrap().health.fail(now, 0.0);
}

#[test]
fn a_list_of_nothing_is_refused() {
    assert!(Endpoints::new(Endpoints::parse(" , ").unwrap(), false).is_err());
}

#[test]
fn an_endpoint_stays_in_use_until_it_fails_and_is_left_once_however_many_threads_saw_it() {
    let endpoints = three();
    assert_eq!(endpoints.urls().len(), 3);
    for _ in 0..3 {
        assert_eq!(&*endpoints.choose(&[]).endpoint.url, "http://a:2379");
    }
    endpoints.fail("http://a:2379");
    endpoints.fail("http://a:2379");
    assert_eq!(&*endpoints.current().url, "http://b:2379");
    assert_eq!(&*endpoints.choose(&[]).endpoint.url, "http://b:2379");
}

#[test]
fn an_endpoint_that_failed_is_not_gone_back_to_while_another_one_is_good() {
    let (endpoints, now) = (three(), Instant::now());
    fail_at(&endpoints, "http://a:2379", now);
    let later = now + Duration::from_secs(3600);
    assert_eq!(chosen(&endpoints, &[], later), ("http://b:2379".to_owned(), false));
    fail_at(&endpoints, "http://b:2379", later);
    assert_eq!(chosen(&endpoints, &[], later), ("http://c:2379".to_owned(), false));
}

#[test]
fn when_all_are_backed_off_the_one_due_first_is_tried_and_a_trial_is_one_calls_alone() {
    let (endpoints, now) = (three(), Instant::now());
    for (url, after) in [("http://b:2379", 0), ("http://c:2379", 100), ("http://a:2379", 200)] {
        fail_at(&endpoints, url, now + Duration::from_millis(after));
    }
    let soon = now + Duration::from_millis(250);
    assert_eq!(chosen(&endpoints, &[], soon), ("http://b:2379".to_owned(), true));
    let b_is_due = now + limits::ENDPOINT_BACKOFF_FIRST;
    assert_eq!(chosen(&endpoints, &[], b_is_due), ("http://b:2379".to_owned(), true));
    assert_eq!(chosen(&endpoints, &[], b_is_due), ("http://c:2379".to_owned(), true), "b is being tried");
}

#[test]
fn a_call_tries_every_endpoint_once_before_one_twice() {
    let (endpoints, now) = (three(), Instant::now());
    let (a, b, c) = ("http://a:2379", "http://b:2379", "http://c:2379");
    fail_at(&endpoints, b, now);
    assert_eq!(chosen(&endpoints, &[], now).0, a);
    assert_eq!(chosen(&endpoints, &[a], now).0, c);
    assert_eq!(chosen(&endpoints, &[a, c], now).0, b);
    assert_eq!(chosen(&endpoints, &[a, c, b], now).0, c, "from the one in use on");
}

/// Tells the guard in use that its cluster is this one.
fn belong_to(endpoints: &Endpoints, cluster_id: u64) {
    assert_eq!(endpoints.guard().cluster_or_first(cluster_id), cluster_id);
}

#[test]
fn an_endpoint_of_another_cluster_is_told_as_such_until_it_recovers() {
    let endpoints = three();
    belong_to(&endpoints, 1);
    endpoints.be_foreign("http://a:2379", 1);
    let choice = endpoints.choose(&[]);
    assert_eq!((&*choice.endpoint.url, choice.is_foreign), ("http://b:2379", false));
    let choice = endpoints.choose(&["http://b:2379", "http://c:2379"].map(Arc::from));
    assert_eq!((&*choice.endpoint.url, choice.is_foreign, choice.is_trial), ("http://a:2379", true, true));
    endpoints.recover(&choice.endpoint);
    let choice = endpoints.choose(&[]);
    assert_eq!((&*choice.endpoint.url, choice.is_foreign, choice.is_trial), ("http://a:2379", false, false));
}

#[test]
fn what_was_found_out_of_endpoints_says_nothing_of_those_named_since() {
    let endpoints = Endpoints::new(Endpoints::parse("http://a").unwrap(), false).unwrap();
    let before = endpoints.choose(&[]);
    belong_to(&endpoints, 1);
    endpoints.set("http://a").unwrap();
    assert!(!endpoints.adopt(endpoints.fitting(&["http://b".to_owned()]), &before.guard));
    assert_eq!(endpoints.urls(), [Arc::from("http://a:2379")]);
    endpoints.be_foreign("http://a:2379", 1);
    assert!(!endpoints.choose(&[]).is_foreign, "nobody knows of what cluster it is to be");
    belong_to(&endpoints, 2);
    endpoints.be_foreign("http://a:2379", 2);
    endpoints.recover(&before.endpoint);
    assert!(endpoints.choose(&[]).is_foreign);
}

#[test]
fn members_that_are_adopted_come_first_and_what_is_known_of_them_stays() {
    let endpoints = three();
    endpoints.fail("http://a:2379");
    let members = endpoints.fitting(&["http://c:2379", "http://d:2379", "http://d:2379/"].map(str::to_owned));
    assert!(endpoints.adopt(members, &endpoints.guard()));
    let urls = ["http://c:2379", "http://d:2379", "http://a:2379", "http://b:2379"].map(Arc::from);
    assert_eq!(endpoints.urls(), urls);
    assert_eq!(&*endpoints.current().url, "http://c:2379", "b, which was in use, is no member's");
    endpoints.fail("http://c:2379");
    endpoints.adopt(endpoints.fitting(&["http://c:2379", "http://d:2379"].map(str::to_owned)), &endpoints.guard());
    assert_eq!(&*endpoints.current().url, "http://d:2379");
}
