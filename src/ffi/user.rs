//! Users, and the roles they have.

use super::boundary::{fallible, infallible};
use super::bytes::borrow_text;
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::etcdgw_error;
use super::options::{self, OptionStruct, etcdgw_call_options};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::user::{UserGetResponse, UserListResponse};
use crate::secret::Secret;
use std::ffi::c_char;

/// Adds a user, who may do nothing yet.
///
/// `password`: not empty; the copies that the library makes are wiped from memory. NULL: a user without one, who can't log
/// in over the gateway. `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` where there is a user of this name, and `ETCDGW_INVALID_ARGUMENT` for a name of more
/// than 32,768 bytes, which would end etcd for good.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_add(
    client: *mut etcdgw_client,
    name: *const c_char,
    password: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            let password = borrow_text(password, "password")?.map(Secret::from);
            client.user_add(name, password.as_ref(), &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Deletes a user.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_USER_NOT_FOUND` where there is none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_delete(
    client: *mut etcdgw_client,
    name: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            client.user_delete(name, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// A user's roles.
#[repr(C)]
pub struct etcdgw_user_get_response {
    /// The header.
    pub header: etcdgw_header,
    /// Their names; `roles_len` strings.
    pub roles: *const *const c_char,
    /// How many of them are here.
    pub roles_len: usize,
}

/// Lists the roles of a user.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_user_get_response_free`; NULL when
/// it isn't wanted. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_USER_NOT_FOUND` where there is none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_get(
    client: *mut etcdgw_client,
    name: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_user_get_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            let answer = client.user_get(name, &options::read(options)?.call()?)?;
            response.set_with(|| new_get(answer));
            Ok(())
        })
    }
}

fn new_get(answer: Response<UserGetResponse>) -> *mut etcdgw_user_get_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (roles, roles_len) = kept.texts(answer.roles);
    response::new(etcdgw_user_get_response { header: answer.header.into(), roles, roles_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_get_response_free(response: *mut etcdgw_user_get_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// All users.
#[repr(C)]
pub struct etcdgw_user_list_response {
    /// The header.
    pub header: etcdgw_header,
    /// Their names; `users_len` strings.
    pub users: *const *const c_char,
    /// How many of them are here.
    pub users_len: usize,
}

/// Lists all users.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_user_list_response_free`; NULL when
/// it isn't wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_list(
    client: *mut etcdgw_client,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_user_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let answer = client.user_list(&options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

fn new_list(answer: Response<UserListResponse>) -> *mut etcdgw_user_list_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (users, users_len) = kept.texts(answer.users);
    response::new(etcdgw_user_list_response { header: answer.header.into(), users, users_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_list_response_free(response: *mut etcdgw_user_list_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

/// Gives a user another password. The tokens that were issued for the old one are worth nothing then.
///
/// `password`: not empty; the copies that the library makes are wiped from memory. `options` may be NULL. Any thread. A
/// client that logs in as this user is to be told: `etcdgw_client_set_credentials`.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_USER_NOT_FOUND` where there is none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_change_password(
    client: *mut etcdgw_client,
    name: *const c_char,
    password: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            let password = Secret::from(required_text(password, "password")?);
            client.user_change_password(name, &password, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Gives a user a role. The role `root` may do everything.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION`, with reason `ETCDGW_REASON_USER_NOT_FOUND` or `_ROLE_NOT_FOUND` where one of them
/// is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_grant_role(
    client: *mut etcdgw_client,
    name: *const c_char,
    role: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            let role = required_text(role, "role")?;
            client.user_grant_role(name, role, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}

/// Takes a role from a user.
///
/// `options` may be NULL. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` where there is no such user (reason `ETCDGW_REASON_USER_NOT_FOUND`) or the user
/// doesn't have the role.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_user_revoke_role(
    client: *mut etcdgw_client,
    name: *const c_char,
    role: *const c_char,
    options: *const etcdgw_call_options,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let client = borrow(client)?;
            let name = required_text(name, "name")?;
            let role = required_text(role, "role")?;
            client.user_revoke_role(name, role, &options::read(options)?.call()?)?;
            Ok(())
        })
    }
}
