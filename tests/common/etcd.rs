//! Real etcd servers, each with a port and a folder of its own, gone when their value is.

use super::{Face, LONG, TempDir, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The versions of `tests/etcd/versions`, oldest first.
pub fn versions() -> Vec<String> {
    let servers = rows().into_iter().filter(|row| row[0] == "etcd");
    let versions: Vec<String> = servers.map(|row| row[1].clone()).collect();
    assert!(!versions.is_empty(), "tests/etcd/versions names no etcd");
    versions
}

/// Those whose watches share a connection: before 3.5 an upgrade ends the server.
pub fn sharing_versions() -> Vec<String> {
    versions().into_iter().filter(|version| !version.starts_with("3.4.")).collect()
}

/// The rows of `tests/etcd/versions`: program, version and where it comes from.
fn rows() -> Vec<Vec<String>> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcd/versions");
    let text = std::fs::read_to_string(&list).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let rows = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 2).collect()
}

/// Runs a test on a fresh server of every version. It is the test's own: it may be killed and restarted.
#[track_caller]
pub fn for_each_version(run: impl Fn(Etcd) + Sync) {
    for_each_version_with(&[], run);
}

/// The same with further flags.
#[track_caller]
pub fn for_each_version_with(flags: &[&str], run: impl Fn(Etcd) + Sync) {
    with_each_version(|version| run(Etcd::start_with_flags(version, flags)));
}

/// Runs a test of what lives on leases on a fresh server of every version: after it the server has those that it had
/// before.
#[track_caller]
pub fn for_each_version_leaving_no_lease(run: impl Fn(&mut Etcd) + Sync) {
    for_each_version(|mut etcd| leaving_no_lease(&mut etcd, &run));
}

/// The same on the newest version.
#[track_caller]
pub fn on_newest_leaving_no_lease(run: impl Fn(&mut Etcd)) {
    leaving_no_lease(&mut Etcd::start(&versions().pop().unwrap()), run);
}

#[track_caller]
fn leaving_no_lease(etcd: &mut Etcd, run: impl Fn(&mut Etcd)) {
    let leases = |etcd: &Etcd| {
        let mut leases = super::client(&etcd.url()).lease_list(&super::plain()).unwrap().ids.clone();
        leases.sort();
        leases
    };
    let before = leases(etcd);
    run(etcd);
    assert_eq!(leases(etcd), before, "leases are left");
}

/// Runs a test for every version, whatever it starts of it.
#[track_caller]
pub fn with_each_version(run: impl Fn(&str) + Sync) {
    side_by_side(&versions(), |version| version, |version| run(version));
}

/// Runs a test for every version whose watches share a connection.
#[track_caller]
pub fn with_each_sharing_version(run: impl Fn(&str) + Sync) {
    side_by_side(&sharing_versions(), |version| version, |version| run(version));
}

/// Runs a test on a server of every version that other tests of the same program use at the same time: it must stay as
/// it is, and each test keeps to keys of its own.
#[track_caller]
pub fn on_each_version(run: impl Fn(&Etcd) + Sync) {
    static SERVERS: OnceLock<Vec<Etcd>> = OnceLock::new();
    let servers = SERVERS.get_or_init(|| versions().iter().map(|version| Etcd::start(version)).collect());
    side_by_side(servers, |etcd| etcd.version(), run);
}

/// Runs something for every item at the same time, and fails with the names of those that it failed for.
#[track_caller]
fn side_by_side<T: Sync>(items: &[T], name: impl Fn(&T) -> &str + Sync, run: impl Fn(&T) + Sync) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = items
            .iter()
            .map(|item| {
                let label = format!("etcd {}", name(item));
                let builder = std::thread::Builder::new().name(label.clone());
                let thread = builder.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(|| run(item))));
                (label, thread.unwrap())
            })
            .collect();
        let failures = threads.into_iter().filter_map(|(label, thread)| {
            let panic = thread.join().unwrap().err()?;
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            Some(format!("on {label}: {}", text.unwrap_or_default()))
        });
        failures.collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// How a server is started, where that matters.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// Further arguments.
    pub flags: Vec<String>,
    /// `https` in place of `http`, with the flags for it among `flags`. Else it shows the face of this run.
    pub tls: bool,
    /// An IPv6 literal or another loopback address in place of 127.0.0.1: `[::1]`.
    pub host: Option<String>,
}

/// A running etcd.
pub struct Etcd {
    version: String,
    options: EtcdOptions,
    port: u16,
    metrics_port: u16,
    dir: TempDir,
    guardian: Option<Guardian>,
    /// Its users are to be made when it is healthy.
    is_new: bool,
}

impl Etcd {
    /// Starts a server of one version and waits until it is healthy.
    pub fn start(version: &str) -> Etcd {
        Etcd::start_with(version, EtcdOptions::default())
    }

    /// The same with further flags.
    pub fn start_with_flags(version: &str, flags: &[&str]) -> Etcd {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Etcd::start_with(version, EtcdOptions { flags, ..EtcdOptions::default() })
    }

    /// The same in another way.
    pub fn start_with(version: &str, options: EtcdOptions) -> Etcd {
        let brings_its_own = options.tls;
        let mut etcd = Etcd::launch(version, options, free_port());
        etcd.is_new = !brings_its_own;
        etcd.wait_until_healthy();
        etcd.admit_users();
        etcd
    }

    /// Lets those in whom the face of this run knows, and nobody else, where nobody has been told apart yet.
    fn admit_users(&mut self) {
        if std::mem::take(&mut self.is_new) {
            Face::of_this_run().admit_users(&self.url());
        }
    }

    /// Starts a server on data that are there already, as a restored snapshot's.
    pub fn start_on(version: &str, data: &Path) -> Etcd {
        let dir = TempDir::new("etcd");
        std::fs::rename(data, dir.path().join("data")).unwrap();
        let etcd = Etcd::launch_in(dir, version, EtcdOptions::default(), free_port());
        etcd.wait_until_healthy();
        etcd
    }

    /// Starts a server and doesn't wait for it: a member of a cluster is not healthy before the others are there.
    pub(super) fn launch(version: &str, options: EtcdOptions, port: u16) -> Etcd {
        Etcd::launch_in(TempDir::new("etcd"), version, options, port)
    }

    fn launch_in(dir: TempDir, version: &str, options: EtcdOptions, port: u16) -> Etcd {
        let options = Face::of_this_run().of_server(options, dir.path());
        let (version, metrics_port) = (version.to_owned(), free_port());
        let mut etcd = Etcd { version, options, port, metrics_port, dir, guardian: None, is_new: false };
        etcd.run();
        etcd
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Major and minor: `(3, 4)`.
    pub fn release(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap())
    }

    /// `http://127.0.0.1:23456`
    pub fn url(&self) -> String {
        let scheme = if self.options.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host(), self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it serves clients that connect to 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The number that a line of its metrics begins with this name for; 0 where there is none.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let answer = http_get(SocketAddr::from(([127, 0, 0, 1], self.metrics_port)), "/metrics").expect("it serves");
        let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// How many watches it has. Of 3.4 the streams are counted, which each watch has one of there: its gauge of watchers
    /// falls by two where the end of a stream meets a cancellation.
    #[track_caller]
    pub fn watchers(&self) -> usize {
        if self.release() < (3, 5) {
            self.watch_streams()
        } else {
            self.metric("etcd_debugging_mvcc_watcher_total") as usize
        }
    }

    /// Waits until it has so many watches.
    #[track_caller]
    pub fn wait_for_watchers(&self, count: usize) {
        wait_until(LONG, || self.watchers() == count);
    }

    /// How many streams of watches it has: a WebSocket is one, whatever it carries.
    #[track_caller]
    pub fn watch_streams(&self) -> usize {
        self.metric("etcd_debugging_mvcc_watch_stream_total") as usize
    }

    /// The memory that it holds: its resident set.
    pub fn resident_bytes(&self) -> usize {
        super::sys::resident_bytes(self.guardian.as_ref().expect("it runs").etcd_pid)
    }

    /// Ends it at once and waits until it is gone; its data stay.
    pub fn kill(&mut self) {
        self.guardian.take().expect("it runs").end();
    }

    /// Ends it and removes its data: started again, it is the same cluster (whose ID is made of its URLs) with a past
    /// that is gone, as after the restoration of a backup.
    pub fn lose_data(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
        self.is_new = true;
    }

    /// Ends it, makes a copy of its data, and starts it again.
    pub fn back_up(&mut self) -> TempDir {
        self.kill();
        let copy = TempDir::new("backup");
        copy_folder(&self.dir.path().join("data"), &copy.path().join("data"));
        self.restart();
        copy
    }

    /// Ends it and puts an earlier [copy](Etcd::back_up) in place of its data: started again, it is the same cluster at
    /// an earlier time.
    pub fn go_back_to(&mut self, copy: &TempDir) {
        self.lose_data();
        copy_folder(&copy.path().join("data"), &self.dir.path().join("data"));
        self.is_new = false;
    }

    /// Starts it again on the same port with the same data, after [`kill`](Etcd::kill) or with one.
    pub fn restart(&mut self) {
        if self.guardian.is_some() {
            self.kill();
        }
        self.run();
        self.wait_until_healthy();
        self.admit_users();
    }

    /// Ends it in an orderly way, and starts the program of another version on the same port with the same data.
    pub fn upgrade(&mut self, version: &str) {
        self.terminate();
        let guardian = self.guardian.take().expect("it runs");
        wait_until(LONG, || guardian.etcd_has_ended());
        guardian.end();
        self.version = version.to_owned();
        self.run();
        self.wait_until_healthy();
    }

    /// Starts it again after [`kill`](Etcd::kill), and doesn't wait: alone it is not healthy.
    pub fn relaunch(&mut self) {
        assert!(self.guardian.is_none(), "it was killed");
        self.run();
    }

    /// Asks it to end in an orderly way (SIGTERM) and doesn't wait.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Freezes it (SIGSTOP): connections stay, nothing answers.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn cont(&self) {
        self.signal("CONT");
    }

    pub fn wait_until_healthy(&self) {
        wait_until(LONG, || {
            let health = http_get(SocketAddr::from(([127, 0, 0, 1], self.metrics_port)), "/health");
            health.is_some_and(|answer| answer.contains("\"true\"")) || {
                assert!(!self.guardian.as_ref().unwrap().etcd_has_ended(), "etcd ended: {}", self.log());
                false
            }
        });
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn host(&self) -> &str {
        self.options.host.as_deref().unwrap_or("127.0.0.1")
    }

    fn signal(&self, name: &str) {
        let pid = self.guardian.as_ref().expect("it runs").etcd_pid;
        // The shell's own kill: not every machine has a program of that name.
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}: {status}");
    }

    fn run(&mut self) {
        let (url, dir) = (self.url(), self.dir.path());
        let mut command = vec![program("etcd", &self.version).into_os_string()];
        let flags = [
            format!("--data-dir={}", dir.join("data").display()),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-metrics-urls=http://127.0.0.1:{}", self.metrics_port),
        ];
        command.extend(flags.into_iter().map(Into::into));
        if !self.options.flags.iter().any(|flag| flag.starts_with("--listen-peer-urls")) {
            // Nobody looks for a single member's peer port; the kernel picks one.
            for flag in [
                "--listen-peer-urls=http://127.0.0.1:0",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
                "--initial-cluster=default=http://127.0.0.1:1",
            ] {
                command.push(flag.into());
            }
        }
        command.extend(self.options.flags.iter().map(Into::into));
        self.guardian = Some(Guardian::start(dir, &command));
    }
}

/// `etcdutl`, of the one version that there is of it.
pub fn etcdutl() -> Command {
    Command::new(program("etcdutl", &etcdutl_version()))
}

/// That version, which is one of etcd's, too.
pub fn etcdutl_version() -> String {
    let row = rows().into_iter().find(|row| row[0] == "etcdutl");
    row.expect("etcdutl is among the versions")[1].clone()
}

/// A program of a version, as `tests/etcd/fetch.sh` keeps it.
fn program(name: &str, version: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable("ETCDGW_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("libetcdgw")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/libetcdgw")))
        .expect("ETCDGW_CACHE, XDG_CACHE_HOME or HOME must be set");
    let path = cache.join("etcd").join(version).join(name);
    assert!(path.exists(), "there is no {}: run tests/etcd/fetch.sh", path.display());
    path
}

/// A shell that ends etcd and removes its folder when the test's process ends, whatever ended it.
struct Guardian {
    shell: Child,
    etcd_pid: u32,
}

const GUARDIAN: &str = r#"
trap '' INT TERM
dir=$1; shift
"$@" >>"$dir/log" 2>&1 </dev/null & pid=$!
echo "$pid"
word=; read -r word
kill -KILL "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
[ "$word" = keep ] || rm -rf "$dir"
"#;

impl Guardian {
    fn start(dir: &Path, command: &[std::ffi::OsString]) -> Guardian {
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARDIAN, "sh"]).arg(dir).args(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        // The server takes its settings from here and not from the environment.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
            shell.env_remove(name);
        }
        let mut shell = shell.spawn().expect("sh starts");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let etcd_pid = line.trim().parse().expect("the guardian prints the pid");
        Guardian { shell, etcd_pid }
    }

    /// Whether etcd has ended by itself; it is a zombie then, for its parent is waiting for a word from here.
    fn etcd_has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.etcd_pid)).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z') || rest.is_empty())
    }

    /// Kills etcd and waits until it is gone. Its folder stays.
    fn end(mut self) {
        let mut stdin = self.shell.stdin.take().unwrap();
        stdin.write_all(b"keep\n").unwrap();
        drop(stdin);
        self.shell.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(guardian) = self.guardian.take() {
            guardian.end();
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success(), "cp -a {} {}: {status}", from.display(), to.display());
}

/// A port that nothing listens on, and that is given out once. Below the range that the kernel takes for outgoing
/// connections, so that none of those takes it while a server restarts.
pub fn free_port() -> u16 {
    static PORTS: Mutex<Ports> = Mutex::new(Ports { blocks: Vec::new(), left: 0..0 });
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(port) = ports.left.next() else {
            ports.take_block();
            continue;
        };
        // Not by listening: a server that another thread starts just then would hold the port until it is executed.
        if ["127.0.0.1", "::1"].iter().all(|host| TcpStream::connect((*host, port)).is_err()) {
            return port;
        }
    }
}

/// The ports of this test program. Others run beside it, and are given none of them.
struct Ports {
    /// Each is a name that one process can have at a time, and that is free again when it ends.
    blocks: Vec<UnixListener>,
    left: Range<u16>,
}

impl Ports {
    fn take_block(&mut self) {
        const FIRST: u16 = 20_000;
        const COUNT: u16 = 24;
        const SIZE: u16 = 500;
        let first = (std::process::id() % u32::from(COUNT)) as u16;
        let reserved = (0..COUNT).map(|step| (first + step) % COUNT).find_map(|block| {
            let name = format!("etcdgw-test-ports-{block}");
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("it is short");
            Some((block, UnixListener::bind_addr(&name).ok()?))
        });
        let (block, reservation) = reserved.expect("a block of ports is left");
        self.blocks.push(reservation);
        self.left = FIRST + block * SIZE..FIRST + (block + 1) * SIZE;
    }
}

/// A plain GET, answered in full by a server that closes when asked to.
pub fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
