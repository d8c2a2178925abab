//! Where a connection goes: names, literals, ports, unix sockets; and nothing else decides it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Etcd, EtcdOptions, FakeGateway, TempDir, config, get, plain, put, versions};
use etcdgw::client::Client;
use etcdgw::config::Config;
use etcdgw::error::Error;
use std::process::Command;

#[test]
fn a_unix_socket_carries_calls() {
    let dir = TempDir::new("unix");
    let path = dir.path().join("etcd.sock");
    let gateway = FakeGateway::start_on_unix(&path, |_, reply| reply.json("{}"));
    let client = common::client(gateway.url());
    assert_eq!(*client.base_url(), format!("unix://{}", path.display()));
    put(&client, b"key", b"value").unwrap();
    get(&client, b"key").unwrap();
    assert_eq!((gateway.connections(), gateway.requests().len()), (1, 2));
    // A gateway refuses a request without a host.
    assert_eq!(gateway.last().header("host").unwrap(), "localhost");
    gateway.close_connections();
    put(&client, b"key", b"value").unwrap();
}

#[test]
fn a_unix_socket_that_is_not_there_is_named() {
    let client = common::client("unix:///no/such/socket");
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.full_message().contains("unix:///no/such/socket: No such file"), "{}", error.full_message());
    let long = format!("unix:///{}", "x".repeat(200));
    let error = put(&common::client(&long), b"key", b"value").unwrap_err();
    assert!(error.full_message().contains("longer than 107 bytes"), "{}", error.full_message());
}

#[test]
fn real_servers_are_reached_by_ipv4_and_ipv6_literals_and_by_name() {
    let version = versions().pop().unwrap();
    let etcd = Etcd::start_with(&version, EtcdOptions { host: Some("[::1]".to_owned()), ..EtcdOptions::default() });
    let client = common::client(&etcd.url());
    put(&client, b"key", b"value").unwrap();
    assert_eq!(*client.base_url(), format!("http://[::1]:{}", etcd.port()));
    // The server has written it down so; a name leads to the same place.
    let member = &client.member_list(true, &plain()).unwrap().members[0];
    assert_eq!(member.client_urls, [etcd.url()]);
    let etcd = Etcd::start(&version);
    for host in ["127.0.0.1", "localhost", "LOCALHOST"] {
        put(&common::client(&format!("http://{host}:{}", etcd.port())), b"key", b"value").unwrap();
    }
    put(&common::client(&format!("127.0.0.1:{}", etcd.port())), b"key", b"value").unwrap();
}

#[test]
fn the_host_line_has_the_literal_in_brackets() {
    let gateway = FakeGateway::start_at("[::1]:0", |_, reply| reply.json("{}"));
    put(&common::client(gateway.url()), b"key", b"value").unwrap();
    assert_eq!(gateway.last().header("host").unwrap(), gateway.url().strip_prefix("http://").unwrap());
}

#[test]
fn the_zone_of_a_literal_means_nothing_to_the_server() {
    let gateway = FakeGateway::start_at("[::1]:0", |_, reply| reply.json("{}"));
    let with_zone = gateway.url().replace("::1", "::1%1");
    let client = common::client(&with_zone);
    put(&client, b"key", b"value").unwrap();
    assert_eq!(gateway.last().header("host").unwrap(), gateway.url().strip_prefix("http://").unwrap());
    assert_eq!(*client.base_url(), with_zone);
}

#[test]
fn without_a_port_it_is_2379() {
    // An address of the loopback network that no server of anybody's listens on.
    let gateway = FakeGateway::start_at("127.0.0.99:2379", |_, reply| reply.json("{}"));
    for url in ["http://127.0.0.99", "http://127.0.0.99/", "127.0.0.99"] {
        let client = common::client(url);
        put(&client, b"key", b"value").unwrap();
        assert_eq!(&*client.base_url(), "http://127.0.0.99:2379");
    }
    assert_eq!(gateway.requests().len(), 3);
    assert_eq!(&*Client::new(Config::default()).unwrap().base_url(), "http://127.0.0.1:2379");
}

#[test]
fn a_name_without_an_address_is_an_endpoint_that_cannot_be_reached() {
    let gateway = FakeGateway::answering("{}");
    let client = common::client(&format!("http://no-such-host.invalid,{}", gateway.url()));
    put(&client, b"key", b"value").unwrap();
    let error = put(&common::client("http://no-such-host.invalid"), b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.full_message().contains("no-such-host.invalid"), "{}", error.full_message());
    assert!(!error.may_have_applied());
}

/// Runs one test of this program again in a process of its own, with these variables.
#[track_caller]
fn in_a_process_with(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("ETCDGW_TEST_INNER", "1");
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// The variables that other programs take for a proxy, for certificates or for passwords change nothing.
#[test]
fn no_variable_of_the_environment_changes_where_requests_go() {
    if std::env::var_os("ETCDGW_TEST_INNER").is_some() {
        let gateway = FakeGateway::answering("{}");
        for url in [gateway.url().to_owned(), gateway.url().replace("127.0.0.1", "localhost")] {
            let client = common::client(&url);
            put(&client, b"key", b"value").unwrap();
            let request = gateway.last();
            assert_eq!(request.path, "/v3/kv/put");
            assert!(request.header("authorization").is_none() && request.header("proxy-authorization").is_none());
        }
        assert_eq!(gateway.requests().len(), 2);
        return;
    }
    let proxy = FakeGateway::answering("{}");
    let home = TempDir::new("home");
    std::fs::write(home.path().join(".netrc"), "machine 127.0.0.1 login l password p\ndefault login l password p\n")
        .unwrap();
    let (home, netrc) = (home.path().display().to_string(), home.path().join(".netrc").display().to_string());
    let mut variables = vec![("HOME", home.as_str()), ("NETRC", netrc.as_str())];
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        variables.push((name, proxy.url()));
    }
    variables.extend([
        ("NO_PROXY", ""),
        ("no_proxy", ""),
        ("REQUESTS_CA_BUNDLE", "/no/such"),
        ("CURL_CA_BUNDLE", "/no/such"),
    ]);
    variables.extend([("ETCDCTL_ENDPOINTS", proxy.url()), ("ETCD_ENDPOINTS", proxy.url())]);
    in_a_process_with("no_variable_of_the_environment_changes_where_requests_go", &variables);
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn settings_may_be_used_for_any_number_of_clients() {
    let gateway = FakeGateway::answering("{}");
    let settings = config(gateway.url());
    let clients: Vec<_> = (0..3).map(|_| Client::new(settings.clone()).unwrap()).collect();
    clients.iter().for_each(|client| drop(put(client, b"key", b"value").unwrap()));
    assert_eq!(gateway.connections(), 3);
}
