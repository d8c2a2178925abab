//! What the watches of a client tell the thread that drives them, and what wakes that thread, or the one that may drive
//! instead.

use super::entry::Start;
use super::errand::Report;
use super::mailbox::Feeder;
use crate::error::Result;
use crate::limits;
use crate::net::{BootTime, CancelToken, EventFd, Timer, lock, no_descriptor};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Something for the thread to do.
pub(super) enum Message {
    /// A new watch.
    Start(Box<Start>),
    /// A watch has no owner any more.
    Forget(u64),
    /// The consumer of a watch that was left unread has caught up.
    GoOn(u64),
    /// The owner of a watch wants to know how far it has come.
    AskProgress(u64),
    /// What a helper has done.
    Report(Box<Report>),
    /// The client is closed.
    Close,
    /// No watch is left.
    Stop,
}

/// The messages that the thread has not taken yet. The lock is held for no longer than one takes to move.
pub(super) struct Switchboard {
    messages: Mutex<Messages>,
    wake: EventFd,
    /// Readable when somebody is to look whether the watches are left alone.
    relief: Timer,
    /// Nobody drives the watches.
    are_alone: AtomicBool,
    /// They were wanted while they were left alone.
    is_urgent: AtomicBool,
    /// Ends what the thread's helpers wait for.
    pub stop: Arc<CancelToken>,
}

#[derive(Default)]
struct Messages {
    waiting: Vec<Message>,
    /// The thread is gone: nobody takes a message any more.
    is_dead: bool,
}

impl Switchboard {
    pub(super) fn new() -> Result<Switchboard> {
        let wake = EventFd::new().map_err(no_descriptor)?;
        let stop = Arc::new(CancelToken::new().map_err(no_descriptor)?);
        let relief = Timer::new().map_err(no_descriptor)?;
        let (are_alone, is_urgent) = (AtomicBool::new(true), AtomicBool::new(false));
        Ok(Switchboard { messages: Mutex::default(), wake, relief, are_alone, is_urgent, stop })
    }

    /// Leaves a message. False: nobody will take it.
    pub(super) fn send(&self, message: Message) -> bool {
        let mut messages = lock(&self.messages);
        if messages.is_dead {
            return false;
        }
        messages.waiting.push(message);
        // The thread takes them all at once.
        if messages.waiting.len() == 1 {
            self.wake.signal();
            self.hasten();
        }
        true
    }

    /// Lets the thread that drives the watches look up.
    pub(super) fn wake(&self) {
        self.wake.signal();
    }

    /// Somebody drives the watches.
    pub(super) fn attend(&self) {
        self.are_alone.store(false, Ordering::SeqCst);
    }

    /// Nobody does, for a moment: until [`attend`](Switchboard::attend) a message lets somebody look at once.
    pub(super) fn leave(&self) {
        self.are_alone.store(true, Ordering::SeqCst);
    }

    /// Lets somebody look at once whether the watches are left alone, if they are.
    pub(super) fn hasten(&self) {
        if self.are_alone.load(Ordering::SeqCst) {
            self.is_urgent.store(true, Ordering::SeqCst);
            self.relieve_after(Duration::ZERO);
        }
    }

    /// Whether a message has come while the watches were left alone, since this was asked last.
    pub(super) fn was_urgent(&self) -> bool {
        self.is_urgent.swap(false, Ordering::SeqCst)
    }

    /// Lets somebody look after that time whether the watches are left alone.
    pub(super) fn relieve_after(&self, time: Duration) {
        // A descriptor that was a timer once takes any time.
        let _ = self.relief.set(BootTime::now() + time);
    }

    /// Waits until somebody is to look.
    pub(super) fn wait_for_relief(&self) {
        if self.relief.wait().is_err() {
            // The machine is out of memory: to look too often is no harm.
            std::thread::sleep(limits::DELIVERY_PATIENCE);
        }
    }

    /// Whether the thread is gone.
    pub(super) fn is_dead(&self) -> bool {
        lock(&self.messages).is_dead
    }

    /// Takes all messages, into a list that is empty.
    pub(super) fn take(&self, into: &mut Vec<Message>) {
        let mut messages = lock(&self.messages);
        self.wake.clear();
        std::mem::swap(&mut messages.waiting, into);
    }

    /// No message is taken any more. Gives what was left.
    pub(super) fn hang_up(&self) -> Vec<Message> {
        let mut messages = lock(&self.messages);
        messages.is_dead = true;
        std::mem::take(&mut messages.waiting)
    }
}

impl AsRawFd for Switchboard {
    fn as_raw_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }
}

impl Feeder for Switchboard {
    fn has_room(&self, watch: u64) {
        self.send(Message::GoOn(watch));
    }

    fn is_over(&self, watch: u64) {
        self.send(Message::Forget(watch));
    }
}
