//! What a fake gateway answers beside watches, so that a client takes it for a certain etcd.

use super::gateway::{FakeGateway, Reply, Request};
use super::websocket::Socket;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How the gateway spells what is not about keys: grpc-gateway v1 (etcd up to 3.5) or v2 (3.6 on, and Debian's 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V1,
    V2,
}

/// Version, revision and health of a server that is not there.
#[derive(Clone)]
pub struct EtcdFace {
    /// `etcdserver` of `GET /version`.
    pub server: String,
    /// `etcdcluster` of it; `not_decided` while members have not agreed.
    pub cluster: String,
    pub dialect: Dialect,
    /// What linearizable reads say; may be moved while the gateway serves.
    pub revision: Arc<AtomicI64>,
    /// The reason of `GET /health` for being unhealthy; empty: healthy.
    pub trouble: Arc<Mutex<String>>,
    /// The status that upgrades are refused with: `403 Forbidden`; `None`: they are accepted.
    pub refuses_upgrades: Option<&'static str>,
}

impl EtcdFace {
    /// A healthy server of this version, in a cluster that has decided on the same, at revision 4.
    pub fn of(server: &str) -> EtcdFace {
        let release: Vec<&str> = server.split('.').take(2).collect();
        EtcdFace {
            server: server.to_owned(),
            cluster: format!("{}.0", release.join(".")),
            dialect: if server < "3.6" { Dialect::V1 } else { Dialect::V2 },
            revision: Arc::new(AtomicI64::new(4)),
            trouble: Arc::default(),
            refuses_upgrades: None,
        }
    }

    /// Answers whatever is no watch; an unknown path as the dialect does.
    pub fn answer(&self, request: &Request, reply: &mut Reply<'_>) {
        let revision = self.revision.load(Ordering::SeqCst);
        match (&*request.verb, &*request.path) {
            ("GET", "/version") => {
                let (server, cluster) = (&self.server, &self.cluster);
                reply.status("200 OK", format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}"}}"#));
            }
            ("GET", "/health") => match self.trouble.lock().unwrap().as_str() {
                "" => reply.json(r#"{"health":"true","reason":""}"#),
                reason => {
                    reply.status("503 Service Unavailable", format!(r#"{{"health":"false","reason":"{reason}"}}"#))
                }
            },
            ("POST", "/v3/kv/range" | "/v3/kv/put") => {
                reply.json(format!(r#"{{"header":{{"revision":"{revision}","raft_term":"2"}}}}"#));
            }
            ("POST", MEMBER_LIST) => members(reply, 3),
            _ => self.not_found(reply),
        }
    }

    fn not_found(&self, reply: &mut Reply<'_>) {
        match self.dialect {
            Dialect::V1 => reply.raw(
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n\r\n\
                 Not Found\n",
            ),
            Dialect::V2 => reply.status("404 Not Found", r#"{"code":5,"message":"Not Found"}"#),
        }
    }

    /// A gateway with this face: upgraded watches go to `sockets`, with how many came before, and watches that are
    /// HTTP streams to `streams`.
    pub fn start(
        self,
        sockets: impl Fn(usize, &mut Socket<'_>) + Send + Sync + 'static,
        streams: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
    ) -> FakeGateway {
        let count = AtomicUsize::new(0);
        FakeGateway::start(move |request, reply| match (&*request.verb, &*request.path) {
            ("GET", "/v3/watch") if request.is_upgrade() => match self.refuses_upgrades {
                Some(status) => reply.status(status, ""),
                None => {
                    let mut socket = reply.upgrade(request);
                    sockets(count.fetch_add(1, Ordering::SeqCst), &mut socket);
                    reply.is_open = false;
                }
            },
            ("POST", "/v3/watch") => streams(request, reply),
            _ => self.answer(request, reply),
        })
    }
}

/// Where the members are asked for.
pub const MEMBER_LIST: &str = "/v3/cluster/member/list";

/// Answers that the cluster has so many members.
pub fn members(reply: &mut Reply<'_>, count: usize) {
    let list: Vec<String> = (1..=count).map(|id| format!(r#"{{"ID":"{id}"}}"#)).collect();
    reply.json(format!(r#"{{"header":{{"cluster_id":"7"}},"members":[{}]}}"#, list.join(",")));
}
