//! The other programs.

use crate::common::*;
use etcdgw::client::Client;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ETCDGW_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("libetcdgw")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/libetcdgw")))
        .expect("ETCDGW_CACHE, XDG_CACHE_HOME or HOME must be set")
}

fn fetched(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "there is no {}: run tests/interop/fetch.sh", path.display());
    path
}

/// A program with Go's `concurrency` package.
pub fn go(etcd: &Etcd, command: &str, arguments: &[&str]) -> Command {
    let mut go = Command::new(fetched(cache().join("interop/go-interop")));
    go.args([command, &etcd.url()]).args(arguments);
    go
}

/// A program with etcd3gw; `fetch.sh` has its version, too.
pub fn python(etcd: &Etcd, command: &str, arguments: &[&str]) -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/turns.py");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", fetched(cache().join("interop/etcd3gw-2.7.0"))).env("PYTHONDONTWRITEBYTECODE", "1");
    python.args([script, command, "127.0.0.1", &etcd.port().to_string()]).args(arguments);
    python
}

/// etcdctl, of the one version that there is.
pub fn etcdctl(etcd: &Etcd, arguments: &[&str]) -> Command {
    let mut etcdctl = Command::new(fetched(cache().join("etcd/3.6.16/etcdctl")));
    etcdctl.arg(format!("--endpoints={}", etcd.url())).args(arguments);
    etcdctl
}

/// This program itself, at a test that does nothing but when it is told what.
pub fn ourselves(etcd: &Etcd, task: &str) -> Command {
    let mut ours = Command::new(std::env::current_exe().unwrap());
    ours.args(["--exact", "crashes::the_other_process", "--nocapture", "--test-threads=1"]);
    ours.env("INTEROP_TASK", task).env("INTEROP_ENDPOINT", etcd.url());
    ours
}

/// A process that is talked with, line by line. It ends with this value.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
}

impl Peer {
    pub fn start(mut command: Command) -> Peer {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, output) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Peer { input: child.stdin.take(), child, output }
    }

    /// Waits until it says this, among whatever else.
    #[track_caller]
    pub fn says(&self, wanted: &str) {
        while self.line() != wanted {}
    }

    /// The next line that it says.
    #[track_caller]
    pub fn line(&self) -> String {
        self.output.recv_timeout(LONG).expect("it says something")
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input.
    pub fn finish_input(&mut self) {
        self.input = None;
    }

    /// Ends its input, waits for its end, and fails if it fails.
    #[track_caller]
    pub fn finish(mut self) {
        self.finish_input();
        let mut status = None;
        wait_until(LONG * 2, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{status:?}");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
    }

    /// The same; what it had still said.
    pub fn kill_and_read(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.output.iter().collect()
    }

    /// `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number under a key; 0 where there is none.
pub fn number(client: &Client, key: &str) -> i64 {
    get(client, key.as_bytes()).unwrap().map_or(0, |value| String::from_utf8(value).unwrap().trim().parse().unwrap())
}

/// Counts up as nobody would without a lock: reads, and then writes.
pub fn count_up(client: &Client, key: &str) {
    let next = number(client, key) + 1;
    put(client, key.as_bytes(), next.to_string().as_bytes()).unwrap();
}

/// No lease is left, when those who are gone have had their time.
#[track_caller]
pub fn no_lease_is_left(client: &Client) {
    wait_until(LONG, || client.lease_list(&plain()).unwrap().ids.is_empty());
}
