//! The care of members: their state, space and hashes, and which of them leads.

use super::{Headed, Header, HeaderOnly, NoFields, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

const STATUS: Method = Method::new("maintenance/status", Kind::Read, Size::Plain);
// It stops the member for a while: nobody wants that twice.
const DEFRAGMENT: Method = Method::new("maintenance/defragment", Kind::Write, Size::Plain).headless();
const HASH: Method = Method::new("maintenance/hash", Kind::Read, Size::Plain);
const HASH_KV: Method = Method::new("maintenance/hashkv", Kind::Read, Size::Plain).since("3.5");
const MOVE_LEADER: Method =
    Method::new("maintenance/transfer-leadership", Kind::Idempotent, Size::Plain).with_leader().headless();

/// What a member says of itself. A server too old to know a field leaves it zero or empty.
#[derive(Clone, Debug, Default)]
pub struct StatusResponse {
    /// The answer's header.
    pub header: Header,
    /// etcd's version there.
    pub version: String,
    /// Bytes that its database takes on disk.
    pub db_size: i64,
    /// The leader's member ID; 0: it knows none.
    pub leader: u64,
    /// The last Raft index it has.
    pub raft_index: u64,
    /// Its Raft term.
    pub raft_term: u64,
    /// The last Raft index it has applied (3.4 and newer).
    pub raft_applied_index: u64,
    /// Alarms and faults, in its words.
    pub errors: Vec<String>,
    /// Bytes of the database that hold data.
    pub db_size_in_use: i64,
    /// Whether it only learns and doesn't vote.
    pub is_learner: bool,
    /// Version of its storage format (3.6 and newer).
    pub storage_version: String,
    /// Bytes that the database may take (3.6 and newer).
    pub db_size_quota: i64,
    /// Whether a downgrade is under way (3.6 and newer).
    pub downgrade_enabled: bool,
    /// The version it leads to.
    pub downgrade_target_version: String,
}

const FIELDS: &[&str] = &[
    "header",
    "version",
    "dbSize",
    "leader",
    "raftIndex",
    "raftTerm",
    "raftAppliedIndex",
    "errors",
    "dbSizeInUse",
    "isLearner",
    "storageVersion",
    "dbSizeQuota",
    "downgradeInfo",
];

impl Decode for StatusResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<StatusResponse, JsonError> {
        let mut status = StatusResponse::default();
        reader.object(FIELDS, |reader, field| {
            match field {
                0 => status.header = Header::decode(reader)?,
                1 => status.version = reader.text()?,
                2 => status.db_size = reader.int64()?,
                3 => status.leader = reader.uint64()?,
                4 => status.raft_index = reader.uint64()?,
                5 => status.raft_term = reader.uint64()?,
                6 => status.raft_applied_index = reader.uint64()?,
                7 => status.errors = reader.list(Reader::text)?,
                8 => status.db_size_in_use = reader.int64()?,
                9 => status.is_learner = reader.boolean()?,
                10 => status.storage_version = reader.text()?,
                11 => status.db_size_quota = reader.int64()?,
                _ => status.decode_downgrade(reader)?,
            }
            Ok(())
        })?;
        Ok(status)
    }
}

impl StatusResponse {
    fn decode_downgrade(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        self.downgrade_enabled = false;
        self.downgrade_target_version.clear();
        reader.object(&["enabled", "targetVersion"], |reader, field| {
            match field {
                0 => self.downgrade_enabled = reader.boolean()?,
                _ => self.downgrade_target_version = reader.text()?,
            }
            Ok(())
        })
    }
}

/// A hash of a member's whole database, file format included: members of one version only can be compared by it.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashResponse {
    /// The answer's header.
    pub header: Header,
    /// The hash.
    pub hash: u32,
}

impl Decode for HashResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<HashResponse, JsonError> {
        let mut response = HashResponse::default();
        reader.object(&["header", "hash"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.hash = reader.uint32()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// A hash of a member's keys and their history up to a revision: the same on every member that has been compacted
/// alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashKvResponse {
    /// The answer's header.
    pub header: Header,
    /// The hash.
    pub hash: u32,
    /// The revision that the member is compacted at; −1, or 0 in some releases: it never was.
    pub compact_revision: i64,
    /// The revision up to which was hashed; 0 from a server older than 3.6.
    pub hash_revision: i64,
}

impl Decode for HashKvResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<HashKvResponse, JsonError> {
        let mut response = HashKvResponse::default();
        reader.object(&["header", "hash", "compact_revision", "hash_revision"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.hash = reader.uint32()?,
                2 => response.compact_revision = reader.int64()?,
                _ => response.hash_revision = reader.int64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

struct HashKvRequest {
    revision: i64,
}

impl Encode for HashKvRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        out.int64_field("revision", self.revision);
    }
}

struct MoveLeaderRequest {
    target_id: u64,
}

impl Encode for MoveLeaderRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        out.uint64_field("targetID", self.target_id);
    }
}

headed!(StatusResponse, HashResponse, HashKvResponse);

impl Client {
    /// The state of the member at `endpoint`, or of the one in use.
    pub fn status(&self, endpoint: Option<&str>, options: &CallOptions) -> Result<Response<StatusResponse>> {
        self.call_member(endpoint, STATUS, &NoFields, options)
    }

    /// Gives the space that the member at `endpoint`, or the one in use, no longer needs back to its file system. It
    /// answers nobody meanwhile, and goes on with it when the call has ended early.
    pub fn defragment(&self, endpoint: Option<&str>, options: &CallOptions) -> Result<()> {
        self.call_member::<HeaderOnly>(endpoint, DEFRAGMENT, &NoFields, options).map(drop)
    }

    /// A hash of the whole database of the member at `endpoint`, or of the one in use.
    pub fn hash(&self, endpoint: Option<&str>, options: &CallOptions) -> Result<Response<HashResponse>> {
        self.call_member(endpoint, HASH, &NoFields, options)
    }

    /// A hash of the keys of the member at `endpoint`, or of the one in use, with their history up to a revision; 0: up
    /// to now. etcd 3.4 has none.
    pub fn hash_kv(
        &self,
        endpoint: Option<&str>,
        revision: i64,
        options: &CallOptions,
    ) -> Result<Response<HashKvResponse>> {
        self.call_member(endpoint, HASH_KV, &HashKvRequest { revision }, options)
    }

    /// Makes another member the leader. Only the leader can: it is looked for among the client's endpoints.
    pub fn move_leader(&self, target_id: u64, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(MOVE_LEADER, &MoveLeaderRequest { target_id }, options).map(drop)
    }

    /// Calls a method of the member at `endpoint` and no other, or of the one in use.
    fn call_member<T: Decode + Headed>(
        &self,
        endpoint: Option<&str>,
        method: Method<'_>,
        request: &impl Encode,
        options: &CallOptions,
    ) -> Result<Response<T>> {
        match endpoint {
            None => self.call(method, request, options),
            Some(url) => self.call_at(url, method, request, options),
        }
    }
}
