//! What is on the disk before, while and after a snapshot is saved.

use crate::common::{Gate, LONG, TempDir, client, plain, wait_until};
use crate::support::*;
use etcdgw::error::Error;
use etcdgw::rpc::snapshot::SnapshotRequest;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

/// The operating system's reason for an error about a file.
#[track_caller]
fn assert_file_error(error: &Error, path: &Path, reason: &str) {
    let Error::File { path: given, .. } = error else { panic!("{error:?}") };
    assert_eq!(given, path);
    assert!(error.full_message().contains(reason), "{}", error.full_message());
    assert!(!error.may_have_applied());
}

#[test]
fn the_file_is_private_from_its_first_byte_on_and_replaces_what_was_there_at_the_end() {
    let (begun, goes_on) = (Gate::new(), Gate::new());
    let gates = (begun.clone(), goes_on.clone());
    let gateway = snapshots(move |_, reply| {
        let database = database(2);
        send_pieces(&database[..PIECE_BYTES], reply);
        gates.0.open();
        gates.1.wait();
        reply.chunk(line(&database[PIECE_BYTES..], 0));
        reply.chunk(line(&checksum(&database), 0));
        reply.end();
    });
    let dir = TempDir::new("snapshot");
    let (path, part) = (dir.path().join("etcd.db"), dir.path().join("etcd.db.part"));
    fs::write(&path, "an older one").unwrap();
    let client = client(gateway.url());
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&client, &path).unwrap());
        begun.wait();
        wait_until(LONG, || fs::metadata(&part).is_ok_and(|part| part.len() as usize == PIECE_BYTES));
        assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"an older one");
        goes_on.open();
        let saved = saving.join().unwrap();
        assert_eq!((saved.size as usize, &saved.version[..]), (2 * PIECE_BYTES + 32, "3.6.0"));
    });
    assert_eq!(fs::read(&path).unwrap(), [database(2), checksum(&database(2))].concat());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(dir.path()), ["etcd.db"]);
}

#[test]
fn of_two_that_save_to_one_path_one_does_and_the_other_is_refused() {
    let (begun, goes_on) = (Gate::new(), Gate::new());
    let gates = (begun.clone(), goes_on.clone());
    let slow = snapshots(move |_, reply| {
        send_pieces(&database(1), reply);
        gates.0.open();
        gates.1.wait();
        reply.chunk(line(&checksum(&database(1)), 0));
        reply.end();
    });
    let dir = TempDir::new("snapshot");
    let path = dir.path().join("etcd.db");
    let slow_client = client(slow.url());
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&slow_client, &path).unwrap());
        begun.wait();
        let quick = snapshots(|_, reply| send_snapshot(&database(3), reply));
        let error = save(&client(quick.url()), &path).unwrap_err();
        assert_file_error(&error, &dir.path().join("etcd.db.part"), "another snapshot is being saved there");
        assert_eq!(quick.requests().len(), 0, "nothing is asked for that can't be kept");
        goes_on.open();
        saving.join().unwrap();
    });
    assert_eq!(fs::metadata(&path).unwrap().len() as usize, PIECE_BYTES + 32);
    assert_eq!(names(dir.path()), ["etcd.db"]);
}

#[test]
fn what_a_process_that_was_killed_has_left_is_written_over() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let dir = TempDir::new("snapshot");
    let (path, part) = (dir.path().join("etcd.db"), dir.path().join("etcd.db.part"));
    fs::write(&part, vec![1; 100 * PIECE_BYTES]).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
    save(&client(gateway.url()), &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [database(1), checksum(&database(1))].concat());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(dir.path()), ["etcd.db"]);
}

#[test]
fn what_others_have_put_in_the_files_place_is_neither_followed_nor_written_to() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let client = client(gateway.url());
    type PutThere = fn(&Path, &Path);
    let put_there: [(&str, &str, PutThere); 4] = [
        ("a link", "symbolic links", |victim, part| symlink(victim, part).unwrap()),
        ("another name of a file", "left behind", |victim, part| fs::hard_link(victim, part).unwrap()),
        ("a folder", "directory", |_, part| fs::create_dir(part).unwrap()),
        ("a pipe", "No such device or address", |_, part| {
            assert!(Command::new("mkfifo").arg(part).status().unwrap().success());
        }),
    ];
    for (what, reason, put) in put_there {
        let dir = TempDir::new("snapshot");
        let (victim, part) = (dir.path().join("victim"), dir.path().join("etcd.db.part"));
        fs::write(&victim, "precious").unwrap();
        put(&victim, &part);
        let error = save(&client, &dir.path().join("etcd.db")).unwrap_err();
        assert_file_error(&error, &part, reason);
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{what}");
        assert_eq!(names(dir.path()), ["etcd.db.part", "victim"], "{what} is nothing of ours to remove");
    }
    assert_eq!(gateway.requests().len(), 0);
}

#[test]
fn a_link_at_the_path_itself_is_replaced_and_what_it_leads_to_is_left_alone() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let dir = TempDir::new("snapshot");
    let (victim, path) = (dir.path().join("victim"), dir.path().join("etcd.db"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &path).unwrap();
    save(&client(gateway.url()), &path).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn a_path_that_can_not_be_written_is_told_before_anything_is_asked_for() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let client = client(gateway.url());
    let dir = TempDir::new("snapshot");
    assert_file_error(&save(&client, dir.path()).unwrap_err(), dir.path(), "directory");
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    assert_file_error(&save(&client, &socket).unwrap_err(), &socket, "no file");
    assert!(UnixStream::connect(&socket).is_ok());
    drop(listener);
    fs::remove_file(&socket).unwrap();
    let missing = dir.path().join("missing/etcd.db");
    assert_file_error(&save(&client, &missing).unwrap_err(), &dir.path().join("missing/etcd.db.part"), "No such file");
    for none in ["", "/", "..", "folder/"] {
        assert!(matches!(save(&client, Path::new(none)), Err(Error::InvalidArgument { .. })), "{none:?}");
    }
    assert_eq!((gateway.requests().len(), names(dir.path()).len()), (0, 0));
}

/// In a process that may write small files only: its parent is the test below.
const CHILD: &str = "ETCDGW_TEST_SMALL_FILES";

#[test]
fn a_disk_that_is_full_is_told_with_its_reason_and_nothing_is_left() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let gateway = snapshots(|_, reply| send_snapshot(&database(20), reply));
        let folder = Path::new(&folder);
        let error = save(&client(gateway.url()), &folder.join("etcd.db")).unwrap_err();
        assert_file_error(&error, &folder.join("etcd.db.part"), "File too large");
        return;
    }
    let dir = TempDir::new("snapshot");
    fs::write(dir.path().join("etcd.db"), "an older one").unwrap();
    // A full disk can't be had without rights that tests don't have; a limit fails the same write. Its signal is to be
    // ignored by whoever sets one.
    let script = r#"trap '' XFSZ; ulimit -f 256; exec "$0" "$@""#;
    let this_test = "files::a_disk_that_is_full_is_told_with_its_reason_and_nothing_is_left";
    let mut child = Command::new("sh");
    child.args(["-c", script]).arg(std::env::current_exe().unwrap()).args(["--exact", this_test, "--nocapture"]);
    let output = child.env(CHILD, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(names(dir.path()), ["etcd.db"]);
    assert_eq!(fs::read(dir.path().join("etcd.db")).unwrap(), b"an older one");
}

#[test]
fn a_relative_path_is_one_of_the_working_folder() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let name = format!("etcdgw-test-relative-{}.db", std::process::id());
    let saved = client(gateway.url()).snapshot_save(Path::new(&name), SnapshotRequest::default(), &plain());
    let found = fs::read(&name);
    let _: io::Result<()> = fs::remove_file(&name);
    saved.unwrap();
    assert_eq!(found.unwrap().len(), PIECE_BYTES + 32);
}
