//! The cluster's members.

use super::{Header, Response, headed};
use crate::channel::{Channel, Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Writer};
use crate::net::Control;

const MEMBER_LIST: Method = Method::new("cluster/member/list", Kind::Read, Size::Plain);
const AGREED_MEMBER_LIST: Method = MEMBER_LIST.with_leader();
// Done again each of these is refused, or undoes what somebody else did meanwhile.
const MEMBER_ADD: Method = Method::new("cluster/member/add", Kind::Write, Size::Plain).with_leader();
const MEMBER_REMOVE: Method = Method::new("cluster/member/remove", Kind::Write, Size::Plain).with_leader();
const MEMBER_UPDATE: Method = Method::new("cluster/member/update", Kind::Write, Size::Plain).with_leader();
const MEMBER_PROMOTE: Method = Method::new("cluster/member/promote", Kind::Write, Size::Plain).with_leader();

/// A member of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its ID.
    pub id: u64,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it, by its own account.
    pub client_urls: Vec<String>,
    /// Whether it only learns and doesn't vote.
    pub is_learner: bool,
}

impl Decode for Member {
    fn decode(reader: &mut Reader<'_>) -> Result<Member, JsonError> {
        let mut member = Member::default();
        reader.object(&["ID", "name", "peerURLs", "clientURLs", "isLearner"], |reader, field| {
            match field {
                0 => member.id = reader.uint64()?,
                1 => member.name = reader.text()?,
                2 => member.peer_urls = reader.list(Reader::text)?,
                3 => member.client_urls = reader.list(Reader::text)?,
                _ => member.is_learner = reader.boolean()?,
            }
            Ok(())
        })?;
        Ok(member)
    }
}

/// The cluster's members, and the answer to a change of them.
#[derive(Clone, Debug, Default)]
pub struct MemberListResponse {
    /// The answer's header, without a revision.
    pub header: Header,
    /// All of them, learners too; after a change those there are then.
    pub members: Vec<Member>,
}

impl Decode for MemberListResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<MemberListResponse, JsonError> {
        let mut response = MemberListResponse::default();
        reader.object(&["header", "members"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.members = reader.list(Member::decode)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// A new member, which is to be started now.
#[derive(Clone, Debug, Default)]
pub struct MemberAddResponse {
    /// The answer's header, without a revision.
    pub header: Header,
    /// The new one: it has an ID and no name yet.
    pub member: Member,
    /// All of them, the new one too.
    pub members: Vec<Member>,
}

impl Decode for MemberAddResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<MemberAddResponse, JsonError> {
        let mut response = MemberAddResponse::default();
        reader.object(&["header", "member", "members"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.member = Member::decode(reader)?,
                _ => response.members = reader.list(Member::decode)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(MemberListResponse, MemberAddResponse);

struct MemberListRequest {
    linearizable: bool,
}

impl Encode for MemberListRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        // Absent is false: etcd's own clients ask for a linearizable list too (clientv3/cluster.go).
        if self.linearizable {
            out.bool_field("linearizable", true);
        }
    }
}

struct MemberAddRequest<'a> {
    peer_urls: &'a [&'a str],
    is_learner: bool,
}

impl Encode for MemberAddRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.texts_field("peerURLs", self.peer_urls);
        if self.is_learner {
            out.bool_field("isLearner", true);
        }
    }
}

/// A request that names a member, and its new URLs where it is to have others.
struct MemberRequest<'a> {
    id: u64,
    peer_urls: &'a [&'a str],
}

impl Encode for MemberRequest<'_> {
    fn encode(&self, out: &mut Writer<'_>) {
        out.uint64_field("ID", self.id);
        out.texts_field("peerURLs", self.peer_urls);
    }
}

impl Client {
    /// Adds a member that votes, before it is started; the others reach it at `peer_urls`.
    pub fn member_add(&self, peer_urls: &[&str], options: &CallOptions) -> Result<Response<MemberAddResponse>> {
        let peer_urls = checked(peer_urls)?;
        self.call(MEMBER_ADD, &MemberAddRequest { peer_urls, is_learner: false }, options)
    }

    /// Adds a member that only learns, before it is started: it counts for no majority until it is promoted.
    pub fn member_add_learner(&self, peer_urls: &[&str], options: &CallOptions) -> Result<Response<MemberAddResponse>> {
        let peer_urls = checked(peer_urls)?;
        self.call(MEMBER_ADD, &MemberAddRequest { peer_urls, is_learner: true }, options)
    }

    /// Removes a member, which then ends by itself.
    pub fn member_remove(&self, id: u64, options: &CallOptions) -> Result<Response<MemberListResponse>> {
        self.call(MEMBER_REMOVE, &MemberRequest { id, peer_urls: &[] }, options)
    }

    /// Tells the cluster where a member is reached by the others from now on.
    pub fn member_update(
        &self,
        id: u64,
        peer_urls: &[&str],
        options: &CallOptions,
    ) -> Result<Response<MemberListResponse>> {
        self.call(MEMBER_UPDATE, &MemberRequest { id, peer_urls: checked(peer_urls)? }, options)
    }

    /// Lets a learner vote. One that has not caught up with the leader is refused; try again later then.
    pub fn member_promote(&self, id: u64, options: &CallOptions) -> Result<Response<MemberListResponse>> {
        self.call(MEMBER_PROMOTE, &MemberRequest { id, peer_urls: &[] }, options)
    }

    /// The cluster's members: as the cluster agrees (`linearizable`), or as the member asked knows them, which works
    /// without a leader too. etcd 3.4 always answers the latter.
    pub fn member_list(&self, linearizable: bool, options: &CallOptions) -> Result<Response<MemberListResponse>> {
        let method = if linearizable { AGREED_MEMBER_LIST } else { MEMBER_LIST };
        self.call(method, &MemberListRequest { linearizable }, options)
    }

    /// Uses the endpoints that the cluster's voters advertise, as far as a gateway answers there that is not another
    /// cluster's, and after them the configured ones. Endpoints that are set meanwhile stay.
    pub fn sync_endpoints(&self, options: &CallOptions) -> Result<()> {
        sync(&self.shared.channel, &self.control(options))
    }
}

/// etcd itself takes a member without URLs, which is one more that a majority needs and nobody reaches, and a move to
/// what is no URL.
fn checked<'a>(peer_urls: &'a [&'a str]) -> Result<&'a [&'a str]> {
    if peer_urls.is_empty() {
        return Err(Error::invalid("peer_urls is empty"));
    }
    match peer_urls.iter().find(|url| !is_peer_url(url)) {
        Some(url) => Err(Error::invalid(format!("peer_urls has what is no URL with a host and a port: {url:?}"))),
        None => Ok(peer_urls),
    }
}

/// As etcd reads them: client/pkg/types/urls.go.
fn is_peer_url(url: &str) -> bool {
    match url.split_once("://") {
        Some(("http" | "https", address)) => {
            let parts = address.rsplit_once(':');
            parts.is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok())
        }
        Some(("unix" | "unixs", path)) => !path.is_empty(),
        _ => false,
    }
}

/// See [`Client::sync_endpoints`].
pub(crate) fn sync(channel: &Channel, control: &Control) -> Result<()> {
    let listed = || {
        let list = agreed_members(channel, control)?;
        // A member without a name has not started, and a learner answers next to nothing (clientv3's Sync).
        let voters = list.members.iter().filter(|member| !member.name.is_empty() && !member.is_learner);
        Ok(voters.flat_map(|member| member.client_urls.iter().cloned()).collect())
    };
    channel.adopt(listed, control)
}

/// How many members the cluster has, learners too.
pub(crate) fn count_members(channel: &Channel, control: &Control) -> Result<usize> {
    Ok(agreed_members(channel, control)?.members.len())
}

fn agreed_members(channel: &Channel, control: &Control) -> Result<Response<MemberListResponse>> {
    channel.call(AGREED_MEMBER_LIST, &MemberListRequest { linearizable: true }, control)
}

#[cfg(test)]
mod tests {
    use super::is_peer_url;

    #[test]
    fn a_peer_url_has_a_scheme_a_host_and_a_port() {
        for url in ["http://127.0.0.1:2380", "https://etcd-0.example:2380", "http://[::1]:2380", "unix:///run/etcd"] {
            assert!(is_peer_url(url), "{url}");
        }
        for url in [
            "",
            "no URL",
            "127.0.0.1:2380",
            "http://127.0.0.1",
            "http://:2380",
            "http://h:2380/path",
            "http://h:99999",
            "ftp://h:21",
            "unix://",
        ] {
            assert!(!is_peer_url(url), "{url}");
        }
    }
}
