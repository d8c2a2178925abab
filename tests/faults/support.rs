//! One call through a proxy, what its caller saw, and what the server itself says about it.

use crate::common::{Direction, Etcd, Proxy, config, one, plain, put, put_request, timed, versions, within};
use etcdgw::client::{CallOptions, Client};
use etcdgw::config::{Config, TlsConfig};
use etcdgw::error::Error;
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The limit of calls that are to run into it.
pub const LIMIT: Duration = Duration::from_millis(400);

/// The limit of calls that are not to.
pub const AMPLE: Duration = Duration::from_secs(10);

/// What a call may take beyond its limit: 100 ms, and what a busy machine adds.
pub const GRACE: Duration = Duration::from_secs(1);

/// What an error may take that needs no waiting.
pub const AT_ONCE: Duration = Duration::from_secs(2);

/// Requests and answers of one kind differ so much in length: by the digits of a revision or of what is left of a limit.
pub const UNSURE: usize = 8;

/// The kinds of calls, as far as what may be done twice goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Get,
    Put,
    Txn,
    LeaseGrant,
}

impl Call {
    pub const ALL: [Call; 4] = [Call::Get, Call::Put, Call::Txn, Call::LeaseGrant];

    /// Whether doing it twice would be wrong.
    pub fn is_write(self) -> bool {
        matches!(self, Call::Put | Call::Txn)
    }
}

const VALUE: &[u8] = b"a value";

/// The clients of a test: one through faults, and one straight to the server.
pub struct Bench<'a> {
    pub proxy: Proxy,
    pub client: Client,
    direct: Client,
    tls: TlsConfig,
    pub etcd: &'a Etcd,
}

/// What a call made of a key or lease of its own, and its caller saw.
#[derive(Debug)]
pub struct Seen {
    call: Call,
    pub result: Result<(), Error>,
    took: Duration,
    limit: Duration,
    key: String,
    lease: i64,
}

impl<'a> Bench<'a> {
    /// The one way to the server leads through the proxy.
    pub fn new(etcd: &'a Etcd) -> Bench<'a> {
        Bench::over_tls(etcd, TlsConfig::default())
    }

    /// The same to a server that wants TLS.
    pub fn over_tls(etcd: &'a Etcd, tls: TlsConfig) -> Bench<'a> {
        let proxy = Proxy::start(&etcd.url());
        let connect = |url: &str| Client::new(Config { tls: tls.clone(), ..config(url) }).unwrap();
        Bench { client: connect(&proxy.url()), direct: connect(&etcd.url()), tls, proxy, etcd }
    }

    /// Another way to the server comes after the proxy, free of faults.
    pub fn with_way_out(etcd: &'a Etcd) -> Bench<'a> {
        let bench = Bench::new(etcd);
        bench.client.set_endpoints(&format!("{},{}", bench.proxy.url(), etcd.url())).unwrap();
        bench
    }

    /// A client of the same endpoints that has no connection yet.
    pub fn fresh_client(&mut self) {
        self.client = Client::new(Config { tls: self.tls.clone(), ..config(&self.proxy.url()) }).unwrap();
    }

    pub fn direct(&self) -> &Client {
        &self.direct
    }

    /// Makes a call of a key or lease that nobody else uses.
    pub fn call(&self, call: Call, limit: Duration) -> Seen {
        let key = format!("faults/{:06}", unique());
        // All of one length, so that requests of one kind are, too.
        let lease = Client::new_lease_id().unwrap() | 1 << 62;
        if call == Call::Get {
            put(&self.direct, key.as_bytes(), VALUE).unwrap();
        }
        let options = within(limit);
        let (result, took) = timed(|| make(call, &self.client, key.as_bytes(), lease, &options));
        Seen { call, result, took, limit, key, lease }
    }

    /// How often the call was executed, as the server itself says.
    pub fn executed(&self, seen: &Seen) -> i64 {
        if seen.call == Call::LeaseGrant {
            let lease = self.direct.lease_time_to_live(seen.lease, false, &plain()).unwrap();
            return i64::from(lease.ttl > 0);
        }
        let answer = self.direct.range(&one(seen.key.as_bytes()), &plain()).unwrap();
        answer.kvs.first().map_or(0, |kv| kv.version)
    }

    /// What holds whatever the fault was: the call ended in time, what it says about itself is true, and no write was
    /// made twice.
    #[track_caller]
    pub fn check(&self, seen: &Seen, fault: impl std::fmt::Debug) {
        let story = format!("{fault:?} on etcd {}: {seen:?}", self.etcd.version());
        assert!(seen.took < seen.limit + GRACE, "too late: {story}");
        if seen.call == Call::Get {
            assert!(seen.result.as_ref().err().is_none_or(|error| !error.may_have_applied()), "{story}");
            return;
        }
        let executed = self.executed(seen);
        match &seen.result {
            Ok(()) => assert_eq!(executed, 1, "{story}"),
            Err(error) if error.may_have_applied() => assert!(executed <= 1, "{story}"),
            Err(_) => assert_eq!(executed, 0, "{story}"),
        }
        if let Err(error) = &seen.result {
            assert!(!error.may_have_applied() || !error.is_retryable(), "{story}");
            assert!(error.endpoint().is_some(), "which endpoint? {story}");
        }
    }

    /// Waits until the server has nothing left to do for calls that nobody waits for any more.
    pub fn settle(&self) {
        crate::common::wait_until(crate::common::LONG, || {
            let before = self.proxy.forwarded(Direction::Request);
            put(&self.direct, b"faults/barrier", b"").unwrap();
            std::thread::sleep(Duration::from_millis(50));
            before == self.proxy.forwarded(Direction::Request)
        });
    }

    /// How many bytes one call sends and receives, without a fault; give or take [`UNSURE`].
    pub fn lengths(&self, call: Call) -> [usize; 2] {
        self.call(call, AMPLE).succeeded();
        let forwarded = || [Direction::Request, Direction::Answer].map(|direction| self.proxy.forwarded(direction));
        let before = forwarded();
        self.call(call, AMPLE).succeeded();
        let after = forwarded();
        [after[0] - before[0], after[1] - before[1]]
    }
}

impl Seen {
    /// It worked.
    #[track_caller]
    pub fn succeeded(&self) {
        assert!(self.result.is_ok(), "{self:?}");
    }

    #[track_caller]
    pub fn error(&self) -> &Error {
        self.result.as_ref().expect_err("the call fails")
    }

    /// It failed, and did not wait for its limit.
    #[track_caller]
    pub fn failed_at_once(&self) -> &Error {
        assert!(self.took < AT_ONCE, "{self:?}");
        self.error()
    }

    /// It failed because its time was over, and not before.
    #[track_caller]
    pub fn ran_out_of_time(&self) -> &Error {
        assert!(matches!(self.error(), Error::Deadline { .. }), "{self:?}");
        assert!(self.took >= self.limit - Duration::from_millis(20), "too early: {self:?}");
        self.error()
    }
}

fn make(call: Call, client: &Client, key: &[u8], lease: i64, options: &CallOptions) -> Result<(), Error> {
    match call {
        Call::Get => {
            let answer = client.range(&one(key), options)?;
            let values: Vec<_> = answer.kvs.iter().map(|kv| answer.bytes(kv.value)).collect();
            assert_eq!(values, [VALUE], "an answer, but not the right one");
        }
        Call::Put => drop(client.put(&put_request(key, VALUE), options)?),
        Call::Txn => {
            let request = TxnRequest { success: vec![TxnOp::Put(put_request(key, VALUE))], ..TxnRequest::default() };
            assert!(client.txn(&request, options)?.succeeded);
        }
        Call::LeaseGrant => {
            let granted = client.lease_grant_new(600, lease, options)?;
            assert_eq!((granted.id, granted.ttl), (lease, 600));
        }
    }
    Ok(())
}

/// The bytes before which this server's share of the connections is cut: each version takes every fourth, so that all
/// of them are tried.
pub fn share_of(etcd: &Etcd, length: usize) -> impl Iterator<Item = usize> {
    let versions = versions();
    let first = versions.iter().position(|version| version == etcd.version()).unwrap();
    (first..=length).step_by(versions.len())
}

pub fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
