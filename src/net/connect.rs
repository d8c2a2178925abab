//! From an address to a connection, within the call's bounds.

use super::connection::Connection;
use super::control::{Control, Stop};
use super::lifeline::Lifeline;
use super::resolve::Resolver;
use super::socket::{Handle, Socket, wait_for};
use super::sys::{self, KernelAddress, Ready};
use super::tls::Tls;
use crate::limits;
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

/// Makes connections for a client.
pub(crate) struct Connector {
    pub lifeline: Arc<Lifeline>,
    pub tls: Tls,
    pub connect_timeout: Duration,
    pub resolver: Resolver,
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
        self.attempt(target, &control.at_most(limit)).map_err(|error| match error {
            // The attempt's own limit is a reason to try elsewhere; the call's is not.
            ConnectError::Stopped(Stop::Deadline) if !control.deadline.has_passed() => ConnectError::Unreachable(
                io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {limit:?}")),
            ),
            // Such as a name whose look-up took all the time there was.
            ConnectError::Unreachable(_) if control.deadline.has_passed() => ConnectError::Stopped(Stop::Deadline),
            other => other,
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
                Connection::secured(socket, session, control).map_err(|error| match Stop::of(&error) {
                    Some(stop) => ConnectError::Stopped(stop),
                    None => ConnectError::Tls(error),
                })
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
        Socket::new(handle, &self.lifeline)
    }
}

fn stopped_or_unreachable(error: io::Error) -> ConnectError {
    match Stop::of(&error) {
        Some(stop) => ConnectError::Stopped(stop),
        None => ConnectError::Unreachable(error),
    }
}
