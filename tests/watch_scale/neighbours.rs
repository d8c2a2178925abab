//! What a watch that nobody reads means for the others of its client, and what it is told when it is read after all.

use crate::alone;
use crate::common::{Etcd, LONG, client, for_each_version, put_revision, within};
use etcdgw::client::Client;
use etcdgw::error::Error;
use etcdgw::rpc::Keys;
use etcdgw::rpc::watch::WatchRequest;
use etcdgw::watch::{Watch, WatchKind, WatchOptions};
use std::borrow::Cow;
use std::sync::mpsc;

const VALUE: usize = 500_000;

/// More than the library and the sockets on the way hold.
const COUNT: usize = 80;

fn options(prefix: &'static [u8]) -> WatchOptions {
    let keys = Keys::Prefix(Cow::Borrowed(prefix));
    WatchOptions::new(WatchRequest { keys, start_revision: 0, no_put: false, no_delete: false, prev_kv: false })
}

/// Writes far more than the watch of `large/` may hold, and answers the revisions.
fn pile_up(writing: &Client, mut after_each: impl FnMut(usize)) -> Vec<i64> {
    let put = |number: usize| {
        let revision = put_revision(writing, b"large/", &vec![number as u8; VALUE]);
        after_each(number);
        revision
    };
    (0..COUNT).map(put).collect()
}

/// How a watch ended.
struct End {
    error: Option<Error>,
    resume_revision: i64,
    compact_revision: i64,
}

/// Everything that the watch tells until it has come to the last of these revisions, or has ended.
#[track_caller]
fn read(watch: &Watch, revisions: &[i64]) -> (Vec<i64>, Option<End>) {
    let mut told = Vec::new();
    while told.last() != revisions.last() {
        let response = watch.next(Some(LONG)).unwrap().expect("more is to come");
        if response.kind == WatchKind::Ended {
            let (resume_revision, compact_revision) = (response.resume_revision, response.compact_revision);
            return (told, Some(End { error: response.error.clone(), resume_revision, compact_revision }));
        }
        told.extend(response.events.iter().map(|event| event.kv.mod_revision));
    }
    (told, None)
}

fn others_go_on(etcd: &Etcd) {
    let (watching, writing) = (client(&etcd.url()), client(&etcd.url()));
    let unread = watching.watch_open(options(b"large/")).unwrap();
    let (sender, receiver) = mpsc::channel();
    let send = move |response: etcdgw::watch::WatchResponse| {
        response.events.iter().for_each(|event| sender.send(event.kv.mod_revision).unwrap());
    };
    let calling = watching.watch(options(b"small/"), Box::new(send)).unwrap();
    calling.start();
    let overlapping = watching.watch_open(options(b"")).unwrap();
    let mut small = Vec::new();
    let revisions = pile_up(&writing, |_| {
        let revision = put_revision(&writing, b"small/", b"");
        assert_eq!(receiver.recv_timeout(LONG), Ok(revision));
        small.push(revision);
        // Who reads everything is not held up either.
        while overlapping.next(Some(LONG)).unwrap().unwrap().resume_revision <= revision {}
    });
    assert_eq!(read(&unread, &revisions).0, revisions);
}

#[test]
fn a_watch_that_nobody_reads_holds_up_no_other_and_then_tells_everything() {
    let _alone = alone();
    for_each_version(|etcd| others_go_on(&etcd));
}

#[test]
fn what_is_compacted_while_nobody_reads_is_reported_and_not_skipped() {
    let _alone = alone();
    for_each_version(|etcd| {
        let (watching, writing) = (client(&etcd.url()), client(&etcd.url()));
        let unread = watching.watch_open(options(b"large/")).unwrap();
        let revisions = pile_up(&writing, |_| {});
        let compacted = revisions[COUNT - 2];
        writing.compact(compacted, true, &within(LONG)).unwrap();
        let (told, end) = read(&unread, &revisions);
        assert_eq!(told, revisions[..told.len()], "what was told has no gap");
        if let Some(End { error, resume_revision, compact_revision }) = end {
            assert!(matches!(error, Some(Error::Compacted { .. })), "{error:?}");
            assert_eq!(compact_revision, compacted);
            // Nothing between the last event told and where it would go on was owed.
            assert!(told.last().is_none_or(|last| *last < resume_revision) && resume_revision <= compacted);
            assert!(resume_revision <= revisions[told.len()], "{resume_revision} passes over {revisions:?}");
        }
    });
}
