//! What keeps a copy up with the cluster: the consumer of its watch. All of it happens on the thread that drives the
//! client's watches, which must never wait and never be the last to hold a client: what takes a while is for others.

use super::outbox::Outbox;
use super::rebuild;
use super::shared::Shared;
use super::tree::Tree;
use crate::client::{self, Client};
use crate::concurrency::bounds::lacks_history;
use crate::error::{Code, Error, Reason};
use crate::rpc::watch::WatchRequest;
use crate::rpc::{Header, Keys};
use crate::watch::{Consumer, WatchKind, WatchOptions, WatchResponse};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// The keeper of one mirror. It goes from one watch to the next.
pub(super) struct Keeper {
    pub shared: Arc<Shared>,
    /// The handle keeps it.
    client: Weak<client::Shared>,
    /// Where somebody is to be told of changes.
    outbox: Option<Arc<Outbox>>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, client: &Client, outbox: Option<Arc<Outbox>>) -> Arc<Keeper> {
        Arc::new(Keeper { shared, client: Arc::downgrade(&client.shared), outbox })
    }

    /// `None`: the mirror is freed. Not to be asked for on the thread that drives watches.
    pub(super) fn client(&self) -> Option<Client> {
        self.client.upgrade().map(|shared| Client { shared })
    }

    /// The watch that goes on from a revision.
    pub(super) fn watch_options(&self, start_revision: i64) -> WatchOptions {
        let keys = Keys::Prefix(Cow::Owned(self.shared.prefix.clone()));
        let request = WatchRequest { start_revision, ..WatchRequest::new(keys) };
        WatchOptions { progress_notify: true, follows_read: true, ..WatchOptions::new(request) }
    }

    /// What the watch is to call.
    pub(super) fn as_consumer(self: &Arc<Keeper>) -> Consumer {
        let keeper = self.clone();
        Box::new(move |response| {
            // The client's other watches are not to end by what is wrong here.
            if catch_unwind(AssertUnwindSafe(|| keeper.take(response))).is_err() {
                keeper.end(Error::Panic("keeping a mirror up panicked".to_owned()));
            }
        })
    }

    fn take(self: &Arc<Keeper>, response: WatchResponse) {
        match response.kind {
            WatchKind::Events | WatchKind::Progress => self.apply(&response),
            WatchKind::Disconnected | WatchKind::Resumed => {}
            WatchKind::Ended => {
                let error = response.error.unwrap_or_else(Error::watch_over);
                match lacks_history(&error) {
                    true => rebuild::begin(self, error),
                    false => self.end(error),
                }
            }
        }
    }

    fn apply(&self, response: &WatchResponse) {
        let outbox = self.outbox.as_ref().filter(|outbox| outbox.is_open());
        let (events, tree) = self.shared.apply(response, outbox.is_some());
        if let Some(outbox) = outbox.filter(|_| !events.is_empty()) {
            outbox.add(events, tree, response.resume_revision.saturating_sub(1));
        }
    }

    /// Shows the first copy, of which nothing is told, before a watch goes on from there.
    pub(super) fn begin(&self, tree: Tree, header: Header) {
        if let Some(outbox) = &self.outbox {
            outbox.begin(&tree, header.revision);
        }
        self.shared.replace(tree, header);
    }

    /// Shows a copy that was made anew, after the last word of the watch before and before the first of the next one.
    pub(super) fn replace(&self, tree: Tree, header: Header) {
        self.shared.replace(tree.clone(), header);
        if let Some(outbox) = &self.outbox {
            outbox.rebuilt(tree, header.revision);
        }
    }

    /// The copy stays as it is from now on.
    pub(super) fn end(&self, error: Error) {
        self.shared.end(error.clone());
        if let Some(outbox) = &self.outbox {
            outbox.end(error);
        }
    }
}

/// Whether trying again is of no use: the keys are not this user's to read, or the client has ended.
pub(super) fn is_final(error: &Error) -> bool {
    match error {
        Error::Cancelled { .. } | Error::Closed { .. } | Error::InvalidArgument { .. } => true,
        Error::Server { code: Code::PermissionDenied | Code::Unauthenticated, .. } => true,
        _ => error.reason() == Reason::AuthFailed,
    }
}
