//! What piles up while nobody reads.

use crate::alone;
use crate::common::{Etcd, LONG, client, put_revision, resident_bytes, versions, wait_until};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const VALUE: usize = 1_000_000;
const COUNT: usize = 200;

/// What the library may hold for a consumer that doesn't read, and while it catches up; besides one revision, which is
/// a value, what it was decoded from, and the room that its buffers grew to.
const BOUND: usize = 24 << 20;
const ONE_REVISION: usize = 4 * VALUE;

const ENDPOINT: &str = "ETCDGW_TEST_BACKLOG_ENDPOINT";

/// The consumer, in a process of its own.
struct Consumer {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Consumer {
    fn start(endpoint: &str) -> Consumer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "backlog::the_consumer", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.env(ENDPOINT, endpoint).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Consumer { child, said }
    }

    /// Waits until it says this.
    #[track_caller]
    fn wait_for(&mut self, word: &str) {
        let found = self.said.any(|line| line.unwrap().contains(word));
        assert!(found, "the consumer ended without a word: {word}");
    }

    fn resident_bytes(&self) -> usize {
        resident_bytes(self.child.id())
    }

    /// The most that it has held since this was last asked for.
    fn peak_bytes(&self) -> usize {
        let proc = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        std::fs::write(format!("{proc}/clear_refs"), "5").unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where [`Consumer`] starts this program, it opens a watch and reads when told to.
#[test]
#[ignore = "a part of the other test"]
fn the_consumer() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else { return };
    let client = client(&endpoint);
    let keys = Keys::Prefix(Cow::Borrowed(&b"backlog/"[..]));
    let request = WatchRequest::new(keys);
    let watch = client.watch_open(WatchOptions::new(request)).unwrap();
    println!("\nwatching");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut seen = 0;
    while seen < COUNT {
        let response = watch.next(Some(LONG)).unwrap().expect("more is to come");
        assert_eq!(response.kind, WatchKind::Events, "{:?}", response.error);
        for event in &response.events {
            assert_eq!(response.bytes(event.kv.key), format!("backlog/{seen:03}").as_bytes());
            let value = response.bytes(event.kv.value);
            assert!(value.len() == VALUE && value.iter().all(|byte| *byte == seen as u8), "{seen}");
            seen += 1;
        }
    }
    println!("\nread");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn pile_up(version: &str) {
    let etcd = Etcd::start(version);
    let writing = client(&etcd.url());
    // Code and buffers that any watch needs are there before it is measured.
    let mut consumer = Consumer::start(&etcd.url());
    consumer.wait_for("watching");
    let start = consumer.resident_bytes();
    for number in 0..COUNT {
        put_revision(&writing, format!("backlog/{number:03}").as_bytes(), &vec![number as u8; VALUE]);
    }
    // What it takes it has taken when nothing is added for a while.
    let (mut held, mut since) = (consumer.resident_bytes(), Instant::now());
    wait_until(LONG, || {
        let now = consumer.resident_bytes();
        if now.abs_diff(held) > 64 << 10 {
            (held, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    let piled_up = consumer.peak_bytes() - start;
    consumer.child.stdin.as_mut().unwrap().write_all(b"read\n").unwrap();
    consumer.wait_for("read");
    let catching_up = consumer.peak_bytes().saturating_sub(start);
    println!("etcd {version}: {piled_up} bytes while nobody read, {catching_up} while it caught up");
    for bytes in [piled_up, catching_up] {
        assert!(bytes < BOUND + ONE_REVISION, "etcd {version}: {bytes}");
    }
    consumer.child.stdin.as_mut().unwrap().write_all(b"end\n").unwrap();
    assert!(consumer.child.wait().unwrap().success());
}

#[test]
fn two_hundred_megabytes_that_nobody_reads_cost_little_and_then_all_arrive() {
    let _alone = alone();
    let versions = versions();
    for version in [versions.first().unwrap(), versions.last().unwrap()] {
        pile_up(version);
    }
}
