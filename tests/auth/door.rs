//! A gateway that wants to know who is there.

use crate::common::{FakeGateway, Gate, Reply, Request, config};
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials};
use etcdgw::log::{Level, LogSink};
use std::sync::{Arc, Mutex};

pub const LOGIN: &str = "/v3/auth/authenticate";
pub const PUT: &str = "/v3/kv/put";

pub const INVALID_TOKEN: (&str, &str) = (
    "401 Unauthorized",
    r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16}"#,
);
pub const NO_USER: (&str, &str) = ("400 Bad Request", r#"{"code":3, "message":"etcdserver: user name is empty"}"#);
pub const OLD_REVISION: (&str, &str) =
    ("400 Bad Request", r#"{"code":3, "message":"etcdserver: revision of auth store is old"}"#);
pub const WRONG_PASSWORD: (&str, &str) =
    ("400 Bad Request", r#"{"code":3,"message":"etcdserver: authentication failed, invalid user ID or password"}"#);
pub const NOT_ENABLED: (&str, &str) =
    ("412 Precondition Failed", r#"{"code":9,"message":"etcdserver: authentication is not enabled"}"#);

pub fn user(name: &str, password: &str) -> Credentials {
    Credentials::User { name: name.to_owned(), password: password.into() }
}

/// A client that logs in.
#[track_caller]
pub fn client_as(endpoints: &str, credentials: Credentials) -> Client {
    Client::new(Config { credentials, ..config(endpoints) }).unwrap()
}

/// The log's lines, all of them.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub fn sink(&self) -> Option<Arc<dyn LogSink>> {
        Some(Arc::new(self.clone()))
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl LogSink for Lines {
    fn wants(&self, _: Level) -> bool {
        true
    }

    fn log(&self, _: Level, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// Which token is good, and how others are refused.
#[derive(Clone)]
pub struct Lock(Arc<Mutex<Key>>);

struct Key {
    issued: u32,
    good: Option<String>,
    refusal: (&'static str, &'static str),
}

impl Lock {
    pub fn new(refusal: (&'static str, &'static str)) -> Lock {
        Lock(Arc::new(Mutex::new(Key { issued: 0, good: None, refusal })))
    }

    /// No token that was issued so far is good any more.
    pub fn change(&self) {
        self.0.lock().unwrap().good = None;
    }

    /// From now on this token is good.
    pub fn take(&self, token: &str) {
        self.0.lock().unwrap().good = Some(token.to_owned());
    }

    /// Answers a log-in with `token-1`, `token-2`, …
    pub fn issue(&self, request: &Request, reply: &mut Reply<'_>) {
        if request.json()["password"] != "right" {
            return reply.status(WRONG_PASSWORD.0, WRONG_PASSWORD.1);
        }
        let mut key = self.0.lock().unwrap();
        key.issued += 1;
        let token = format!("token-{}", key.issued);
        reply.json(format!(r#"{{"header":{{"revision":"4"}},"token":"{token}"}}"#));
        key.good = Some(token);
    }

    /// Refuses a request without the good token. True: it may pass.
    pub fn admits(&self, request: &Request, reply: &mut Reply<'_>) -> bool {
        let key = self.0.lock().unwrap();
        let is_good = key.good.is_some() && request.header("authorization") == key.good.as_deref();
        if !is_good {
            reply.status(key.refusal.0, key.refusal.1);
        }
        is_good
    }
}

/// A gateway behind a lock: it answers everything else with a message of which only a grant reads anything.
pub fn locked_gateway(lock: &Lock) -> FakeGateway {
    let lock = lock.clone();
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN => lock.issue(request, reply),
        _ if lock.admits(request, reply) => reply.json(r#"{"ID":"7"}"#),
        _ => {}
    })
}

/// A gateway whose log-ins are held until a gate is opened.
pub fn slow_gateway(lock: &Lock, gate: &Gate) -> FakeGateway {
    let (lock, gate) = (lock.clone(), gate.clone());
    FakeGateway::start(move |request, reply| match request.path.as_str() {
        LOGIN => {
            gate.wait();
            lock.issue(request, reply);
        }
        _ if lock.admits(request, reply) => reply.json("{}"),
        _ => {}
    })
}
