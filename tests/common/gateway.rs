//! A gateway that does what it is told: for answers and faults that a real server doesn't give on demand.

use super::{LONG, sys};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a gateway does with a request.
type Script = Arc<dyn Fn(&Request, &mut Reply<'_>) + Send + Sync>;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the header, with their line ends.
    pub head: String,
    /// `POST`
    pub verb: String,
    /// `/v3/kv/put`
    pub path: String,
    pub body: Vec<u8>,
    /// Which of the gateway's connections it came over, counted from 0.
    pub connection: usize,
}

impl Request {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Listens on loopback and hands every request to a script.
pub struct FakeGateway {
    shared: Arc<Shared>,
    url: String,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    address: Address,
    is_ending: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<Arc<Stream>>>,
    serving: Mutex<Vec<JoinHandle<()>>>,
}

enum Address {
    Tcp(SocketAddr),
    /// A second handle of the listener: its path may lead elsewhere by the end.
    Unix(UnixListener),
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let stream = listener.accept()?.0;
                // What a script sends bit by bit is to arrive bit by bit.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

/// A connection, as the gateway sees it.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub(super) fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        };
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> usize {
        let read = match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        };
        // A client that resets its connection has left it, too.
        read.unwrap_or(0)
    }

    /// Lets reads end with nothing after so long; `None`: never.
    pub(super) fn limit_reads(&self, limit: Option<Duration>) {
        let set = match self {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        };
        set.unwrap();
    }

    pub(super) fn write(&self, bytes: &[u8]) -> bool {
        let written = match self {
            Stream::Tcp(stream) => (&*stream).write_all(bytes),
            Stream::Unix(stream) => (&*stream).write_all(bytes),
        };
        written.is_ok()
    }
}

/// Where a script puts its answer to one request. What the client no longer takes is dropped.
pub struct Reply<'a> {
    pub(super) stream: &'a Stream,
    pub(super) is_open: bool,
}

impl Reply<'_> {
    /// These bytes and nothing else.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.is_open = self.is_open && self.stream.write(bytes.as_ref());
    }

    /// Whether the client may still be there.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// An answer of etcd's, with the header that these have, where it gives none of its own.
    pub fn json(&mut self, body: impl AsRef<[u8]>) {
        self.status("200 OK", with_header(body.as_ref()));
    }

    /// An answer with a length, of another status: `404 Not Found`.
    pub fn status(&mut self, status: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        self.raw([head.as_bytes(), body].concat());
    }

    /// The head of a stream; [`chunk`](Reply::chunk) and [`end`](Reply::end) follow.
    pub fn stream_head(&mut self) {
        self.raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    }

    /// One chunk.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.raw([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat());
    }

    /// The end of a chunked answer.
    pub fn end(&mut self) {
        self.raw("0\r\n\r\n");
    }

    /// These bytes one at a time, with a pause after each.
    pub fn bit_by_bit(&mut self, bytes: impl AsRef<[u8]>, pause: Duration) {
        for byte in bytes.as_ref() {
            std::thread::sleep(pause);
            self.raw([*byte]);
            if !self.is_open {
                return;
            }
        }
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.stream.shutdown(Shutdown::Both);
        self.is_open = false;
    }

    /// Ends the connection with a reset, as a peer does that has forgotten it.
    pub fn reset(&mut self) {
        if let Stream::Tcp(stream) = self.stream {
            sys::reset_on_close(stream);
        }
        self.is_open = false;
    }

    /// Says nothing until the client leaves.
    pub fn hold(&mut self) {
        while self.stream.read(&mut [0; 4096]) > 0 {}
        self.is_open = false;
    }
}

/// An answer of etcd's that says no more than that it is one.
pub const DONE: &str = r#"{"header":{"raft_term":"1"}}"#;

/// A whole answer with this body, and its length.
pub fn with_length(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A JSON object with a header like that in front, where it has none.
fn with_header(body: &[u8]) -> Vec<u8> {
    let header = &DONE.as_bytes()[1..DONE.len() - 1];
    let has_header = body.windows(9).any(|window| window == br#""header":"#);
    let start = [br#"{"result":{"#.as_slice(), b"{"].into_iter().find(|start| body.starts_with(start));
    let Some(start) = start.filter(|_| !has_header) else { return body.to_vec() };
    let rest = &body[start.len()..];
    let comma: &[u8] = if rest.starts_with(b"}") { b"" } else { b"," };
    [start, header, comma, rest].concat()
}

impl FakeGateway {
    /// Runs a script for every request.
    pub fn start(script: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
        FakeGateway::listen(TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(script))
    }

    /// The same at a certain address: `[::1]:0`.
    pub fn start_at(address: &str, script: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
        FakeGateway::listen(TcpListener::bind(address).unwrap(), Arc::new(script))
    }

    /// The same on a unix socket.
    pub fn start_on_unix(
        path: &Path,
        script: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static,
    ) -> FakeGateway {
        let listener = UnixListener::bind(path).unwrap();
        let address = Address::Unix(listener.try_clone().unwrap());
        FakeGateway::run(Listener::Unix(listener), address, format!("unix://{}", path.display()), Arc::new(script))
    }

    /// Gives every request the same answer of etcd's.
    pub fn answering(body: impl Into<Vec<u8>>) -> FakeGateway {
        let body = body.into();
        FakeGateway::start(move |_, reply| reply.json(&body))
    }

    /// Gives every request these bytes, head and all, and closes the connection.
    pub fn sending(bytes: impl Into<Vec<u8>>) -> FakeGateway {
        let bytes = bytes.into();
        FakeGateway::start(move |_, reply| {
            reply.raw(&bytes);
            reply.close();
        })
    }

    fn listen(listener: TcpListener, script: Script) -> FakeGateway {
        let address = listener.local_addr().unwrap();
        FakeGateway::run(Listener::Tcp(listener), Address::Tcp(address), format!("http://{address}"), script)
    }

    fn run(listener: Listener, address: Address, url: String, script: Script) -> FakeGateway {
        let shared = Arc::new(Shared {
            address,
            is_ending: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            open: Mutex::default(),
            serving: Mutex::default(),
        });
        let accepting = shared.clone();
        let accepting = std::thread::spawn(move || {
            loop {
                let accepted = listener.accept();
                if accepting.is_ending.load(Ordering::SeqCst) {
                    break;
                }
                let stream = Arc::new(accepted.unwrap());
                let number = accepting.connections.fetch_add(1, Ordering::SeqCst);
                accepting.open.lock().unwrap().push(stream.clone());
                let (shared, script) = (accepting.clone(), script.clone());
                let serving = std::thread::spawn(move || {
                    serve(&shared, &stream, number, &*script);
                    // The last owner closes it.
                    shared.open.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &stream));
                });
                accepting.serving.lock().unwrap().push(serving);
            }
        });
        FakeGateway { shared, url, accepting: Some(accepting) }
    }

    /// `http://127.0.0.1:45678`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open_connections(&self) -> usize {
        self.shared.open.lock().unwrap().len()
    }

    /// The requests that came, whole ones only.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many of them had this path.
    pub fn count(&self, path: &str) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|request| request.path == path).count()
    }

    /// The latest of them.
    #[track_caller]
    pub fn last(&self) -> Request {
        self.shared.requests.lock().unwrap().last().expect("a request has come").clone()
    }

    /// Closes every connection that is open.
    pub fn close_connections(&self) {
        let open: Vec<_> = self.shared.open.lock().unwrap().drain(..).collect();
        open.iter().for_each(|stream| stream.shutdown(Shutdown::Both));
    }
}

/// Reads requests off one connection until it ends.
fn serve(shared: &Shared, stream: &Stream, connection: usize, script: &dyn Fn(&Request, &mut Reply<'_>)) {
    let mut buffered = Vec::new();
    while let Some(request) = receive(stream, &mut buffered, connection) {
        shared.requests.lock().unwrap().push(request.clone());
        let mut reply = Reply { stream, is_open: true };
        script(&request, &mut reply);
        if !reply.is_open {
            return;
        }
    }
}

fn receive(stream: &Stream, buffered: &mut Vec<u8>, connection: usize) -> Option<Request> {
    let fill = |buffered: &mut Vec<u8>| {
        let mut piece = [0; 16 << 10];
        let count = stream.read(&mut piece);
        buffered.extend_from_slice(&piece[..count]);
        (count > 0).then_some(())
    };
    let head_length = loop {
        match buffered.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => fill(buffered)?,
        }
    };
    let head = String::from_utf8(buffered[..head_length].to_vec()).unwrap();
    let mut words = head.split(' ').map(str::to_owned);
    let (verb, path) = (words.next().unwrap(), words.next().unwrap());
    let mut request = Request { head, verb, path, body: Vec::new(), connection };
    let body_length: usize = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffered.len() < head_length + body_length {
        fill(buffered)?;
    }
    request.body = buffered[head_length..head_length + body_length].to_vec();
    buffered.drain(..head_length + body_length);
    Some(request)
}

impl Drop for FakeGateway {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        match &self.shared.address {
            Address::Tcp(address) => drop(TcpStream::connect_timeout(address, LONG)),
            Address::Unix(listener) => sys::stop_listening(listener),
        }
        let accepted = self.accepting.take().map(JoinHandle::join);
        self.close_connections();
        let serving: Vec<_> = self.shared.serving.lock().unwrap().drain(..).collect();
        let served: Vec<_> = serving.into_iter().map(JoinHandle::join).collect();
        if !std::thread::panicking() {
            accepted.into_iter().chain(served).for_each(|ended| ended.expect("the gateway's script did not panic"));
        }
    }
}

/// The names of the recorded answers of real gateways, without `.http`.
pub fn capture_names() -> Vec<String> {
    let files = std::fs::read_dir(captures()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".http").map(str::to_owned)).collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// A recorded answer of a real gateway: head and body, with chunk framing and trailers.
#[track_caller]
pub fn capture(name: &str) -> Vec<u8> {
    let path = captures().join(format!("{name}.http"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}
