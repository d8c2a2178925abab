//! Bytes as the answer to a call.

use super::Choices;
use crate::client::{CallOptions, Client, TimeLimit};
use crate::config::{Config, Credentials};
use crate::error::Result;
use crate::rpc::Keys;
use crate::rpc::kv::{PutRequest, RangeRequest};
use crate::rpc::snapshot::SnapshotRequest;
use crate::rpc::txn::TxnRequest;
use crate::secret::Secret;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The largest answer that a client takes here.
const MAX_RESPONSE_BYTES: usize = 20_000;

/// Far more than a call takes whose server ends its answer.
const LONG: Duration = Duration::from_secs(20);

/// For a call whose server may leave its answer unfinished.
const SHORT: Duration = Duration::from_millis(10);

/// Any answer to a call is a response or an error, in time and within the limits; and the next call of the same client
/// gets its own answer, so that nothing of the one before is left on the connection that it is made over.
///
/// The input: which call; whether the server then ends the connection; the answer.
pub fn http(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let call = choices.byte();
    let ends = choices.byte() % 8 != 1;
    let answer = choices.rest();
    if answer.len() <= MOST_BYTES {
        LISTENER.with(|listener| converse(listener, call, ends, answer));
    }
}

/// So much fits into the buffer of a socket: the server never waits for the client to read.
const MOST_BYTES: usize = 60_000;

thread_local! {
    static LISTENER: TcpListener = TcpListener::bind("127.0.0.1:0").unwrap();
}

fn converse(listener: &TcpListener, call: u8, ends: bool, answer: &[u8]) {
    let address = listener.local_addr().unwrap();
    let (is_over, is_given) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        let server = threads.spawn(|| {
            let mut answer = Some(answer);
            while let (Ok((connection, _)), false) = (listener.accept(), is_over.load(Ordering::SeqCst)) {
                serve(connection, answer.take(), ends, &is_given);
            }
        });
        let over = Over { is_over: &is_over, wake: || drop(TcpStream::connect(address)) };
        let client = client(&format!("http://{address}"), call);
        let began = Instant::now();
        let limit = if ends { LONG } else { SHORT };
        let options = CallOptions { timeout: TimeLimit::After(limit), ..CallOptions::default() };
        if let Err(error) = make(&client, call, &options) {
            assert!(!error.full_message().is_empty());
        }
        assert!(began.elapsed() < LONG / 2, "it takes {:?}", began.elapsed());
        // On a busy machine a short call may end before it has asked anything.
        if is_given.load(Ordering::SeqCst) {
            let options = CallOptions { timeout: TimeLimit::After(LONG), ..CallOptions::default() };
            let range = client.range(&RangeRequest::new(Keys::One(b"good".into())), &options);
            let range = range.unwrap_or_else(|error| panic!("the next call fails: {}", error.full_message()));
            assert_eq!(range.kvs.iter().map(|kv| range.bytes(kv.key)).collect::<Vec<_>>(), [b"good"]);
        }
        drop((client, over));
        // The end of the scope doesn't wait for what the thread owns to be freed, and LeakSanitizer would find that.
        server.join().unwrap();
    });
}

/// Ends the server, also where a property doesn't hold.
struct Over<'a, F: Fn()> {
    is_over: &'a AtomicBool,
    wake: F,
}

impl<F: Fn()> Drop for Over<'_, F> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        (self.wake)();
    }
}

/// Answers the first request with `answer`, if it is to be answered so, and others as etcd does.
fn serve(mut connection: TcpStream, mut answer: Option<&[u8]>, ends: bool, is_given: &AtomicBool) {
    let _ = connection.set_nodelay(true);
    let mut request = [0; 4096];
    // All of a request is sent at once, and is small.
    while let Ok(count @ 1..) = connection.read(&mut request) {
        match answer.take() {
            Some(answer) => {
                is_given.store(true, Ordering::SeqCst);
                let _ = connection.write_all(answer);
                if ends {
                    let _ = connection.shutdown(Shutdown::Write);
                }
            }
            None => {
                let body = good_answer(&request[..count]);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = connection.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
        }
    }
}

fn good_answer(request: &[u8]) -> &'static str {
    let asks_for = |path: &str| memchr::memmem::find(request, path.as_bytes()).is_some();
    if asks_for("GET /version ") {
        r#"{"etcdserver":"3.6.0","etcdcluster":"3.6.0"}"#
    } else if asks_for("/auth/authenticate ") {
        r#"{"token":"a.token"}"#
    } else {
        r#"{"header":{"revision":"1"},"kvs":[{"key":"Z29vZA=="}],"count":"1"}"#
    }
}

/// Calls whose first request is of another kind.
const LOGS_IN: u8 = 12;
const ASKS_FOR_VERSION: u8 = 13;

fn client(url: &str, call: u8) -> Client {
    let user = || Credentials::User { name: "user".to_owned(), password: Secret::from("password") };
    Client::new(Config {
        endpoints: url.to_owned(),
        credentials: if call == LOGS_IN { user() } else { Credentials::Nobody },
        api_path: (call != ASKS_FOR_VERSION).then(|| "/v3/".to_owned()),
        max_response_bytes: MAX_RESPONSE_BYTES,
        ..Config::default()
    })
    .unwrap()
}

fn make(client: &Client, call: u8, options: &CallOptions) -> Result<()> {
    match call {
        1 => client.put(&PutRequest { key: b"k".into(), ..PutRequest::default() }, options).map(drop),
        2 => client.txn(&TxnRequest::default(), options).map(drop),
        3 => client.lease_grant(10, 7, options).map(drop),
        4 => client.member_list(true, options).map(drop),
        5 => client.status(None, options).map(drop),
        6 => client.post("/kv/range", b"{}", options).map(|answer| assert!(answer.body.len() <= MAX_RESPONSE_BYTES)),
        7 => client.lease_refresh(7, options).map(drop),
        8 => client.alarm_list(options).map(drop),
        9 => client.user_get("user", options).map(drop),
        10 => client.auth_status(options).map(drop),
        11 => {
            let request = SnapshotRequest { endpoint: None, progress: None };
            let mut received = 0;
            let mut take = |piece: &[u8]| {
                received += piece.len();
                Ok(())
            };
            let snapshot = client.snapshot_read(request, &mut take, options)?;
            assert_eq!(snapshot.size, received as u64);
            Ok(())
        }
        _ => client.range(&RangeRequest::new(Keys::One(b"k".into())), options).map(drop),
    }
}
