//! Names to addresses, in a time that the system's resolver doesn't promise: it is asked on a thread of its own.

use super::control::{Control, Stop};
use super::lifeline::Lifeline;
use super::socket::wait_for;
use super::sys::Ready;
use super::{EventFd, lock, spawn_io};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A client's look-ups, one at a time of each name: a thread that hangs in the system's resolver can't be ended, so that
/// no further call for its name starts another one, nor has a call for another name to wait for it. Who wants the same
/// name waits for its answer, no longer than the call may take. Every new connection asks anew.
pub(crate) struct Resolver {
    under_way: Mutex<Vec<Arc<Lookup>>>,
    ask: Ask,
}

/// Whoever knows the addresses of a name; their ports mean nothing.
type Ask = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

struct Lookup {
    host: String,
    answer: Mutex<Option<Result<Vec<SocketAddr>, String>>>,
    answered: EventFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A name whose addresses can't be had, which says nothing of who has them.
#[derive(Debug, thiserror::Error)]
#[error("looking up {host}{why}")]
struct LookupFailed {
    host: String,
    why: String,
}

/// A look-up that could not be begun, which says nothing of the endpoint either.
#[derive(Debug, thiserror::Error)]
#[error("looking up {host} takes a thread, and none can be had")]
struct NoThread {
    host: String,
    source: io::Error,
}

/// Whether a name was not looked up since this machine had no thread for that.
pub(super) fn lacked_a_thread(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<NoThread>())
}

/// Whether a connection can't be had because its endpoint's name was not looked up.
pub(crate) fn is_failed_lookup(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<LookupFailed>())
}

impl Resolver {
    /// Asks the system.
    pub(crate) fn of_the_system() -> Resolver {
        Resolver::asking(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    pub(crate) fn asking(ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver { under_way: Mutex::default(), ask: Arc::new(ask) }
    }

    /// The addresses of a host, in the order of the system's preference.
    pub(crate) fn resolve(
        &self,
        host: &str,
        port: u16,
        lifeline: &Lifeline,
        control: &Control,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let lookup = self.lookup(host)?;
        let waited = wait_for(lookup.answered.as_raw_fd(), Ready::Read, lifeline, control);
        waited.map_err(|error| lookup.explain(error))?;
        self.end_answered();
        lookup.join();
        lookup.addresses(port)
    }

    /// The look-up of this name that is under way, or else a new one.
    fn lookup(&self, host: &str) -> io::Result<Arc<Lookup>> {
        // An answer that nobody waited for may be of long ago.
        self.end_answered();
        let mut under_way = lock(&self.under_way);
        if let Some(lookup) = under_way.iter().find(|lookup| lookup.host == host) {
            return Ok(lookup.clone());
        }
        let lookup = Arc::new(Lookup {
            host: host.to_owned(),
            answer: Mutex::default(),
            answered: EventFd::new()?,
            thread: Mutex::default(),
        });
        let (asked, ask) = (lookup.clone(), self.ask.clone());
        let thread = spawn_io("etcdgw-resolve", move || {
            let found = ask(&asked.host).map_err(|error| error.to_string());
            *lock(&asked.answer) = Some(found);
            asked.answered.signal();
        });
        let thread = thread.map_err(|source| io::Error::other(NoThread { host: host.to_owned(), source }))?;
        *lock(&lookup.thread) = Some(thread);
        under_way.push(lookup.clone());
        Ok(lookup)
    }

    /// Lets go of the look-ups that have been answered, and leaves none of their threads.
    fn end_answered(&self) {
        let mut under_way = lock(&self.under_way);
        let (answered, open): (Vec<_>, Vec<_>) = under_way.drain(..).partition(|lookup| lookup.is_answered());
        *under_way = open;
        drop(under_way);
        answered.iter().for_each(|lookup| lookup.join());
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.end_answered();
    }
}

impl Lookup {
    fn is_answered(&self) -> bool {
        lock(&self.answer).is_some()
    }

    /// Waits for the thread, which has answered and does nothing more.
    fn join(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn addresses(&self, port: u16) -> io::Result<Vec<SocketAddr>> {
        match &*lock(&self.answer) {
            Some(Ok(addresses)) => Ok(addresses.iter().map(|address| with_port(*address, port)).collect()),
            Some(Err(message)) => Err(self.failed(io::ErrorKind::Other, format!(": {message}"))),
            None => Err(self.failed(io::ErrorKind::Other, " was not finished".to_owned())),
        }
    }

    /// Why a wait for it ended.
    fn explain(&self, error: io::Error) -> io::Error {
        if Stop::of(&error) != Some(Stop::Deadline) {
            return error;
        }
        self.failed(io::ErrorKind::TimedOut, " takes too long".to_owned())
    }

    fn failed(&self, kind: io::ErrorKind, why: String) -> io::Error {
        io::Error::new(kind, LookupFailed { host: self.host.clone(), why })
    }
}

/// The same address, zone included, with this port.
fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use crate::net::CancelToken;
    use std::net::SocketAddrV6;
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(30);

    /// A resolver of the system that hangs until it is let go, and counts who is inside.
    #[derive(Default)]
    struct Hanging {
        goes: Mutex<bool>,
        gone: Condvar,
        inside: AtomicUsize,
        most_inside: AtomicUsize,
        asked: AtomicUsize,
    }

    impl Hanging {
        fn start() -> (Arc<Hanging>, Resolver) {
            let system = Arc::new(Hanging::default());
            let asked = system.clone();
            let resolver = Resolver::asking(move |name| {
                asked.asked.fetch_add(1, Ordering::SeqCst);
                let inside = asked.inside.fetch_add(1, Ordering::SeqCst) + 1;
                asked.most_inside.fetch_max(inside, Ordering::SeqCst);
                drop(asked.gone.wait_timeout_while(lock(&asked.goes), LONG, |goes| !*goes).unwrap());
                asked.inside.fetch_sub(1, Ordering::SeqCst);
                Ok(address(name.len() as u8))
            });
            (system, resolver)
        }

        fn let_go(&self) {
            *lock(&self.goes) = true;
            self.gone.notify_all();
        }
    }

    fn within(limit: Duration) -> Control {
        Control { deadline: Deadline::after(limit), cancel: None }
    }

    fn address(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, last], 1))]
    }

    #[test]
    fn a_look_up_that_no_thread_can_be_had_for_is_told_as_a_shortage_of_this_machine() {
        let source = io::Error::from(io::ErrorKind::WouldBlock);
        let error = io::Error::other(NoThread { host: "name".to_owned(), source });
        assert_eq!(error.to_string(), "looking up name takes a thread, and none can be had");
        assert!(crate::net::is_shortage(&error) && !is_failed_lookup(&error));
    }

    #[test]
    fn a_look_up_that_hangs_holds_no_call_beyond_its_limit_and_one_thread_of_its_name_at_most() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        for host in ["a", "bb", "a", "bb", "a"] {
            let start = Instant::now();
            let error = resolver.resolve(host, 1, &lifeline, &within(Duration::from_millis(50))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(error.to_string().contains(host), "{error}");
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        assert_eq!((system.asked.load(Ordering::SeqCst), system.most_inside.load(Ordering::SeqCst)), (2, 2));
        system.let_go();
        assert_eq!(resolver.resolve("ccc", 1, &lifeline, &within(LONG)).unwrap(), address(3));
        assert_eq!(resolver.resolve("a", 1, &lifeline, &within(LONG)).unwrap(), address(1));
    }

    #[test]
    fn names_are_looked_up_side_by_side_and_calls_for_one_name_share_its_look_up() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        thread::scope(|scope| {
            let hosts = ["a", "bb", "bb", "ccc", "a"];
            let calls = hosts.map(|host| {
                let (resolver, lifeline) = (&resolver, &lifeline);
                (host, scope.spawn(move || resolver.resolve(host, 1, lifeline, &within(LONG)).unwrap()))
            });
            let end = Instant::now() + LONG;
            while system.inside.load(Ordering::SeqCst) < 3 && Instant::now() < end {
                thread::yield_now();
            }
            system.let_go();
            for (host, call) in calls {
                assert_eq!(call.join().unwrap(), address(host.len() as u8));
            }
        });
        assert_eq!(system.most_inside.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn the_zone_of_an_ipv6_literal_stays_with_its_address() {
        let lifeline = Lifeline::new().unwrap();
        let found = Resolver::of_the_system().resolve("fe80::1%1", 7, &lifeline, &within(LONG)).unwrap();
        let wanted = SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, 1);
        assert_eq!(found, [SocketAddr::V6(wanted)]);
    }

    #[test]
    fn an_answer_that_came_too_late_is_asked_for_again() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        resolver.resolve("a", 1, &lifeline, &within(Duration::from_millis(10))).unwrap_err();
        system.let_go();
        let late = lock(&resolver.under_way)[0].clone();
        wait_for(late.answered.as_raw_fd(), Ready::Read, &lifeline, &within(LONG)).unwrap();
        assert_eq!(resolver.resolve("a", 1, &lifeline, &within(LONG)).unwrap(), address(1));
        assert_eq!(system.asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_look_up_that_hangs_ends_with_the_client_and_with_a_cancel_token() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        let token = Arc::new(CancelToken::new().unwrap());
        let control = Control { deadline: Deadline::NEVER, cancel: Some(token.clone()) };
        let no_token = Control { deadline: Deadline::NEVER, cancel: None };
        thread::scope(|scope| {
            let cancelled = scope.spawn(|| resolver.resolve("a", 1, &lifeline, &control).unwrap_err());
            let closed = scope.spawn(|| resolver.resolve("bb", 1, &lifeline, &no_token).unwrap_err());
            token.trigger();
            assert_eq!(Stop::of(&cancelled.join().unwrap()), Some(Stop::Cancelled));
            lifeline.close();
            assert_eq!(Stop::of(&closed.join().unwrap()), Some(Stop::Closed));
        });
        system.let_go();
    }
}
