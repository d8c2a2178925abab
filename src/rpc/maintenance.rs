//! The state of one member.

use super::cluster::texts;
use super::{Header, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

const STATUS: Method = Method::new("maintenance/status", Kind::Read, Size::Plain);

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
                7 => status.errors = texts(reader)?,
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
        reader.object(&["enabled", "targetVersion"], |reader, field| {
            match field {
                0 => self.downgrade_enabled = reader.boolean()?,
                _ => self.downgrade_target_version = reader.text()?,
            }
            Ok(())
        })
    }
}

headed!(StatusResponse);

struct StatusRequest;

impl Encode for StatusRequest {
    fn encode(&self, _: &mut Writer<'_>) {}
}

impl Client {
    /// The state of the member at `endpoint`, or of the one in use.
    pub fn status(&self, endpoint: Option<&str>, options: &CallOptions) -> Result<Response<StatusResponse>> {
        match endpoint {
            None => self.call(STATUS, &StatusRequest, options),
            Some(url) => self.call_at(url, STATUS, &StatusRequest, options),
        }
    }
}
