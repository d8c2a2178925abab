//! Watches: an exact account of what happens to keys, over every reconnection.
//!
//! ```text
//! feed          brings a server's messages, over one stream after another
//!   ▼
//! account       what they add: whole revisions, each once, in order; batch and interruption belong to it
//!   ▼
//! queue         what the consumer has not taken yet
//!   ▼
//! delivery      callbacks on the client's delivery thread   (or Watch::next, or the descriptor)
//! ```

mod account;
mod batch;
mod delivery;
mod feed;
mod hub;
mod interruption;
mod queue;
mod response;

pub use delivery::Consumer;
pub(crate) use delivery::{Deliver, Delivered, Delivery};
pub(crate) use hub::Hub;
pub use response::{WatchKind, WatchResponse};

use crate::client::{CallOptions, Client};
use crate::deadline::Deadline;
use crate::error::{Error, Outcome, Result};
use crate::net::{self, CancelToken, Control, lock};
use crate::rpc::watch::WatchRequest;
use crate::stats::Stats;
use delivery::Mailbox;
use feed::Feed;
use queue::Queue;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What to watch, and what to hear of it.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Which changes of which keys.
    pub request: WatchRequest,
    /// Delivers [`WatchKind::Progress`] too.
    pub progress_notify: bool,
    /// Delivers [`WatchKind::Disconnected`] and [`WatchKind::Resumed`] too.
    pub report_connection: bool,
    /// Leaves a member that has lost its leader: it would be silent for as long.
    pub require_leader: bool,
    /// Begins the watch only once the server has confirmed it. Without, a refusal comes as [`WatchKind::Ended`].
    pub wait_created: bool,
    /// Bounds the wait for the confirmation.
    pub call: CallOptions,
}

impl WatchOptions {
    /// Watches from now on, confirmed, at a member that has a leader.
    pub fn new(request: WatchRequest) -> WatchOptions {
        WatchOptions {
            request,
            progress_notify: false,
            report_connection: false,
            require_leader: true,
            wait_created: true,
            call: CallOptions::default(),
        }
    }
}

/// A watch; it ends with the last of its clones, or when it is cancelled. It keeps what it needs of its client.
#[derive(Clone)]
pub struct Watch(Arc<Handle>);

struct Handle {
    mailbox: Arc<Mailbox>,
    reader: Mutex<Option<JoinHandle<()>>>,
    /// Dropped last: with it may go the delivery thread, which the cancelled watch is handed to before.
    client: Client,
}

impl Client {
    /// Watches, calling `consumer` on the client's delivery thread once [`Watch::start`] allows it. The consumer is
    /// dropped after its last call, or before this returns an error.
    pub fn watch(&self, options: WatchOptions, consumer: Consumer) -> Result<Watch> {
        let feed = Feed::new(self, &options)?;
        let delivery = self.shared.hub.delivery()?;
        let queue = Queue::for_callbacks(self.counters());
        self.begin_watch(feed, Mailbox::calling(consumer, delivery, queue, new_token()?), &options)
    }

    /// Watches, to be asked with [`Watch::next`].
    pub fn watch_open(&self, options: WatchOptions) -> Result<Watch> {
        let feed = Feed::new(self, &options)?;
        let queue = Queue::for_pulling(self.counters()).map_err(no_descriptor)?;
        self.begin_watch(feed, Mailbox::pulled(queue, new_token()?), &options)
    }

    /// Waits for the first changes, within the time that the call's options allow.
    pub fn watch_once(&self, options: WatchOptions) -> Result<WatchResponse> {
        let options = WatchOptions { progress_notify: false, report_connection: false, ..options };
        let control = self.control(&options.call);
        let mut feed = Feed::new(self, &options)?;
        let mut first = None;
        let mut keep_first = |response| first = first.take().or(Some(response));
        feed.pin_start(&control)?;
        feed.confirm(&control, &mut keep_first)?;
        loop {
            if let Some(response) = first.take() {
                self.counters().events_delivered.add(response.events.len());
                return Ok(response);
            }
            feed.step(&control, &mut |response| first = first.take().or(Some(response)))?;
        }
    }

    fn begin_watch(&self, mut feed: Feed, mailbox: Mailbox, options: &WatchOptions) -> Result<Watch> {
        self.keep_in_sync();
        let mailbox = Arc::new(mailbox);
        self.shared.hub.register(&mailbox);
        mailbox.queue.begin_at(feed.next_revision());
        if options.wait_created {
            let control = self.control(&options.call);
            feed.pin_start(&control)?;
            mailbox.queue.begin_at(feed.next_revision());
            feed.confirm(&control, &mut |response| mailbox.push(response))?;
        }
        let shared = mailbox.clone();
        let reader = net::spawn("etcdgw-watch", move || read_to_the_end(feed, &shared))?;
        self.counters().watches_open.add(1);
        Ok(Watch(Arc::new(Handle { mailbox, reader: Mutex::new(Some(reader)), client: self.clone() })))
    }

    fn counters(&self) -> Arc<Stats> {
        self.shared.channel.counters().clone()
    }
}

impl Watch {
    /// Lets callbacks begin.
    pub fn start(&self) {
        self.0.mailbox.start();
    }

    /// The next response of a watch from [`Client::watch_open`], waited for at most so long, or without a limit as long
    /// as it takes. `None`: waited in vain. After [`WatchKind::Ended`] it is [`Error::Closed`].
    pub fn next(&self, limit: Option<Duration>) -> Result<Option<WatchResponse>> {
        if !self.0.mailbox.is_pulled() {
            return Err(Error::FailedPrecondition { what: "a watch with a callback can't be asked" });
        }
        self.0.mailbox.queue.next(deadline(limit))
    }

    /// A descriptor that is readable while [`next`](Watch::next) would not wait; none for a watch with a callback.
    pub fn fd(&self) -> Option<RawFd> {
        self.0.mailbox.queue.fd()
    }

    /// Asks the server how far the watch has come.
    pub fn request_progress(&self) -> Result<()> {
        Err(Error::Unimplemented { what: "progress can't be requested over an HTTP stream" })
    }

    /// Ends the watch, from any thread, from inside its callback too, and at once: no callback begins any more.
    pub fn cancel(&self) {
        self.0.mailbox.cancel();
    }

    /// Waits until the consumer has been dropped, which is after the last callback of a watch that is cancelled or has
    /// ended. False: waited in vain.
    pub fn join(&self, limit: Option<Duration>) -> Result<bool> {
        let mailbox = &self.0.mailbox;
        if mailbox.is_on_delivery_thread() {
            return Err(Error::FailedPrecondition { what: "a callback can't wait for the end of callbacks" });
        }
        Ok(mailbox.is_pulled() || mailbox.queue.wait_for_release(deadline(limit)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailbox.cancel();
        self.client.counters().watches_open.subtract_one();
        // It holds nothing that ends here and runs no foreign code, so that it can't be the one to drop this.
        if let Some(reader) = lock(&self.reader).take() {
            let _ = reader.join();
        }
    }
}

/// What the reader of a watch does.
fn read_to_the_end(mut feed: Feed, mailbox: &Arc<Mailbox>) {
    let control = Control { deadline: Deadline::NEVER, cancel: Some(mailbox.stop.clone()) };
    let read = catch_unwind(AssertUnwindSafe(|| {
        while mailbox.queue.wait_for_room() {
            if let Err(error) = feed.step(&control, &mut |response| mailbox.push(response)) {
                return error;
            }
            mailbox.queue.begin_at(feed.next_revision());
        }
        Error::Closed { outcome: Outcome::NotApplied }
    }));
    let error = read.unwrap_or_else(|_| Error::Panic("the reader of a watch panicked".to_owned()));
    mailbox.end(WatchResponse::ended(error, feed.next_revision()));
}

fn deadline(limit: Option<Duration>) -> Deadline {
    limit.map_or(Deadline::NEVER, Deadline::after)
}

fn new_token() -> Result<CancelToken> {
    CancelToken::new().map_err(no_descriptor)
}

fn no_descriptor(source: std::io::Error) -> Error {
    Error::System { what: "an event descriptor", source: Arc::new(source) }
}
