//! A proxy between a client and a real server that does to their connections what networks and hosts do.
//!
//! ```text
//! Proxy     the port, and the fault that is set
//! Link      one connection, from the client to the proxy and from there to the server
//! Flow      one direction of it, on a thread of its own
//! ```

mod fault;
mod flow;
mod link;

pub use fault::{Direction, End, Fault};

use super::etcd::free_port;
use super::{LONG, sys};
use link::Link;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Listens on a port of loopback and forwards to a server, as far as the fault lets it.
pub struct Proxy {
    scheme: String,
    shared: Arc<Shared>,
    listening: Mutex<Option<Listening>>,
}

struct Listening {
    socket: Arc<TcpListener>,
    accepting: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    server: SocketAddr,
    plan: Mutex<Plan>,
    changed: Condvar,
    links: Mutex<Vec<Weak<Link>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    connections: AtomicUsize,
    forwarded: [AtomicUsize; 2],
}

/// The fault that is set.
#[derive(Clone, Copy)]
struct Plan {
    fault: Fault,
    /// Goes away when it has ended one connection.
    once: bool,
    /// Counts the faults that were set: bytes are counted from the last one on.
    number: usize,
    /// Counts how often what is held back was let go.
    releases: usize,
    is_ending: bool,
}

impl Proxy {
    /// A proxy before `http://127.0.0.1:port` or `https://127.0.0.1:port`, without a fault.
    pub fn start(server: &str) -> Proxy {
        let (scheme, server) = server.split_once("://").unwrap();
        let server = server.parse().unwrap();
        let plan = Plan { fault: Fault::None, once: false, number: 0, releases: 0, is_ending: false };
        let shared = Arc::new(Shared {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            server,
            plan: Mutex::new(plan),
            changed: Condvar::new(),
            links: Mutex::default(),
            threads: Mutex::default(),
            connections: AtomicUsize::new(0),
            forwarded: Default::default(),
        });
        let proxy = Proxy { scheme: scheme.to_owned(), shared, listening: Mutex::default() };
        proxy.listen();
        proxy
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.shared.address)
    }

    /// Sets a fault in place of the one before; what that one held back goes on.
    pub fn inject(&self, fault: Fault) {
        self.set(fault, false);
    }

    /// Sets a fault that goes away once it has ended a connection.
    pub fn inject_once(&self, fault: Fault) {
        self.set(fault, true);
    }

    /// Forwards everything again, with what was held back.
    pub fn heal(&self) {
        self.set(Fault::None, false);
    }

    fn set(&self, fault: Fault, once: bool) {
        {
            let mut plan = self.shared.plan.lock().unwrap();
            *plan = Plan { fault, once, number: plan.number + 1, releases: plan.releases + 1, ..*plan };
        }
        self.shared.changed.notify_all();
        match fault {
            Fault::Refuse => self.stop_listening(),
            _ => self.listen(),
        }
    }

    /// Ends every connection that is open.
    pub fn cut(&self, end: End) {
        let links: Vec<_> = self.shared.links.lock().unwrap().iter().filter_map(Weak::upgrade).collect();
        links.iter().for_each(|link| link.end(end, Direction::Answer));
        self.shared.plan.lock().unwrap().releases += 1;
        self.shared.changed.notify_all();
    }

    /// How many connections it has taken.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.shared.links.lock().unwrap().iter().filter(|link| link.strong_count() > 0).count()
    }

    /// How many bytes it has forwarded one way.
    pub fn forwarded(&self, direction: Direction) -> usize {
        self.shared.forwarded[direction as usize].load(Ordering::SeqCst)
    }

    fn listen(&self) {
        let mut listening = self.listening.lock().unwrap();
        if listening.is_none() {
            let socket = Arc::new(TcpListener::bind(self.shared.address).expect("the proxy's port is still free"));
            let (shared, accepts) = (self.shared.clone(), socket.clone());
            let accepting = std::thread::spawn(move || shared.accept(&accepts));
            *listening = Some(Listening { socket, accepting });
        }
    }

    fn stop_listening(&self) {
        if let Some(listening) = self.listening.lock().unwrap().take() {
            sys::stop_listening(&listening.socket);
            listening.accepting.join().unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop_listening();
        self.shared.plan.lock().unwrap().is_ending = true;
        self.shared.changed.notify_all();
        self.cut(End::Close);
        let threads: Vec<_> = self.shared.threads.lock().unwrap().drain(..).collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Shared {
    /// Until the socket listens no more.
    fn accept(self: &Arc<Shared>, socket: &TcpListener) {
        while let Ok((client, _)) = socket.accept() {
            self.connections.fetch_add(1, Ordering::SeqCst);
            let link = Arc::new(Link::new(client));
            let mut links = self.links.lock().unwrap();
            links.retain(|link| link.strong_count() > 0);
            links.push(Arc::downgrade(&link));
            let shared = self.clone();
            let mut threads = self.threads.lock().unwrap();
            threads.retain(|thread| !thread.is_finished());
            threads.push(std::thread::spawn(move || link.run(&shared)));
        }
    }

    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap()
    }

    /// The fault of this plan has ended a connection.
    fn has_struck(&self, struck: Plan) {
        let mut plan = self.plan.lock().unwrap();
        if plan.once && plan.number == struck.number {
            *plan = Plan { fault: Fault::None, once: false, number: plan.number + 1, ..*plan };
        }
    }

    /// Lets time pass until another fault is set.
    fn pause(&self, time: Duration, plan: Plan) {
        let holds = |now: &mut Plan| now.number == plan.number && !now.is_ending;
        drop(self.changed.wait_timeout_while(self.plan.lock().unwrap(), time, holds).unwrap());
    }

    /// Until what is held back may go on. False: the proxy ends.
    fn wait_for_release(&self, plan: Plan) -> bool {
        let holds = |now: &mut Plan| now.releases == plan.releases && !now.is_ending;
        let longest = 10 * LONG;
        !self.changed.wait_timeout_while(self.plan.lock().unwrap(), longest, holds).unwrap().0.is_ending
    }
}
