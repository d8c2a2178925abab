//! TLS: what is wrong with a certificate is said, and certificates may be replaced under a running client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{
    Certificates, Etcd, EtcdOptions, Identity, LONG, TempDir, config, for_each_version, get, plain, put, versions,
    wait_until, within,
};
use etcdgw::client::Client;
use etcdgw::config::{Config, Pem, TlsConfig};
use etcdgw::error::{Error, Result};
use etcdgw::log::{Level, LogSink};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

const HOST: &[&str] = &["127.0.0.1"];

fn newest() -> String {
    versions().pop().unwrap()
}

/// A server with this identity; with `client_auth` it wants a certificate of its clients.
fn server(version: &str, certificates: &Certificates, identity: &Identity, client_auth: bool) -> Etcd {
    let flags = certificates.flags(identity, client_auth);
    Etcd::start_with(version, EtcdOptions { flags, tls: true, host: None })
}

fn trusting(ca: &Path) -> TlsConfig {
    TlsConfig { ca_cert: Some(Pem::File(ca.to_owned())), ..TlsConfig::default() }
}

fn with_pair(tls: TlsConfig, cert: &Path, key: &Path) -> TlsConfig {
    TlsConfig { cert: Some(Pem::File(cert.to_owned())), key: Some(Pem::File(key.to_owned())), ..tls }
}

fn client_with(url: &str, tls: TlsConfig) -> Result<Client> {
    Client::new(Config { tls, ..config(url) })
}

/// What a call fails with for its certificates' sake; nothing else may be the cause.
#[track_caller]
fn refusal(url: &str, tls: TlsConfig) -> String {
    let client = client_with(url, tls).unwrap();
    let error = common::get_with(&client, b"key", &within(LONG)).unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(!error.may_have_applied() && !error.is_retryable());
    let message = error.full_message();
    assert!(message.contains(url), "{message}");
    message
}

/// What a client is not made for.
#[track_caller]
fn unusable(tls: TlsConfig) -> String {
    client_with("https://127.0.0.1:1", tls).err().expect("certificates that can't be used are noticed").full_message()
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_the_file_that_lacks_it_is_named() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let etcd = server(&newest(), &certificates, &certificates.issue("server", HOST), false);
    let message = refusal(&etcd.url(), trusting(&others.ca()));
    assert!(message.contains("not signed by an authority in") && message.contains("ca.pem"), "{message}");
    let any = TlsConfig { insecure_skip_verify: true, ..trusting(&others.ca()) };
    get(&client_with(&etcd.url(), any).unwrap(), b"key").unwrap();
}

#[test]
fn a_certificate_that_is_over_or_still_to_come_is_refused_as_such() {
    let certificates = Certificates::new();
    for (years, expected) in [(2001..2020, "has expired"), (3000..3010, "is not valid yet")] {
        let identity = certificates.issue_valid_in("server", HOST, years);
        let etcd = server(&newest(), &certificates, &identity, false);
        let message = refusal(&etcd.url(), trusting(&certificates.ca()));
        assert!(message.contains(expected) && message.contains(" days"), "{message}");
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_with_the_names_it_is_for() {
    let certificates = Certificates::new();
    let identity = certificates.issue("server", &["etcd.example", "10.1.2.3"]);
    let etcd = server(&newest(), &certificates, &identity, false);
    let message = refusal(&etcd.url(), trusting(&certificates.ca()));
    assert!(message.contains("not for 127.0.0.1, but for etcd.example, 10.1.2.3"), "{message}");
    let named = TlsConfig { server_name: Some("etcd.example".to_owned()), ..trusting(&certificates.ca()) };
    get(&client_with(&etcd.url(), named).unwrap(), b"key").unwrap();
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it_or_the_caller_hears_so() {
    for_each_version(|plain_etcd| {
        let (certificates, others) = (Certificates::new(), Certificates::new());
        let etcd = server(plain_etcd.version(), &certificates, &certificates.issue("server", HOST), true);
        let trusting = || trusting(&certificates.ca());
        let message = refusal(&etcd.url(), trusting());
        assert!(message.contains("wants a client certificate, and none is given"), "{message}");
        let foreign = others.issue("client", &["client"]);
        let message = refusal(&etcd.url(), with_pair(trusting(), &foreign.cert, &foreign.key));
        let names_it = message.contains("refuses the client certificate") && message.contains("client.pem");
        assert!(names_it, "{message}");
        let expired = certificates.issue_valid_in("old", &["client"], 2001..2020);
        let message = refusal(&etcd.url(), with_pair(trusting(), &expired.cert, &expired.key));
        assert!(message.contains("refuses the client certificate") && message.contains("old.pem"), "{message}");
        let own = certificates.issue("client", &["client"]);
        let client = client_with(&etcd.url(), with_pair(trusting(), &own.cert, &own.key)).unwrap();
        put(&client, b"tls", b"value").unwrap();
    });
}

/// etcd looks at its list of revoked certificates after the handshake and hangs up: it says no more than that.
#[test]
fn a_client_whose_certificate_was_revoked_is_hung_up_on_and_hears_so_in_time() {
    for_each_version(|plain_etcd| {
        let certificates = Certificates::new();
        let (own, revoked) = (certificates.issue("client", &["client"]), certificates.issue("revoked", &["client"]));
        let mut flags = certificates.flags(&certificates.issue("server", HOST), true);
        flags.push(format!("--client-crl-file={}", certificates.revoke("revoked").display()));
        let etcd = Etcd::start_with(plain_etcd.version(), EtcdOptions { flags, tls: true, host: None });
        let client = |identity: &Identity| {
            client_with(&etcd.url(), with_pair(trusting(&certificates.ca()), &identity.cert, &identity.key)).unwrap()
        };
        let (good, bad) = (client(&own), client(&revoked));
        for error in [
            common::get_with(&bad, b"revoked", &within(LONG)).unwrap_err(),
            put(&bad, b"revoked", b"value").unwrap_err(),
        ] {
            assert!(matches!(error, Error::Lost { .. } | Error::Connect { .. } | Error::Tls { .. }), "{error:?}");
            assert!(error.full_message().contains(&etcd.url()), "{error:?}");
        }
        put(&good, b"tls", b"value").unwrap();
        assert_eq!(get(&good, b"revoked").unwrap(), None);
    });
}

#[test]
fn a_server_without_tls_is_told_from_a_bad_certificate() {
    let etcd = Etcd::start(&newest());
    let tls = TlsConfig { insecure_skip_verify: true, ..TlsConfig::default() };
    let client = client_with(&etcd.url().replace("http://", "https://"), tls).unwrap();
    let error = common::get_with(&client, b"key", &within(LONG)).unwrap_err();
    // It depends on what the server does with bytes that it doesn't know.
    assert!(matches!(error, Error::Connect { .. } | Error::Tls { .. }), "{error:?}");
    assert!(error.full_message().contains("TLS"), "{error:?}");
}

#[test]
fn files_that_can_not_be_used_are_named_before_the_first_call() {
    let certificates = Certificates::new();
    let (one, other) = (certificates.issue("one", &["one"]), certificates.issue("other", &["other"]));
    let dir = TempDir::new("tls");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (empty, prose, missing) =
        (write("empty.pem", ""), write("prose.pem", "no PEM"), dir.path().join("missing.pem"));
    let base = || trusting(&certificates.ca());
    for (message, expected) in [
        (unusable(trusting(&empty)), ["empty.pem", "empty"]),
        (unusable(trusting(&prose)), ["prose.pem", "no certificate"]),
        (unusable(trusting(&missing)), ["missing.pem", "No such file"]),
        (unusable(with_pair(base(), &one.cert, &other.key)), ["other-key.pem is not the key of", "one.pem"]),
        (unusable(with_pair(base(), &empty, &one.key)), ["empty.pem", "empty"]),
        (unusable(with_pair(base(), &one.cert, &empty)), ["empty.pem", "empty"]),
        (unusable(with_pair(base(), &one.cert, &prose)), ["prose.pem", "no private key"]),
        (unusable(with_pair(base(), &one.cert, &missing)), ["missing.pem", "No such file"]),
        (unusable(with_pair(base(), &one.cert, dir.path())), [dir.path().to_str().unwrap(), "directory"]),
        (unusable(TlsConfig { cert: Some(Pem::File(one.cert.clone())), ..base() }), ["one.pem", "without its key"]),
        (unusable(TlsConfig { key: Some(Pem::File(one.key.clone())), ..base() }), ["one-key.pem", "certificate"]),
    ] {
        assert!(expected.iter().all(|part| message.contains(part)), "{message} lacks one of {expected:?}");
    }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_are_read_in_all_their_forms_unless_they_are_encrypted() {
    let dir = TempDir::new("keys");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let certificates = Certificates::new();
    let ec = certificates.issue("ec", &["client"]);
    let ec_key = ec.key.display().to_string();
    let (sec1, rsa, pkcs1, rsa_cert) = (path("sec1.pem"), path("rsa.pem"), path("pkcs1.pem"), path("rsa-cert.pem"));
    openssl(&["ec", "-in", &ec_key, "-out", &sec1]);
    let subject = ["-subj", "/O=tests", "-days", "1"];
    openssl(
        &[&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &rsa, "-out", &rsa_cert], &subject[..]]
            .concat(),
    );
    openssl(&["rsa", "-traditional", "-in", &rsa, "-out", &pkcs1]);
    let usable = |cert: &Path, key: &str, begin: &str| {
        assert!(fs::read_to_string(key).unwrap().contains(begin), "{key} is of another form");
        let tls = with_pair(trusting(&certificates.ca()), cert, Path::new(key));
        client_with("https://127.0.0.1:1", tls).unwrap();
    };
    usable(&ec.cert, &ec_key, "BEGIN PRIVATE KEY");
    usable(&ec.cert, &sec1, "BEGIN EC PRIVATE KEY");
    usable(Path::new(&rsa_cert), &pkcs1, "BEGIN RSA PRIVATE KEY");
    usable(Path::new(&rsa_cert), &rsa, "BEGIN PRIVATE KEY");

    let (new_way, old_way) = (path("encrypted.pem"), path("encrypted-traditional.pem"));
    openssl(&["pkcs8", "-topk8", "-in", &ec_key, "-out", &new_way, "-passout", "pass:secret"]);
    openssl(&["rsa", "-traditional", "-aes128", "-in", &rsa, "-out", &old_way, "-passout", "pass:secret"]);
    for (cert, key) in [(ec.cert.clone(), &new_way), (PathBuf::from(&rsa_cert), &old_way)] {
        let message = unusable(with_pair(trusting(&certificates.ca()), &cert, Path::new(key)));
        assert!(message.contains(key.as_str()) && message.contains("is encrypted"), "{message}");
    }
}

/// Keeps every line.
#[derive(Default)]
struct Log(Mutex<Vec<(Level, String)>>);

impl LogSink for Log {
    fn wants(&self, _: Level) -> bool {
        true
    }
    fn log(&self, level: Level, line: &str) {
        self.0.lock().unwrap().push((level, line.to_owned()));
    }
}

impl Log {
    fn has(&self, level: Level, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|(of, line)| *of == level && line.contains(text))
    }
}

/// The files of a client, which are replaced one after another.
struct Files {
    dir: TempDir,
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// As a careful program does: beside it first, then in its place.
    fn replace(&self, name: &str, from: &Path) {
        fs::copy(from, self.path("new")).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn config(&self) -> TlsConfig {
        with_pair(trusting(&self.path("ca.pem")), &self.path("cert.pem"), &self.path("key.pem"))
    }

    fn hold(&self, ca: &Path, own: &Identity) {
        self.replace("ca.pem", ca);
        self.replace("cert.pem", &own.cert);
        self.replace("key.pem", &own.key);
    }
}

#[test]
fn certificates_are_replaced_under_a_running_client() {
    let (first, second) = (Certificates::new(), Certificates::new());
    let files = Files { dir: TempDir::new("rotation") };
    files.hold(&first.ca(), &first.issue("client", &["client"]));
    let etcd = server(&newest(), &first, &first.issue("server", HOST), true);
    let log = Arc::new(Log::default());
    let client = Client::new(Config { tls: files.config(), log: Some(log.clone()), ..config(&etcd.url()) }).unwrap();
    put(&client, b"key", b"first").unwrap();

    // Another authority, for the server and for its clients.
    drop(etcd);
    let etcd = server(&newest(), &second, &second.issue("server", HOST), true);
    client.set_endpoints(&etcd.url()).unwrap();
    assert!(matches!(put(&client, b"key", b"too early").unwrap_err(), Error::Tls { .. }));
    let own = second.issue("client", &["client"]);
    files.replace("ca.pem", &second.ca());
    assert!(matches!(put(&client, b"key", b"half").unwrap_err(), Error::Tls { .. }), "the client is a stranger yet");
    files.replace("cert.pem", &own.cert);
    assert!(matches!(put(&client, b"key", b"half").unwrap_err(), Error::Tls { .. }), "a pair in two steps");
    assert!(log.has(Level::Warn, "is not the key of"), "{:?}", log.0.lock().unwrap());
    files.replace("key.pem", &own.key);
    put(&client, b"key", b"second").unwrap();
    assert!(log.has(Level::Info, "the certificate files have changed"));
    assert_eq!(get(&client, b"key").unwrap().unwrap(), b"second");
}

#[test]
fn a_broken_new_file_leaves_the_certificates_in_use() {
    let certificates = Certificates::new();
    let files = Files { dir: TempDir::new("broken") };
    files.hold(&certificates.ca(), &certificates.issue("client", &["client"]));
    let mut etcd = server(&newest(), &certificates, &certificates.issue("server", HOST), true);
    let log = Arc::new(Log::default());
    let client = Client::new(Config { tls: files.config(), log: Some(log.clone()), ..config(&etcd.url()) }).unwrap();
    put(&client, b"key", b"before").unwrap();
    for (name, text) in [("ca.pem", "-----BEGIN"), ("key.pem", ""), ("cert.pem", "no PEM")] {
        let good = fs::read(files.path(name)).unwrap();
        fs::write(files.path(name), text).unwrap();
        etcd.restart();
        // The old connection is gone: this is a new one.
        wait_until(LONG, || put(&client, b"key", text.as_bytes()).is_ok());
        assert!(log.has(Level::Warn, name), "{name}: {:?}", log.0.lock().unwrap());
        fs::write(files.path(name), good).unwrap();
    }
    fs::remove_file(files.path("ca.pem")).unwrap();
    etcd.restart();
    wait_until(LONG, || put(&client, b"key", b"after").is_ok());
    client.range(&common::one(b"key"), &plain()).unwrap();
}
