//! Roles, and what they permit. A client's key prefix does not apply to permissions: their keys are full names.

use super::user::{check_new_name, header_and_texts};
use super::{Header, HeaderOnly, Keys, Namespace, NoFields, Response, headed};
use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::Result;
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Span, Writer};

const ADD: Method = Method::new("auth/role/add", Kind::Write, Size::Plain).with_leader();
const DELETE: Method = Method::new("auth/role/delete", Kind::Write, Size::Plain).with_leader();
const GET: Method = Method::new("auth/role/get", Kind::Read, Size::Values).with_leader();
const LIST: Method = Method::new("auth/role/list", Kind::Read, Size::Values).with_leader();
const GRANT: Method = Method::new("auth/role/grant", Kind::Write, Size::Plain).with_leader();
const REVOKE: Method = Method::new("auth/role/revoke", Kind::Write, Size::Plain).with_leader();

/// What may be done with keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum PermissionType {
    #[default]
    Read,
    Write,
    ReadWrite,
}

/// A permission of a role; the spans are places in the buffer of the response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permission {
    /// What may be done.
    pub permission_type: PermissionType,
    /// The key, or the first one.
    pub key: Span,
    /// Empty: one key; `"\0"`: every key from `key` on; else the first key after the last one.
    pub range_end: Span,
}

impl Decode for Permission {
    fn decode(reader: &mut Reader<'_>) -> Result<Permission, JsonError> {
        let mut permission = Permission::default();
        reader.object(&["permType", "key", "range_end"], |reader, field| {
            match field {
                0 => {
                    permission.permission_type = match reader.string_is(&["READ", "WRITE", "READWRITE"])? {
                        Some(0) => PermissionType::Read,
                        Some(1) => PermissionType::Write,
                        Some(2) => PermissionType::ReadWrite,
                        _ => return Err(reader.expected("the permission READ, WRITE or READWRITE")),
                    }
                }
                1 => permission.key = reader.bytes()?,
                _ => permission.range_end = reader.bytes()?,
            }
            Ok(())
        })?;
        Ok(permission)
    }
}

/// What a role permits.
#[derive(Clone, Debug, Default)]
pub struct RoleGetResponse {
    /// The answer's header.
    pub header: Header,
    /// Its permissions.
    pub permissions: Vec<Permission>,
}

impl Decode for RoleGetResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<RoleGetResponse, JsonError> {
        let mut response = RoleGetResponse::default();
        reader.object(&["header", "perm"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.permissions = reader.list(Permission::decode)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// All roles.
#[derive(Clone, Debug, Default)]
pub struct RoleListResponse {
    /// The answer's header.
    pub header: Header,
    /// Their names.
    pub roles: Vec<String>,
}

impl Decode for RoleListResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<RoleListResponse, JsonError> {
        let (header, roles) = header_and_texts(reader, "roles")?;
        Ok(RoleListResponse { header, roles })
    }
}

headed!(RoleGetResponse, RoleListResponse);

/// Names a role under the name that its field has in this request.
struct RoleRequest<'a> {
    field: &'a str,
    role: &'a str,
}

impl Encode for RoleRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.text_field(self.field, self.role);
    }
}

struct GrantRequest<'a> {
    role: &'a str,
    permission_type: PermissionType,
    keys: &'a Keys<'a>,
}

impl Encode for GrantRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.text_field("name", self.role);
        out.object_field("perm", |out| {
            out.enum_field(
                "permType",
                match self.permission_type {
                    PermissionType::Read => "READ",
                    PermissionType::Write => "WRITE",
                    PermissionType::ReadWrite => "READWRITE",
                },
            );
            self.keys.write(&Namespace::default(), out);
        });
    }
}

struct RevokeRequest<'a> {
    role: &'a str,
    keys: &'a Keys<'a>,
}

impl Encode for RevokeRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.text_field("role", self.role);
        self.keys.write(&Namespace::default(), out);
    }
}

impl Client {
    /// Adds a role, which permits nothing yet.
    pub fn role_add(&self, role: &str, options: &CallOptions) -> Result<()> {
        check_new_name(role, "role")?;
        self.call::<HeaderOnly>(ADD, &RoleRequest { field: "name", role }, options).map(drop)
    }

    /// Deletes a role, and takes it from every user.
    pub fn role_delete(&self, role: &str, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(DELETE, &RoleRequest { field: "role", role }, options).map(drop)
    }

    /// What a role permits.
    pub fn role_get(&self, role: &str, options: &CallOptions) -> Result<Response<RoleGetResponse>> {
        self.call(GET, &RoleRequest { field: "role", role }, options)
    }

    /// All roles.
    pub fn role_list(&self, options: &CallOptions) -> Result<Response<RoleListResponse>> {
        self.call(LIST, &NoFields, options)
    }

    /// Lets a role do something with keys, whatever it may do with them so far.
    pub fn role_grant_permission(
        &self,
        role: &str,
        permission_type: PermissionType,
        keys: &Keys<'_>,
        options: &CallOptions,
    ) -> Result<()> {
        self.call::<HeaderOnly>(GRANT, &GrantRequest { role, permission_type, keys }, options).map(drop)
    }

    /// Takes a permission from a role: the one that was granted for exactly these keys.
    pub fn role_revoke_permission(&self, role: &str, keys: &Keys<'_>, options: &CallOptions) -> Result<()> {
        self.call::<HeaderOnly>(REVOKE, &RevokeRequest { role, keys }, options).map(drop)
    }
}
