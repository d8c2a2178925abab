//! How many writes get through, one after another, while something fails all the time; and how many of those that fail
//! leave their writer in the dark.

use crate::clock::Clock;
use crate::common::{Cluster, End, Etcd, Proxy, Random, client, put_request, put_revision, versions, within};
use crate::history::{self, History, Place};
use crate::ledger::{Entry, Ledger, Summary, Told};
use crate::storm::Stop;
use crate::{ALONE, duration};
use etcdgw::client::Client;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What the peers were measured for.
const MEASURED: Duration = Duration::from_secs(25);

const LIMIT: Duration = Duration::from_secs(5);

/// As long as nothing fails: what the machine is able to.
fn print_undisturbed(client: &Client, direct: &Client, time: Duration) {
    println!("undisturbed {}", writes_under(client, direct, time, |_| {}));
}

/// What came of writes one after another.
struct Figures {
    summary: Summary,
    time: Duration,
    clock: Clock,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.summary.made as f64 / self.time.as_secs_f64();
        write!(f, "in {:?}: {} ({rate:.0}/s); {}", self.time, self.summary, self.clock)
    }
}

/// Writes keys one after another through `client` while `harm` is done, and compares with the history.
fn writes_under(client: &Client, direct: &Client, time: Duration, harm: impl FnOnce(&Stop) + Send) -> Figures {
    let first = put_revision(direct, history::MARK, b"begin") + 1;
    let (clock, stop) = (Clock::default(), Stop::default());
    let ledger = thread::scope(|scope| {
        let writer = scope.spawn(|| write(client, &stop, &clock));
        scope.spawn(|| clock.watch_the_machine(&stop));
        scope.spawn(|| harm(&stop));
        thread::sleep(time);
        stop.stop();
        writer.join().unwrap()
    });
    let end = put_revision(direct, history::MARK, b"end");
    let summary = ledger.compare(&History::read(direct, first, end));
    clock.check();
    Figures { summary, time, clock }
}

fn write(client: &Client, stop: &Stop, clock: &Clock) -> Ledger {
    static VALUE: AtomicU64 = AtomicU64::new(0);
    let mut ledger = Ledger::default();
    let options = within(LIMIT);
    while !stop.is_stopped() {
        let value = VALUE.fetch_add(1, Ordering::Relaxed);
        let (key, text) = (Place::OwnKey.key(value), value.to_string());
        let answer = clock.time(LIMIT, || client.put(&put_request(key.as_bytes(), text.as_bytes()), &options));
        let told = answer.map_or_else(|error| Told::of_error(&error), |answer| Told::Made(answer.header.revision));
        ledger.0.push(Entry { value, place: Place::OwnKey, follows: 0, told });
    }
    ledger
}

#[test]
fn writes_over_a_connection_that_is_cut_all_the_time_are_hardly_ever_in_doubt() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut random = Random::of_this_run();
    let time = duration(6).min(MEASURED);
    let etcd = Etcd::start(versions().last().unwrap());
    let proxy = Proxy::start(&etcd.url());
    let (writing, direct) = (client(&proxy.url()), client(&etcd.url()));
    print_undisturbed(&writing, &direct, time / 5);
    let mut cuts = 0;
    let figures = writes_under(&writing, &direct, time, |stop| {
        while stop.pause(random.time(50, 500)) {
            proxy.cut(*random.pick(&[End::Close, End::Reset]));
            cuts += 1;
        }
    });
    println!("one connection, cut {cuts} times {figures}");
    // At most the one write that is under way when the connection is cut, and no failure that needn't be.
    assert!(figures.summary.unknown <= cuts && figures.summary.not_made == 0, "{cuts} cuts {figures}");
    assert!(figures.summary.made > 5 * cuts, "{cuts} cuts {figures}");
}

#[test]
fn writes_go_on_when_a_member_and_then_the_leader_are_killed() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let time = duration(10).min(MEASURED);
    let mut cluster = Cluster::start(versions().last().unwrap(), 3);
    let endpoints = cluster.endpoints();
    let (writing, direct) = (client(&endpoints), client(&endpoints));
    print_undisturbed(&writing, &direct, time / 5);
    let figures = writes_under(&writing, &direct, time, |stop| {
        for leads in [false, true] {
            stop.pause(time / 5);
            let place = if leads { cluster.leader() } else { follower(&cluster, &writing) };
            cluster.members[place].kill();
            stop.pause(time / 5);
            cluster.members[place].restart();
        }
    });
    println!("three members, one killed and then the leader {figures}");
    // Each kill may catch one write under way, and an election a few proposals; a busy machine elects more than once.
    assert!(figures.summary.unknown + figures.summary.not_made <= 10, "{figures}");
}

/// The member that the client uses, or where that one leads another.
fn follower(cluster: &Cluster, client: &Client) -> usize {
    let in_use = cluster.members.iter().position(|member| *member.url() == *client.base_url()).unwrap();
    if in_use == cluster.leader() { cluster.follower() } else { in_use }
}
