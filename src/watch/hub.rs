//! What the watches of one client have in common.

use super::buffers::Buffers;
use super::delivery::Delivery;
use super::reader::Reader;
use crate::error::Result;
use crate::net::lock;
use std::sync::{Arc, Mutex, Weak};

/// The watches of a client, and the thread that makes their callbacks.
///
/// The other locks of this module may be taken under its own, never the other way round.
pub(crate) struct Hub {
    /// Started with the first watch that calls back.
    delivery: Mutex<Option<Arc<Delivery>>>,
    watches: Mutex<Watches>,
    buffers: Arc<Buffers>,
}

#[derive(Default)]
struct Watches {
    readers: Vec<Weak<Reader>>,
    is_closed: bool,
}

impl Hub {
    pub(crate) fn new(buffers: Buffers) -> Hub {
        Hub { delivery: Mutex::default(), watches: Mutex::default(), buffers: Arc::new(buffers) }
    }

    pub(super) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    pub(super) fn delivery(&self) -> Result<Arc<Delivery>> {
        let mut delivery = lock(&self.delivery);
        match &*delivery {
            Some(started) => Ok(started.clone()),
            None => Ok(delivery.insert(Delivery::start()?).clone()),
        }
    }

    pub(super) fn register(&self, reader: &Arc<Reader>) {
        let mut watches = lock(&self.watches);
        if watches.is_closed {
            reader.close();
        }
        if watches.readers.len() == watches.readers.capacity() {
            watches.readers.retain(|reader| reader.strong_count() > 0);
        }
        watches.readers.push(Arc::downgrade(reader));
    }

    /// Lets no reader wait for its consumer any more. The end itself comes to the readers through their connections.
    pub(crate) fn close(&self) {
        let mut watches = lock(&self.watches);
        watches.is_closed = true;
        watches.readers.iter().filter_map(Weak::upgrade).for_each(|reader| reader.close());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(delivery) = lock(&self.delivery).take() {
            delivery.stop();
        }
    }
}
