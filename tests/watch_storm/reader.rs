//! The whole history, read over plain sockets and by nothing that is under test.

use crate::common::{LONG, wait_until};
use crate::told::Told;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a stream may be silent before another member is asked: writes come all the time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads on until it is dropped.
pub struct Reader {
    shared: Arc<Shared>,
    reading: Option<JoinHandle<()>>,
}

struct Shared {
    history: Mutex<Vec<Told>>,
    /// The last revision that was read.
    revision: AtomicI64,
    is_over: AtomicBool,
}

impl Reader {
    pub fn start(members: Vec<SocketAddr>, first: i64) -> Reader {
        let shared = Shared { history: Mutex::default(), revision: AtomicI64::new(first - 1), is_over: false.into() };
        let shared = Arc::new(shared);
        let reads = shared.clone();
        let reading = std::thread::spawn(move || {
            for member in members.iter().cycle() {
                if reads.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // Whatever ends a stream, the next one goes on behind the last whole message.
                let _ = reads.read_stream(*member);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Reader { shared, reading: Some(reading) }
    }

    /// The last revision that it has read.
    pub fn revision(&self) -> i64 {
        self.shared.revision.load(Ordering::SeqCst)
    }

    /// Everything up to this revision.
    #[track_caller]
    pub fn read_up_to(&self, revision: i64) -> Vec<Told> {
        wait_until(2 * LONG, || self.revision() >= revision);
        let history = self.shared.history.lock().unwrap().clone();
        assert!(history.is_sorted_by_key(|told| told.revision));
        history.into_iter().filter(|told| told.revision <= revision).collect()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.reading.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn read_stream(&self, member: SocketAddr) -> Option<()> {
        let mut stream = TcpStream::connect_timeout(&member, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let next = self.revision.load(Ordering::SeqCst) + 1;
        // "storm/" to "storm0", each with the value before.
        let create = format!(
            r#"{{"create_request":{{"key":"c3Rvcm0v","range_end":"c3Rvcm0w","start_revision":"{next}","prev_kv":true}}}}"#
        );
        let length = create.len();
        write!(stream, "POST /v3/watch HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{create}").ok()?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        }
        let mut text = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            text.extend(chunk(&mut reader)?);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let message: Vec<u8> = text.drain(..=end).collect();
                self.take(&serde_json::from_slice(&message).ok()?)?;
            }
        }
        None
    }

    fn take(&self, message: &Value) -> Option<()> {
        let result = message.get("result")?;
        assert!(result.get("compact_revision").is_none(), "nobody compacts what was not read");
        let events = result.get("events").and_then(Value::as_array);
        let events: Vec<Told> = events.into_iter().flatten().map(told).collect();
        if let Some(last) = events.last().map(|told| told.revision) {
            self.history.lock().unwrap().extend(events);
            self.revision.store(last, Ordering::SeqCst);
        }
        Some(())
    }
}

/// The next chunk of a stream; `None`: it has ended.
fn chunk(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let length = usize::from_str_radix(line.trim(), 16).ok().filter(|length| *length > 0)?;
    let mut content = vec![0; length + 2];
    reader.read_exact(&mut content).ok()?;
    content.truncate(length);
    Some(content)
}

fn told(event: &Value) -> Told {
    let text = |kv: &Value, name: &str| {
        let encoded = kv.get(name).and_then(Value::as_str).unwrap_or_default();
        String::from_utf8(base64_simd::STANDARD.decode_to_vec(encoded).unwrap()).unwrap()
    };
    let number = |name: &str| event["kv"].get(name).map_or(0, |value| value.as_str().unwrap().parse().unwrap());
    Told {
        revision: number("mod_revision"),
        is_delete: event.get("type").is_some_and(|kind| kind == "DELETE"),
        key: text(&event["kv"], "key"),
        value: text(&event["kv"], "value"),
        version: number("version"),
        previous: event.get("prev_kv").map(|previous| text(previous, "value")),
    }
}
