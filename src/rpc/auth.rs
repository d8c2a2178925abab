//! Authentication as a whole: whether it is enabled, and logging in, which the library does by itself. Users and roles
//! have files of their own.

use super::{Header, HeaderOnly, NoFields, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};
use crate::secret::Secret;

/// Done twice it gives two tokens. It is a proposal (server/auth), which a member without a leader holds for seconds.
pub(crate) const AUTHENTICATE: Method =
    Method::new("auth/authenticate", Kind::Idempotent, Size::Plain).with_leader().secret(true);

const ENABLE: Method = Method::new("auth/enable", Kind::Write, Size::Plain).with_leader();
const DISABLE: Method = Method::new("auth/disable", Kind::Write, Size::Plain).with_leader();
const STATUS: Method = Method::new("auth/status", Kind::Read, Size::Plain).with_leader().since("3.5");

/// Asks for a token.
pub(crate) struct AuthenticateRequest<'a> {
    pub name: &'a str,
    pub password: &'a Secret,
}

impl Encode for AuthenticateRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.text_field("name", self.name);
        out.text_field("password", self.password.expose());
    }
}

/// The token.
pub(crate) struct AuthenticateResponse {
    pub token: Secret,
}

impl Decode for AuthenticateResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<AuthenticateResponse, JsonError> {
        let mut token = None;
        reader.object(&["token"], |reader, _| {
            token = Some(Secret::from(reader.text()?));
            Ok(())
        })?;
        let token = token.ok_or_else(|| reader.expected("a token"))?;
        Ok(AuthenticateResponse { token })
    }
}

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
