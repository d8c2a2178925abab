//! Roles, and what they permit.

use super::boundary::{fallible, infallible};
use super::bytes::etcdgw_bytes;
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::kv_options::keys;
use super::options::{self, OptionStruct, choice, etcdgw_call_options, option_struct};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::role::{Permission, PermissionType, RoleGetResponse, RoleListResponse};
use std::ffi::c_char;

/// In the order of the constants.
const PERMISSIONS: &[PermissionType] = &[PermissionType::Read, PermissionType::Write, PermissionType::ReadWrite];

/// Adds a role, which permits nothing yet. One of the name `root` permits everything.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` where there is a role of this name, and `ETCDGW_INVALID_ARGUMENT` for a name of more
/// than 32,768 bytes, which would end etcd for good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_add(
    client: *mut etcdgw_client,
    role: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let role = required_text(role, "role")?;
            client.role_add(role, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Deletes a role, and takes it from every user.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_ROLE_NOT_FOUND` where there is none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_delete(
    client: *mut etcdgw_client,
    role: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let role = required_text(role, "role")?;
            client.role_delete(role, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// A permission of a role. It belongs to the response, with its bytes.
#[repr(C)]
pub struct etcdgw_permission {
    /// The key, or the first one; of the client's `key_prefix` nothing is taken off it.
    pub key: etcdgw_bytes,
    /// Empty: one key; `ETCDGW_FROM_KEY`, that is one byte 0: every key from `key` on; else the first key after the last one.
    pub range_end: etcdgw_bytes,
    /// `ETCDGW_PERMISSION_READ`, `_WRITE` or `_READWRITE`.
    pub permission: i32,
    /// 0.
    pub reserved0: i32,
}

impl etcdgw_permission {
    fn keep(permission: Permission, kept: &mut Kept) -> *const etcdgw_permission {
        let number = PERMISSIONS.iter().position(|known| *known == permission.permission_type).unwrap_or_default();
        let permission = etcdgw_permission {
            key: kept.bytes(permission.key),
            range_end: kept.bytes(permission.range_end),
            permission: number as i32,
            reserved0: 0,
        };
        kept.keep(permission)
    }
}

/// What a role permits.
#[repr(C)]
pub struct etcdgw_role_get_response {
    /// The header.
    pub header: etcdgw_header,
    /// Its permissions; `permissions_len` of them.
    pub permissions: *const *const etcdgw_permission,
    /// How many of them are here.
    pub permissions_len: usize,
}

/// Lists what a role permits.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_role_get_response_free`; NULL when
/// it isn't wanted. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_ROLE_NOT_FOUND` where there is none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_get(
    client: *mut etcdgw_client,
    role: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_role_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let role = required_text(role, "role")?;
            let answer = client.role_get(role, &options::read(options)?.call()?)?;
            response.set_with(|| new_get(answer));
            Ok(())
        })
    }
}

fn new_get(answer: Response<RoleGetResponse>) -> *mut etcdgw_role_get_response {
    let (arena, answer) = answer.into_parts();
    let mut kept = Kept::new(arena);
    let permissions = answer.permissions.into_iter().map(|one| etcdgw_permission::keep(one, &mut kept)).collect();
    let (permissions, permissions_len) = kept.array(permissions);
    response::new(etcdgw_role_get_response { header: answer.header.into(), permissions, permissions_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_get_response_free(response: *mut etcdgw_role_get_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// All roles.
#[repr(C)]
pub struct etcdgw_role_list_response {
    /// The header.
    pub header: etcdgw_header,
    /// Their names; `roles_len` strings.
    pub roles: *const *const c_char,
    /// How many of them are here.
    pub roles_len: usize,
}

/// Lists all roles.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_role_list_response_free`; NULL when
/// it isn't wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_list(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_role_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let answer = client.role_list(&options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

fn new_list(answer: Response<RoleListResponse>) -> *mut etcdgw_role_list_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (roles, roles_len) = kept.texts(answer.roles);
    response::new(etcdgw_role_list_response { header: answer.header.into(), roles, roles_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_list_response_free(response: *mut etcdgw_role_list_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Options of `etcdgw_role_grant_permission` and `etcdgw_role_revoke_permission`: which keys a permission is for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_role_permission_options {
    /// `sizeof(etcdgw_role_permission_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// The first key after those meant; empty: one key. `ETCDGW_FROM_KEY`: every key from the given one on.
    pub range_end: etcdgw_bytes,
    /// 1: every key that starts with the given one; with an empty one every key there is.
    pub prefix: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_role_permission_options {
    struct_size, timeout_ms, cancel, range_end, prefix, reserved0
} first_release_ended_with reserved0 reserved0);

/// Lets a role do something with a key, or with `options.prefix` or `options.range_end` with a range of keys, in place of
/// what it may do with exactly these so far. The client's `key_prefix` is not put before the key.
///
/// `permission`: `ETCDGW_PERMISSION_READ`, `_WRITE` or `_READWRITE`. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_ROLE_NOT_FOUND` where there is no such role.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_grant_permission(
    client: *mut etcdgw_client,
    role: *const c_char,
    permission: i32,
    key: etcdgw_bytes,
    options: *const etcdgw_role_permission_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let (role, key) = (required_text(role, "role")?, key.borrow("key")?);
            let permission = choice(permission, "permission", PERMISSIONS)?;
            let options = options::read(options)?;
            let keys = keys(key, options.range_end, options.prefix)?;
            client.role_grant_permission(role, permission, &keys, &options.call()?)?;
            Ok(())
        })
    }
}

/// Takes a permission from a role: the one that was granted for exactly these keys. The client's `key_prefix` is not put
/// before the key.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` where there is no such role (reason `ETCDGW_REASON_ROLE_NOT_FOUND`) or it has no
/// such permission.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_role_revoke_permission(
    client: *mut etcdgw_client,
    role: *const c_char,
    key: etcdgw_bytes,
    options: *const etcdgw_role_permission_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let (role, key) = (required_text(role, "role")?, key.borrow("key")?);
            let options = options::read(options)?;
            let keys = keys(key, options.range_end, options.prefix)?;
            client.role_revoke_permission(role, &keys, &options.call()?)?;
            Ok(())
        })
    }
}
