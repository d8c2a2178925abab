//! Users, and the roles they have.

use super::{Header, HeaderOnly, NoFields, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};
use crate::limits;
use crate::secret::Secret;

const ADD: Method = Method::new("auth/user/add", Kind::Write, Size::Plain).with_leader();
const DELETE: Method = Method::new("auth/user/delete", Kind::Write, Size::Plain).with_leader();
const GET: Method = Method::new("auth/user/get", Kind::Read, Size::Plain).with_leader();
const LIST: Method = Method::new("auth/user/list", Kind::Read, Size::Values).with_leader();
const CHANGE_PASSWORD: Method = Method::new("auth/user/changepw", Kind::Write, Size::Plain).with_leader();
const GRANT_ROLE: Method = Method::new("auth/user/grant", Kind::Write, Size::Plain).with_leader();
const REVOKE_ROLE: Method = Method::new("auth/user/revoke", Kind::Write, Size::Plain).with_leader();

/// A user and a new password; none: a new user without one.
struct PasswordRequest<'a> {
    name: &'a str,
    password: Option<&'a Secret>,
}

impl Encode for PasswordRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.text_field("name", self.name);
        match self.password {
            // Last, so that nothing written after it moves the buffer and leaves a copy behind.
            Some(password) => out.text_field("password", password.expose()),
            None => out.object_field("options", |out| out.bool_field("no_password", true)),
        }
    }
}

/// Names a user, and with it a role, under the names that their fields have in this request.
struct NamesRequest<'a>(&'a [(&'a str, &'a str)]);

impl Encode for NamesRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        self.0.iter().for_each(|(field, name)| out.text_field(field, name));
    }
}

/// A user's roles.
#[derive(Clone, Debug, Default)]
pub struct UserGetResponse {
    /// The answer's header.
    pub header: Header,
    /// Their names.
    pub roles: Vec<String>,
}

/// All users.
#[derive(Clone, Debug, Default)]
pub struct UserListResponse {
    /// The answer's header.
    pub header: Header,
    /// Their names.
    pub users: Vec<String>,
}

impl Decode for UserGetResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<UserGetResponse, JsonError> {
        let (header, roles) = header_and_texts(reader, "roles")?;
        Ok(UserGetResponse { header, roles })
    }
}

impl Decode for UserListResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<UserListResponse, JsonError> {
        let (header, users) = header_and_texts(reader, "users")?;
        Ok(UserListResponse { header, users })
    }
}

/// Decodes an answer that is a header and an array of names.
pub(super) fn header_and_texts(reader: &mut Reader<'_>, field: &str) -> Result<(Header, Vec<String>), JsonError> {
    let (mut header, mut names) = (Header::default(), Vec::new());
    reader.object(&["header", field], |reader, field| {
        match field {
            0 => header = Header::decode(reader)?,
            _ => names = reader.list(Reader::text)?,
        }
        Ok(())
    })?;
    Ok((header, names))
}

headed!(UserGetResponse, UserListResponse);

impl Client {
    /// Adds a user; one without a password can't log in over the gateway.
    pub fn user_add(&self, name: &str, password: Option<&Secret>, options: &CallOptions) -> Result<()> {
        check_new_name(name, "name")?;
        let method = password.map(checked).transpose()?.map_or(ADD, |password| ADD.with_password(password));
        self.call::<HeaderOnly>(method, &PasswordRequest { name, password }, options).map(drop)
    }

    /// Deletes a user.
    pub fn user_delete(&self, name: &str, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(DELETE, &NamesRequest(&[("name", name)]), options).map(drop)
    }

    /// The roles of a user.
    pub fn user_get(&self, name: &str, options: &CallOptions) -> Result<Response<UserGetResponse>> {
        self.call(GET, &NamesRequest(&[("name", name)]), options)
    }

    /// All users.
    pub fn user_list(&self, options: &CallOptions) -> Result<Response<UserListResponse>> {
        self.call(LIST, &NoFields, options)
    }

    /// Gives a user another password. Tokens of the old one are worth nothing then.
    pub fn user_change_password(&self, name: &str, password: &Secret, options: &CallOptions) -> Result<()> {
        let method = CHANGE_PASSWORD.with_password(checked(password)?);
        self.call::<HeaderOnly>(method, &PasswordRequest { name, password: Some(password) }, options).map(drop)
    }

    /// Gives a user a role.
    pub fn user_grant_role(&self, name: &str, role: &str, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(GRANT_ROLE, &NamesRequest(&[("user", name), ("role", role)]), options).map(drop)
    }

    /// Takes a role from a user.
    pub fn user_revoke_role(&self, name: &str, role: &str, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(REVOKE_ROLE, &NamesRequest(&[("name", name), ("role", role)]), options).map(drop)
    }
}

/// Whether a user or a role can be of this name; `argument` is what the name was given as.
pub(super) fn check_new_name(name: &str, argument: &str) -> Result<()> {
    let (len, longest) = (name.len(), limits::LONGEST_STORED_NAME);
    if len <= longest {
        return Ok(());
    }
    Err(Error::invalid(format!("{argument} has {len} bytes, and no server survives more than {longest}")))
}

/// An unset configuration value must not open a user to everybody.
fn checked(password: &Secret) -> Result<&Secret> {
    if password.expose().is_empty() { Err(Error::invalid("password is empty")) } else { Ok(password) }
}
