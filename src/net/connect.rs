//! From an address to a connection, within the call's bounds.

use super::connection::Connection;
use super::control::{Control, Stop};
use super::lifeline::Lifeline;
use super::resolve::Resolver;
use super::socket::{Handle, Socket, wait_for};
use super::sys::{self, KernelAddress, Ready};
use super::tls::Tls;
use crate::limits;
use crate::stats::Stats;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

/// A host as the other side may be told of it: the zone of an IPv6 address names a link of this machine.
pub(crate) fn without_zone(host: &str) -> &str {
    host.split_once('%').map_or(host, |(address, _)| address)
}

/// Makes connections for a client.
pub(crate) struct Connector {
    pub lifeline: Arc<Lifeline>,
    pub tls: Tls,
    pub connect_timeout: Duration,
    pub resolver: Resolver,
    pub stats: Arc<Stats>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The call had to end.
    Stopped(Stop),
    /// Not reached.
    Unreachable(io::Error),
    /// Reached, but not safely.
    Tls(io::Error),
}

impl Connector {
    /// A new connection, within the connect timeout, the call's share of time for one endpoint, and its bounds.
    pub(crate) fn connect(
        &self,
        target: &Target,
        share: Option<Duration>,
        control: &Control,
    ) -> Result<Connection, ConnectError> {
        let limit = share.map_or(self.connect_timeout, |share| share.min(self.connect_timeout));
        self.attempt(target, &control.at_most(limit)).map_err(|error| match (error, control.deadline.has_passed()) {
            // The attempt's own limit is a reason to try elsewhere; the call's is not.
            (ConnectError::Stopped(Stop::Deadline), false) => ConnectError::Unreachable(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {limit:?}"),
            )),
            // Such as a name whose look-up took all the time there was.
            (ConnectError::Unreachable(_), true) => ConnectError::Stopped(Stop::Deadline),
            (other, _) => other,
        })
    }

    fn attempt(&self, target: &Target, control: &Control) -> Result<Connection, ConnectError> {
        match target {
            Target::Unix(path) => {
                let address = KernelAddress::of_path(path).map_err(ConnectError::Unreachable)?;
                let socket = self.dial(&address, control).map_err(stopped_or_unreachable)?;
                Ok(Connection::plain(socket))
            }
            Target::Tcp { host, port, tls } => {
                let addresses = self.resolver.resolve(host, *port, &self.lifeline, control);
                let addresses = addresses.map_err(stopped_or_unreachable)?;
                let socket = self.dial_any(&addresses, control).map_err(stopped_or_unreachable)?;
                if !tls {
                    return Ok(Connection::plain(socket));
                }
                let session = self.tls.session(host).map_err(ConnectError::Tls)?;
                Connection::secured(socket, session, control).map_err(|error| self.handshake_failed(error))
            }
        }
    }

    /// Tries one address after another; each gets its share of the time that is left.
    fn dial_any(&self, addresses: &[SocketAddr], control: &Control) -> io::Result<Socket> {
        let addresses = addresses.get(..limits::MAX_ADDRESSES).unwrap_or(addresses);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(1).max(1);
            let share = control.deadline.remaining().map_or(self.connect_timeout, |remaining| remaining / left);
            let dialled = self.dial(&KernelAddress::of_ip(address), &control.at_most(share));
            match dialled.and_then(|socket| socket.set_tcp_options().map(|()| socket)) {
                Ok(socket) => return Ok(socket),
                Err(error) if matches!(Stop::of(&error), Some(Stop::Cancelled | Stop::Closed)) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn dial(&self, address: &KernelAddress, control: &Control) -> io::Result<Socket> {
        let handle = Arc::new(Handle::new(sys::start_connecting(address)?));
        wait_for(handle.as_raw_fd(), Ready::Write, &self.lifeline, control)?;
        sys::connect_result(handle.as_raw_fd())?;
        Socket::new(handle, &self.lifeline, &self.stats)
    }

    /// A connection that ends in the middle of a handshake says nothing about the other side's TLS, unlike what rustls
    /// says or an alert.
    fn handshake_failed(&self, error: io::Error) -> ConnectError {
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            return ConnectError::Tls(self.tls.explain(error));
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ConnectError::Unreachable(io::Error::new(
                error.kind(),
                "the server ended the connection during the TLS handshake",
            )),
            _ => stopped_or_unreachable(error),
        }
    }
}

fn stopped_or_unreachable(error: io::Error) -> ConnectError {
    match Stop::of(&error) {
        Some(stop) => ConnectError::Stopped(stop),
        None => ConnectError::Unreachable(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::config::TlsConfig;
    use crate::deadline::Deadline;
    use crate::log::Logger;
    use crate::net::CancelToken;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    /// What the contract gives a call beyond its limit, and a machine that has other things to do.
    const LEEWAY: Duration = Duration::from_millis(100 + 400);

    fn connector(connect_timeout: Duration, resolver: Resolver) -> Connector {
        let lifeline = Arc::new(Lifeline::new().unwrap());
        let (tls, stats) = (Tls::new(TlsConfig::default(), Logger::default()).unwrap(), Arc::default());
        Connector { lifeline, tls, connect_timeout, resolver, stats }
    }

    fn target(port: u16) -> Target {
        Target::Tcp { host: "etcd.example".to_owned(), port, tls: false }
    }

    fn without_limit() -> Control {
        Control { deadline: Deadline::NEVER, cancel: None }
    }

    /// A look-up that ends long after every test.
    fn hanging() -> Resolver {
        Resolver::asking(|_| {
            thread::sleep(Duration::from_secs(60));
            Ok(Vec::new())
        })
    }

    #[test]
    fn every_address_of_a_name_is_tried_and_every_connection_asks_for_them_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = asked.clone();
        let resolver = Resolver::asking(move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok([2, 3, 1].map(|last| SocketAddr::from(([127, 0, 0, last], 0))).to_vec())
        });
        let connector = connector(Duration::from_secs(10), resolver);
        for _ in 0..3 {
            connector.connect(&target(port), None, &without_limit()).unwrap();
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 3);
    }

    #[test]
    fn a_look_up_that_hangs_holds_a_connection_no_longer_than_the_connect_timeout_and_the_call() {
        let connector = connector(Duration::from_millis(100), hanging());
        let start = Instant::now();
        let error = connector.connect(&target(1), None, &without_limit()).unwrap_err();
        let ConnectError::Unreachable(error) = error else { panic!("{error:?}") };
        assert!(error.to_string().contains("etcd.example"), "{error}");
        let limit = Control { deadline: Deadline::after(Duration::from_millis(50)), cancel: None };
        let error = connector.connect(&target(1), None, &limit).unwrap_err();
        assert!(matches!(error, ConnectError::Stopped(Stop::Deadline)), "{error:?}");
        assert!(start.elapsed() < Duration::from_millis(150) + 2 * LEEWAY, "{:?}", start.elapsed());
    }

    #[test]
    fn a_name_whose_look_up_hangs_keeps_no_other_name_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let resolver = Resolver::asking(|name| {
            if name == "etcd.example" {
                thread::sleep(Duration::from_secs(60));
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        });
        let connector = connector(Duration::from_secs(60), resolver);
        let start = Instant::now();
        let share = Some(Duration::from_millis(50));
        for _ in 0..2 {
            let error = connector.connect(&target(port), share, &without_limit()).unwrap_err();
            assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
            let other = Target::Tcp { host: "other.example".to_owned(), port, tls: false };
            connector.connect(&other, share, &without_limit()).unwrap();
        }
        assert!(start.elapsed() < Duration::from_millis(100) + LEEWAY, "{:?}", start.elapsed());
    }

    #[test]
    fn a_look_up_that_hangs_ends_with_its_cancel_token_and_with_the_client() {
        let connector = connector(Duration::from_secs(60), hanging());
        let token = Arc::new(CancelToken::new().unwrap());
        let control = Control { deadline: Deadline::NEVER, cancel: Some(token.clone()) };
        thread::scope(|scope| {
            let cancelled = scope.spawn(|| connector.connect(&target(1), None, &control).unwrap_err());
            let closed = scope.spawn(|| connector.connect(&target(1), None, &without_limit()).unwrap_err());
            let start = Instant::now();
            token.trigger();
            assert!(matches!(cancelled.join().unwrap(), ConnectError::Stopped(Stop::Cancelled)));
            connector.lifeline.close();
            assert!(matches!(closed.join().unwrap(), ConnectError::Stopped(Stop::Closed)));
            assert!(start.elapsed() < LEEWAY, "{:?}", start.elapsed());
        });
    }
}
