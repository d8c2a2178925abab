//! Endpoints where another cluster is found.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{EtcdFace, FakeGateway, Reply, Request, get, plain, put};
use etcdgw::client::Client;
use etcdgw::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const OURS: u64 = 0xa;
const THEIRS: u64 = 0xb;

const PUT: &str = "/v3/kv/put";

fn header(cluster_id: u64) -> String {
    format!(r#""header":{{"cluster_id":"{cluster_id}","member_id":"1","revision":"10","raft_term":"2"}}"#)
}

/// What a member of a cluster says.
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
        let cluster_id = Arc::new(AtomicU64::new(cluster_id));
        let now = cluster_id.clone();
        let gateway = FakeGateway::start(move |request, reply| answer(now.load(Ordering::SeqCst), request, reply));
        Site { gateway, cluster_id }
    }

    fn url(&self) -> &str {
        self.gateway.url()
    }

    fn turn_into(&self, cluster_id: u64) {
        self.cluster_id.store(cluster_id, Ordering::SeqCst);
    }

    /// How often it was asked of what cluster it is, and nothing else.
    fn questions(&self) -> usize {
        self.gateway.count("/v3/kv/txn")
    }
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
    let calls: [Call; 3] = [
        (PUT, |client| put(client, b"key", b"value").map(drop)),
        ("/v3/lease/keepalive", |client| client.lease_refresh(7, &plain()).map(drop)),
        ("/v3/lease/grant", |client| client.post("lease/grant", b"{}", &plain()).map(drop)),
    ];
    for (path, call) in calls {
        let site = Site::of(OURS);
        let client = common::client(site.url());
        call(&client).unwrap();
        get(&client, b"key").unwrap();
        site.turn_into(THEIRS);
        is_refused(get(&client, b"key").map(drop));
        is_refused(call(&client));
        assert_eq!((site.gateway.count(path), site.questions()), (1, 1), "{path}");
        site.turn_into(OURS);
        call(&client).unwrap();
        call(&client).unwrap();
        assert_eq!((site.gateway.count(path), site.questions()), (3, 2), "{path}");
    }
}
