//! Snapshots and their callbacks.

use crate::common::TempDir;
use crate::snapshot_gateway::*;
use crate::{TestClient, defaults, ok, response, text};
use etcdgw::ffi::*;
use std::ffi::{CString, c_void};
use std::ptr;

/// What a program keeps of its callbacks.
#[derive(Default)]
struct Heard {
    progress: Vec<(i64, i64)>,
    bytes: Vec<u8>,
    /// After so many pieces no more is wanted; 0: all are.
    pieces_wanted: usize,
    pieces: usize,
}

unsafe extern "C" fn hear(progress: *const etcdgw_snapshot_progress, user_data: *mut c_void) {
    let (progress, heard) = unsafe { (&*progress, &mut *user_data.cast::<Heard>()) };
    heard.progress.push((progress.received_bytes, progress.remaining_bytes));
}

unsafe extern "C" fn take(piece: *const etcdgw_bytes, user_data: *mut c_void) -> i32 {
    let heard = unsafe { &mut *user_data.cast::<Heard>() };
    heard.bytes.extend(crate::read(unsafe { *piece }));
    heard.pieces += 1;
    i32::from(heard.pieces == heard.pieces_wanted)
}

const SIZE: i64 = 2 * PIECE_BYTES as i64 + 32;

/// A gateway with a snapshot of two pieces.
fn gateway() -> crate::common::FakeGateway {
    snapshots(|_, reply| send_snapshot(&database(2), reply))
}

#[track_caller]
fn assert_response(answer: *mut etcdgw_snapshot_response, url: &str) {
    unsafe {
        assert_eq!((text((*answer).endpoint), text((*answer).version)), (url.to_owned(), "3.6.0".to_owned()));
        assert_eq!((*answer).size, SIZE);
        etcdgw_snapshot_response_free(answer);
    }
}

#[test]
fn a_snapshot_is_saved_of_the_member_that_is_named_and_tells_its_progress() {
    let (asked, other) = (gateway(), gateway());
    let client = TestClient::of(other.url());
    let dir = TempDir::new("snapshot");
    let path = CString::new(dir.path().join("etcd.db").to_str().unwrap()).unwrap();
    let mut heard = Heard::default();
    let endpoint = CString::new(asked.url()).unwrap();
    let options = etcdgw_snapshot_options {
        endpoint: endpoint.as_ptr(),
        progress: Some(hear),
        user_data: (&raw mut heard).cast(),
        ..defaults()
    };
    let answer = response(|out, err| unsafe { etcdgw_snapshot_save(client.0, path.as_ptr(), &options, out, err) });
    assert_response(answer, asked.url());
    assert_eq!(heard.progress, [(SIZE / 2 - 16, SIZE / 2 - 16), (SIZE - 32, 0), (SIZE, 0)]);
    assert_eq!(std::fs::metadata(dir.path().join("etcd.db")).unwrap().len() as i64, SIZE);
    assert_eq!((names(dir.path()), other.requests().len()), (vec!["etcd.db".to_owned()], 0));
    ok(|err| unsafe { etcdgw_snapshot_save(client.0, path.as_ptr(), ptr::null(), ptr::null_mut(), err) });
    assert_eq!(other.requests().len(), 1);
}

#[test]
fn a_snapshot_is_handed_over_piece_by_piece_until_no_more_is_wanted() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let (mut heard, mut progress) = (Heard::default(), Heard::default());
    let options = etcdgw_snapshot_options { progress: Some(hear), user_data: (&raw mut progress).cast(), ..defaults() };
    let answer = response(|out, err| unsafe {
        etcdgw_snapshot_read(client.0, Some(take), (&raw mut heard).cast(), &options, out, err)
    });
    assert_response(answer, gateway.url());
    assert_eq!(heard.bytes, [database(2), checksum(&database(2))].concat());
    assert_eq!((progress.progress.len(), progress.pieces, heard.pieces, heard.progress.len()), (3, 0, 3, 0));

    let mut heard = Heard { pieces_wanted: 2, ..Heard::default() };
    let (mut answer, mut err) = (ptr::dangling_mut(), ptr::null_mut());
    unsafe {
        let user_data = (&raw mut heard).cast();
        let status = etcdgw_snapshot_read(client.0, Some(take), user_data, ptr::null(), &mut answer, &mut err);
        assert_eq!((status, etcdgw_error_may_have_applied(err)), (ETCDGW_CANCELLED, 0));
        assert!(answer.is_null());
        etcdgw_error_free(err);
    }
    assert_eq!(heard.pieces, 2);
}

#[test]
fn a_file_that_can_not_be_written_is_an_io_error_with_its_path_and_reason() {
    let gateway = gateway();
    let client = TestClient::of(gateway.url());
    let mut err = ptr::null_mut();
    unsafe {
        let path = c"/nowhere at all/etcd.db";
        let status = etcdgw_snapshot_save(client.0, path.as_ptr(), ptr::null(), ptr::null_mut(), &mut err);
        assert_eq!((status, etcdgw_error_grpc_code(err)), (ETCDGW_IO, -1));
        let message = text(etcdgw_error_message(err));
        assert!(message.contains("/nowhere at all/etcd.db.part") && message.contains("No such file"), "{message}");
        etcdgw_error_free(err);
    }
}
