//! What the tests of mirrors share: mirrors whose changes are kept, and a state that is made of nothing but them.

use crate::common::{LONG, delete_request, plain, prefix, put, wait_until};
use etcdgw::client::Client;
use etcdgw::concurrency::mirror::{ChangeKind, Mirror, MirrorChange, MirrorOptions};
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::EventType;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Keys with their values and modification revisions.
pub type State = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

pub fn options(prefix: &[u8]) -> MirrorOptions {
    MirrorOptions { prefix: prefix.to_vec(), call: plain() }
}

/// What a mirror shows.
pub fn shown(mirror: &Mirror) -> State {
    let snapshot = mirror.snapshot();
    snapshot.range(b"").map(|e| (e.key().to_vec(), (e.value().to_vec(), e.mod_revision()))).collect()
}

/// What the server has.
#[track_caller]
pub fn stored(client: &Client, start: &[u8]) -> State {
    let all = client.range(&prefix(start), &plain()).unwrap();
    all.kvs.iter().map(|kv| (all.bytes(kv.key).to_vec(), (all.bytes(kv.value).to_vec(), kv.mod_revision))).collect()
}

#[track_caller]
pub fn delete(client: &Client, key: &[u8]) -> i64 {
    client.delete_range(&delete_request(Keys::One(Cow::Borrowed(key))), &plain()).unwrap().header.revision
}

/// What was told of a mirror, applied to what it showed at first: each event must fit to the state before it.
#[derive(Clone, Default)]
pub struct Hearer(Arc<Mutex<Heard>>);

#[derive(Default)]
pub struct Heard {
    pub state: State,
    pub changes: Vec<MirrorChange>,
}

impl Hearer {
    /// Before anything has happened to the keys.
    pub fn knows(&self, state: State) {
        self.0.lock().unwrap().state = state;
    }

    pub fn hear(&self, change: MirrorChange) {
        let mut heard = self.0.lock().unwrap();
        for event in &change.events {
            let key = event.kv.key().to_vec();
            let before = match event.event_type {
                EventType::Put => heard.state.insert(key, (event.kv.value().to_vec(), event.kv.mod_revision())),
                EventType::Delete => heard.state.remove(&key),
            };
            let told = event.prev_kv.as_ref().map(|kv| (kv.value().to_vec(), kv.mod_revision()));
            assert_eq!(told, before, "{event:?} does not fit to what was told before");
        }
        heard.changes.push(change);
    }

    pub fn with<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.0.lock().unwrap())
    }

    pub fn kinds(&self) -> Vec<ChangeKind> {
        self.with(|heard| heard.changes.iter().map(|change| change.kind).collect())
    }

    /// Until what was told makes this state.
    #[track_caller]
    pub fn wait_for(&self, state: &State) {
        wait_until(LONG, || self.with(|heard| heard.state == *state));
    }
}

/// A mirror whose changes are told to a hearer by callback.
#[track_caller]
pub fn open(client: &Client, prefix: &[u8]) -> (Mirror, Hearer) {
    let hearer = Hearer::default();
    let hears = hearer.clone();
    let mirror = client.mirror(options(prefix), Some(Box::new(move |change| hears.hear(change)))).unwrap();
    hearer.knows(shown(&mirror));
    mirror.start();
    (mirror, hearer)
}

/// Until a mirror shows what was written so far, and has kept it for whom it tells but for one event of `mark`, a key of
/// its own: changes are kept just after they are shown, and before the next ones are.
#[track_caller]
pub fn settle(client: &Client, mirror: &Mirror, mark: &[u8]) {
    catch_up(mirror);
    put(client, mark, b"").unwrap();
    catch_up(mirror);
}

/// Until a mirror shows what the server has at the moment.
#[track_caller]
pub fn catch_up(mirror: &Mirror) {
    assert!(mirror.wait_for_revision(0, Some(LONG)).unwrap());
}
