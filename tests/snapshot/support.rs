//! A gateway that gives snapshots, and looks into folders.

use crate::common::{FakeGateway, Reply, Request, plain};
use base64_simd::STANDARD;
use etcdgw::client::{CallOptions, Client};
use etcdgw::error::Result;
use etcdgw::rpc::snapshot::{SnapshotRequest, SnapshotResponse};
use ring::digest::{SHA256, digest};
use std::fs;
use std::path::Path;

/// As servers cut it.
pub const PIECE_BYTES: usize = 32 << 10;

pub fn save(client: &Client, path: &Path) -> Result<SnapshotResponse> {
    save_with(client, path, &plain())
}

pub fn save_with(client: &Client, path: &Path, options: &CallOptions) -> Result<SnapshotResponse> {
    client.snapshot_save(path, SnapshotRequest::default(), options)
}

/// A database of so many pieces.
pub fn database(pieces: usize) -> Vec<u8> {
    (0..pieces * PIECE_BYTES).map(|place| (place / 7) as u8).collect()
}

/// A line of a snapshot's stream.
pub fn line(piece: &[u8], remaining: usize) -> String {
    let blob = STANDARD.encode_to_string(piece);
    format!("{{\"result\":{{\"remaining_bytes\":\"{remaining}\",\"blob\":\"{blob}\",\"version\":\"3.6.0\"}}}}\n")
}

/// The checksum of a database, as it follows it.
pub fn checksum(database: &[u8]) -> Vec<u8> {
    digest(&SHA256, database).as_ref().to_vec()
}

/// Sends a database, piece by piece, without its checksum and without the end of the stream.
pub fn send_pieces(database: &[u8], reply: &mut Reply<'_>) {
    reply.stream_head();
    for (number, piece) in database.chunks(PIECE_BYTES).enumerate() {
        reply.chunk(line(piece, database.len() - number * PIECE_BYTES - piece.len()));
    }
}

/// Sends a whole snapshot.
pub fn send_snapshot(database: &[u8], reply: &mut Reply<'_>) {
    send_pieces(database, reply);
    reply.chunk(line(&checksum(database), 0));
    reply.end();
}

/// A gateway that answers a snapshot so.
pub fn snapshots(answer: impl Fn(&Request, &mut Reply<'_>) + Send + Sync + 'static) -> FakeGateway {
    FakeGateway::start(move |request, reply| {
        assert_eq!((&request.path[..], &request.body[..]), ("/v3/maintenance/snapshot", &b"{}"[..]));
        answer(request, reply);
    })
}

/// What is in a folder, by name.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
