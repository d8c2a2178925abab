//! Endpoints where another cluster is found: for a while, for good, or because the caller or the members name them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    EtcdFace, FakeGateway, Gate, LONG, Reply, Request, config, get, plain, put, put_with, wait_until, within,
};
use etcdgw::client::Client;
use etcdgw::config::{Config, WebSocketUse};
use etcdgw::error::{Error, Result};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchOptions};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const OURS: u64 = 0xa;
const THEIRS: u64 = 0xb;

const PUT: &str = "/v3/kv/put";
const RANGE: &str = "/v3/kv/range";
const WATCH: &str = "/v3/watch";
const MEMBERS: &str = "/v3/cluster/member/list";
const VERSION: &str = "/version";

fn header(cluster_id: u64) -> String {
    header_at(cluster_id, "10")
}

fn header_at(cluster_id: u64, revision: &str) -> String {
    format!(r#""header":{{"cluster_id":"{cluster_id}","member_id":"1","revision":"{revision}","raft_term":"2"}}"#)
}

/// What a member of a cluster says to everything but watches.
fn answer(cluster_id: u64, request: &Request, reply: &mut Reply<'_>) {
    match (&*request.verb, &*request.path) {
        ("GET", _) => EtcdFace::of("3.6.16").answer(request, reply),
        (_, "/v3/lease/keepalive") => {
            reply.json(format!(r#"{{"result":{{{},"ID":"7","TTL":"60"}}}}"#, header(cluster_id)))
        }
        _ => reply.json(format!("{{{}}}", header(cluster_id))),
    }
}

/// An address, and the cluster that is found there, which may change.
struct Site {
    gateway: FakeGateway,
    cluster_id: Arc<AtomicU64>,
}

impl Site {
    fn of(cluster_id: u64) -> Site {
        Site::at("127.0.0.1:0", cluster_id)
    }

    /// Confirms each watch, and tells it of its next revision.
    fn at(address: &str, cluster_id: u64) -> Site {
        let cluster_id = Arc::new(AtomicU64::new(cluster_id));
        let now = cluster_id.clone();
        let gateway = FakeGateway::start_at(address, move |request, reply| {
            let cluster_id = now.load(Ordering::SeqCst);
            if request.path != WATCH {
                return answer(cluster_id, request, reply);
            }
            let messages = |create: &serde_json::Value| {
                let [next, id] = ["start_revision", "watch_id"].map(|field| create[field].as_str().unwrap_or("0"));
                let start = format!(r#"{{"result":{{{},"watch_id":"{id}","#, header_at(cluster_id, next));
                [
                    format!(r#"{start}"created":true}}}}"#),
                    format!(r#"{start}"events":[{{"kv":{{"key":"aw==","mod_revision":"{next}"}}}}]}}}}"#),
                ]
            };
            if request.is_upgrade() {
                let mut socket = reply.upgrade(request);
                if let Some(create) = socket.create() {
                    messages(&create).iter().for_each(|message| socket.text(message));
                }
                return socket.idle();
            }
            reply.stream_head();
            let create = &request.json()["create_request"];
            messages(create).iter().for_each(|message| reply.chunk(format!("{message}\n")));
            reply.hold();
        });
        Site { gateway, cluster_id }
    }

    fn url(&self) -> &str {
        self.gateway.url()
    }

    fn address(&self) -> String {
        self.url().strip_prefix("http://").unwrap().to_owned()
    }

    fn turn_into(&self, cluster_id: u64) {
        self.cluster_id.store(cluster_id, Ordering::SeqCst);
    }

    /// How often it was asked of what cluster it is, and nothing else.
    fn questions(&self) -> usize {
        self.gateway.count("/v3/kv/txn")
    }
}

fn watch(client: &Client) -> Watch {
    watch_from(client, 0)
}

fn watch_from(client: &Client, start_revision: i64) -> Watch {
    let request = WatchRequest { start_revision, ..WatchRequest::new(Keys::One(Cow::Borrowed(&b"k"[..]))) };
    client.watch_open(WatchOptions::new(request)).unwrap()
}

#[track_caller]
fn resumes_at(watch: &Watch, revision: i64) {
    assert_eq!(watch.next(Some(LONG)).unwrap().unwrap().resume_revision, revision);
}

fn each_transport(run: impl Fn(WebSocketUse)) {
    [WebSocketUse::Never, WebSocketUse::Always].into_iter().for_each(run);
}

#[track_caller]
fn is_refused(done: Result<()>) {
    let error = done.unwrap_err();
    assert!(matches!(error, Error::ClusterMismatch { ours: OURS, theirs: THEIRS, .. }), "{error:?}");
    assert!(!error.may_have_applied(), "{error:?}");
}

type Call = (&'static str, fn(&Client) -> Result<()>);

#[test]
fn an_endpoint_that_was_another_clusters_is_asked_whose_it_is_before_it_is_told_anything() {
    let calls: [Call; 4] = [
        (RANGE, |client| get(client, b"key").map(drop)),
        (PUT, |client| put(client, b"key", b"value").map(drop)),
        ("/v3/lease/keepalive", |client| client.lease_refresh(7, &plain()).map(drop)),
        ("/v3/lease/grant", |client| client.post("lease/grant", b"{}", &plain()).map(drop)),
    ];
    for (path, call) in calls {
        let site = Site::of(OURS);
        let client = common::client(site.url());
        call(&client).unwrap();
        client.member_list(false, &plain()).unwrap();
        site.turn_into(THEIRS);
        is_refused(client.member_list(false, &plain()).map(drop));
        is_refused(call(&client));
        assert_eq!((site.gateway.count(path), site.questions()), (1, 1), "{path}");
        site.turn_into(OURS);
        call(&client).unwrap();
        call(&client).unwrap();
        assert_eq!((site.gateway.count(path), site.questions()), (3, 2), "{path}");
    }
}

#[test]
fn a_watch_goes_on_when_its_cluster_is_back_where_another_one_was_for_a_while() {
    each_transport(|websocket| {
        let site = Site::of(OURS);
        let client = Client::new(Config { websocket, ..config(site.url()) }).unwrap();
        let watch = watch(&client);
        resumes_at(&watch, 12);
        site.turn_into(THEIRS);
        site.gateway.close_connections();
        wait_until(LONG, || site.questions() >= 2);
        assert_eq!(site.gateway.count(WATCH), 2, "the other cluster was met once");
        site.turn_into(OURS);
        resumes_at(&watch, 13);
    });
}

#[test]
fn a_client_is_of_the_cluster_that_its_first_watch_is_of() {
    each_transport(|websocket| {
        let site = Site::of(OURS);
        let client = Client::new(Config { websocket, ..config(site.url()) }).unwrap();
        // Nothing is asked before it: where it starts is known.
        let watch = watch_from(&client, 11);
        resumes_at(&watch, 12);
        site.turn_into(THEIRS);
        site.gateway.close_connections();
        wait_until(LONG, || site.questions() >= 2);
        is_refused(get(&client, b"key").map(drop));
        site.turn_into(OURS);
        resumes_at(&watch, 13);
    });
}

#[test]
fn a_watch_at_another_cluster_goes_back_to_its_own_at_another_endpoint() {
    each_transport(|websocket| {
        let (ours, theirs) = (Site::of(OURS), Site::of(THEIRS));
        let endpoints = format!("{},{}", ours.url(), theirs.url());
        let client = Client::new(Config { websocket, ..config(&endpoints) }).unwrap();
        let watch = watch(&client);
        resumes_at(&watch, 12);
        let address = ours.address();
        drop(ours);
        wait_until(LONG, || theirs.gateway.count(WATCH) >= 1);
        let _again = Site::at(&address, OURS);
        resumes_at(&watch, 13);
        assert_eq!(theirs.gateway.count(WATCH), 1);
    });
}

#[test]
fn an_answer_that_was_asked_for_before_the_endpoints_were_named_anew_says_nothing_of_them() {
    let (asked, gate) = (Gate::new(), Gate::new());
    let (begun, held) = (asked.clone(), gate.clone());
    let before = FakeGateway::start(move |request, reply| {
        if request.path == RANGE {
            begun.open();
            held.wait();
        }
        answer(OURS, request, reply);
    });
    let named = Site::of(THEIRS);
    let client = common::client(before.url());
    thread::scope(|scope| {
        let late = scope.spawn(|| get(&client, b"key"));
        asked.wait();
        client.set_endpoints(named.url()).unwrap();
        gate.open();
        late.join().unwrap().unwrap();
    });
    for _ in 0..2 {
        get(&client, b"key").unwrap();
        put(&client, b"key", b"value").unwrap();
    }
}

/// Answers the member list with these URLs, and all else as a member of `OURS` does.
fn listing(urls: &[&str]) -> FakeGateway {
    let members: Vec<String> = urls
        .iter()
        .enumerate()
        .map(|(id, url)| format!(r#"{{"ID":"{id}","name":"m{id}","clientURLs":["{url}"]}}"#))
        .collect();
    let list = format!(r#"{{{},"members":[{}]}}"#, header(OURS), members.join(","));
    FakeGateway::start(move |request, reply| match &*request.path {
        MEMBERS => reply.json(&list),
        _ => answer(OURS, request, reply),
    })
}

/// A member that answers `GET /version` when the second gate is open, and opens the first one when it is asked.
fn slow_to_greet() -> (FakeGateway, Gate, Gate) {
    let (asked, gate) = (Gate::new(), Gate::new());
    let (begun, held) = (asked.clone(), gate.clone());
    let member = FakeGateway::start(move |request, reply| {
        if request.path == VERSION {
            begun.open();
            held.wait();
        }
        answer(OURS, request, reply);
    });
    (member, asked, gate)
}

#[test]
fn a_synchronisation_under_way_does_not_undo_that_the_endpoints_were_named_anew() {
    let named = Site::of(THEIRS);
    for auto_sync in [None, Some(Duration::from_millis(1))] {
        let (member, asked, gate) = slow_to_greet();
        let configured = listing(&[member.url()]);
        let client = Client::new(Config { auto_sync, ..config(configured.url()) }).unwrap();
        put(&client, b"key", b"value").unwrap();
        thread::scope(|scope| {
            let sync = scope.spawn(|| auto_sync.map_or_else(|| client.sync_endpoints(&plain()), |_| Ok(())));
            asked.wait();
            client.set_endpoints(named.url()).unwrap();
            gate.open();
            sync.join().unwrap().unwrap();
        });
        // The next one, which is of the endpoints named, follows on what came of this one.
        wait_until(LONG, || auto_sync.is_none() || named.gateway.count(MEMBERS) >= 1);
        assert_eq!(&*client.base_url(), named.url());
        put(&client, b"key", b"value").unwrap();
        assert_eq!(configured.count(PUT) + member.count(PUT), 1);
    }
}

#[test]
fn a_synchronisation_passes_over_what_another_cluster_answers() {
    let theirs = Site::of(THEIRS);
    let silent = FakeGateway::start(|request, reply| match &*request.path {
        "/v3/kv/txn" => reply.status("403 Forbidden", r#"{"code":7,"message":"not here"}"#),
        _ => answer(OURS, request, reply),
    });
    let configured = listing(&[theirs.url(), silent.url()]);
    let client = common::client(configured.url());
    put(&client, b"key", b"value").unwrap();
    client.sync_endpoints(&plain()).unwrap();
    assert_eq!(&*client.base_url(), silent.url(), "what does not say whose it is may be a member");
    put(&client, b"key", b"value").unwrap();
    drop((silent, configured));
    put_with(&client, b"key", b"value", &within(Duration::from_secs(1))).unwrap_err();
    assert_eq!((theirs.gateway.count(PUT), theirs.questions()), (0, 1));
}
