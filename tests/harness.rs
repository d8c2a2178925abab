//! The tests' own tools, tested: what they promise the other tests rests on them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{BlackHole, Cluster, FakeGateway, LONG, for_each_version, plain, timed, versions, wait_until};
use std::borrow::Cow;
use std::net::TcpStream;
use std::time::Duration;

use etcdgw::rpc::Keys;
use etcdgw::rpc::kv::{PutRequest, RangeRequest};

fn put(key: &'static [u8]) -> PutRequest<'static> {
    PutRequest { key: Cow::Borrowed(key), value: Cow::Borrowed(b"value"), ..PutRequest::default() }
}

#[test]
fn a_server_keeps_its_port_and_its_data_over_a_restart_and_is_gone_after_its_test() {
    for_each_version(|mut etcd| {
        let address = etcd.url().replace("http://", "");
        let client = common::client(&etcd.url());
        client.put(&put(b"key"), &plain()).unwrap();
        etcd.kill();
        assert!(TcpStream::connect(&address).is_err());
        etcd.restart();
        assert_eq!(client.range(&RangeRequest::new(Keys::One(Cow::Borrowed(b"key"))), &plain()).unwrap().count, 1);
        drop(etcd);
        assert!(TcpStream::connect(&address).is_err());
    });
}

#[test]
fn a_server_that_is_stopped_answers_when_it_goes_on() {
    for_each_version(|etcd| {
        let client = common::client(&etcd.url());
        etcd.stop();
        client.put(&put(b"key"), &common::within(Duration::from_millis(300))).unwrap_err();
        etcd.cont();
        wait_until(LONG, || client.put(&put(b"key"), &plain()).is_ok());
    });
}

#[test]
fn a_cluster_of_every_version_comes_to_agree() {
    for version in versions() {
        let cluster = Cluster::start(&version, 3);
        let list = common::client(&cluster.endpoints()).member_list(true, &plain()).unwrap();
        assert_eq!(list.members.len(), 3);
    }
}

#[test]
fn a_black_hole_answers_no_connection_attempt() {
    let hole = BlackHole::new();
    let address = hole.url().replace("http://", "").parse().unwrap();
    let (connected, took) = timed(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)));
    assert!(connected.is_err());
    assert!(took >= Duration::from_millis(300));
}

#[test]
fn a_fake_gateway_counts_connections_and_keeps_requests() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(gateway.url());
    client.put(&put(b"a"), &plain()).unwrap();
    client.put(&put(b"b"), &plain()).unwrap();
    assert_eq!((gateway.connections(), gateway.count("/v3/kv/put")), (1, 2));
    assert_eq!(gateway.last().json()["key"], "Yg==");
}
