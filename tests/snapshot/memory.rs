//! A snapshot of any size takes the same memory.

use crate::common::{client, plain};
use crate::support::*;
use etcdgw::error::Error;
use etcdgw::rpc::snapshot::SnapshotRequest;

#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
#[path = "../arguments/allocations.rs"]
mod allocations;

use allocations::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_snapshot_of_any_size_takes_as_much_memory_as_a_few_pieces() {
    const PIECES: usize = 2_000;
    let gateway = snapshots(|_, reply| {
        let (piece, mut sum) = ([7; PIECE_BYTES], ring::digest::Context::new(&ring::digest::SHA256));
        reply.stream_head();
        let sent = line(&piece, 1);
        for _ in 0..PIECES {
            sum.update(&piece);
            reply.chunk(&sent);
        }
        reply.chunk(line(sum.finish().as_ref(), 0));
        reply.end();
    });
    let client = client(gateway.url());
    let before = live_bytes();
    let mut most = 0;
    let mut sink = |_: &[u8]| -> Result<(), Error> {
        most = most.max(live_bytes() - before);
        Ok(())
    };
    let options = etcdgw::client::CallOptions { timeout: etcdgw::client::TimeLimit::Never, ..plain() };
    let read = client.snapshot_read(SnapshotRequest::default(), &mut sink, &options).unwrap();
    assert_eq!(read.size as usize, PIECES * PIECE_BYTES + 32);
    assert!(most < 16 * PIECE_BYTES as isize, "{most} bytes at once");
}
