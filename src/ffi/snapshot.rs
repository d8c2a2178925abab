//! Snapshots.

use super::boundary::{fallible, infallible};
use super::bytes::{borrow_text, etcdgw_bytes};
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::options::{self, OptionStruct, option_struct};
use super::output::Output;
use super::response::{self, Kept};
use crate::error::{Error, Outcome, Result};
use crate::rpc::snapshot::{SnapshotProgress, SnapshotRequest, SnapshotResponse};
use std::ffi::{c_char, c_void};
use std::path::Path;

/// How far a snapshot is.
#[repr(C)]
pub struct etcdgw_snapshot_progress {
    /// Bytes that have come.
    pub received_bytes: i64,
    /// Bytes of the database that are to come, by the server's account.
    pub remaining_bytes: i64,
}

/// Hears how far a snapshot is, after every piece. `progress` is valid during the call only; `user_data` is that of the
/// options.
///
/// Called on the thread that takes the snapshot, which waits for it. It must not call the library, and must not throw.
pub type etcdgw_snapshot_progress_callback =
    Option<unsafe extern "C" fn(progress: *const etcdgw_snapshot_progress, user_data: *mut c_void)>;

/// Takes a piece of a snapshot, in order. `piece` and its bytes are valid during the call only; `user_data` is what was
/// given with the callback. Returns 0 to go on; anything else ends the snapshot with `ETCDGW_CANCELLED`.
///
/// Called on the thread that takes the snapshot, which waits for it. It must not call the library, and must not throw.
pub type etcdgw_snapshot_sink_callback =
    Option<unsafe extern "C" fn(piece: *const etcdgw_bytes, user_data: *mut c_void) -> i32>;

/// Options of `etcdgw_snapshot_save` and `etcdgw_snapshot_read`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_snapshot_options {
    /// `sizeof(etcdgw_snapshot_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, which is short for a large database; less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The URL of the member to take it of, as in `etcdgw_maintenance_status`; NULL: the one in use.
    pub endpoint: *const c_char,
    /// Hears how far it is; may be NULL.
    pub progress: etcdgw_snapshot_progress_callback,
    /// Given to `progress`.
    pub user_data: *mut c_void,
}
option_struct!(etcdgw_snapshot_options {
    struct_size, timeout_ms, cancel, endpoint, progress, user_data
} first_release_ended_with user_data);

/// A snapshot that is complete, and what its checksum says.
#[repr(C)]
pub struct etcdgw_snapshot_response {
    /// The URL of the member that it is of.
    pub endpoint: *const c_char,
    /// Version of the storage format (3.6 and newer); empty: the server doesn't tell.
    pub version: *const c_char,
    /// Its bytes: the database, and the checksum of 32 bytes after it.
    pub size: i64,
}

/// Takes a snapshot of a member's database into a file, from which `etcdutl snapshot restore` makes a new cluster.
///
/// `path`: where the file is to be; one that is there is replaced. `options` may be NULL. `response`: receives the answer,
/// owned by the caller: `etcdgw_snapshot_response_free`; NULL when it isn't wanted. Any thread.
///
/// It is written to `<path>.part`, which only the user of the process may read, checked against its SHA-256, brought to the
/// disk, and renamed. Whatever fails leaves what was at `path`, and no other file; only when the new name can't be brought
/// to the disk, at the very end, is the new file there although the call fails. Memory does not depend on its size; the
/// time limit holds for everything but what the file system takes for some megabytes. A `.part` that a process which was
/// killed has left is written over.
///
/// Returns `ETCDGW_IO` where the file can't be written, with the reason: no space, no such folder, another snapshot that is
/// being saved to the same path, something else in the file's place. `ETCDGW_PROTOCOL_ERROR` where the snapshot is not what
/// its checksum says. `ETCDGW_CONNECTION_LOST` where the member is lost midway; the next call goes to another one. With
/// authentication the client must be a user with the role `root`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_snapshot_save(
    client: *mut etcdgw_client,
    path: *const c_char,
    options: *const etcdgw_snapshot_options,
    response: *mut *mut etcdgw_snapshot_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let path = Path::new(required_text(path, "path")?);
            let options = options::read(options)?;
            let (endpoint, call) = (borrow_text(options.endpoint, "options.endpoint")?, options.call()?);
            let mut progress = progress_of(&options);
            let request = SnapshotRequest { endpoint, progress: progress.as_mut().map(as_callback) };
            let answer = client.snapshot_save(path, request, &call)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

/// Takes a snapshot of a member's database and hands it over piece by piece, to be kept wherever.
///
/// `sink`: not NULL. `user_data`: given to it. `options` may be NULL; its `user_data` goes to `options.progress` alone.
/// `response`: receives the answer, owned by the caller: `etcdgw_snapshot_response_free`; NULL when it isn't wanted. Any
/// thread.
///
/// What `sink` got counts only when this returns `ETCDGW_OK`: the checksum comes last. Else as `etcdgw_snapshot_save`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_snapshot_read(
    client: *mut etcdgw_client,
    sink: etcdgw_snapshot_sink_callback,
    user_data: *mut c_void,
    options: *const etcdgw_snapshot_options,
    response: *mut *mut etcdgw_snapshot_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let sink = sink.ok_or_else(|| Error::invalid("sink is NULL"))?;
            let options = options::read(options)?;
            let (endpoint, call) = (borrow_text(options.endpoint, "options.endpoint")?, options.call()?);
            let mut progress = progress_of(&options);
            let request = SnapshotRequest { endpoint, progress: progress.as_mut().map(as_callback) };
            let mut take = |piece: &[u8]| -> Result<()> {
                let piece = etcdgw_bytes::lend(piece);
                match sink(&raw const piece, user_data) {
                    0 => Ok(()),
                    _ => Err(Error::Cancelled { outcome: Outcome::NotApplied }),
                }
            };
            let answer = client.snapshot_read(request, &mut take, &call)?;
            response.set_with(|| new(answer));
            Ok(())
        })
    }
}

fn as_callback<F: FnMut(SnapshotProgress)>(progress: &mut F) -> &mut dyn FnMut(SnapshotProgress) {
    progress
}

/// # Safety
/// What is made of it is used during the call only.
unsafe fn progress_of(options: &etcdgw_snapshot_options) -> Option<impl FnMut(SnapshotProgress) + use<>> {
    let user_data = options.user_data;
    options.progress.map(|callback| {
        move |progress: SnapshotProgress| {
            let public = etcdgw_snapshot_progress {
                received_bytes: signed(progress.received_bytes),
                remaining_bytes: signed(progress.remaining_bytes),
            };
            // SAFETY: the caller vouches for the callback during the call, and what it is given lives until it returns.
            unsafe { callback(&raw const public, user_data) }
        }
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn new(answer: SnapshotResponse) -> *mut etcdgw_snapshot_response {
    let mut kept = Kept::default();
    let endpoint = kept.text(answer.endpoint.as_ref().to_owned());
    let version = kept.text(answer.version);
    response::new(etcdgw_snapshot_response { endpoint, version, size: signed(answer.size) }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_snapshot_response_free(response: *mut etcdgw_snapshot_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
