//! Logging in: the one method of etcd's Auth service that the library calls by itself.

use crate::channel::{Kind, Method, Size};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};
use crate::secret::Secret;

/// Done twice it gives two tokens. It is a proposal (server/auth), which a member without a leader holds for seconds.
pub(crate) const AUTHENTICATE: Method =
    Method::new("auth/authenticate", Kind::Idempotent, Size::Plain).with_leader().secret(true);

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
