//! An endpoint that doesn't answer connection attempts, as a host does whose cable is pulled.

use super::sys;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Listens and never accepts; its queue is full, so that a further connection attempt gets no answer at all.
pub struct BlackHole {
    listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        sys::shorten_queue(&listener);
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        // The kernel queues one or two; then an attempt waits in vain.
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
            assert!(queued.len() < 10, "the queue is never full");
        }
        BlackHole { listener, _queued: queued }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}
