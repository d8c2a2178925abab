//! The cluster's members.

use super::boundary::{fallible, infallible};
use super::client::{borrow, etcdgw_client};
use super::constants::etcdgw_status;
use super::error::{etcdgw_cancel, etcdgw_error};
use super::options::{self, OptionStruct, flag, option_struct};
use super::output::Output;
use super::response::{self, Kept, etcdgw_header};
use crate::rpc::Response;
use crate::rpc::cluster::{Member, MemberListResponse};
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

/// The cluster's members.
#[repr(C)]
pub struct etcdgw_member_list_response {
    /// The header, without a revision.
    pub header: etcdgw_header,
    /// All of them, learners too; `members_len` of them.
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

fn new_list(answer: Response<MemberListResponse>) -> *mut etcdgw_member_list_response {
    let (_, answer) = answer.into_parts();
    let mut kept = Kept::default();
    let members = answer.members.into_iter().map(|member| etcdgw_member::keep(member, &mut kept)).collect();
    let (members, members_len) = kept.array(members);
    response::new(etcdgw_member_list_response { header: answer.header.into(), members, members_len }, kept)
}

/// Frees a response with everything in it; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn etcdgw_member_list_response_free(response: *mut etcdgw_member_list_response) {
    // SAFETY: NULL or a response that the caller owns, says the header.
    infallible((), || unsafe { response::free(response) });
}
