//! Who leads, followed over every change: the leader's key is read, and then watched until it goes.

use crate::client::{CallOptions, Client, TimeLimit};
use crate::concurrency::bounds::{lacks_history, passes};
use crate::concurrency::outbox::{Addressee, Consumer, Outbox, OutboxHandle, Queued};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::event_queue::{Content, EventQueue, SourceKind};
use crate::gateway::json::Span;
use crate::limits;
use crate::net::{self, CancelToken, lock, no_descriptor};
use crate::rpc::kv::{KeyValue, RangeRequest, SortOrder, SortTarget};
use crate::rpc::watch::{EventType, WatchRequest};
use crate::rpc::{Header, Keys};
use crate::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A leader, and with what value.
#[derive(Debug)]
pub struct Observation {
    /// Where that was read, where it was.
    pub header: Header,
    /// The leader's key; its spans are resolved by [`bytes`](Observation::bytes).
    pub leader: KeyValue,
    arena: Vec<u8>,
}

impl Observation {
    /// The bytes of the leader's key or value.
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.arena)
    }

    /// The leader's key and value.
    pub fn into_parts(self) -> (Vec<u8>, Header, KeyValue) {
        (self.arena, self.header, self.leader)
    }
}

/// Follows an election: [`next`](Observer::next) tells the leader that there is, and then each that comes. As with
/// Go's `Observe` some that lead shortly may be left out, but never the latest.
pub struct Observer {
    shared: Arc<Shared>,
    following: Mutex<Option<JoinHandle<()>>>,
    outbox: Option<OutboxHandle>,
}

struct Shared {
    client: Client,
    prefix: Vec<u8>,
    stop: Arc<CancelToken>,
    /// With the one who asks while there is one; the others wait for it to be put back.
    turn: Mutex<Option<Following>>,
    put_back: Condvar,
    /// The watch under way, for whoever ends it.
    watch: Mutex<Option<Watch>>,
}

/// What is known, and what is to be done next.
enum Following {
    Asking,
    /// There was nobody at this revision.
    Awaiting {
        after: i64,
    },
    /// This key was seen at this revision.
    Leader {
        key: Vec<u8>,
        after: i64,
    },
}

impl Observer {
    pub(super) fn new(client: Client, prefix: Vec<u8>) -> Result<Observer> {
        let stop = CancelToken::new().map_err(no_descriptor)?;
        let (turn, watch) = (Mutex::new(Some(Following::Asking)), Mutex::new(None));
        let shared = Shared { client, prefix, stop: Arc::new(stop), turn, put_back: Condvar::new(), watch };
        let shared = Arc::new(shared);
        Ok(Observer { shared, following: Mutex::new(None), outbox: None })
    }

    /// The same, which tells `consumer` on the client's delivery thread once [`start`](Observer::start) allows it: each
    /// leader, and an error that ends it.
    pub fn calling(self, mut consumer: Consumer<Result<Observation>>) -> Result<Observer> {
        self.telling(Addressee::Consumer(Box::new(move |content| {
            if let Content::Election(seen) = content {
                consumer(seen);
            }
        })))
    }

    /// The same, which lets `queue` have each leader, and an error that ends it, as events with the tag, once
    /// [`start`](Observer::start) allows it. Of leaders that were not taken only the latest is kept. The tag is dropped
    /// with the last event, or before this returns an error; with the queue the observer ends as if cancelled.
    pub fn delivering_to(self, queue: &EventQueue, tag: Box<dyn Any + Send + Sync>) -> Result<Observer> {
        let shared = Arc::downgrade(&self.shared);
        let queue_end = Box::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.end();
            }
        });
        self.telling(Addressee::Queue(Queued { queue, kind: SourceKind::Election, tag, queue_end }))
    }

    fn telling(mut self, addressee: Addressee<'_>) -> Result<Observer> {
        let outbox = OutboxHandle::new(addressee, &self.shared.client)?;
        let (shared, to) = (self.shared.clone(), Arc::clone(&outbox));
        let follower = net::spawn("etcdgw-observe", move || shared.tell_all(&to))?;
        *lock(&self.following) = Some(follower);
        self.outbox = Some(outbox);
        Ok(self)
    }

    /// Lets callbacks and events begin.
    pub fn start(&self) -> ObserverStart {
        ObserverStart(self.outbox.as_deref().cloned())
    }

    /// The next leader, waited for at most so long, or without a limit as long as it takes. `None`: waited in vain.
    pub fn next(&self, limit: Option<Duration>) -> Result<Option<Observation>> {
        if self.outbox.is_some() {
            return Err(Error::FailedPrecondition { what: "an observer with a callback or a queue can't be asked" });
        }
        let deadline = limit.map_or(Deadline::NEVER, Deadline::after);
        // Who doesn't want to wait for a leader waits for the answer all the same.
        let answer_by = if limit == Some(Duration::ZERO) { Deadline::NEVER } else { deadline };
        self.shared.next(deadline, answer_by)
    }

    /// Ends it, from any thread: no callback begins and no event is given any more, and [`next`](Observer::next) is
    /// [`Error::Closed`].
    pub fn cancel(&self) {
        // What belongs to the owner is dropped inside, and with it maybe this.
        let (shared, outbox) = (self.shared.clone(), self.outbox.as_deref().cloned());
        if let Some(outbox) = outbox {
            outbox.cancel();
        }
        shared.end();
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.cancel();
        // It runs no foreign code, and holds nothing that ends here.
        if let Some(follower) = lock(&self.following).take() {
            let _ = follower.join();
        }
    }
}

/// Lets the callbacks or events of an observer begin.
#[must_use]
pub struct ObserverStart(Option<Arc<Outbox>>);

impl ObserverStart {
    /// From here on they come.
    pub fn allow(self) {
        if let Some(outbox) = &self.0 {
            outbox.start();
        }
    }
}

impl Shared {
    /// Ends what is under way, and whatever would follow.
    fn end(&self) {
        self.stop.trigger();
        // Not under the lock, which the follower wants in order to end. One that it opens meanwhile it lets go of itself.
        let watch = lock(&self.watch).take();
        if let Some(watch) = watch {
            watch.cancel();
        }
    }

    fn tell_all(&self, outbox: &Arc<Outbox>) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            loop {
                match self.next(Deadline::NEVER, Deadline::NEVER) {
                    Ok(Some(observation)) => outbox.push(Content::Election(Ok(observation))),
                    Ok(None) => {}
                    Err(error) => return error,
                }
            }
        }));
        let error = told.unwrap_or_else(|_| Error::Panic("the thread of an observer panicked".to_owned()));
        outbox.end(Content::Election(Err(error)));
    }

    /// `answer_by`: how long a member may take that is asked who leads.
    fn next(&self, deadline: Deadline, answer_by: Deadline) -> Result<Option<Observation>> {
        let Some(mut following) = self.take_turn(deadline) else { return Ok(None) };
        let next = self.go_on(&mut following, deadline, answer_by);
        *lock(&self.turn) = Some(following);
        self.put_back.notify_one();
        next
    }

    /// `None`: another thread had it all the time.
    fn take_turn(&self, deadline: Deadline) -> Option<Following> {
        let mut turn = lock(&self.turn);
        loop {
            if let Some(following) = turn.take() {
                return Some(following);
            }
            turn = match deadline.remaining() {
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    let waited = self.put_back.wait_timeout(turn, left);
                    waited.map_or_else(|poisoned| poisoned.into_inner().0, |(turn, _)| turn)
                }
                None => self.put_back.wait(turn).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn go_on(&self, following: &mut Following, deadline: Deadline, answer_by: Deadline) -> Result<Option<Observation>> {
        while !self.stop.is_triggered() {
            let stepped = match &*following {
                Following::Asking => self.ask(answer_by),
                Following::Awaiting { after } => self.await_first(*after, deadline),
                Following::Leader { key, after } => self.follow(key, *after, deadline),
            };
            match stepped {
                Ok((next, observation)) => {
                    if let Some(next) = next {
                        *following = next;
                    }
                    if observation.is_some() {
                        return Ok(observation);
                    }
                }
                Err(_) if self.stop.is_triggered() => break,
                Err(error) if lacks_history(&error) => *following = Following::Asking,
                Err(error) if passes(&self.client, &error) => self.pause(deadline)?,
                Err(error) => return Err(error),
            }
            if deadline.has_passed() {
                return Ok(None);
            }
        }
        Err(Error::over("the observer was cancelled"))
    }

    fn ask(&self, deadline: Deadline) -> Result<Step> {
        let request = RangeRequest {
            limit: 1,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::Create,
            ..RangeRequest::new(Keys::Prefix(Cow::Borrowed(&self.prefix)))
        };
        let own = self.client.deadline(TimeLimit::Default);
        let (arena, range) = self.client.range(&request, &self.call(deadline, own))?.into_parts();
        let after = range.header.revision;
        let Some(leader) = range.kvs.first().copied() else {
            return Ok((Some(Following::Awaiting { after }), None));
        };
        let key = leader.key.of(&arena).to_vec();
        let observation = Observation { header: range.header, leader, arena };
        Ok((Some(Following::Leader { key, after }), Some(observation)))
    }

    /// Who joins when there is nobody is first.
    fn await_first(&self, after: i64, deadline: Deadline) -> Result<Step> {
        let keys = Keys::Prefix(Cow::Owned(self.prefix.clone()));
        let seen = self.watch(keys, after, deadline, |response| {
            response.events.iter().any(|event| event.event_type == EventType::Put)
        })?;
        // Whether it is still there is asked: who led for a moment only is nobody to follow.
        Ok((seen.then_some(Following::Asking), None))
    }

    /// Whatever happens to the leader's key is looked up, which tells the latest of it.
    fn follow(&self, key: &[u8], after: i64, deadline: Deadline) -> Result<Step> {
        let keys = Keys::One(Cow::Owned(key.to_vec()));
        let seen = self.watch(keys, after, deadline, |response| !response.events.is_empty())?;
        Ok((seen.then_some(Following::Asking), None))
    }

    /// Watches until a response is what is looked for. False: the time is over.
    fn watch(
        &self,
        keys: Keys<'static>,
        after: i64,
        deadline: Deadline,
        is_it: impl Fn(&WatchResponse) -> bool,
    ) -> Result<bool> {
        let watch = self.open(keys, after)?;
        loop {
            if self.stop.is_triggered() {
                *lock(&self.watch) = None;
                return Ok(false);
            }
            let Some(mut response) = watch.next(deadline.remaining())? else { return Ok(false) };
            match response.kind {
                WatchKind::Events if is_it(&response) => {
                    *lock(&self.watch) = None;
                    return Ok(true);
                }
                WatchKind::Ended => {
                    *lock(&self.watch) = None;
                    return Err(response.error.take().unwrap_or_else(Error::watch_over));
                }
                _ => {}
            }
        }
    }

    /// The watch under way, or a new one.
    fn open(&self, keys: Keys<'static>, after: i64) -> Result<Watch> {
        if let Some(watch) = &*lock(&self.watch) {
            return Ok(watch.clone());
        }
        let request = WatchRequest { start_revision: after.saturating_add(1), ..WatchRequest::new(keys) };
        let options = WatchOptions { wait_created: false, follows_read: true, ..WatchOptions::new(request) };
        let watch = self.client.watch_open(options)?;
        *lock(&self.watch) = Some(watch.clone());
        Ok(watch)
    }

    fn call(&self, deadline: Deadline, own: Deadline) -> CallOptions {
        let left = deadline.remaining().map_or(own, |left| own.at_most(left)).remaining();
        CallOptions { timeout: left.map_or(TimeLimit::Never, TimeLimit::After), cancel: Some(self.stop.clone()) }
    }

    fn pause(&self, deadline: Deadline) -> Result<()> {
        let control = self.client.control(&self.call(deadline, Deadline::NEVER));
        match self.client.shared.channel.pause(limits::RETRY_PAUSE_LONGEST, &control) {
            Err(Error::Deadline { .. } | Error::Cancelled { .. }) => Ok(()),
            paused => paused,
        }
    }
}

/// What is to be done next, where that is something else, and what was seen.
type Step = (Option<Following>, Option<Observation>);
