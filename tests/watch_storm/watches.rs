//! Watches that begin and end at random, and what each was told.

use crate::common::{LONG, Random, get_with, wait_until, within};
use crate::reader::Reader;
use crate::storm::Stop;
use crate::told::{Interest, Told};
use etcdgw::client::Client;
use etcdgw::error::Error;
use etcdgw::rpc::watch::EventType;
use etcdgw::watch::{Watch, WatchKind, WatchOptions, WatchResponse};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What one watch was told so far.
#[derive(Default)]
struct Account {
    told: Vec<Told>,
    resume_revision: i64,
    /// The compact revision, where it ended so.
    compacted: Option<i64>,
}

impl Account {
    fn take(&mut self, response: &WatchResponse) {
        assert!(response.resume_revision >= self.resume_revision, "the resume revision went back");
        if let Some(event) = response.events.first() {
            let first = event.kv.mod_revision;
            assert!(self.told.last().is_none_or(|told| told.revision < first), "a revision came in two responses");
            assert!(first >= self.resume_revision, "{first} was accounted for: {}", self.resume_revision);
        }
        self.resume_revision = response.resume_revision;
        let text = |span| String::from_utf8(response.bytes(span).to_vec()).unwrap();
        self.told.extend(response.events.iter().map(|event| Told {
            revision: event.kv.mod_revision,
            is_delete: event.event_type == EventType::Delete,
            key: text(event.kv.key),
            value: text(event.kv.value),
            version: event.kv.version,
            previous: event.prev_kv.map(|previous| text(previous.value)),
        }));
        if response.kind == WatchKind::Ended {
            match &response.error {
                Some(Error::Compacted { .. }) => self.compacted = Some(response.compact_revision),
                Some(Error::Closed { .. }) => {}
                other => panic!("a watch ended: {other:?}"),
            }
        }
    }
}

/// A watch that goes on.
pub struct Live {
    interest: Interest,
    start: Start,
    account: Arc<Mutex<Account>>,
    watch: Watch,
    is_pulled: bool,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    At(i64),
    /// From now on: behind the first revision, and not behind the second where that is known.
    Between(i64, Option<i64>),
}

/// A watch that is over: nothing more will be told.
pub struct Done {
    interest: Interest,
    start: Start,
    account: Account,
}

/// Begins and cancels watches until the storm is over; those that are left go on.
pub fn keep(
    stop: &Stop,
    client: &Client,
    direct: &Client,
    reader: &Reader,
    mut random: Random,
    most: usize,
) -> (Vec<Done>, Vec<Live>) {
    let (mut done, mut live) = (Vec::new(), Vec::<Live>::new());
    while stop.pause(random.time(1, 40)) {
        live.iter_mut().for_each(Live::pull);
        if live.len() < most && random.percent(60) {
            live.extend(Live::begin(client, direct, reader, &mut random));
        } else if !live.is_empty() && random.percent(50) {
            done.push(live.swap_remove(random.below(live.len())).finish());
        }
    }
    (done, live)
}

/// The revision of the store; none where the storm hides it.
fn revision_now(direct: &Client) -> Option<i64> {
    get_with(direct, b"storm", &within(Duration::from_millis(500))).ok().map(|answer| answer.header.revision)
}

impl Live {
    /// None where the storm does not let it begin.
    fn begin(client: &Client, direct: &Client, reader: &Reader, random: &mut Random) -> Option<Live> {
        let interest = Interest::random(random);
        let before = reader.revision();
        let start_revision = if random.percent(60) { before - random.below(50) as i64 } else { 0 };
        let is_pulled = random.percent(30);
        let options = WatchOptions {
            wait_created: random.percent(70),
            call: within(Duration::from_secs(2)),
            ..WatchOptions::new(interest.request(start_revision.max(0)))
        };
        let wait_created = options.wait_created;
        let account = Arc::new(Mutex::new(Account::default()));
        let into = account.clone();
        let take = Box::new(move |response: WatchResponse| into.lock().unwrap().take(&response));
        let watch = if is_pulled { client.watch_open(options) } else { client.watch(options, take) };
        let watch = match watch {
            Ok(watch) => watch,
            Err(Error::Compacted { .. }) => return None,
            Err(error) => {
                assert!(!error.may_have_applied(), "a watch applies nothing: {error:?}");
                return None;
            }
        };
        watch.start();
        let start = match start_revision {
            1.. => Start::At(start_revision),
            // What is written from now on is behind the start of a watch that is confirmed.
            _ => Start::Between(before, if wait_created { revision_now(direct) } else { None }),
        };
        Some(Live { interest, start, account, watch, is_pulled })
    }

    /// Takes what a watch without a callback has to tell.
    fn pull(&mut self) {
        if !self.is_pulled {
            return;
        }
        loop {
            match self.watch.next(Some(Duration::ZERO)) {
                Ok(Some(response)) => self.account.lock().unwrap().take(&response),
                Ok(None) | Err(Error::Closed { .. }) => return,
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Waits until it has told the last event that it is to tell.
    #[track_caller]
    pub fn wait_for_the_end_of(&mut self, history: &[Told]) {
        let last = history.iter().rfind(|told| self.interest.covers(told)).unwrap().revision;
        let reached = |watch: &mut Live| {
            watch.pull();
            let account = watch.account.lock().unwrap();
            account.compacted.is_some() || account.resume_revision > last
        };
        wait_until(2 * LONG, || reached(self));
    }

    /// Cancels it, and waits until nothing more can be told.
    pub fn finish(self) -> Done {
        self.watch.cancel();
        assert!(self.is_pulled || self.watch.join(Some(LONG)).unwrap());
        let account = std::mem::take(&mut *self.account.lock().unwrap());
        Done { interest: self.interest, start: self.start, account }
    }
}

impl Done {
    pub fn was_compacted(&self) -> bool {
        self.account.compacted.is_some()
    }

    /// Compares it with the history, and answers how many events it told.
    #[track_caller]
    pub fn check(&self, history: &[Told]) -> usize {
        let Account { told, resume_revision, compacted } = &self.account;
        assert!(compacted.is_none_or(|compacted| compacted >= *resume_revision), "what was compacted was still owed");
        let first = match self.start {
            Start::At(first) => first,
            Start::Between(after, known) => {
                let first = told.first().map_or(*resume_revision, |told| told.revision);
                assert!(first > after || told.is_empty(), "the past was told: {:?}", self.start);
                // Without an event all that came after the confirmation, up to where the watch has come, is to be none.
                known.map_or(first, |known| first.min(known + 1))
            }
        };
        let owed: Vec<Told> = history
            .iter()
            .filter(|event| event.revision >= first && event.revision < *resume_revision)
            .filter(|event| self.interest.covers(event))
            .map(|event| self.as_asked(event))
            .collect();
        let at = told.iter().zip(&owed).position(|(told, owed)| told != owed).unwrap_or(told.len().min(owed.len()));
        assert!(
            at == told.len() && at == owed.len(),
            "{:?} from {:?} to {resume_revision}: after {at} events {:?} was told in place of {:?}",
            self.interest,
            self.start,
            told.get(at),
            owed.get(at)
        );
        told.len()
    }

    /// What was compacted before it was told has no value before it.
    fn as_asked(&self, event: &Told) -> Told {
        let told = self.account.told.iter().find(|told| told.revision == event.revision && told.key == event.key);
        let is_known = self.interest.prev_kv && told.is_none_or(|told| told.previous.is_some());
        Told { previous: event.previous.clone().filter(|_| is_known), ..event.clone() }
    }
}
