//! Scans: every key once, ascending, all of one revision, whatever their number, their size and what is written meanwhile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{
    Etcd, FakeGateway, LONG, client, config, delete_request, for_each_version, on_each_version, plain, put,
    put_request, put_revision, versions, within,
};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::{Error, Reason};
use etcdgw::rpc::Keys;
use etcdgw::rpc::scan::{Scan, ScanRequest};
use etcdgw::rpc::txn::{TxnOp, TxnRequest};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn prefix(prefix: &[u8]) -> Keys<'static> {
    Keys::Prefix(Cow::Owned(prefix.to_vec()))
}

fn paged(keys: Keys<'static>, page_size: i64) -> ScanRequest {
    ScanRequest { page_size: Some(page_size), ..ScanRequest::new(keys) }
}

/// The keys of each page, without the end.
fn pages(scan: &mut Scan) -> Vec<Vec<Vec<u8>>> {
    let mut pages = Vec::new();
    loop {
        let page = scan.next_page(&plain()).unwrap();
        if page.kvs.is_empty() {
            return pages;
        }
        pages.push(page.kvs.iter().map(|kv| page.bytes(kv.key).to_vec()).collect());
    }
}

fn keys(client: &Client, request: ScanRequest) -> Vec<Vec<u8>> {
    pages(&mut client.scan(request).unwrap()).concat()
}

/// Keys with this prefix and these numbers, in transactions.
fn load(client: &Client, prefix: &str, count: usize) {
    for first in (0..count).step_by(128) {
        let names: Vec<_> = (first..count.min(first + 128)).map(|number| format!("{prefix}{number:07}")).collect();
        let success = names.iter().map(|name| TxnOp::Put(put_request(name.as_bytes(), b"value"))).collect();
        client.txn(&TxnRequest { success, ..TxnRequest::default() }, &within(LONG)).unwrap();
    }
}

#[test]
fn every_key_comes_once_ascending_in_pages_of_the_size_wanted() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        load(&client, "sizes/", 25);
        put(&client, b"sizes", b"beside").unwrap();
        put(&client, b"sizes0", b"beside").unwrap();
        let wanted: Vec<_> = (0..25).map(|number| format!("sizes/{number:07}").into_bytes()).collect();
        for (size, lengths) in [(1, vec![1; 25]), (10, vec![10, 10, 5]), (25, vec![25]), (1_000, vec![25])] {
            let pages = pages(&mut client.scan(paged(prefix(b"sizes/"), size)).unwrap());
            assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            assert_eq!(pages.concat(), wanted);
        }
        assert_eq!(keys(&client, ScanRequest::new(prefix(b"sizes/"))), wanted);
        assert_eq!(keys(&client, ScanRequest::new(prefix(b"sizes/none"))), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn all_pages_are_of_the_revision_of_the_first_one_or_of_the_one_given() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        load(&client, "one-revision/", 6);
        let before = put_revision(&client, b"one-revision/0000003", b"changed");
        let mut scan = client.scan(paged(prefix(b"one-revision/"), 2)).unwrap();
        let first = scan.next_page(&plain()).unwrap();
        assert_eq!((first.count, first.more), (6, true));
        client.delete_range(&delete_request(prefix(b"one-revision/")), &plain()).unwrap();
        put(&client, b"one-revision/0000004a", b"new").unwrap();
        let rest = pages(&mut scan).concat();
        assert_eq!(rest.len(), 4, "what was there is still to be seen, and nothing else");
        assert!(scan.revision() >= before);
        let request = ScanRequest { revision: before, ..paged(prefix(b"one-revision/"), 5) };
        assert_eq!(keys(&client, request).len(), 6);
        assert_eq!(keys(&client, ScanRequest::new(prefix(b"one-revision/"))), [b"one-revision/0000004a"]);
    });
}

#[test]
fn the_end_comes_again_however_often_it_is_asked_for() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        load(&client, "end/", 2);
        let mut scan = client.scan(ScanRequest::new(prefix(b"end/"))).unwrap();
        let page = scan.next_page(&plain()).unwrap();
        assert_eq!((page.kvs.len(), page.more), (2, false));
        for _ in 0..3 {
            let end = scan.next_page(&plain()).unwrap();
            assert_eq!((end.kvs.len(), end.more, end.header.revision), (0, false, scan.revision()));
        }
    });
}

#[test]
fn a_compaction_meanwhile_is_told_as_such() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        load(&client, "compacted/", 4);
        let mut scan = client.scan(paged(prefix(b"compacted/"), 2)).unwrap();
        scan.next_page(&plain()).unwrap();
        let later = put_revision(&client, b"beside", b"");
        common::administrator(&etcd.url()).compact(later, true, &plain()).unwrap();
        for _ in 0..2 {
            let error = scan.next_page(&plain()).unwrap_err();
            assert!(matches!(error, Error::Compacted { wanted, .. } if wanted == scan.revision()), "{error:?}");
            assert_eq!(error.reason(), Reason::Compacted);
        }
    });
}

#[test]
fn a_key_prefix_bounds_the_scan_and_comes_off_its_keys() {
    on_each_version(|etcd| {
        let bare = client(&etcd.url());
        for root in [&b"scan-ns/"[..], b"scan-ns\xff\xff", b"scan-ns\0"] {
            let within = Client::new(common::config_below(&etcd.url(), root)).unwrap();
            let names = [&b"\0"[..], b"a", b"b/1", b"b/2", b"b\xff", b"b\xff\xff", b"\xff", b"\xff\xff"];
            names.iter().for_each(|name| drop(put(&within, name, b"v").unwrap()));
            let beside = [[root, b""].concat(), etcdgw::rpc::prefix_range_end(root)];
            beside.iter().for_each(|name| drop(put(&bare, name, b"beside").unwrap()));
            let range = |key: &'static [u8], end: &'static [u8]| Keys::Range { key: key.into(), end: end.into() };
            for (keys_wanted, wanted) in [
                (prefix(b"b/"), &names[2..4]),
                (prefix(b"b\xff"), &names[4..6]),
                (prefix(b"\xff"), &names[6..]),
                (prefix(b"\xff\xff"), &names[7..]),
                (Keys::From(Cow::Borrowed(b"b/2")), &names[3..]),
                (range(b"a", b"b/2"), &names[1..3]),
                (range(b"\0", b"b"), &names[..2]),
                (Keys::One(Cow::Borrowed(b"a")), &names[1..2]),
            ] {
                let found = keys(&within, paged(keys_wanted.clone(), 1));
                assert_eq!(found, wanted, "{keys_wanted:?} in {}", root.escape_ascii());
            }
            // Everything that starts with the prefix, the prefix itself included, as a get of everything has it.
            for everything in [prefix(b""), Keys::From(Cow::Borrowed(b""))] {
                let found = keys(&within, paged(everything, 3));
                assert_eq!((&found[0][..], &found[1..]), (&b""[..], &names.map(<[u8]>::to_vec)[..]));
            }
            bare.delete_range(&delete_request(prefix(root)), &plain()).unwrap();
        }
    });
}

#[test]
fn without_a_key_prefix_everything_is_everything() {
    for_each_version(|etcd| {
        let client = client(&etcd.url());
        let names = [&b"\0"[..], b"a", b"\xff", b"\xff\xff"];
        names.iter().for_each(|name| drop(put(&client, name, b"v").unwrap()));
        assert_eq!(keys(&client, paged(prefix(b""), 1)), names);
        assert_eq!(keys(&client, paged(prefix(b"\xff"), 1)), names[2..]);
        let range = Keys::Range { key: Cow::Borrowed(b""), end: Cow::Borrowed(b"b") };
        assert_eq!(keys(&client, paged(range, 1)), names[..2]);
    });
}

#[test]
fn keys_without_values_are_asked_for_as_such() {
    on_each_version(|etcd| {
        let client = client(&etcd.url());
        load(&client, "keys-only/", 3);
        let request = ScanRequest { keys_only: true, ..ScanRequest::new(prefix(b"keys-only/")) };
        let page = client.scan(request).unwrap().next_page(&plain()).unwrap();
        assert_eq!(page.kvs.len(), 3);
        assert!(page.kvs.iter().all(|kv| kv.value.is_empty() && kv.mod_revision > 0));
    });
}

#[test]
fn pages_get_smaller_where_values_are_large() {
    let etcd = Etcd::start(versions().last().unwrap());
    let client = client(&etcd.url());
    let large = vec![b'x'; 100_000];
    for number in 0..100 {
        put(&client, format!("weight/1-small/{number:03}").as_bytes(), b"x").unwrap();
        put(&client, format!("weight/2-large/{number:03}").as_bytes(), &large).unwrap();
    }
    let mut scan = client.scan(ScanRequest::new(prefix(b"weight/"))).unwrap();
    let lengths: Vec<_> = pages(&mut scan).iter().map(Vec::len).collect();
    assert_eq!(lengths.iter().sum::<usize>(), 200);
    assert!(lengths[0] < lengths[1], "{lengths:?}: pages grow as long as they are light");
    assert!(*lengths.last().unwrap() <= 42 || lengths.len() == 2, "{lengths:?}: 42 of these are 4 MiB");
}

#[test]
fn a_page_that_is_larger_than_the_client_takes_is_asked_for_again_in_parts() {
    let etcd = Etcd::start(versions().last().unwrap());
    let bare = client(&etcd.url());
    let value = vec![b'x'; 10_000];
    for number in 0..30 {
        put(&bare, format!("parts/{number:02}").as_bytes(), &value).unwrap();
    }
    let small = Client::new(Config { max_response_bytes: 150_000, ..config(&etcd.url()) }).unwrap();
    assert_eq!(keys(&small, ScanRequest::new(prefix(b"parts/"))).len(), 30);
    let error = small.scan(paged(prefix(b"parts/"), 30)).unwrap().next_page(&plain()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}: a size that was given is kept to");
}

#[test]
fn after_a_failure_the_same_page_may_be_asked_for_again() {
    let requests = AtomicUsize::new(0);
    let gateway = FakeGateway::start(move |_, reply| match requests.fetch_add(1, Ordering::SeqCst) {
        0 => reply.json(r#"{"header":{"revision":"7"},"kvs":[{"key":"YQ=="}],"more":true,"count":"2"}"#),
        1 => reply.status("503 Service Unavailable", r#"{"code":14,"message":"etcdserver: no leader"}"#),
        _ => reply.json(r#"{"header":{"revision":"9"},"kvs":[{"key":"Yg=="}],"count":"1"}"#),
    });
    let client = common::client_without_retries(gateway.url());
    let mut scan = client.scan(paged(prefix(b""), 1)).unwrap();
    assert_eq!(scan.next_page(&plain()).unwrap().kvs.len(), 1);
    scan.next_page(&within(Duration::from_secs(5))).unwrap_err();
    assert_eq!(pages(&mut scan), [[b"b"]]);
    let asked: Vec<_> = gateway.requests().iter().map(|request| request.json()).collect();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[1], asked[2]);
    assert_eq!((&asked[0]["key"], &asked[0]["range_end"]), (&"AA==".into(), &"AA==".into()));
    assert!(asked[0]["revision"].is_null());
    assert_eq!((&asked[1]["key"], &asked[1]["revision"]), (&"YQA=".into(), &"7".into()), "behind the last key");
}

#[test]
fn what_can_not_be_scanned_is_refused_and_nothing_sent() {
    let gateway = FakeGateway::answering("{}");
    let client = client(gateway.url());
    for request in [
        paged(prefix(b"a"), 0),
        paged(prefix(b"a"), -1),
        ScanRequest { revision: -1, ..ScanRequest::new(prefix(b"a")) },
    ] {
        assert!(matches!(client.scan(request).err(), Some(Error::InvalidArgument { .. })));
    }
    drop(client.scan(ScanRequest::new(prefix(b"a"))).unwrap());
    assert_eq!(gateway.connections(), 0);
}

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_million_keys_go_through_little_memory() {
    const COUNT: usize = 1_000_000;
    let etcd = Etcd::start_with_flags(versions().last().unwrap(), &["--quota-backend-bytes=4294967296"]);
    let client = client(&etcd.url());
    std::thread::scope(|scope| {
        for part in 0..8 {
            let client = client.clone();
            scope.spawn(move || load(&client, &format!("million/{part}/"), COUNT / 8));
        }
    });
    let (mut scan, before) = (client.scan(ScanRequest::new(prefix(b"million/"))).unwrap(), resident());
    let (mut count, mut last, mut most) = (0, Vec::new(), 0);
    loop {
        let page = scan.next_page(&within(LONG)).unwrap();
        if page.kvs.is_empty() {
            break;
        }
        for kv in &page.kvs {
            let key = page.bytes(kv.key);
            assert!(key > &last[..]);
            last = key.to_vec();
        }
        count += page.kvs.len();
        most = most.max(resident());
    }
    assert_eq!(count, COUNT);
    assert!(most.saturating_sub(before) < 64 << 20, "{} bytes more", most - before);
}
