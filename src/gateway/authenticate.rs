//! The question for a token, and its answer.

use super::json::{Decode, Encode, JsonError, Reader, Writer};
use crate::secret::Secret;

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
