//! The endpoints of a client: how they are left, tried again, found and guarded.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    BlackHole, DONE, FakeGateway, LONG, config, get, get_with, one, plain, put, put_with, timed, wait_until,
    with_length, within,
};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use etcdgw::log::{Level, LogSink};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::borrow::Cow;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const PUT: &str = "/v3/kv/put";
const RANGE: &str = "/v3/kv/range";
const VERSION: &str = "/version";
const MEMBERS: &str = "/v3/cluster/member/list";
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// Keeps the lines of a client's log.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn wants(&self, _: Level) -> bool {
        true
    }

    fn log(&self, _: Level, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Lines {
    /// Attempts to connect that came to nothing.
    fn vain_attempts(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.starts_with("can't connect to ")).count()
    }
}

fn with_log(settings: Config) -> (Client, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    (Client::new(Config { log: Some(lines.clone()), ..settings }).unwrap(), lines)
}

/// A gateway whose every answer has a header that may change, and that may be told to refuse.
struct Member {
    gateway: FakeGateway,
    term: Arc<AtomicU64>,
    revision: Arc<AtomicU64>,
}

impl Member {
    fn start(cluster_id: u64, term: u64) -> Member {
        let (term, revision) = (Arc::new(AtomicU64::new(term)), Arc::new(AtomicU64::new(10)));
        let told = (term.clone(), revision.clone());
        let gateway = FakeGateway::start(move |_, reply| {
            let (term, revision) = (told.0.load(Ordering::SeqCst), told.1.load(Ordering::SeqCst));
            reply.json(format!(
                r#"{{"header":{{"cluster_id":"{cluster_id}","member_id":"1","revision":"{revision}","raft_term":"{term}"}}}}"#
            ));
        });
        Member { gateway, term, revision }
    }

    fn of_term(term: u64) -> Member {
        Member::start(1, term)
    }

    fn url(&self) -> &str {
        self.gateway.url()
    }

    fn count(&self, path: &str) -> usize {
        self.gateway.count(path)
    }
}

fn client_of(members: &[&Member]) -> Client {
    let urls: Vec<&str> = members.iter().map(|member| member.url()).collect();
    common::client(&urls.join(","))
}

#[test]
fn a_dead_first_endpoint_costs_one_connect_timeout_and_not_one_per_call() {
    let (hole, gateway) = (BlackHole::new(), FakeGateway::answering("{}"));
    let endpoints = format!("{},{}", hole.url(), gateway.url());
    let (client, lines) = with_log(Config { connect_timeout: CONNECT_TIMEOUT, ..config(&endpoints) });
    let ((), took) = timed(|| (0..20).for_each(|_| drop(put(&client, b"key", b"value").unwrap())));
    assert!(took >= CONNECT_TIMEOUT && took < CONNECT_TIMEOUT * 4, "{took:?}");
    assert_eq!(lines.vain_attempts(), 1, "{:?}", lines.0.lock());
    assert_eq!(gateway.count(PUT), 20);
}

#[test]
fn dead_endpoints_cost_a_connect_timeout_per_back_off_period_while_the_other_one_fails_too() {
    let hole = BlackHole::new();
    let gateway = FakeGateway::start(|_, reply| reply.status("403 Forbidden", r#"{"code":7,"message":"no"}"#));
    let endpoints = format!("{},{}", hole.url(), gateway.url());
    let (client, lines) = with_log(Config { connect_timeout: CONNECT_TIMEOUT, ..config(&endpoints) });
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < Duration::from_secs(3) {
        get(&client, b"key").unwrap_err();
        calls += 1;
    }
    let attempts = lines.vain_attempts();
    assert!(calls > 50 && attempts <= 4, "{attempts} attempts in {calls} calls");
}

#[test]
fn many_threads_pay_for_a_dead_endpoint_once_each_at_most() {
    let (hole, gateway) = (BlackHole::new(), FakeGateway::answering("{}"));
    let endpoints = format!("{},{}", hole.url(), gateway.url());
    let (client, lines) = with_log(Config { connect_timeout: CONNECT_TIMEOUT, ..config(&endpoints) });
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| drop(put(&client, b"key", b"value").unwrap())));
        }
    });
    assert!(lines.vain_attempts() <= 8, "{:?}", lines.0.lock());
    assert_eq!(gateway.count(PUT), 80);
}

#[test]
fn an_endpoint_in_use_is_not_left_because_another_one_came_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let second = FakeGateway::answering("{}");
    let client = common::client(&format!("http://{address},{}", second.url()));
    put(&client, b"key", b"value").unwrap();
    let first = FakeGateway::start_at(&address.to_string(), |_, reply| reply.json("{}"));
    thread::sleep(Duration::from_millis(600));
    (0..10).for_each(|_| drop(put(&client, b"key", b"value").unwrap()));
    assert_eq!((first.connections(), second.count(PUT)), (0, 11));
    drop(second);
    put(&client, b"key", b"value").unwrap();
    assert_eq!(first.count(PUT), 1, "it is found at once when it is needed");
}

#[test]
fn a_member_that_stops_answering_is_left_by_reads_within_the_calls_limit() {
    let frozen = FakeGateway::start(|request, reply| match request.path.as_str() {
        PUT => reply.json("{}"),
        _ => reply.hold(),
    });
    let other = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{}", frozen.url(), other.url()));
    put(&client, b"key", b"value").unwrap();
    let (answer, took) = timed(|| get_with(&client, b"key", &within(Duration::from_secs(10))));
    answer.unwrap();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!((frozen.count(RANGE), frozen.count(VERSION), other.count(RANGE)), (1, 1, 1));
    let (answer, took) = timed(|| get_with(&client, b"key", &within(Duration::from_secs(10))));
    answer.unwrap();
    assert!(took < Duration::from_secs(1), "it is not gone back to: {took:?}");
}

#[test]
fn a_member_that_takes_long_for_an_answer_is_waited_for_as_long_as_it_is_there() {
    let slow = FakeGateway::start(|request, reply| {
        if request.path == RANGE {
            thread::sleep(Duration::from_millis(2500));
        }
        reply.json(r#"{"etcdserver":"3.6.16"}"#);
    });
    let other = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{}", slow.url(), other.url()));
    get_with(&client, b"key", &within(LONG)).unwrap();
    assert_eq!((slow.count(RANGE), slow.count(VERSION), other.requests().len()), (1, 2, 0));
}

#[test]
fn a_member_that_stops_in_the_midst_of_the_head_of_its_answer_is_waited_for_as_long_as_it_is_there() {
    let slow = FakeGateway::start(|request, reply| {
        if request.path != RANGE {
            return reply.json(r#"{"etcdserver":"3.6.16"}"#);
        }
        let answer = with_length(DONE);
        let (begin, rest) = answer.split_at(20);
        reply.raw(begin);
        thread::sleep(Duration::from_millis(1500));
        reply.raw(rest);
    });
    let other = FakeGateway::answering("{}");
    let client = common::client(&format!("{},{}", slow.url(), other.url()));
    get_with(&client, b"key", &within(LONG)).unwrap();
    assert_eq!((slow.count(RANGE), slow.count(VERSION), other.requests().len()), (1, 1, 0));
}

#[test]
fn a_member_whose_term_goes_back_is_left_and_the_read_is_made_elsewhere() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = client_of(&[&a, &b]);
    get(&client, b"key").unwrap();
    a.term.store(4, Ordering::SeqCst);
    let response = get_with(&client, b"key", &plain()).unwrap();
    assert_eq!((response.header.raft_term, &*client.base_url()), (5, b.url()));
    assert_eq!((a.count(RANGE), b.count(RANGE)), (2, 1));
}

#[test]
fn a_member_whose_revision_goes_back_is_left_by_linearizable_reads_only() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = client_of(&[&a, &b]);
    get(&client, b"key").unwrap();
    a.revision.store(9, Ordering::SeqCst);
    let serializable = etcdgw::rpc::kv::RangeRequest { serializable: true, ..one(b"key") };
    assert_eq!(client.range(&serializable, &plain()).unwrap().header.revision, 9);
    assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.revision, 10);
    assert_eq!(&*client.base_url(), b.url());
}

#[test]
fn a_write_at_a_member_that_is_behind_is_done_and_the_next_call_goes_elsewhere() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = client_of(&[&a, &b]);
    get(&client, b"key").unwrap();
    a.term.store(4, Ordering::SeqCst);
    put(&client, b"key", b"value").unwrap();
    assert_eq!((a.count(PUT), b.count(PUT)), (1, 0));
    put(&client, b"key", b"value").unwrap();
    assert_eq!((a.count(PUT), b.count(PUT)), (1, 1));
}

#[test]
fn the_answer_of_a_member_that_is_behind_counts_when_no_other_one_answers() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = client_of(&[&a, &b]);
    get(&client, b"key").unwrap();
    a.term.store(4, Ordering::SeqCst);
    drop(b);
    assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.raft_term, 4);
}

#[test]
fn a_refusal_by_another_member_counts_more_than_the_answer_of_one_that_is_behind() {
    let a = Member::of_term(5);
    let b = FakeGateway::start(|_, reply| {
        reply.status("403 Forbidden", r#"{"code":7,"message":"etcdserver: permission denied"}"#);
    });
    let client = common::client(&format!("{},{}", a.url(), b.url()));
    get(&client, b"key").unwrap();
    a.term.store(4, Ordering::SeqCst);
    let error = get(&client, b"key").unwrap_err();
    assert!(matches!(error, Error::Server { http_status: 403, .. }), "{error:?}");
}

#[test]
fn a_cluster_that_was_restored_as_a_whole_is_believed() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = client_of(&[&a, &b]);
    get(&client, b"key").unwrap();
    [&a, &b].iter().for_each(|member| member.term.store(2, Ordering::SeqCst));
    for _ in 0..3 {
        assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.raft_term, 2);
    }
    assert_eq!(a.count(RANGE) + b.count(RANGE), 1 + 2 + 2, "both were asked once, and then one of them");
}

#[test]
fn a_cluster_that_was_restored_is_believed_although_one_endpoint_does_not_answer() {
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let silent = FakeGateway::start(|_, reply| reply.hold());
    let client = common::client(&format!("{},{},{}", a.url(), b.url(), silent.url()));
    get(&client, b"key").unwrap();
    [&a, &b].iter().for_each(|member| member.term.store(2, Ordering::SeqCst));
    for _ in 0..4 {
        assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.raft_term, 2);
        // What failed may be tried again after that.
        thread::sleep(Duration::from_millis(510));
    }
    assert_eq!(silent.count(RANGE), 1, "it is waited for once");
    assert_eq!(a.count(RANGE) + b.count(RANGE), 1 + 2 + 3);
}

#[test]
fn an_endpoint_that_is_known_not_to_answer_is_not_asked_for_something_better() {
    let silent = FakeGateway::start(|_, reply| reply.hold());
    let (a, b) = (Member::of_term(5), Member::of_term(5));
    let client = common::client(&format!("{},{},{}", silent.url(), a.url(), b.url()));
    get(&client, b"key").unwrap();
    [&a, &b].iter().for_each(|member| member.term.store(2, Ordering::SeqCst));
    for _ in 0..3 {
        assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.raft_term, 2);
    }
    assert_eq!(silent.count(RANGE), 1);
}

#[test]
fn a_foreign_cluster_is_told_and_left() {
    let (ours, theirs) = (Member::start(0xa, 5), Member::start(0xb, 9));
    let client = client_of(&[&ours]);
    get(&client, b"key").unwrap();
    // The endpoints are found by synchronisation here: naming them anew is a word of the caller's, who may mean it.
    let list = format!(
        r#"{{"header":{{"cluster_id":"10"}},"members":[{{"ID":"1","name":"a","clientURLs":["{}"]}}]}}"#,
        theirs.url()
    );
    let listing = FakeGateway::start(move |request, reply| match request.path.as_str() {
        MEMBERS => reply.json(&list),
        _ => reply.close(),
    });
    drop(client);
    let both = common::client(&format!("{},{}", ours.url(), theirs.url()));
    drop(listing);
    get(&both, b"key").unwrap();
    drop(ours);
    let error = get_with(&both, b"key", &within(Duration::from_secs(2))).unwrap_err();
    assert!(matches!(error, Error::ClusterMismatch { ours: 0xa, theirs: 0xb, .. }), "{error:?}");
    assert!(!error.may_have_applied() && error.to_string().contains("belongs to cluster b and not to a"), "{error}");
    let seen = theirs.count(RANGE);
    let error = put(&both, b"key", b"value").unwrap_err();
    assert!(!error.may_have_applied(), "{error:?}");
    assert_eq!((theirs.count(PUT), seen), (0, 1), "no write goes where another cluster is known to be");
}

#[test]
fn a_write_that_a_foreign_cluster_took_may_have_been_done_there() {
    let (ours, theirs) = (Member::start(0xa, 5), Member::start(0xb, 9));
    let client = client_of(&[&ours, &theirs]);
    get(&client, b"key").unwrap();
    drop(ours);
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::ClusterMismatch { .. }), "{error:?}");
    assert!(error.may_have_applied() && !error.is_retryable());
    assert_eq!(theirs.count(PUT), 1);
}

#[test]
fn a_write_that_is_refused_for_the_time_being_takes_its_time_although_a_foreign_endpoint_is_left() {
    let ours = FakeGateway::start(|request, reply| match request.path.as_str() {
        PUT => reply.status("429 Text", r#"{"code":8,"message":"etcdserver: too many requests"}"#),
        _ => reply.json(r#"{"header":{"cluster_id":"10"}}"#),
    });
    let theirs = Member::start(0xb, 9);
    let client = common::client(&format!("{},{}", ours.url(), theirs.url()));
    get(&client, b"key").unwrap();
    // Sent on, since it was refused; that is how the other cluster is met.
    put_with(&client, b"key", b"value", &within(Duration::from_millis(300))).unwrap_err();
    let before = ours.count(PUT);
    let error = put_with(&client, b"key", b"value", &within(Duration::from_millis(500))).unwrap_err();
    assert!(!error.may_have_applied() && error.is_retryable(), "{error:?}");
    let attempts = ours.count(PUT) - before;
    assert!((2..10).contains(&attempts), "{attempts} attempts");
    assert_eq!(theirs.count(PUT), 1);
}

#[test]
fn endpoints_that_the_caller_names_anew_may_be_another_clusters() {
    let (ours, theirs) = (Member::start(0xa, 5), Member::start(0xb, 2));
    let client = client_of(&[&ours]);
    get(&client, b"key").unwrap();
    client.set_endpoints(theirs.url()).unwrap();
    assert_eq!(get_with(&client, b"key", &plain()).unwrap().header.cluster_id, 0xb);
}

/// A member that confirms watches, each with one event of its cluster, and keeps them.
fn watching_member(cluster_id: u64, revision: u64) -> FakeGateway {
    FakeGateway::start(move |request, reply| {
        let header = format!(r#""header":{{"cluster_id":"{cluster_id}","revision":"{revision}","raft_term":"2"}}"#);
        if request.path != "/v3/watch" {
            return reply.json(format!("{{{header}}}"));
        }
        let next = revision + 1;
        reply.stream_head();
        reply.chunk(format!("{{\"result\":{{{header},\"created\":true}}}}\n"));
        reply.chunk(format!(
            "{{\"result\":{{{header},\"events\":[{{\"kv\":{{\"key\":\"aw==\",\"mod_revision\":\"{next}\"}}}}]}}}}\n"
        ));
        reply.hold();
    })
}

fn watch_of_a_key(client: &Client) -> Watch {
    let keys = Keys::One(Cow::Borrowed(&b"k"[..]));
    let request = WatchRequest::new(keys);
    client.watch_open(WatchOptions::new(request)).unwrap()
}

#[test]
fn a_watch_passes_over_a_member_of_another_cluster_and_delivers_nothing_of_it() {
    let (first, theirs) = (watching_member(0xa, 5), watching_member(0xb, 50));
    let client = common::client(&format!("{},{}", first.url(), theirs.url()));
    let watch = watch_of_a_key(&client);
    assert_eq!(watch.next(Some(LONG)).unwrap().unwrap().resume_revision, 7);
    let address = first.url().strip_prefix("http://").unwrap().to_owned();
    drop(first);
    wait_until(LONG, || theirs.count("/v3/watch") == 1);
    let _again = FakeGateway::start_at(&address, |request, reply| {
        let header = r#""header":{"cluster_id":"10","revision":"7","raft_term":"2"}"#;
        if request.path != "/v3/watch" {
            return reply.json(format!("{{{header}}}"));
        }
        reply.stream_head();
        reply.chunk(format!("{{\"result\":{{{header},\"created\":true}}}}\n"));
        reply.chunk(format!(
            "{{\"result\":{{{header},\"events\":[{{\"kv\":{{\"key\":\"aw==\",\"mod_revision\":\"7\"}}}}]}}}}\n"
        ));
        reply.hold();
    });
    assert_eq!(watch.next(Some(LONG)).unwrap().unwrap().resume_revision, 8);
    assert_eq!(theirs.count("/v3/watch"), 1);
}

#[test]
fn a_watch_ends_when_its_client_is_sent_to_another_cluster() {
    let (ours, theirs) = (watching_member(0xa, 5), watching_member(0xb, 50));
    let client = common::client(ours.url());
    let watch = watch_of_a_key(&client);
    watch.next(Some(LONG)).unwrap().unwrap();
    client.set_endpoints(theirs.url()).unwrap();
    drop(ours);
    let ended = watch.next(Some(LONG)).unwrap().unwrap();
    assert_eq!((ended.kind, ended.resume_revision), (WatchKind::Ended, 7));
    assert!(matches!(ended.error, Some(Error::ClusterMismatch { ours: 0xa, theirs: 0xb, .. })), "{:?}", ended.error);
}

/// A gateway that lists members, whose URLs may change; each knows its version.
fn listing(urls: Arc<Mutex<Vec<String>>>) -> FakeGateway {
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        MEMBERS => {
            let urls = urls.lock().unwrap();
            let members: Vec<String> = urls
                .iter()
                .enumerate()
                .map(|(id, url)| format!(r#"{{"ID":"{id}","name":"m{id}","clientURLs":["{url}","{url}"]}}"#))
                .collect();
            reply.json(format!(r#"{{"members":[{}]}}"#, members.join(",")));
        }
        _ => reply.json(r#"{"etcdserver":"3.6.16"}"#),
    })
}

#[test]
fn a_url_where_only_grpc_is_spoken_is_not_used() {
    // Its answer to HTTP/1.1 is a settings frame of HTTP/2.
    let grpc_only = FakeGateway::sending(&b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0"[..]);
    let urls = Arc::new(Mutex::new(vec![grpc_only.url().to_owned()]));
    let gateway = listing(urls.clone());
    let client = common::client(gateway.url());
    client.sync_endpoints(&plain()).unwrap();
    (0..5).for_each(|_| drop(put(&client, b"key", b"value").unwrap()));
    assert_eq!((grpc_only.connections(), gateway.count(PUT)), (1, 5));
    let silent = FakeGateway::start(|_, reply| reply.hold());
    *urls.lock().unwrap() = vec![silent.url().to_owned(), gateway.url().to_owned()];
    let settings = Config { connect_timeout: CONNECT_TIMEOUT, ..config(gateway.url()) };
    let client = Client::new(settings).unwrap();
    let (synced, took) = timed(|| client.sync_endpoints(&plain()));
    synced.unwrap();
    assert!(took < Duration::from_secs(2), "a member that says nothing is given the connect timeout: {took:?}");
    put(&client, b"key", b"value").unwrap();
    assert_eq!(silent.count(PUT), 0);
}

#[test]
fn a_synchronisation_that_fails_leaves_the_endpoints_as_they_are() {
    let gateway = FakeGateway::start(|request, reply| match request.path.as_str() {
        MEMBERS => reply.status("403 Forbidden", r#"{"code":7,"message":"etcdserver: permission denied"}"#),
        _ => reply.json("{}"),
    });
    let client = common::client(gateway.url());
    client.sync_endpoints(&plain()).unwrap_err();
    put(&client, b"key", b"value").unwrap();
}

/// The tests that count threads take turns.
static COUNTING: Mutex<()> = Mutex::new(());

#[test]
fn auto_sync_follows_the_members_and_ends_with_the_client() {
    let _turn = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let first = FakeGateway::answering(r#"{"etcdserver":"3.6.16"}"#);
    let second = FakeGateway::answering(r#"{"etcdserver":"3.6.16"}"#);
    let urls = Arc::new(Mutex::new(vec![first.url().to_owned()]));
    let configured = listing(urls.clone());
    let settings = Config { auto_sync: Some(Duration::from_millis(30)), ..config(configured.url()) };
    let client = Client::new(settings).unwrap();
    assert_eq!(sync_threads(), 0, "none before the first call");
    put(&client, b"key", b"value").unwrap();
    wait_until(LONG, || sync_threads() == 1);
    wait_until(LONG, || &*client.base_url() == first.url());
    *urls.lock().unwrap() = vec![second.url().to_owned()];
    // The members that were found don't list members: their answers are empty, and the configured one stays behind them.
    drop(first);
    wait_until(LONG, || put(&client, b"key", b"value").is_ok() && &*client.base_url() != configured.url());
    drop(client);
    // The kernel lists a thread for a moment after it was joined.
    wait_until(LONG, || sync_threads() == 0);
}

#[test]
fn auto_sync_ends_at_once_although_a_member_does_not_answer() {
    let _turn = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let silent = FakeGateway::start(|request, reply| match request.path.as_str() {
        MEMBERS => reply.hold(),
        _ => reply.json("{}"),
    });
    let settings = Config { auto_sync: Some(Duration::from_millis(1)), ..config(silent.url()) };
    let client = Client::new(settings).unwrap();
    put(&client, b"key", b"value").unwrap();
    wait_until(LONG, || silent.count(MEMBERS) == 1);
    let ((), took) = timed(|| drop(client));
    assert!(took < Duration::from_millis(100), "{took:?}");
}

/// How many threads of this process keep endpoints in step.
fn sync_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "etcdgw-sync").count()
}

#[test]
fn endpoints_are_exchanged_under_the_calls_of_many_threads() {
    let (first, second) = (FakeGateway::answering("{}"), FakeGateway::answering("{}"));
    let client = common::client(first.url());
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    put_with(&client, b"key", b"value", &within(LONG)).unwrap();
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..100 {
            client.set_endpoints(if round % 2 == 0 { second.url() } else { first.url() }).unwrap();
            let now = calls.load(Ordering::SeqCst);
            wait_until(LONG, || calls.load(Ordering::SeqCst) > now);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(first.count(PUT) + second.count(PUT), calls.load(Ordering::SeqCst));
}
