//! Watches that go on at a member which is behind what they have seen: it lags, and they wait for it.

use crate::common::{
    Cluster, End, Fault, LONG, Proxy, client, put_revision, put_with, wait_until, with_each_version, within,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::time::Duration;

/// Watches that stay with a member which has no leader, and as many that don't.
const EACH: usize = 10;

const LIMIT: Duration = Duration::from_secs(2);

/// A cluster of which one member, that doesn't lead, can be separated from the others.
struct Separable {
    cluster: Cluster,
    place: usize,
    /// The way to another one.
    way: Proxy,
    /// Goes to that one directly.
    direct: Client,
    /// Goes the way, and to the member that can be separated where there is none.
    watching: Client,
}

impl Separable {
    fn start(version: &str) -> Separable {
        let cluster = Cluster::start_separable(version, 3);
        let place = cluster.follower();
        let (lagging, other) = (cluster.members[place].url(), cluster.members[(place + 1) % 3].url());
        let way = Proxy::start(&other);
        let watching = client(&format!("{},{lagging}", way.url()));
        Separable { cluster, place, way, direct: client(&other), watching }
    }
}

#[test]
fn watches_that_go_on_at_a_member_that_lags_wait_for_it_and_are_told_everything_once_and_in_order() {
    with_each_version(|version| {
        let Separable { cluster, place, way, direct, watching } = &Separable::start(version);
        let (lagging, other) = (&cluster.members[*place], &cluster.members[(place + 1) % 3]);
        let first = put_revision(direct, b"before", b"") + 1;
        let begin = |require_leader: bool| {
            let (seen, consumer) = Seen::new();
            let options = WatchOptions { require_leader, ..reporting(prefix(b"lag/")) };
            let watch = watching.watch(options, consumer).unwrap();
            watch.start();
            (seen, watch)
        };
        let watches: Vec<(Seen, Watch)> = (0..2 * EACH).map(|number| begin(number < EACH)).collect();
        other.wait_for_watchers(2 * EACH);
        // The cluster may have to find its leader anew; what fails may be written all the same.
        let write = |count: usize| {
            let mut revision = 0;
            for number in 0..count {
                wait_until(LONG, || {
                    let made = put_with(direct, b"lag/key", number.to_string().as_bytes(), &within(LIMIT));
                    revision = made.as_ref().map_or(0, |answer| answer.header.revision);
                    made.is_ok()
                });
            }
            revision
        };
        let last_of = |seen: &Seen| changes_of(&seen.all()).last().map_or(0, |change| change.revision);
        let wait_for_all = |revision: i64| {
            watches.iter().for_each(|(seen, _)| wait_until(LONG, || last_of(seen) >= revision));
        };
        wait_for_all(write(10));
        cluster.separate(*place);
        let told = write(20);
        wait_for_all(told);
        way.inject(Fault::Refuse);
        way.cut(End::Reset);
        // Those that need no leader are with it now, and what it says is of the past.
        lagging.wait_for_watchers(EACH);
        let missed = write(10);
        std::thread::sleep(Duration::from_millis(500));
        for (seen, _) in &watches {
            assert_eq!(last_of(seen), told, "the member can't know of more");
            assert!(seen.all().iter().all(|said| said.kind != WatchKind::Ended), "{:?}", seen.all().last());
        }
        cluster.unite();
        wait_for_all(missed);
        // All go on there.
        lagging.wait_for_watchers(2 * EACH);
        let last = write(10);
        wait_for_all(last);
        let watch = direct.watch_open(from(prefix(b"lag/"), first)).unwrap();
        let mut history: Vec<Change> = Vec::new();
        while history.last().is_none_or(|change| change.revision < last) {
            history.extend(next(&watch).changes);
        }
        for (seen, _) in &watches {
            assert_exact(&seen.all());
            assert!(changes_of(&seen.all()) == history, "something else was told than what happened");
        }
    });
}

#[test]
fn watches_that_begin_at_a_member_that_lags_are_told_nothing_from_before() {
    with_each_version(|version| {
        let Separable { cluster, place, way, direct, watching } = &Separable::start(version);
        let lagging = &cluster.members[*place];
        let options = || WatchOptions { require_leader: false, ..prefix(b"lag/") };
        cluster.separate(*place);
        let mut known = 0;
        wait_until(LONG, || {
            let made = put_with(direct, b"lag/key", b"known", &within(LIMIT));
            known = made.as_ref().map_or(0, |answer| answer.header.revision);
            made.is_ok()
        });
        let first = watching.watch_open(options()).unwrap();
        way.inject(Fault::Refuse);
        way.cut(End::Reset);
        let watches: Vec<Watch> = (0..EACH).map(|_| watching.watch_open(unconfirmed(options())).unwrap()).collect();
        wait_until(LONG, || lagging.watchers() > 0);
        cluster.unite();
        // Those that have begun see it; whoever waits for the read of the revision may see a later one first.
        wait_until(LONG, || {
            let is_put = put_with(direct, b"lag/key", b"new", &within(LIMIT)).is_ok();
            is_put && lagging.watchers() == EACH + 1
        });
        let last = put_revision(direct, b"lag/key", b"new");
        for watch in watches.iter().chain([&first]) {
            let mut told = Vec::new();
            while told.last() != Some(&last) {
                told.extend(next(watch).changes.iter().map(|change| change.revision));
            }
            assert!(told[0] > known, "{told:?} was known at {known}");
            assert!(told.is_sorted_by(|one, next| one + 1 == *next), "{told:?}");
        }
    });
}
