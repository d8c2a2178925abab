//! The cluster's members.

use super::boundary::{fallible, infallible};
use super::client::{borrow, etcdgw_client, required_text};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::options::{self, OptionStruct, etcdgw_call_options, flag, option_struct};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::cluster::{Member, MemberAddResponse, MemberListResponse};
use std::ffi::c_char;

/// Options of `etcdgw_member_list`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct etcdgw_member_list_options {
    /// `sizeof(etcdgw_member_list_options)`.
    pub struct_size: usize,
    /// Bounds the whole call; 0: the client's default, less than 0: no limit.
    pub timeout_ms: i64,
    /// Ends the call when triggered; may be NULL.
    pub cancel: *mut etcdgw_cancel,
    /// 1: as the cluster agrees, which takes a leader. 0: as the member asked knows it. etcd 3.4 always gives the
    /// latter.
    pub linearizable: i32,
    /// Must be 0.
    pub reserved0: i32,
}
option_struct!(etcdgw_member_list_options {
    struct_size, timeout_ms, cancel, linearizable, reserved0
} first_release_ended_with reserved0 reserved0);

/// The cluster's members, and the answer to a change of them.
#[repr(C)]
pub struct etcdgw_member_list_response {
    /// The header, without a revision.
    pub header: etcdgw_header,
    /// All of them, learners too, after a change those there are then; `members_len` of them.
    pub members: *const *const etcdgw_member,
    /// How many members are here.
    pub members_len: usize,
}

/// A member of the cluster. It belongs to the response, with its strings.
#[repr(C)]
pub struct etcdgw_member {
    /// Its ID.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: *const c_char,
    /// Where the other members reach it; `peer_urls_len` strings.
    pub peer_urls: *const *const c_char,
    /// How many of them are here.
    pub peer_urls_len: usize,
    /// Where clients reach it, by its own account; `client_urls_len` strings.
    pub client_urls: *const *const c_char,
    /// How many of them are here.
    pub client_urls_len: usize,
    /// 1: it only learns, and doesn't vote.
    pub is_learner: i32,
    /// 0.
    pub reserved0: i32,
}

impl etcdgw_member {
    fn keep(member: Member, kept: &mut Kept) -> *const etcdgw_member {
        let (peer_urls, peer_urls_len) = kept.texts(member.peer_urls);
        let (client_urls, client_urls_len) = kept.texts(member.client_urls);
        let member = etcdgw_member {
            id: member.id,
            name: kept.text(member.name),
            peer_urls,
            peer_urls_len,
            client_urls,
            client_urls_len,
            is_learner: member.is_learner.into(),
            reserved0: 0,
        };
        kept.keep(member)
    }
}

/// Lists the cluster's members.
///
/// `options` may be NULL. `response`: receives the answer, owned by the caller: `etcdgw_member_list_response_free`;
/// NULL when it isn't wanted. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_list(
    client: *mut etcdgw_client,
    options: *const etcdgw_member_list_options,
    response: *mut *mut etcdgw_member_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let options = options::read(options)?;
            let linearizable = flag(options.linearizable, "options.linearizable")?;
            let answer = client.member_list(linearizable, &options.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

/// A member that was added.
#[repr(C)]
pub struct etcdgw_member_add_response {
    /// The header, without a revision.
    pub header: etcdgw_header,
    /// The new one: it has an ID and no name yet.
    pub member: *const etcdgw_member,
    /// All of them, the new one too; `members_len` of them.
    pub members: *const *const etcdgw_member,
    /// How many members are here.
    pub members_len: usize,
}

/// Adds a member that votes. It is to be started after that, with `--initial-cluster-state=existing`; until then it
/// counts among the members that a majority is taken of.
///
/// `peer_urls`: where the others reach it, comma-separated. `options` may be NULL. `response`: receives the answer,
/// owned by the caller: `etcdgw_member_add_response_free`; NULL when it isn't wanted. Any thread.
///
/// Done twice it adds two: where the error may have applied, look into the member list. Returns
/// `ETCDGW_INVALID_ARGUMENT` for URLs that are none, `ETCDGW_FAILED_PRECONDITION` where one of them belongs to a member
/// already or too few members have started, and `ETCDGW_UNAVAILABLE` while not all of them are connected.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_add(
    client: *mut etcdgw_client,
    peer_urls: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_member_add_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let peer_urls = split_urls(required_text(peer_urls, "peer_urls")?);
            let answer = client.member_add(&peer_urls, &options::read(options)?.call()?)?;
            response.set_with(|| new_add(answer));
            Ok(())
        })
    }
}

/// Adds a member that learns and doesn't vote: it counts for no majority until `etcdgw_member_promote`.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_LEARNER` where there are as many learners as the
/// cluster may have; else as `etcdgw_member_add`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_add_learner(
    client: *mut etcdgw_client,
    peer_urls: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_member_add_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let peer_urls = split_urls(required_text(peer_urls, "peer_urls")?);
            let answer = client.member_add_learner(&peer_urls, &options::read(options)?.call()?)?;
            response.set_with(|| new_add(answer));
            Ok(())
        })
    }
}

/// Removes a member, which ends by itself then.
///
/// `options` may be NULL. `response`: receives the members that are left, owned by the caller:
/// `etcdgw_member_list_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_NOT_FOUND` with reason `ETCDGW_REASON_MEMBER_NOT_FOUND` where there is none of this ID, and
/// `ETCDGW_FAILED_PRECONDITION` or `ETCDGW_UNAVAILABLE` where too few would be left that work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_remove(
    client: *mut etcdgw_client,
    id: u64,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_member_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let answer = borrow(client)?.member_remove(id, &options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

/// Tells the cluster where a member is reached by the others from now on.
///
/// `peer_urls`: all its URLs, comma-separated. `options` may be NULL. `response`: receives the members, owned by the
/// caller: `etcdgw_member_list_response_free`; NULL when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_NOT_FOUND` with reason `ETCDGW_REASON_MEMBER_NOT_FOUND` where there is none of this ID,
/// `ETCDGW_INVALID_ARGUMENT` for URLs that are none, and `ETCDGW_FAILED_PRECONDITION` where one belongs to another member.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_update(
    client: *mut etcdgw_client,
    id: u64,
    peer_urls: *const c_char,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_member_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let client = borrow(client)?;
            let peer_urls = split_urls(required_text(peer_urls, "peer_urls")?);
            let answer = client.member_update(id, &peer_urls, &options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

/// Lets a learner vote from now on.
///
/// `options` may be NULL. `response`: receives the members, owned by the caller: `etcdgw_member_list_response_free`; NULL
/// when it isn't wanted. Any thread.
///
/// Returns `ETCDGW_FAILED_PRECONDITION` with reason `ETCDGW_REASON_LEARNER` for a member that is no learner, and for one
/// that has not caught up with the leader: try again later then. `ETCDGW_NOT_FOUND` with reason
/// `ETCDGW_REASON_MEMBER_NOT_FOUND` where there is none of this ID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_promote(
    client: *mut etcdgw_client,
    id: u64,
    options: *const etcdgw_call_options,
    response: *mut *mut etcdgw_member_list_response,
    err: *mut *mut etcdgw_error,
) -> etcdgw_status {
    // SAFETY: pointers are NULL or as the header says.
    unsafe {
        fallible(err, || {
            let response = Output::cleared(response);
            let answer = borrow(client)?.member_promote(id, &options::read(options)?.call()?)?;
            response.set_with(|| new_list(answer));
            Ok(())
        })
    }
}

fn split_urls(urls: &str) -> Vec<&str> {
    urls.split(',').map(str::trim).collect()
}

fn keep_all(members: Vec<Member>, kept: &mut Kept) -> (*const *const etcdgw_member, usize) {
    let members = members.into_iter().map(|member| etcdgw_member::keep(member, kept)).collect();
    kept.array(members)
}

fn new_add(answer: Response<MemberAddResponse>) -> *mut etcdgw_member_add_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let member = etcdgw_member::keep(answer.member, &mut kept);
    let (members, members_len) = keep_all(answer.members, &mut kept);
    response::new(etcdgw_member_add_response { header: answer.header.into(), member, members, members_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_add_response_free(response: *mut etcdgw_member_add_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}

fn new_list(answer: Response<MemberListResponse>) -> *mut etcdgw_member_list_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let (members, members_len) = keep_all(answer.members, &mut kept);
    response::new(etcdgw_member_list_response { header: answer.header.into(), members, members_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_list_response_free(response: *mut etcdgw_member_list_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
