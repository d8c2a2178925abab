//! Keeps a client's endpoints in step with the cluster's members: a thread that asks for them every so often.
//!
//! A thread and not the caller that happens to come next: members that don't answer would delay its call. It starts
//! with the first call, so that a client that is never used has none, and is gone when the client is.

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::limits;
use crate::log::Level;
use crate::net::{self, CancelToken, Control, lock};
use crate::rpc::cluster;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The synchronisation of one client.
pub(crate) struct AutoSync {
    /// None: it was not asked for.
    interval: Option<Duration>,
    has_begun: AtomicBool,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: Arc<CancelToken>,
    thread: JoinHandle<()>,
}

impl AutoSync {
    pub(crate) fn new(interval: Option<Duration>) -> AutoSync {
        AutoSync { interval, has_begun: AtomicBool::new(false), running: Mutex::default() }
    }

    /// A call begins. The first one begins the synchronisation, and where the system has no thread for that the next.
    pub(crate) fn begin(&self, channel: &Arc<Channel>) {
        let Some(interval) = self.interval.filter(|_| !self.has_begun.swap(true, Ordering::Relaxed)) else { return };
        match Running::start(channel.clone(), interval) {
            Ok(running) => *lock(&self.running) = Some(running),
            Err(error) => {
                self.has_begun.store(false, Ordering::Relaxed);
                let why = error.full_message();
                channel.logger().log(Level::Warn, format_args!("the endpoints are not synchronised: {why}"));
            }
        }
    }
}

impl Drop for AutoSync {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.stop.trigger();
            let _ = running.thread.join();
        }
    }
}

impl Running {
    fn start(channel: Arc<Channel>, interval: Duration) -> Result<Running> {
        let token = CancelToken::new().map_err(net::no_descriptor)?;
        let stop = Arc::new(token);
        let control = Control { deadline: Deadline::NEVER, cancel: Some(stop.clone()) };
        let thread = net::spawn("etcdgw-sync", move || {
            while channel.pause(interval, &control).is_ok() {
                match cluster::sync(&channel, &control.at_most(limits::SYNC_TIMEOUT)) {
                    Ok(()) => {}
                    Err(Error::Cancelled { .. } | Error::Closed { .. }) => return,
                    Err(error) => {
                        let why = error.full_message();
                        channel.logger().log(Level::Warn, format_args!("the endpoints stay as they are: {why}"));
                    }
                }
            }
        })?;
        Ok(Running { stop, thread })
    }
}
