//! Watches: an exact account of what happens to keys, over every reconnection.
//!
//! ```text
//! hub           what a client's watches have in common: one thread that reads, one that makes callbacks
//! helm          which of the two drives the reactor at the moment
//!   ▼
//! reactor       drives all watches: which connection each is on, what arrives, which member is left
//!   │           entry is one watch there; socket and stream carry them; errand does what takes a while;
//!   │           unfit says who has no socket
//!   ▼
//! account       what a server's messages add: whole revisions, each once, in order; batch and interruption belong to it
//!   ▼
//! backlog       what the consumer has not taken yet; buffers bounds it; mailbox leads to the consumer
//!   ▼
//! delivery      callbacks on the client's delivery thread   (or Watch::next, the descriptor, an event queue, or at once)
//! ```

mod account;
mod backlog;
mod backoff;
mod batch;
mod buffers;
mod confirmation;
mod delivery;
mod entry;
mod errand;
mod helm;
mod hub;
mod interruption;
mod mailbox;
mod reactor;
mod response;
mod rests;
mod slot;
mod socket;
mod stream;
mod switchboard;
mod timers;
mod unfit;

#[cfg(any(test, fuzzing))]
pub use account::fuzzing::watch;
pub(crate) use buffers::Buffers;
pub(crate) use delivery::{Deliver, Delivered, Delivery, DeliveryGuard};
pub(crate) use hub::Hub;
pub use mailbox::Consumer;
pub(crate) use reactor::Settings as WatchSettings;
pub use response::{WatchKind, WatchResponse};
pub(crate) use slot::{Called, Slot};

use crate::client::{CallOptions, Client};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::event_queue::EventQueue;
use crate::net::Control;
use crate::rpc::watch::WatchRequest;
use crate::stats::Stats;
use account::{Account, Settings};
use confirmation::{Confirmation, check, until_next_look};
use entry::{Start, Way};
use hub::Engine;
use mailbox::{Mailbox, Origin};
use std::any::Any;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;
use switchboard::Message;

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
    /// The start revision follows one at which the keys were read: the watch ends rather than leave out anything since.
    pub follows_read: bool,
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
            follows_read: false,
            call: CallOptions::default(),
        }
    }

    fn check(&self) -> Result<()> {
        let start_revision = self.request.start_revision;
        if start_revision < 0 {
            return Err(Error::invalid(format!("start_revision is negative: {start_revision}")));
        }
        Ok(())
    }
}

/// A watch; it ends with the last of its clones, or when it is cancelled. It keeps what it needs of its client.
#[derive(Clone)]
pub struct Watch(Arc<Handle>);

struct Handle {
    mailbox: Arc<Mailbox>,
    /// Its number.
    watch: u64,
    way: Arc<Way>,
    /// With the last watch end the threads, which the cancelled watch is told to before.
    engine: Arc<Engine>,
    _guard: Option<Arc<DeliveryGuard>>,
    /// Dropped last.
    client: Client,
}

impl Client {
    /// Watches, calling `consumer` on the client's delivery thread once [`Watch::start`] allows it. The consumer is
    /// dropped after its last call, or before this returns an error.
    pub fn watch(&self, options: WatchOptions, consumer: Consumer) -> Result<Watch> {
        options.check()?;
        let guard = self.shared.hub.delivery()?;
        let delivery = guard.delivery().clone();
        let control = self.control(&options.call);
        self.begin_watch(&options, &control, Some(guard), |origin| Mailbox::calling(consumer, delivery, origin))
    }

    /// Watches, and lets `queue` have the events, each with the tag, once [`Watch::start`] allows it. The tag is dropped
    /// with the last event, or before this returns an error.
    pub fn watch_into(
        &self,
        options: WatchOptions,
        queue: &EventQueue,
        tag: Box<dyn Any + Send + Sync>,
    ) -> Result<Watch> {
        let control = self.control(&options.call);
        self.begin_watch(&options, &control, None, |origin| Mailbox::queued(queue, tag, origin))
    }

    /// Watches, calling `consumer` on the thread that drives the watches, while they wait: it is to be quick, waits for
    /// nothing, and holds neither the client nor a watch, with the last of which that very thread ends. Nothing is kept for
    /// it and nothing is withheld: it may be called before this returns. It is dropped after its last call, or once that
    /// thread has forgotten the watch.
    pub(crate) fn watch_inline(&self, options: WatchOptions, consumer: Consumer) -> Result<Watch> {
        let control = self.control(&options.call);
        self.begin_watch(&options, &control, None, |origin| Mailbox::inline(consumer, origin))
    }

    /// Watches, to be asked with [`Watch::next`].
    pub fn watch_open(&self, options: WatchOptions) -> Result<Watch> {
        self.begin_watch(&options, &self.control(&options.call), None, Mailbox::pulled)
    }

    /// Waits for the first change, and gives it with the others of its revision, within the time that the call's options
    /// allow.
    pub fn watch_once(&self, options: WatchOptions) -> Result<WatchResponse> {
        let options = WatchOptions { progress_notify: false, report_connection: false, wait_created: true, ..options };
        let control = self.control(&options.call);
        let watch = self.begin_watch(&options, &control, None, Mailbox::pulled)?;
        loop {
            let response = watch.0.mailbox.next(until_next_look(&control))?;
            match response.map(|response| (response.error.clone(), response)) {
                Some((Some(error), _)) => return Err(error),
                Some((None, response)) => return Ok(response.of_first_revision()),
                None => check(&self.shared.channel, &control)?,
            }
        }
    }

    fn begin_watch(
        &self,
        options: &WatchOptions,
        control: &Control,
        guard: Option<Arc<DeliveryGuard>>,
        mailbox: impl FnOnce(Origin) -> Arc<Mailbox>,
    ) -> Result<Watch> {
        options.check()?;
        let (channel, hub) = (&self.shared.channel, &self.shared.hub);
        channel.check(control)?;
        let engine = hub.engine()?;
        let (watch, feeder) = (engine.next_watch(), engine.board.clone());
        let origin = Origin { feeder, watch, buffers: engine.buffers.clone() };
        let mailbox = mailbox(origin);
        let (way, client) = (Arc::new(Way::new()), self.clone());
        self.counters().watches_open.add(1);
        // What goes wrong from here on ends the watch by dropping this.
        let handle = Watch(Arc::new(Handle { mailbox, watch, way, engine, _guard: guard, client }));
        handle.begin(options, control)?;
        Ok(handle)
    }

    fn counters(&self) -> Arc<Stats> {
        self.shared.channel.counters().clone()
    }
}

impl Watch {
    /// Hands the watch to the thread that drives it, and waits until the server has confirmed it where that is asked for.
    fn begin(&self, options: &WatchOptions, control: &Control) -> Result<()> {
        let Handle { mailbox, watch, way, engine, client, .. } = &*self.0;
        let channel = &client.shared.channel;
        let settings = Settings {
            namespace: client.namespace().clone(),
            shows_progress: options.progress_notify,
            reports_connection: options.report_connection,
            follows_read: options.follows_read,
            max_revision_bytes: channel.max_response_bytes(),
        };
        let mut account = Account::new(options.request.start_revision, settings);
        let request = Arc::new(options.request.clone());
        mailbox.begin_at(account.next_revision());
        account.start_no_earlier_than(channel.seen_revision());
        let confirmation = options.wait_created.then(|| Arc::new(Confirmation::new(control.deadline)));
        let is_driven = engine.board.send(Message::Start(Box::new(Start {
            watch: *watch,
            mailbox: mailbox.clone(),
            account,
            request,
            require_leader: options.require_leader,
            confirmation: confirmation.clone(),
            way: way.clone(),
        })));
        if !is_driven {
            return Err(panicked());
        }
        let Some(confirmation) = confirmation else { return Ok(()) };
        confirmation.wait(channel, control)
    }

    /// Lets callbacks begin.
    pub fn start(&self) {
        self.0.mailbox.start();
    }

    /// The next response of a watch from [`Client::watch_open`], waited for at most so long, or without a limit as long
    /// as it takes. `None`: waited in vain. After [`WatchKind::Ended`] it is [`Error::Closed`].
    pub fn next(&self, limit: Option<Duration>) -> Result<Option<WatchResponse>> {
        self.0.mailbox.next(deadline(limit))
    }

    /// A descriptor that is readable while [`next`](Watch::next) would not wait. `None` of other watches, and where the
    /// process has none left.
    pub fn fd(&self) -> Option<RawFd> {
        self.0.mailbox.fd()
    }

    /// Asks the server how far the watch has come; the answer comes as [`WatchKind::Progress`], once the server has sent
    /// all there is to every watch of the connection. A watch that is without a connection asks when it has one, and one that is
    /// apart from the others for a while, as slow consumers are, when it is with them again at the latest.
    /// Of a watch that has ended it is [`Error::Closed`].
    pub fn request_progress(&self) -> Result<()> {
        self.0.client.check_open()?;
        if !self.0.mailbox.is_open() {
            return Err(Error::watch_over());
        }
        if !self.0.way.can_ask() {
            let what = "progress can be requested over a WebSocket to etcd 3.5.8 or newer only";
            return Err(Error::Unimplemented { what });
        }
        self.0.engine.board.send(Message::AskProgress(self.0.watch));
        Ok(())
    }

    /// Ends the watch, from any thread, from inside its callback too, and at once: no callback begins any more.
    pub fn cancel(&self) {
        // What belongs to the owner may be dropped inside, and with it this.
        let mailbox = self.0.mailbox.clone();
        mailbox.cancel();
    }

    /// Waits until the consumer has been dropped, which is after the last callback of a watch that is cancelled or has
    /// ended; of one with an event queue until its tag has been dropped. False: waited in vain.
    pub fn join(&self, limit: Option<Duration>) -> Result<bool> {
        let mailbox = &self.0.mailbox;
        if mailbox.is_on_delivery_thread() {
            return Err(Error::FailedPrecondition { what: "a callback can't wait for the end of callbacks" });
        }
        Ok(mailbox.join(deadline(limit)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.mailbox.cancel();
        self.client.counters().watches_open.subtract_one();
    }
}

/// What is heard of watches that nothing drives any more.
fn panicked() -> Error {
    Error::Panic("the thread that drives watches panicked".to_owned())
}

fn deadline(limit: Option<Duration>) -> Deadline {
    limit.map_or(Deadline::NEVER, Deadline::after)
}
