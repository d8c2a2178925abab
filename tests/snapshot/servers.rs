//! Snapshots of real servers, judged by etcdutl and restored into fresh ones.

use crate::common::{
    Certificates, Cluster, Etcd, EtcdOptions, LONG, TempDir, etcdutl, etcdutl_version, for_each_version, plain, prefix,
    put, put_request, versions, wait_until, with_each_version,
};
use crate::support::{names, save};
use etcdgw::client::Client;
use etcdgw::config::{Config, Credentials, Pem, TlsConfig};
use etcdgw::error::{Code, Error};
use etcdgw::rpc::kv::PutRequest;
use etcdgw::rpc::snapshot::{SnapshotProgress, SnapshotRequest};
use std::path::Path;
use std::process::Command;

/// Runs a program that must succeed, and gives what it prints.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A key, its value, the revisions that created and changed it, its version and its lease.
type Fields = (Vec<u8>, Vec<u8>, i64, i64, i64, i64);

/// Every key with all its fields.
fn everything(client: &Client) -> Vec<Fields> {
    let all = client.range(&prefix(b""), &plain()).unwrap();
    let fields = all.kvs.iter().map(|kv| {
        let (key, value) = (all.bytes(kv.key).to_vec(), all.bytes(kv.value).to_vec());
        (key, value, kv.create_revision, kv.mod_revision, kv.version, kv.lease)
    });
    fields.collect()
}

/// Some keys with a history, some large, one with a lease.
fn fill(client: &Client) {
    for number in 0..200 {
        let key = format!("key/{number}");
        put(client, key.as_bytes(), &vec![number as u8; number * 40]).unwrap();
        if number % 3 == 0 {
            put(client, key.as_bytes(), b"\0\xff again").unwrap();
        }
    }
    client.lease_grant(600, 77, &plain()).unwrap();
    client.put(&PutRequest { lease: 77, ..put_request(b"leased\0\xff", b"value") }, &plain()).unwrap();
}

/// A snapshot's version is what the database holds of it, and a new server of 3.6 or newer only writes that some time
/// after it is healthy (`monitorStorageVersion`); an older one never does. Until then its status guesses 3.5.0.
fn storage_version_once_written(etcd: &Etcd, client: &Client) -> String {
    let (major, minor) = etcd.release();
    if (major, minor) < (3, 6) {
        return String::new();
    }
    let written = format!("{major}.{minor}.0");
    wait_until(LONG, || client.status(None, &plain()).unwrap().storage_version == written);
    written
}

#[test]
fn a_snapshot_of_every_version_is_accepted_and_restored_key_by_key() {
    for_each_version(|etcd| {
        let client = crate::common::administrator(&etcd.url());
        fill(&client);
        let storage_version = storage_version_once_written(&etcd, &client);
        let dir = TempDir::new("snapshot");
        let path = dir.path().join("etcd.db");
        let saved = save(&client, &path).unwrap();
        assert_eq!(saved.size, std::fs::metadata(&path).unwrap().len());
        assert_eq!((saved.size % 512, &*saved.endpoint), (32, &*etcd.url()));
        assert_eq!(saved.version, storage_version);
        assert_eq!(names(dir.path()), ["etcd.db"]);

        let status = run(etcdutl().args(["snapshot", "status", "--write-out=json"]).arg(&path));
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let revision = client.range(&prefix(b""), &plain()).unwrap().header.revision;
        assert_eq!(
            (status["revision"].as_i64(), status["totalSize"].as_u64()),
            (Some(revision), Some(saved.size - 32))
        );

        let restored = dir.path().join("restored");
        run(etcdutl().args(["snapshot", "restore"]).arg(&path).arg("--data-dir").arg(&restored));
        // What etcdutl writes is read by servers of its own release and by newer ones.
        let version = if etcd.release() < (3, 6) { etcdutl_version() } else { etcd.version().to_owned() };
        let fresh = Etcd::start_on(&version, &restored);
        let before = everything(&client);
        assert_eq!(before.len(), 201);
        assert_eq!(everything(&crate::common::administrator(&fresh.url())), before);
    });
}

#[test]
fn progress_is_told_after_every_piece_and_adds_up() {
    for_each_version(|etcd| {
        let client = crate::common::administrator(&etcd.url());
        fill(&client);
        let dir = TempDir::new("snapshot");
        let mut told: Vec<SnapshotProgress> = Vec::new();
        let mut progress = |progress| told.push(progress);
        let request = SnapshotRequest { progress: Some(&mut progress), endpoint: None };
        let saved = client.snapshot_save(&dir.path().join("etcd.db"), request, &plain()).unwrap();
        assert!(told.len() >= 2 && told.windows(2).all(|two| two[0].received_bytes < two[1].received_bytes));
        let database = saved.size - 32;
        let (checksum, pieces) = told.split_last().unwrap();
        assert!(pieces.iter().all(|piece| piece.received_bytes + piece.remaining_bytes == database), "{told:?}");
        assert_eq!((checksum.received_bytes, checksum.remaining_bytes), (saved.size, 0));
    });
}

#[test]
fn the_pieces_handed_over_are_the_file() {
    for_each_version(|etcd| {
        let client = crate::common::administrator(&etcd.url());
        fill(&client);
        let mut taken = Vec::new();
        let mut sink = |piece: &[u8]| -> Result<(), Error> {
            taken.extend_from_slice(piece);
            Ok(())
        };
        let read = client.snapshot_read(SnapshotRequest::default(), &mut sink, &plain()).unwrap();
        assert_eq!(read.size, taken.len() as u64);
        let dir = TempDir::new("snapshot");
        let path = dir.path().join("etcd.db");
        std::fs::write(&path, taken).unwrap();
        run(etcdutl().args(["snapshot", "status"]).arg(&path));
    });
}

#[test]
fn a_snapshot_is_of_the_member_that_is_named_and_else_of_one_that_is_there() {
    with_each_version(|version| {
        let mut cluster = Cluster::start(version, 3);
        let client = crate::common::administrator(&cluster.endpoints());
        put(&client, b"key", b"value").unwrap();
        let dir = TempDir::new("snapshot");
        let path = dir.path().join("etcd.db");
        for member in &cluster.members {
            let url = member.url();
            let request = SnapshotRequest { endpoint: Some(&url), progress: None };
            assert_eq!(*client.snapshot_save(&path, request, &plain()).unwrap().endpoint, url);
        }
        cluster.members[0].kill();
        let gone = cluster.members[0].url();
        let request = SnapshotRequest { endpoint: Some(&gone), progress: None };
        let error = client.snapshot_save(&path, request, &plain()).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert_ne!(*save(&client, &path).unwrap().endpoint, gone);
        // Without a majority nothing can be written, but what is there can be saved.
        cluster.members[1].kill();
        save(&client, &path).unwrap();
    });
}

/// A client of a server with TLS, as this user.
fn secure(etcd: &Etcd, ca: &Path, credentials: Credentials) -> Client {
    let tls = TlsConfig { ca_cert: Some(Pem::File(ca.to_owned())), ..TlsConfig::default() };
    Client::new(Config { tls, credentials, ..crate::common::config(&etcd.url()) }).unwrap()
}

#[test]
fn over_tls_and_with_authentication_only_root_gets_a_snapshot() {
    for version in versions() {
        let certificates = Certificates::new();
        let server = certificates.issue("server", &["127.0.0.1"]);
        let flags = [certificates.flags(&server, false), vec!["--bcrypt-cost=4".to_owned()]].concat();
        let etcd = Etcd::start_with(&version, EtcdOptions { flags, tls: true, ..EtcdOptions::default() });
        let client = |name: &str| {
            let user = Credentials::User { name: name.to_owned(), password: "a password".into() };
            secure(&etcd, &certificates.ca(), user)
        };
        let root = client("root");
        root.role_add("root", &plain()).unwrap();
        for name in ["root", "app"] {
            root.user_add(name, Some(&"a password".into()), &plain()).unwrap();
        }
        root.user_grant_role("root", "root", &plain()).unwrap();
        fill(&root);
        root.auth_enable(&plain()).unwrap();

        let dir = TempDir::new("snapshot");
        let path = dir.path().join("etcd.db");
        let denied = save(&client("app"), &path).unwrap_err();
        assert!(matches!(denied, Error::Server { code: Code::PermissionDenied, .. }), "{denied:?}");
        let nobody = save(&secure(&etcd, &certificates.ca(), Credentials::Nobody), &path).unwrap_err();
        assert!(matches!(nobody, Error::Server { .. }), "{nobody:?}");
        assert_eq!(names(dir.path()), Vec::<String>::new());
        save(&root, &path).unwrap();
        run(etcdutl().args(["snapshot", "status"]).arg(&path));
    }
}
