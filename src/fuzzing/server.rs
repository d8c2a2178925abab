//! A server at the other end of a connection, which says whatever it is told to.

use crate::config::TlsConfig;
use crate::log::Logger;
use crate::net::{Connection, Connector, Control, Lifeline, Resolver, Target, Tls};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A listening socket, whose file goes with it.
pub(crate) struct Server {
    pub listener: UnixListener,
    path: PathBuf,
}

impl Server {
    pub(crate) fn new() -> Server {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("etcdgw-fuzz-{}-{number}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Server { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// A connection of the library's, and its other end.
    pub(crate) fn connect(&self) -> (Connection, UnixStream) {
        let connector = Connector {
            lifeline: Arc::new(Lifeline::new().unwrap()),
            tls: Tls::new(TlsConfig::default(), Logger::new(None)).unwrap(),
            connect_timeout: Duration::from_secs(10),
            resolver: Resolver::of_the_system(),
            stats: Arc::default(),
        };
        let target = Target::Unix(self.path.clone());
        let connection = connector.connect(&target, None, &Control::UNBOUNDED).unwrap();
        (connection, self.listener.accept().unwrap().0)
    }
}

thread_local! {
    static SERVER: Server = Server::new();
}

/// A connection of the library's, and its other end, at a server that the thread keeps.
pub(super) fn connect() -> (Connection, UnixStream) {
    SERVER.with(Server::connect)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Says one piece after another, and then nothing more.
pub(super) struct Speaker<'a> {
    peer: UnixStream,
    pieces: std::slice::Iter<'a, &'a [u8]>,
    /// How often it was asked for more after its end.
    idle: usize,
}

impl<'a> Speaker<'a> {
    pub(super) fn new(peer: UnixStream, pieces: &'a [&'a [u8]]) -> Speaker<'a> {
        Speaker { peer, pieces: pieces.iter(), idle: 0 }
    }

    /// Says the next piece: all that was said before has been heard.
    pub(super) fn say(&mut self) {
        match self.pieces.next() {
            Some(piece) => self.peer.write_all(piece).unwrap(),
            None => {
                self.peer.shutdown(Shutdown::Write).unwrap();
                self.idle += 1;
                assert!(self.idle < 4, "the end is not heard");
            }
        }
    }
}
