//! A queue, and what the owners of its sources give along.

use super::LONG;
use etcdgw::client::Client;
use etcdgw::event_queue::{Event, EventQueue};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchOptions};
use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the owner of a source gives along with it. Counts how many were dropped.
pub struct Tag {
    pub name: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Tag {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// A queue, and the tags of its sources.
pub struct Tagged {
    pub queue: EventQueue,
    pub dropped: Arc<AtomicUsize>,
}

impl Tagged {
    pub fn new() -> Tagged {
        Tagged { queue: EventQueue::new(), dropped: Arc::default() }
    }

    /// What a source is given along.
    pub fn tag(&self, name: usize) -> Box<dyn Any + Send + Sync> {
        Box::new(Tag { name, dropped: self.dropped.clone() })
    }

    /// How many tags were dropped.
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// An event that must come.
    #[track_caller]
    pub fn event(&self) -> Event {
        self.queue.next(Some(LONG)).expect("an event within the limit")
    }

    pub fn is_empty(&self) -> bool {
        self.queue.next(Some(Duration::ZERO)).is_none()
    }

    /// A watch of one key that delivers here.
    #[track_caller]
    pub fn watch_key(&self, client: &Client, key: &'static [u8], name: usize) -> Watch {
        let keys = Keys::One(Cow::Borrowed(key));
        let request = WatchRequest::new(keys);
        let watch = client.watch_into(WatchOptions::new(request), &self.queue, self.tag(name)).unwrap();
        watch.start();
        watch
    }
}

/// The name of the source that an event comes from.
#[track_caller]
pub fn source_name(event: &Event) -> usize {
    event.tag.get::<Tag>().expect("the tag of the source").name
}
