//! Watches that run through the storm.

use crate::common::{LONG, wait_until};
use crate::history::{Change, History, take, watch_options};
use etcdgw::client::Client;
use etcdgw::watch::{Watch, WatchResponse};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What one watch has told so far.
#[derive(Default)]
struct Account {
    changes: Mutex<Vec<Change>>,
    /// The last revision that it has come to.
    reached: AtomicI64,
}

impl Account {
    fn take(&self, response: &WatchResponse) {
        take(response, i64::MAX, &mut self.changes.lock().unwrap());
        self.reached.store(response.resume_revision - 1, Ordering::SeqCst);
    }
}

/// One watch of each kind per client.
pub struct Watchers {
    accounts: Vec<Arc<Account>>,
    called: Vec<Watch>,
    pulled: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Watchers {
    pub fn start(clients: &[Client], first: i64) -> Watchers {
        let mut watchers =
            Watchers { accounts: Vec::new(), called: Vec::new(), pulled: Vec::new(), is_over: Arc::default() };
        for client in clients {
            let (called, pulled) = (Arc::new(Account::default()), Arc::new(Account::default()));
            let into = called.clone();
            let watch = client.watch(watch_options(first), Box::new(move |response| into.take(&response))).unwrap();
            watch.start();
            watchers.called.push(watch);
            let watch = client.watch_open(watch_options(first)).unwrap();
            let (into, is_over) = (pulled.clone(), watchers.is_over.clone());
            watchers.pulled.push(std::thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let response = watch.next(Some(Duration::from_millis(200))).unwrap();
                    response.iter().for_each(|response| into.take(response));
                }
            }));
            watchers.accounts.extend([called, pulled]);
        }
        watchers
    }

    /// Waits until all have come to the mark, and compares what they told with what happened.
    #[track_caller]
    pub fn check(self, history: &History, mark: i64) {
        for (number, account) in self.accounts.iter().enumerate() {
            // As long as it goes on it may take its time.
            let mut before = -1;
            while account.reached.load(Ordering::SeqCst) < mark {
                wait_until(LONG, || account.reached.load(Ordering::SeqCst) > before);
                before = account.reached.load(Ordering::SeqCst);
            }
            let told = account.changes.lock().unwrap();
            let told = &told[..told.partition_point(|change| change.revision <= mark)];
            let happened = history.up_to(mark);
            let differs = told.iter().zip(happened).position(|(told, happened)| told != happened);
            let at = differs.unwrap_or(told.len().min(happened.len()));
            let next = |changes: &[Change]| changes[at..].iter().take(3).copied().collect::<Vec<_>>();
            let (told, happened) = (next(told), next(happened));
            assert!(told.is_empty() && happened.is_empty(), "watch {number} told {told:?}, but {happened:?} happened");
        }
        self.called.iter().for_each(Watch::cancel);
        self.is_over.store(true, Ordering::SeqCst);
        self.pulled.into_iter().for_each(|watch| watch.join().unwrap());
    }
}
