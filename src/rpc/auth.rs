//! Authentication as a whole: whether it is enabled. Users and roles have files of their own, and logging in is the
//! channel's.

use super::{Header, HeaderOnly, NoFields, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, JsonError, Reader};

const ENABLE: Method = Method::new("auth/enable", Kind::Write, Size::Plain).with_leader();
const DISABLE: Method = Method::new("auth/disable", Kind::Write, Size::Plain).with_leader();
const STATUS: Method = Method::new("auth/status", Kind::Read, Size::Plain).with_leader().since("3.5");

/// Whether authentication is enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthStatusResponse {
    /// The answer's header.
    pub header: Header,
    /// Whether it is.
    pub enabled: bool,
    /// Raised by every change of users, roles and permissions.
    pub auth_revision: u64,
}

impl Decode for AuthStatusResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<AuthStatusResponse, JsonError> {
        let mut response = AuthStatusResponse::default();
        reader.object(&["header", "enabled", "authRevision"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.enabled = reader.boolean()?,
                _ => response.auth_revision = reader.uint64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(AuthStatusResponse);

impl Client {
    /// Enables authentication. It takes a user `root` with the role `root`; from then on every request needs a user.
    pub fn auth_enable(&self, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(ENABLE, &NoFields, options).map(drop)
    }

    /// Disables authentication; users, roles and permissions stay.
    pub fn auth_disable(&self, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(DISABLE, &NoFields, options).map(drop)
    }

    /// Whether authentication is enabled. etcd 3.4 doesn't tell.
    pub fn auth_status(&self, options: &CallOptions) -> Result<Response<AuthStatusResponse>> {
        self.call(STATUS, &NoFields, options)
    }
}
