//! What keeps a copy up with the cluster: the consumer of its watch. All of it happens on the client's delivery thread.

use super::change::{ChangeKind, MirrorChange};
use super::shared::Shared;
use super::{MirrorConsumer, rebuild};
use crate::client::{self, Client};
use crate::error::{Code, Error, Outcome, Reason};
use crate::net::{Generation, lock};
use crate::rpc::Keys;
use crate::rpc::watch::WatchRequest;
use crate::watch::{Consumer, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};

/// The keeper of one mirror. It goes from one watch to the next, and what belongs to the consumer ends with it.
pub(super) struct Keeper {
    pub shared: Arc<Shared>,
    /// The handle keeps it.
    client: Weak<client::Shared>,
    /// Taken out while it runs.
    consumer: Mutex<Option<MirrorConsumer>>,
    is_told: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, client: &Client, consumer: Option<MirrorConsumer>) -> Arc<Keeper> {
        let is_told = consumer.is_some();
        Arc::new(Keeper { shared, client: Arc::downgrade(&client.shared), consumer: Mutex::new(consumer), is_told })
    }

    /// `None`: the mirror is freed.
    pub(super) fn client(&self) -> Option<Client> {
        self.client.upgrade().map(|shared| Client { shared })
    }

    /// The watch that goes on from a revision.
    pub(super) fn watch_options(&self, start_revision: i64) -> WatchOptions {
        let keys = Keys::Prefix(Cow::Owned(self.shared.prefix.clone()));
        let request = WatchRequest { keys, start_revision, no_put: false, no_delete: false, prev_kv: false };
        WatchOptions { progress_notify: true, ..WatchOptions::new(request) }
    }

    /// What the watch is to call.
    pub(super) fn as_consumer(self: &Arc<Keeper>) -> Consumer {
        let keeper = self.clone();
        Box::new(move |response| keeper.take(response))
    }

    fn take(self: &Arc<Keeper>, response: WatchResponse) {
        match response.kind {
            WatchKind::Events | WatchKind::Progress => {
                let events = self.shared.apply(&response, self.is_told);
                if !events.is_empty() {
                    let revision = response.resume_revision.saturating_sub(1);
                    self.tell(MirrorChange { kind: ChangeKind::Events, events, revision, error: None });
                }
            }
            WatchKind::Disconnected | WatchKind::Resumed => {}
            WatchKind::Ended => {
                let error = response.error.unwrap_or(Error::Closed { outcome: Outcome::NotApplied });
                match calls_for_rebuild(&error) {
                    true => rebuild::begin(self, &error),
                    false => self.end(error),
                }
            }
        }
    }

    /// The copy stays as it is from now on.
    pub(super) fn end(&self, error: Error) {
        self.shared.end(error.clone());
        let revision = self.shared.revision();
        self.tell(MirrorChange { kind: ChangeKind::Ended, events: Vec::new(), revision, error: Some(error) });
    }

    pub(super) fn tell(&self, change: MirrorChange) {
        let taken = lock(&self.consumer).take();
        let Some(mut consumer) = taken else { return };
        if !self.shared.is_freed() {
            let process = Generation::current();
            let calling = Calling::begin(&self.shared);
            let called = catch_unwind(AssertUnwindSafe(|| consumer(change)));
            if !process.is_current() {
                // The callback has forked, and come back in the child: nothing here is usable there.
                std::mem::forget((calling, consumer));
                return;
            }
            if called.is_err() {
                // It has had its last call; the mirror goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(consumer)));
                return;
            }
        }
        *lock(&self.consumer) = Some(consumer);
    }
}

/// Says which thread runs a callback, as long as it does.
struct Calling<'a>(&'a Shared);

impl Calling<'_> {
    fn begin(shared: &Shared) -> Calling<'_> {
        lock(&shared.account).caller = Some(std::thread::current().id());
        Calling(shared)
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        lock(&self.0.account).caller = None;
    }
}

/// Whether a watch can't go on from where it was, but another one can from now on.
fn calls_for_rebuild(error: &Error) -> bool {
    matches!(error, Error::Compacted { .. } | Error::RevisionRegressed { .. })
}

/// Whether trying again is of no use: the keys are not this user's to read, or the client has ended.
pub(super) fn is_final(error: &Error) -> bool {
    match error {
        Error::Cancelled { .. } | Error::Closed { .. } | Error::InvalidArgument { .. } => true,
        Error::Server { code: Code::PermissionDenied | Code::Unauthenticated, .. } => true,
        _ => error.reason() == Reason::AuthFailed,
    }
}
