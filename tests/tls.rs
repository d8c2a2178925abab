//! `https://` with real servers: whom a client trusts, and who it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Certificates, DONE, Etcd, EtcdOptions, FakeGateway, Identity, config, get, put, versions, with_length};
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::error::Error as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

fn file(path: &Path) -> Option<Pem> {
    Some(Pem::File(path.to_owned()))
}

fn memory(path: &Path) -> Option<Pem> {
    Some(Pem::Memory(std::fs::read(path).unwrap()))
}

fn trusting(certificates: &Certificates) -> TlsConfig {
    TlsConfig { ca_cert: file(&certificates.ca()), ..TlsConfig::default() }
}

fn new_client(url: &str, tls: TlsConfig) -> Result<Client> {
    Client::new(Config { tls, ..config(url) })
}

#[track_caller]
fn works(url: &str, tls: TlsConfig) {
    let client = new_client(url, tls).unwrap();
    put(&client, b"key", b"value").unwrap();
    assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value");
    // More than one TLS record each way.
    let large = vec![7; 1 << 20];
    put(&client, b"large", &large).unwrap();
    assert_eq!(get(&client, b"large").unwrap().unwrap(), large);
}

/// The error of a put over a connection that must not come about.
#[track_caller]
fn tls_error(url: &str, tls: TlsConfig) -> String {
    let error = put(&new_client(url, tls).unwrap(), b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(!error.may_have_applied() && !error.is_retryable());
    assert!(error.full_message().contains(url), "{}", error.full_message());
    error.full_message()
}

/// A server of one version whose certificate is for these names and addresses.
fn serve(version: &str, certificates: &Certificates, subjects: &[&str], client_auth: bool, host: &str) -> Etcd {
    let identity = certificates.issue("server", subjects);
    let flags = certificates.flags(&identity, client_auth);
    Etcd::start_with(version, EtcdOptions { flags, tls: true, host: Some(host.to_owned()) })
}

#[test]
fn a_server_is_trusted_by_its_authority_and_no_other() {
    let (right, wrong) = (Certificates::new(), Certificates::new());
    for version in versions() {
        let etcd = serve(&version, &right, &["127.0.0.1", "localhost"], false, "127.0.0.1");
        works(&etcd.url(), trusting(&right));
        works(&etcd.url().replace("127.0.0.1", "localhost"), trusting(&right));
        works(&etcd.url(), TlsConfig { ca_cert: memory(&right.ca()), ..TlsConfig::default() });
        let message = tls_error(&etcd.url(), trusting(&wrong));
        assert!(message.contains("certificate"), "{message}");
        // The system's authorities have not signed it either.
        tls_error(&etcd.url(), TlsConfig::default());
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_that_name_is_the_one_asked_for() {
    let certificates = Certificates::new();
    let etcd = serve(&versions()[0], &certificates, &["etcd.example"], false, "127.0.0.1");
    let message = tls_error(&etcd.url(), trusting(&certificates));
    assert!(message.contains("not for 127.0.0.1, but for etcd.example"), "{message}");
    let named = |name: &str| TlsConfig { server_name: Some(name.to_owned()), ..trusting(&certificates) };
    works(&etcd.url(), named("etcd.example"));
    tls_error(&etcd.url(), named("other.example"));
    let refused = new_client(&etcd.url(), named("not a name")).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
    works(&etcd.url(), TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() });
}

#[test]
fn a_server_that_has_made_its_own_certificate_is_taken_where_any_is() {
    for version in versions() {
        let options = EtcdOptions { flags: vec!["--auto-tls".to_owned()], tls: true, host: None };
        let etcd = Etcd::start_with(&version, options);
        works(&etcd.url(), TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() });
        tls_error(&etcd.url(), TlsConfig::default());
    }
}

#[test]
fn an_ipv6_literal_is_the_name_of_its_certificate() {
    let certificates = Certificates::new();
    let etcd = serve(versions().last().unwrap(), &certificates, &["::1", "127.0.0.1"], false, "[::1]");
    works(&etcd.url(), trusting(&certificates));
    works(&etcd.url().replace("::1", "::1%1"), trusting(&certificates));
}

#[test]
fn a_server_that_wants_a_certificate_takes_the_right_one_and_refuses_the_rest() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let client = certificates.issue("client", &[]);
    let stranger = others.issue("client", &[]);
    for version in versions() {
        let etcd = serve(&version, &certificates, &["127.0.0.1"], true, "127.0.0.1");
        let with = |cert, key| TlsConfig { cert, key, ..trusting(&certificates) };
        works(&etcd.url(), with(file(&client.cert), file(&client.key)));
        works(&etcd.url(), with(memory(&client.cert), memory(&client.key)));
        tls_error(&etcd.url(), trusting(&certificates));
        tls_error(&etcd.url(), with(file(&stranger.cert), file(&stranger.key)));
    }
}

#[test]
fn a_certificate_without_its_key_is_refused_before_anything_is_sent() {
    let certificates = Certificates::new();
    let (identity, other) = (certificates.issue("client", &[]), certificates.issue("other", &[]));
    let refused = |cert, key| {
        let tls = TlsConfig { cert, key, ..trusting(&certificates) };
        new_client("https://127.0.0.1:1", tls).err().unwrap().full_message()
    };
    let message = refused(file(&identity.cert), None);
    assert!(message.contains("client.pem") && message.contains("without its key"), "{message}");
    let message = refused(None, memory(&identity.key));
    assert!(message.contains("key_pem") && message.contains("without its certificate"), "{message}");
    let message = refused(file(&identity.cert), file(&other.key));
    assert!(message.contains("other-key.pem is not the key of"), "{message}");
    let message = refused(file(&identity.key), file(&identity.key));
    assert!(message.contains("client-key.pem") && message.contains("no certificate"), "{message}");
    let message = refused(file(&identity.cert), file(&identity.cert));
    assert!(message.contains("client.pem") && message.contains("key"), "{message}");
}

#[test]
fn a_file_that_is_not_there_or_holds_something_else_is_named() {
    let ca = |path: &str| TlsConfig { ca_cert: file(Path::new(path)), ..TlsConfig::default() };
    let error = new_client("https://127.0.0.1:1", ca("/no/such/file.pem")).err().unwrap();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert!(error.full_message().contains("/no/such/file.pem: No such file"), "{}", error.full_message());
    let error = new_client("https://127.0.0.1:1", ca("/proc/self/stat")).err().unwrap();
    assert!(error.full_message().contains("/proc/self/stat: no certificate"), "{}", error.full_message());
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let tls = TlsConfig { ca_cert: Some(Pem::Memory(broken)), ..TlsConfig::default() };
    let error = new_client("https://127.0.0.1:1", tls).err().unwrap();
    assert!(error.full_message().contains("ca_cert_pem"), "{}", error.full_message());
}

#[test]
fn tls_spoken_to_a_server_that_does_not_speak_it_fails_and_so_does_the_reverse() {
    let gateway = FakeGateway::sending("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let skip = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    // The script waits for a head that never comes: what a TLS client sends has none.
    let url = gateway.url().replace("http://", "https://");
    let options = common::within(std::time::Duration::from_millis(300));
    let client = new_client(&url, skip).unwrap();
    let error = common::get_with(&client, b"key", &options).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. } | Error::Tls { .. }), "{error:?}");

    let certificates = Certificates::new();
    let etcd = serve(&versions()[0], &certificates, &["127.0.0.1"], false, "127.0.0.1");
    // Some servers say so, others just close.
    let error = get(&common::client(&etcd.url().replace("https://", "http://")), b"key").unwrap_err();
    assert!(matches!(error, Error::Protocol { http_status: 400, .. } | Error::Lost { .. }), "{error:?}");
}

#[test]
fn a_connection_that_a_tls_server_dropped_while_idle_fails_no_call() {
    let certificates = Certificates::new();
    for version in versions() {
        let mut etcd = serve(&version, &certificates, &["127.0.0.1"], false, "127.0.0.1");
        let client = new_client(&etcd.url(), trusting(&certificates)).unwrap();
        put(&client, b"key", b"value").unwrap();
        etcd.restart();
        put(&client, b"key", b"value").unwrap();
        assert_eq!(get(&client, b"key").unwrap().unwrap(), b"value");
    }
}

/// Answers every request on each of so many connections with the same bytes, over TLS, and after so many of them breaks it
/// off without a word of TLS. Tells how many requests each had.
fn answering_over_tls(
    identity: &Identity,
    answer: &'static [u8],
    connections: usize,
    at_most: usize,
) -> (String, thread::JoinHandle<Vec<usize>>) {
    let chain = vec![CertificateDer::from_pem_file(&identity.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let settings = Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let serve = |_| {
            let stream = listener.accept().unwrap().0;
            let mut stream = StreamOwned::new(ServerConnection::new(settings.clone()).unwrap(), stream);
            let mut piece = [0; 4096];
            let mut requests = 0;
            // Requests as small as these come in one record each.
            while requests < at_most && stream.read(&mut piece).is_ok_and(|count| count > 0) {
                requests += 1;
                let _ = stream.write_all(answer);
            }
            requests
        };
        (0..connections).map(serve).collect()
    });
    (url, serving)
}

#[test]
fn a_tls_connection_with_something_left_over_is_not_used_again() {
    let certificates = Certificates::new();
    let identity = certificates.issue("server", &["127.0.0.1"]);
    // One TLS record holds the answer and another one that nobody asked for. Of a body as long as this the last part is
    // read by itself, and what follows it stays behind in TLS.
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 14000\r\n\r\n{DONE}").into_bytes();
    let beyond = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec();
    let beyond: &'static [u8] = [head, vec![b' '; 14_000 - DONE.len()], beyond].concat().leak();
    let (url, serving) = answering_over_tls(&identity, beyond, 2, usize::MAX);
    let client = new_client(&url, trusting(&certificates)).unwrap();
    put(&client, b"key", b"value").unwrap();
    put(&client, b"key", b"value").unwrap();
    drop(client);
    assert_eq!(serving.join().unwrap(), [1, 1]);
}

#[test]
fn a_tls_connection_is_used_again() {
    let certificates = Certificates::new();
    let identity = certificates.issue("server", &["127.0.0.1"]);
    let (url, serving) = answering_over_tls(&identity, with_length(DONE).leak().as_bytes(), 1, usize::MAX);
    let client = new_client(&url, trusting(&certificates)).unwrap();
    for _ in 0..5 {
        put(&client, b"key", b"value").unwrap();
    }
    drop(client);
    assert_eq!(serving.join().unwrap(), [5]);
}

#[test]
fn an_answer_that_a_tls_server_breaks_off_is_told_in_words_about_the_server() {
    let certificates = Certificates::new();
    let identity = certificates.issue("server", &["127.0.0.1"]);
    let (url, serving) = answering_over_tls(&identity, b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{", 1, 1);
    let client = new_client(&url, trusting(&certificates)).unwrap();
    let error = put(&client, b"key", b"value").unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(error.may_have_applied());
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "the server broke off its TLS connection");
    assert_eq!(serving.join().unwrap(), [1]);
}
