//! Snapshots that come to no good end.

use crate::common::{Gate, LONG, TempDir, client, plain, timed, wait_until, within};
use crate::support::*;
use etcdgw::client::CallOptions;
use etcdgw::error::{Code, Error, Outcome};
use etcdgw::net::CancelToken;
use etcdgw::rpc::snapshot::{SnapshotProgress, SnapshotRequest};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Saves what a gateway gives, which must fail, and looks that nothing is left.
#[track_caller]
fn fail(url: &str, options: &CallOptions) -> Error {
    let dir = TempDir::new("snapshot");
    let path = dir.path().join("etcd.db");
    std::fs::write(&path, "an older one").unwrap();
    let error = save_with(&client(url), &path, options).unwrap_err();
    assert_eq!(names(dir.path()), ["etcd.db"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"an older one");
    assert!(!error.may_have_applied(), "{error:?}");
    error
}

#[test]
fn a_snapshot_that_its_checksum_does_not_fit_is_refused() {
    type Spoil = fn(&mut Vec<u8>);
    let spoilt: [(&str, Spoil); 5] = [
        ("a byte changed", |bytes| bytes[40_000] ^= 1),
        ("a piece lost", |bytes| drop(bytes.drain(PIECE_BYTES..2 * PIECE_BYTES))),
        ("the checksum lost", |bytes| bytes.truncate(bytes.len() - 32)),
        ("half the checksum lost", |bytes| bytes.truncate(bytes.len() - 16)),
        ("everything lost", Vec::clear),
    ];
    for (what, spoil) in spoilt {
        let gateway = snapshots(move |_, reply| {
            let mut bytes = [database(3), checksum(&database(3))].concat();
            spoil(&mut bytes);
            send_pieces(&bytes, reply);
            reply.end();
        });
        let error = fail(gateway.url(), &plain());
        assert!(matches!(&error, Error::Protocol { .. }) && error.to_string().contains("checksum"), "{what}: {error}");
    }
}

#[test]
fn a_connection_that_is_lost_midway_is_told_and_the_next_snapshot_is_taken_elsewhere() {
    let cut = snapshots(|_, reply| {
        send_pieces(&database(2), reply);
        reply.close();
    });
    let whole = snapshots(|_, reply| send_snapshot(&database(2), reply));
    let dir = TempDir::new("snapshot");
    let path = dir.path().join("etcd.db");
    let client = client(&format!("{},{}", cut.url(), whole.url()));
    let error = save(&client, &path).unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && error.is_retryable() && !error.may_have_applied(), "{error:?}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
    assert_eq!(*save(&client, &path).unwrap().endpoint, *whole.url());
}

#[test]
fn what_the_server_says_in_the_middle_is_what_the_caller_hears() {
    for (said, code) in [
        (r#"{"error":{"code":14,"message":"etcdserver: server stopped"}}"#, Code::Unavailable),
        (r#"{"error":{"grpc_code":7,"http_code":403,"message":"permission denied"}}"#, Code::PermissionDenied),
    ] {
        let gateway = snapshots(move |_, reply| {
            send_pieces(&database(1), reply);
            reply.chunk(said);
            reply.end();
        });
        let error = fail(gateway.url(), &plain());
        assert!(matches!(&error, Error::Server { code: given, .. } if *given == code), "{error:?}");
    }
    for nonsense in ["no JSON\n", "{\"result\":{\"blob\":\"?\"}}\n", "{}\n", "{\"result\":7}\n"] {
        let gateway = snapshots(move |_, reply| {
            send_pieces(&database(1), reply);
            reply.chunk(nonsense);
            reply.end();
        });
        let error = fail(gateway.url(), &plain());
        assert!(matches!(&error, Error::Protocol { .. }), "{nonsense}: {error:?}");
    }
}

#[test]
fn a_line_without_an_end_is_not_read_for_ever() {
    let gateway = snapshots(|_, reply| {
        reply.stream_head();
        while reply.is_open() {
            reply.chunk([b'x'; 64 << 10]);
        }
    });
    let error = fail(gateway.url(), &plain());
    assert!(matches!(&error, Error::TooLarge { .. }) && error.to_string().contains("larger than"), "{error:?}");
}

#[test]
fn a_time_limit_ends_a_snapshot_that_stands_still_and_one_that_goes_on() {
    let still = snapshots(|_, reply| {
        send_pieces(&database(1), reply);
        reply.hold();
    });
    let endless = snapshots(|_, reply| {
        reply.stream_head();
        while reply.is_open() {
            reply.chunk(line(&[0; PIECE_BYTES], 1 << 40));
        }
    });
    for gateway in [still, endless] {
        let limit = Duration::from_millis(300);
        let (error, took) = timed(|| fail(gateway.url(), &within(limit)));
        assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
        assert!(took >= limit && took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_snapshot_is_cancelled_by_its_token_by_its_client_and_by_whoever_takes_it() {
    let begun = Gate::new();
    let gate = begun.clone();
    let gateway = snapshots(move |_, reply| {
        send_pieces(&database(1), reply);
        gate.open();
        reply.hold();
    });
    let dir = TempDir::new("snapshot");
    let path = dir.path().join("etcd.db");
    let token = Arc::new(CancelToken::new().unwrap());
    let options = CallOptions { cancel: Some(token.clone()), ..plain() };
    let client = client(gateway.url());
    thread::scope(|scope| {
        let saving = scope.spawn(|| save_with(&client, &path, &options));
        begun.wait();
        wait_until(LONG, || names(dir.path()) == ["etcd.db.part"]);
        token.trigger();
        assert!(matches!(saving.join().unwrap(), Err(Error::Cancelled { .. })));
    });
    // From the progress callback, while more has arrived than was taken: nothing is waited for then.
    let whole = snapshots(|_, reply| send_snapshot(&database(50), reply));
    let token = Arc::new(CancelToken::new().unwrap());
    let options = CallOptions { cancel: Some(token.clone()), ..plain() };
    let mut told = 0;
    let mut progress = |_: SnapshotProgress| {
        told += 1;
        token.trigger();
    };
    let request = SnapshotRequest { progress: Some(&mut progress), endpoint: None };
    let cancelled = crate::common::client(whole.url()).snapshot_save(&path, request, &options);
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })), "{cancelled:?}");
    assert_eq!(told, 1);

    let mut taken = 0;
    let mut sink = |_: &[u8]| {
        taken += 1;
        if taken == 3 { Err(Error::Cancelled { outcome: Outcome::NotApplied }) } else { Ok(()) }
    };
    let client_of_whole = crate::common::client(whole.url());
    let cancelled = client_of_whole.snapshot_read(SnapshotRequest::default(), &mut sink, &plain());
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })) && taken == 3, "{cancelled:?}");

    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&client, &path));
        wait_until(LONG, || names(dir.path()) == ["etcd.db.part"]);
        client.close();
        assert!(matches!(saving.join().unwrap(), Err(Error::Closed { .. })));
    });
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn a_cancellation_at_the_very_end_still_leaves_what_was_there() {
    let gateway = snapshots(|_, reply| send_snapshot(&database(1), reply));
    let dir = TempDir::new("snapshot");
    let path = dir.path().join("etcd.db");
    let token = Arc::new(CancelToken::new().unwrap());
    let options = CallOptions { cancel: Some(token.clone()), ..plain() };
    let mut progress = |progress: SnapshotProgress| {
        if progress.received_bytes as usize == PIECE_BYTES + 32 {
            token.trigger();
        }
    };
    let request = SnapshotRequest { progress: Some(&mut progress), endpoint: None };
    let cancelled = client(gateway.url()).snapshot_save(&path, request, &options);
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })), "{cancelled:?}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}
