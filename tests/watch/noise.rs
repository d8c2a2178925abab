//! Watches that begin while others write, and without a pause between.

use crate::common::{LONG, Random, client, on_each_version, put_revision, wait_until};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::watch::{Watch, WatchKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

/// The puts of one key that threads make, and what is known of each.
#[derive(Default)]
struct Puts {
    /// Points in time, in their order.
    clock: AtomicI64,
    /// The greatest revision of those that have returned.
    returned: AtomicI64,
    /// When each began, and its revision.
    made: Mutex<Vec<(i64, i64)>>,
    under_way: AtomicUsize,
    is_noisy: AtomicBool,
    is_over: AtomicBool,
}

impl Puts {
    fn now(&self) -> i64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn make_one(&self, client: &Client) {
        let began = self.now();
        let revision = put_revision(client, b"noise/k", b"value");
        self.returned.fetch_max(revision, Ordering::SeqCst);
        self.made.lock().unwrap().push((began, revision));
    }

    /// Puts until it is over, while there is to be noise.
    fn make(&self, client: &Client, mut random: Random) {
        while !self.is_over.load(Ordering::SeqCst) {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            if self.is_noisy.load(Ordering::SeqCst) {
                self.make_one(client);
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            std::thread::sleep(random.time(0, 10));
        }
    }

    /// Lets there be noise or not, and waits for what is under way where that is to be.
    fn turn(&self, is_noisy: bool, waits: bool) {
        self.is_noisy.store(is_noisy, Ordering::SeqCst);
        if waits && !is_noisy {
            wait_until(LONG, || self.under_way.load(Ordering::SeqCst) == 0);
        }
    }
}

/// Ends the puts, also where a test fails.
struct End<'a>(&'a Puts);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

/// A watch, between what and what it must have begun.
struct Begun {
    watch: Watch,
    /// The greatest revision that was known before the call.
    after: i64,
    /// When the call returned.
    returned: i64,
}

impl Begun {
    fn begin(client: &Client, puts: &Puts) -> Begun {
        let after = puts.returned.load(Ordering::SeqCst);
        let watch = client.watch_open(reporting(one(b"noise/k"))).unwrap();
        Begun { watch, after, returned: puts.now() }
    }

    /// It was told every put since some moment of the call, and nothing else. Whether there were some before that moment and
    /// after the call.
    fn check(&self, history: &[(i64, i64)]) -> bool {
        let last = history.last().unwrap().1;
        let mut said = Vec::new();
        while said.last().is_none_or(|said: &Said| said.resume_revision <= last) {
            said.push(next(&self.watch));
        }
        assert!(said.iter().all(|said| said.kind == WatchKind::Events), "{said:?}");
        let seen: Vec<i64> = changes_of(&said).iter().map(|change| change.revision).collect();
        let expected = &history[history.len().saturating_sub(seen.len())..];
        assert!(expected.iter().map(|(_, revision)| revision).eq(&seen), "not what has happened: {seen:?}");
        assert!(seen[0] > self.after, "revision {} had been put before the call", seen[0]);
        let missed = history.iter().filter(|(began, revision)| *began > self.returned && *revision < seen[0]);
        assert_eq!(missed.count(), 0, "puts were missed that began after the call");
        seen[0] > self.after + 1
    }
}

#[test]
fn watches_that_begin_in_quiet_and_in_noise_are_told_what_happens_after_that_and_nothing_else() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let mut random = Random::of_this_run();
        let puts = Puts::default();
        puts.make_one(&client);
        // So that the connection remains.
        let _other = client.watch_open(one(b"noise/other")).unwrap();
        let (mut count, mut amid) = (0, 0);
        std::thread::scope(|scope| {
            let _end = End(&puts);
            for _ in 0..3 {
                let random = random.fork();
                scope.spawn(|| puts.make(&client, random));
            }
            while count < 200 || amid < 10 {
                assert!(count < 4000, "{amid} began amid puts: the noise proves nothing");
                let mut begun = Vec::new();
                while begun.len() < 12 {
                    // Now and then the noise begins or ends amid a call.
                    puts.turn(random.percent(50), random.percent(70));
                    (0..3).for_each(|_| begun.push(Begun::begin(&client, &puts)));
                }
                puts.turn(false, true);
                // Each has something to tell.
                puts.make_one(&client);
                let mut history = puts.made.lock().unwrap().clone();
                history.sort_unstable_by_key(|(_, revision)| *revision);
                amid += begun.iter().filter(|begun| begun.check(&history)).count();
                count += begun.len();
            }
        });
        println!("{count} watches, {amid} of them amid puts");
    });
}
