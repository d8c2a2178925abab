//! What the watches of one client have in common.

use super::buffers::Buffers;
use super::delivery::{Delivery, DeliveryGuard};
use super::helm::Helm;
use super::reactor::{Reactor, Settings};
use super::switchboard::{Message, Switchboard};
use crate::channel::Channel;
use crate::error::Result;
use crate::net::{self, lock};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;

/// Where a client's watches find what drives them.
///
/// Locks of an engine, a switchboard or a delivery may be taken under its own, never the other way round.
pub(crate) struct Hub {
    channel: Arc<Channel>,
    settings: Settings,
    buffers: Arc<Buffers>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// There while there are watches.
    engine: Weak<Engine>,
    /// Of that engine.
    helm: Weak<Helm>,
    /// There while somebody has callbacks.
    guard: Weak<DeliveryGuard>,
    /// There while its thread runs: it may outlive its guard by a callback, and then serves the next.
    delivery: Weak<Delivery>,
    is_closed: bool,
}

/// What drives a client's watches, from the first of them to the last.
pub(super) struct Engine {
    pub board: Arc<Switchboard>,
    pub buffers: Arc<Buffers>,
    last_watch: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Hub {
    pub(crate) fn new(channel: Arc<Channel>, settings: Settings, buffers: Buffers) -> Hub {
        Hub { channel, settings, buffers: Arc::new(buffers), state: Mutex::default() }
    }

    /// What drives the client's watches, started where there were none.
    pub(super) fn engine(&self) -> Result<Arc<Engine>> {
        let mut state = lock(&self.state);
        if let Some(engine) = state.engine.upgrade().filter(|engine| !engine.board.is_dead()) {
            return Ok(engine);
        }
        let board = Arc::new(Switchboard::new()?);
        if state.is_closed {
            // Its watches hear of that as of everything else.
            board.send(Message::Close);
        }
        let reactor = Reactor::new(self.channel.clone(), board.clone(), self.settings.clone())?;
        let helm = Arc::new(Helm::new(board.clone(), Box::new(reactor)));
        let on_thread = helm.clone();
        let thread = net::spawn("etcdgw-watch", move || on_thread.run())?;
        state.helm = Arc::downgrade(&helm);
        if let Some(delivery) = state.delivery.upgrade() {
            delivery.occupy(state.helm.clone());
        }
        let engine = Arc::new(Engine {
            board,
            buffers: self.buffers.clone(),
            last_watch: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        });
        state.engine = Arc::downgrade(&engine);
        Ok(engine)
    }

    /// The thread that makes callbacks, started where it doesn't run.
    pub(crate) fn delivery(&self) -> Result<Arc<DeliveryGuard>> {
        let mut state = lock(&self.state);
        if let Some(guard) = state.guard.upgrade() {
            return Ok(guard);
        }
        let resumed = state.delivery.upgrade().and_then(DeliveryGuard::resume);
        let guard = Arc::new(resumed.map_or_else(DeliveryGuard::start, Ok)?);
        guard.delivery().occupy(state.helm.clone());
        state.delivery = Arc::downgrade(guard.delivery());
        state.guard = Arc::downgrade(&guard);
        Ok(guard)
    }

    /// What bounds what the client keeps for its consumers.
    pub(crate) fn buffers(&self) -> Arc<Buffers> {
        self.buffers.clone()
    }

    /// Ends all watches, and starts none any more.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let engine = state.engine.upgrade();
        drop(state);
        if let Some(engine) = engine {
            engine.board.send(Message::Close);
        }
    }
}

impl Engine {
    /// A number that no other watch has.
    pub(super) fn next_watch(&self) -> u64 {
        self.last_watch.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.board.stop.trigger();
        self.board.send(Message::Stop);
        // It drops nothing of a watch's owner, and so is never the one that drops this.
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}
