//! How a watch ends on real servers, other than by its owner.

use crate::common::{
    administrator, client, config, for_each_version, on_each_version, plain, put, put_revision, timed,
};
use crate::support::*;
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Code, Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::watch::{WatchKind, WatchOptions};
use std::borrow::Cow;
use std::time::Duration;

#[test]
fn a_start_that_is_compacted_away_ends_the_watch_and_tells_what_is_left() {
    // A compaction may end others' watches as well, which have not begun yet at the server.
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let first = put_revision(&client, b"ending/compacted", b"1");
        let compacted = put_revision(&client, b"ending/compacted", b"2");
        administrator(&etcd.url()).compact(compacted, false, &plain()).unwrap();

        let (seen, consumer) = Seen::new();
        let watch = client.watch(from(one(b"ending/compacted"), first), consumer).unwrap();
        watch.start();
        let ended = seen.wait_for(WatchKind::Ended);
        assert_eq!(ended.compact_revision, compacted);
        assert_eq!(ended.error.as_ref().unwrap().reason(), Reason::Compacted);
        assert!(matches!(ended.error, Some(Error::Compacted { wanted, .. }) if wanted == first));
        assert!(watch.join(Some(crate::common::LONG)).unwrap());
        assert!(seen.is_over() && seen.all().len() == 1);

        let error = refusal(client.watch_once(from(one(b"ending/compacted"), first)));
        assert!(matches!(error, Error::Compacted { .. }), "{error:?}");
        // What is told is where a new watch may begin.
        let watch = client.watch_open(from(one(b"ending/compacted"), ended.compact_revision)).unwrap();
        assert_eq!(values(&next(&watch).changes), ["2"]);
    });
}

#[test]
fn an_empty_range_is_refused() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let keys = Keys::Range { key: Cow::Borrowed(b"ending/b"), end: Cow::Borrowed(b"ending/a") };
        let options = WatchOptions::new(request(keys, 0));
        let error = refusal(client.watch_open(options.clone()));
        assert_eq!(code(&error), Some(Code::InvalidArgument), "{error}");
        let ended = next(&client.watch_open(unconfirmed(options)).unwrap());
        assert_eq!((ended.kind, code(ended.error.as_ref().unwrap())), (WatchKind::Ended, Some(Code::InvalidArgument)));
    });
}

#[test]
fn a_closed_client_ends_its_watches_and_makes_no_more() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let (seen, consumer) = Seen::new();
        let calling = client.watch(one(b"ending/closed"), consumer).unwrap();
        calling.start();
        let pulled = client.watch_open(one(b"ending/closed")).unwrap();
        let ((), elapsed) = timed(|| client.close());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        let ended = seen.wait_for(WatchKind::Ended);
        assert!(matches!(ended.error, Some(Error::Closed { .. })), "{ended:?}");
        let ended = next(&pulled);
        assert!(matches!(ended.error, Some(Error::Closed { .. })), "{ended:?}");
        assert!(ended.resume_revision > 0);
        assert!(matches!(pulled.next(None), Err(Error::Closed { .. })));
        assert!(is_readable(&pulled, Duration::ZERO), "for ever after the end");

        assert!(matches!(refusal(client.watch_open(one(b"ending/closed"))), Error::Closed { .. }));
        assert!(matches!(refusal(client.watch_once(one(b"ending/closed"))), Error::Closed { .. }));
        assert!(matches!(refusal(client.watch_open(unconfirmed(one(b"ending/closed")))), Error::Closed { .. }));
    });
}

#[test]
fn what_is_over_is_told_by_its_name() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        let [cancelled, closed] = [0; 2].map(|_| client.watch_open(one(b"ending/named")).unwrap());
        cancelled.cancel();
        let said = |ended: Option<Error>| ended.unwrap().full_message();
        assert_eq!(said(next(&cancelled).error), "the watch was cancelled");
        assert_eq!(said(cancelled.next(None).err()), "the watch has ended");
        assert_eq!(said(cancelled.request_progress().err()), "the watch has ended");
        client.close();
        assert_eq!(said(next(&closed).error), "the client was closed");
        assert_eq!(said(closed.next(None).err()), "the watch has ended");
        for error in [put(&client, b"k", b"v").err(), client.watch_open(one(b"ending/named")).err()] {
            assert_eq!(said(error), "the client was closed");
        }
    });
}

#[test]
fn a_watch_that_is_owed_more_than_the_client_takes_ends_and_the_others_go_on() {
    on_each_version(|etcd| {
        let writing = client(&etcd.url());
        let watching = Client::new(Config { max_response_bytes: 100_000, ..config(&etcd.url()) }).unwrap();
        let large = watching.watch_open(one(b"ending/large")).unwrap();
        let small = watching.watch_open(one(b"ending/small")).unwrap();
        let revision = put_revision(&writing, b"ending/large", &vec![b'x'; 300_000]);
        let ended = next(&large);
        assert!(matches!(ended.error, Some(Error::TooLarge { limit: 100_000, .. })), "{ended:?}");
        assert!((1..=revision).contains(&ended.resume_revision), "{ended:?}");
        put(&writing, b"ending/small", b"seen").unwrap();
        assert_eq!(values(&next(&small).changes), ["seen"]);
    });
}
