//! What the watches of one client have in common.

use super::delivery::{Delivery, Mailbox};
use crate::error::Result;
use crate::net::lock;
use std::sync::{Arc, Mutex, Weak};

/// The watches of a client, and the thread that makes their callbacks.
///
/// The other locks of this module may be taken under its own, never the other way round.
#[derive(Default)]
pub(crate) struct Hub {
    /// Started with the first that calls back.
    delivery: Mutex<Option<Arc<Delivery>>>,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    mailboxes: Vec<Weak<Mailbox>>,
    is_closed: bool,
}

impl Hub {
    /// The delivery thread, started where it isn't yet.
    pub(crate) fn delivery(&self) -> Result<Arc<Delivery>> {
        let mut delivery = lock(&self.delivery);
        match &*delivery {
            Some(started) => Ok(started.clone()),
            None => Ok(delivery.insert(Delivery::start()?).clone()),
        }
    }

    pub(super) fn register(&self, mailbox: &Arc<Mailbox>) {
        let mut watches = lock(&self.watches);
        if watches.is_closed {
            mailbox.queue.close();
        }
        if watches.mailboxes.len() == watches.mailboxes.capacity() {
            watches.mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        }
        watches.mailboxes.push(Arc::downgrade(mailbox));
    }

    /// Lets no reader wait for its consumer any more. The end itself comes to the readers through their connections.
    pub(crate) fn close(&self) {
        let mut watches = lock(&self.watches);
        watches.is_closed = true;
        watches.mailboxes.iter().filter_map(Weak::upgrade).for_each(|mailbox| mailbox.queue.close());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(delivery) = lock(&self.delivery).take() {
            delivery.stop();
        }
    }
}
