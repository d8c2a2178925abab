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

/// A client's look-ups, one at a time: a thread that hangs in the system's resolver can't be ended, and there is to be
/// one of them at most. Who wants the same name waits for its answer, who wants another one for its turn, and each no
/// longer than its call may take. Every new connection asks anew.
pub(crate) struct Resolver {
    under_way: Mutex<Option<Arc<Lookup>>>,
    ask: Ask,
}

/// Whoever knows the addresses of a name.
type Ask = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

struct Lookup {
    host: String,
    answer: Mutex<Option<Result<Vec<IpAddr>, String>>>,
    answered: EventFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Resolver {
    /// Asks the system.
    pub(crate) fn of_the_system() -> Resolver {
        Resolver::asking(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    pub(super) fn asking(ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Resolver {
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
        loop {
            let lookup = self.lookup(host)?;
            let waited = wait_for(lookup.answered.as_raw_fd(), Ready::Read, lifeline, control);
            waited.map_err(|error| lookup.explain(host, error))?;
            self.finish(&lookup);
            if lookup.host == host {
                return lookup.addresses(port);
            }
        }
    }

    /// The look-up under way, whatever name it is for, or else one for this name.
    fn lookup(&self, host: &str) -> io::Result<Arc<Lookup>> {
        let mut under_way = lock(&self.under_way);
        // An answer that nobody waited for may be of long ago.
        let current = under_way.as_ref().filter(|lookup| lock(&lookup.answer).is_none());
        if let Some(lookup) = current {
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
        })?;
        *lock(&lookup.thread) = Some(thread);
        let previous = under_way.replace(lookup.clone());
        drop(under_way);
        previous.iter().for_each(|previous| previous.join());
        Ok(lookup)
    }

    fn finish(&self, lookup: &Arc<Lookup>) {
        let mut under_way = lock(&self.under_way);
        if under_way.as_ref().is_some_and(|current| Arc::ptr_eq(current, lookup)) {
            *under_way = None;
        }
        drop(under_way);
        lookup.join();
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let left = lock(&self.under_way).take();
        left.iter().filter(|lookup| lock(&lookup.answer).is_some()).for_each(|lookup| lookup.join());
    }
}

impl Lookup {
    /// Waits for the thread, which has answered and does nothing more.
    fn join(&self) {
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }

    fn addresses(&self, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = &self.host;
        match &*lock(&self.answer) {
            Some(Ok(addresses)) => Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()),
            Some(Err(message)) => Err(io::Error::other(format!("looking up {host}: {message}"))),
            None => Err(io::Error::other(format!("looking up {host} was not finished"))),
        }
    }

    /// Why the wait of one who wants `host` ended.
    fn explain(&self, host: &str, error: io::Error) -> io::Error {
        if Stop::of(&error) != Some(Stop::Deadline) {
            return error;
        }
        let what = match self.host == host {
            true => format!("looking up {host} takes too long"),
            false => format!("looking up {} takes too long, and {host} has to wait for it", self.host),
        };
        io::Error::new(io::ErrorKind::TimedOut, what)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use crate::net::CancelToken;
    use std::net::Ipv4Addr;
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
                Ok(vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, name.len() as u8))])
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
    fn a_look_up_that_hangs_holds_no_call_beyond_its_limit_and_one_thread_at_most() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        for host in ["a", "bb", "a", "ccc"] {
            let start = Instant::now();
            let error = resolver.resolve(host, 1, &lifeline, &within(Duration::from_millis(50))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(error.to_string().contains(host), "{error}");
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        assert_eq!((system.asked.load(Ordering::SeqCst), system.most_inside.load(Ordering::SeqCst)), (1, 1));
        system.let_go();
        assert_eq!(resolver.resolve("ccc", 1, &lifeline, &within(LONG)).unwrap(), address(3));
        assert_eq!(resolver.resolve("a", 1, &lifeline, &within(LONG)).unwrap(), address(1));
        assert_eq!(system.most_inside.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_waits_for_another_name_gets_its_turn() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        thread::scope(|scope| {
            let hosts = ["a", "bb", "bb", "ccc", "a"];
            let calls = hosts.map(|host| {
                let (resolver, lifeline) = (&resolver, &lifeline);
                (host, scope.spawn(move || resolver.resolve(host, 1, lifeline, &within(LONG)).unwrap()))
            });
            let end = Instant::now() + LONG;
            while system.inside.load(Ordering::SeqCst) == 0 && Instant::now() < end {
                thread::yield_now();
            }
            system.let_go();
            for (host, call) in calls {
                assert_eq!(call.join().unwrap(), address(host.len() as u8));
            }
        });
        assert_eq!(system.most_inside.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_answer_that_came_too_late_is_asked_for_again() {
        let (system, resolver) = Hanging::start();
        let lifeline = Lifeline::new().unwrap();
        resolver.resolve("a", 1, &lifeline, &within(Duration::from_millis(10))).unwrap_err();
        system.let_go();
        let late = lock(&resolver.under_way).clone().unwrap();
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
