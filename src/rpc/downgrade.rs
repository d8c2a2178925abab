//! Going back to an older version of etcd.

use super::{Header, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};

const DOWNGRADE: Method = Method::new("maintenance/downgrade", Kind::Write, Size::Plain).with_leader().since("3.5");
const DOWNGRADE_VALIDATE: Method =
    Method::new("maintenance/downgrade", Kind::Read, Size::Plain).with_leader().since("3.5");

/// What to do about a downgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DowngradeAction {
    /// Asks whether it would be let.
    Validate,
    /// Begins it: members may be replaced by those of the older version then.
    Enable,
    /// Gives it up.
    Cancel,
}

struct DowngradeRequest<'a> {
    action: DowngradeAction,
    version: &'a str,
}

impl Encode for DowngradeRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.enum_field(
            "action",
            match self.action {
                DowngradeAction::Validate => "VALIDATE",
                DowngradeAction::Enable => "ENABLE",
                DowngradeAction::Cancel => "CANCEL",
            },
        );
        if !self.version.is_empty() {
            out.text_field("version", self.version);
        }
    }
}

/// The answer to a downgrade.
#[derive(Clone, Debug, Default)]
pub struct DowngradeResponse {
    /// The answer's header.
    pub header: Header,
    /// The cluster's version now.
    pub version: String,
}

impl Decode for DowngradeResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<DowngradeResponse, JsonError> {
        let mut response = DowngradeResponse::default();
        reader.object(&["header", "version"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.version = reader.text()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(DowngradeResponse);

impl Client {
    /// Asks for a downgrade to `version` (`3.5`), begins it, or gives up the one that has begun. etcd 3.4 has none.
    pub fn downgrade(
        &self,
        action: DowngradeAction,
        version: &str,
        options: &CallOptions,
    ) -> Result<Response<DowngradeResponse>> {
        let method = if action == DowngradeAction::Validate { DOWNGRADE_VALIDATE } else { DOWNGRADE };
        self.call(method, &DowngradeRequest { action, version }, options)
    }
}
