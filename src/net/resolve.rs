//! Names to addresses, in a time that the system's resolver doesn't promise: it is asked on a thread of its own.

use super::control::{Control, Stop};
use super::lifeline::Lifeline;
use super::socket::wait_for;
use super::sys::Ready;
use super::{EventFd, lock, spawn_io};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A client's look-ups. A name whose look-up hangs is waited for by all who want it, and asked for once.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    under_way: Mutex<HashMap<String, Arc<Lookup>>>,
}

#[derive(Debug)]
struct Lookup {
    answer: Mutex<Option<Result<Vec<IpAddr>, String>>>,
    answered: EventFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Resolver {
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
        if let Err(error) = waited {
            return Err(match Stop::of(&error) {
                Some(Stop::Deadline) => {
                    io::Error::new(io::ErrorKind::TimedOut, format!("looking up {host} takes too long"))
                }
                _ => error,
            });
        }
        self.finish(host, &lookup);
        match &*lock(&lookup.answer) {
            Some(Ok(addresses)) => Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()),
            Some(Err(message)) => Err(io::Error::other(format!("looking up {host}: {message}"))),
            None => Err(io::Error::other(format!("looking up {host} was not finished"))),
        }
    }

    fn lookup(&self, host: &str) -> io::Result<Arc<Lookup>> {
        let mut under_way = lock(&self.under_way);
        if let Some(lookup) = under_way.get(host) {
            return Ok(lookup.clone());
        }
        let lookup = Arc::new(Lookup { answer: Mutex::new(None), answered: EventFd::new()?, thread: Mutex::new(None) });
        let (asked, name) = (lookup.clone(), host.to_owned());
        let thread = spawn_io("etcdgw-resolve", move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            let addresses = found.map(|found| found.map(|address| address.ip()).collect());
            *lock(&asked.answer) = Some(addresses.map_err(|error| error.to_string()));
            asked.answered.signal();
        })?;
        *lock(&lookup.thread) = Some(thread);
        under_way.insert(host.to_owned(), lookup.clone());
        Ok(lookup)
    }

    /// The next one asks again, and no thread is left behind.
    fn finish(&self, host: &str, lookup: &Arc<Lookup>) {
        let mut under_way = lock(&self.under_way);
        if under_way.get(host).is_some_and(|current| Arc::ptr_eq(current, lookup)) {
            under_way.remove(host);
        }
        drop(under_way);
        if let Some(thread) = lock(&lookup.thread).take() {
            let _ = thread.join();
        }
    }
}
