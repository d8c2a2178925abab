//! Snapshots: a member's database as a stream of pieces, checked against the checksum that it ends with.

mod file;

use crate::channel::{self, Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Outcome, Result};
use crate::gateway::frames::{self, MessageStream};
use crate::gateway::json::{Decode, JsonError, Reader, Span};
use crate::net::Control;
use crate::rpc::NoFields;
use file::PartFile;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const SNAPSHOT: Method = Method::new("maintenance/snapshot", Kind::Read, Size::Pieces).streamed();

/// A database consists of whole pages of at least so many bytes.
const PAGE_BYTES: u64 = 512;

/// Which snapshot to take, and who hears how far it is.
#[derive(Default)]
pub struct SnapshotRequest<'a> {
    /// The URL of the member; none: the one in use.
    pub endpoint: Option<&'a str>,
    /// Told after every piece.
    pub progress: Option<&'a mut dyn FnMut(SnapshotProgress)>,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Bytes that have come.
    pub received_bytes: u64,
    /// Bytes of the database that are to come, by the server's account.
    pub remaining_bytes: u64,
}

/// A snapshot that is complete.
#[derive(Clone, Debug)]
pub struct SnapshotResponse {
    /// The URL of the member that it is of.
    pub endpoint: Arc<str>,
    /// Its bytes: the database, and the checksum of 32 bytes after it.
    pub size: u64,
    /// Version of the storage format (3.6 and newer); empty: the server doesn't tell.
    pub version: String,
}

/// One message of the stream.
#[derive(Default)]
struct Piece {
    remaining_bytes: u64,
    blob: Span,
    version: String,
}

impl Decode for Piece {
    fn decode(reader: &mut Reader<'_>) -> Result<Piece, JsonError> {
        let mut piece = Piece::default();
        reader.object(&["remaining_bytes", "blob", "version"], |reader, field| {
            match field {
                0 => piece.remaining_bytes = reader.uint64()?,
                1 => piece.blob = reader.bytes()?,
                _ => piece.version = reader.text()?,
            }
            Ok(())
        })?;
        Ok(piece)
    }
}

impl Client {
    /// Takes a snapshot into a file: written beside it as `<path>.part`, which only its owner may read, and renamed
    /// once it is complete, checked and on the disk. Whatever fails leaves what was at `path`, and no other file.
    pub fn snapshot_save(
        &self,
        path: &Path,
        request: SnapshotRequest<'_>,
        options: &CallOptions,
    ) -> Result<SnapshotResponse> {
        let control = self.control(options);
        let mut file = PartFile::create(path)?;
        let response = self.take_snapshot(request, &mut |piece| file.write(piece), &control)?;
        file.commit(|| self.shared.channel.check(&control))?;
        Ok(response)
    }

    /// Takes a snapshot piece by piece. What `sink` got counts only when this succeeds: the checksum comes last.
    pub fn snapshot_read(
        &self,
        request: SnapshotRequest<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        options: &CallOptions,
    ) -> Result<SnapshotResponse> {
        self.take_snapshot(request, sink, &self.control(options))
    }

    fn take_snapshot(
        &self,
        request: SnapshotRequest<'_>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        control: &Control,
    ) -> Result<SnapshotResponse> {
        let channel = &self.shared.channel;
        let mut stream = match request.endpoint {
            None => channel.open_stream(SNAPSHOT, &NoFields, control)?.0,
            Some(url) => channel.open_stream_at(url, SNAPSHOT, &NoFields, control)?,
        };
        let mut taking = Taking { progress: request.progress, ..Taking::default() };
        let taken = taking.all(&mut stream, sink, &mut || channel.check(control), control);
        let endpoint = stream.endpoint();
        match taken {
            Ok(()) => Ok(SnapshotResponse { endpoint: endpoint.clone(), size: taking.size, version: taking.version }),
            Err(error) => {
                channel.lose_stream(endpoint, &error);
                Err(error)
            }
        }
    }
}

/// A snapshot under way.
#[derive(Default)]
struct Taking<'a> {
    progress: Option<&'a mut dyn FnMut(SnapshotProgress)>,
    checksum: Checksum,
    size: u64,
    version: String,
}

impl Taking<'_> {
    /// Takes every piece, and checks the whole.
    fn all(
        &mut self,
        stream: &mut MessageStream,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        may_go_on: &mut dyn FnMut() -> Result<()>,
        control: &Control,
    ) -> Result<()> {
        let endpoint = stream.endpoint().clone();
        let of_stream = |cause| channel::stream_error(cause, &endpoint);
        while let Some(mut frames) = stream.next_batch(control).map_err(of_stream)? {
            for line in frames.lines {
                // What has arrived already is read without a wait that would end with the call.
                may_go_on()?;
                self.one(&mut frames.arena, line, sink, &endpoint)?;
            }
        }
        let is_whole = self.size % PAGE_BYTES == SHA256_OUTPUT_LEN as u64 && self.checksum.is_right();
        if is_whole { Ok(()) } else { Err(malformed(&endpoint, "the snapshot is not what its checksum says")) }
    }

    fn one(
        &mut self,
        arena: &mut [u8],
        line: Range<usize>,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
        endpoint: &Arc<str>,
    ) -> Result<()> {
        let message = frames::message(arena, line, Piece::decode);
        let message = message.map_err(|error| malformed(endpoint, &format!("a piece of the snapshot: {error}")))?;
        let piece = message.map_err(|status| status.into_error(endpoint, 200).of_a_read())?;
        let bytes = piece.blob.of(arena);
        self.checksum.take(bytes);
        self.size += bytes.len() as u64;
        if self.version.is_empty() {
            self.version = piece.version;
        }
        sink(bytes)?;
        if let Some(progress) = &mut self.progress {
            progress(SnapshotProgress { received_bytes: self.size, remaining_bytes: piece.remaining_bytes });
        }
        Ok(())
    }
}

fn malformed(endpoint: &Arc<str>, what: &str) -> Error {
    Error::Protocol {
        endpoint: endpoint.clone(),
        http_status: 200,
        what: what.to_owned(),
        outcome: Outcome::NotApplied,
    }
}

/// The checksum of all bytes but the last ones, which are to be the same. Where they begin is known at the end only.
struct Checksum {
    context: Context,
    last: Vec<u8>,
}

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum { context: Context::new(&SHA256), last: Vec::with_capacity(2 * SHA256_OUTPUT_LEN) }
    }
}

impl Checksum {
    fn take(&mut self, bytes: &[u8]) {
        let (first, last) = bytes.split_at(bytes.len().saturating_sub(SHA256_OUTPUT_LEN));
        // What was last before is so no more, as far as more has come.
        let kept = SHA256_OUTPUT_LEN - last.len();
        let passed = self.last.len().saturating_sub(kept);
        self.context.update(self.last.get(..passed).unwrap_or_default());
        self.last.drain(..passed);
        self.context.update(first);
        self.last.extend_from_slice(last);
    }

    fn is_right(&self) -> bool {
        self.context.clone().finish().as_ref() == self.last
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use ring::digest::digest;

    #[test]
    fn the_checksum_is_found_at_the_end_wherever_the_pieces_were_cut() {
        let data: Vec<u8> = (0..1000_u32).map(|number| number as u8).collect();
        let whole = [&data[..], digest(&SHA256, &data).as_ref()].concat();
        for size in [1, 7, 31, 32, 33, 63, 64, 65, 500, 1000, 1001, 1032] {
            let mut checksum = Checksum::default();
            whole.chunks(size).for_each(|piece| checksum.take(piece));
            assert!(checksum.is_right(), "pieces of {size} bytes");
        }
    }

    #[test]
    fn a_byte_too_few_too_many_or_changed_is_noticed() {
        let data = vec![5_u8; 100];
        let whole = [&data[..], digest(&SHA256, &data).as_ref()].concat();
        let is_right = |bytes: &[u8]| {
            let mut checksum = Checksum::default();
            bytes.chunks(48).for_each(|piece| checksum.take(piece));
            checksum.is_right()
        };
        assert!(is_right(&whole));
        assert!(!is_right(&whole[1..]) && !is_right(&whole[..131]) && !is_right(&[&whole[..], b"x"].concat()));
        for place in [0, 50, 99, 100, 131] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(!is_right(&changed), "byte {place}");
        }
        assert!(!is_right(b"") && !is_right(&whole[100..]));
    }
}
