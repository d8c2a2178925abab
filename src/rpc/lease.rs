//! Leases: time to live, for the keys that are attached to them.

use super::{Header, HeaderOnly, Namespace, NoFields, Response, headed};
use crate::channel::{Channel, Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Outcome, Reason, Result};
use crate::gateway::json::{Decode, Encode, JsonError, Reader, Span, Writer};
use crate::net::Control;

const GRANT: Method = Method::new("lease/grant", Kind::Write, Size::Plain).with_leader();
// Of an ID that nobody else picks there is one grant: a second one is told that the lease exists.
const GRANT_NEW_ID: Method = Method::new("lease/grant", Kind::Once, Size::Plain).with_leader();
const REVOKE: Method = Method::new("lease/revoke", Kind::Once, Size::Plain).with_leader();
// A stream in gRPC: the gateway answers each request with one line of a stream.
const KEEP_ALIVE: Method = Method::new("lease/keepalive", Kind::Idempotent, Size::Plain).streamed().with_leader();
const TIME_TO_LIVE: Method = Method::new("lease/timetolive", Kind::Read, Size::Values).with_leader();
const LEASES: Method = Method::new("lease/leases", Kind::Read, Size::Values);

struct GrantRequest {
    id: i64,
    ttl: i64,
}

impl Encode for GrantRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        out.int64_field("TTL", self.ttl);
        out.int64_field("ID", self.id);
    }
}

/// A new lease.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseGrantResponse {
    /// The answer's header.
    pub header: Header,
    /// The lease's ID.
    pub id: i64,
    /// Seconds granted: the server's minimum at least.
    pub ttl: i64,
}

impl Decode for LeaseGrantResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<LeaseGrantResponse, JsonError> {
        let mut response = LeaseGrantResponse::default();
        reader.object(&["header", "ID", "TTL"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.id = reader.int64()?,
                _ => response.ttl = reader.int64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// A request that names a lease.
struct IdRequest {
    id: i64,
    keys: bool,
}

impl Encode for IdRequest {
    fn encode(&self, out: &mut Writer<'_>) {
        out.int64_field("ID", self.id);
        if self.keys {
            out.bool_field("keys", true);
        }
    }
}

/// The answer to a keep-alive. The TTL of a lease that is gone is absent, that is 0.
#[derive(Default)]
pub(crate) struct KeepAliveResponse {
    header: Header,
    /// The lease's ID.
    pub id: i64,
    /// Seconds that it has from now on.
    pub ttl: i64,
}

impl Decode for KeepAliveResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<KeepAliveResponse, JsonError> {
        let mut response = KeepAliveResponse::default();
        reader.object(&["header", "ID", "TTL"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.id = reader.int64()?,
                _ => response.ttl = reader.int64()?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

/// What is left of a lease.
#[derive(Clone, Debug, Default)]
pub struct LeaseTimeToLiveResponse {
    /// The answer's header.
    pub header: Header,
    /// The lease's ID.
    pub id: i64,
    /// Seconds left; −1: there is no such lease.
    pub ttl: i64,
    /// Seconds granted, and granted again by every refresh.
    pub granted_ttl: i64,
    /// The attached keys, where they were asked for.
    pub keys: Vec<Span>,
}

impl Decode for LeaseTimeToLiveResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<LeaseTimeToLiveResponse, JsonError> {
        let mut response = LeaseTimeToLiveResponse::default();
        reader.object(&["header", "ID", "TTL", "grantedTTL", "keys"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                1 => response.id = reader.int64()?,
                2 => response.ttl = reader.int64()?,
                3 => response.granted_ttl = reader.int64()?,
                _ => response.keys = reader.list(Reader::bytes)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

headed!(LeaseGrantResponse, KeepAliveResponse, LeaseTimeToLiveResponse, LeaseLeasesResponse);

/// Every lease there is.
#[derive(Clone, Debug, Default)]
pub struct LeaseLeasesResponse {
    /// The answer's header.
    pub header: Header,
    /// Their IDs.
    pub ids: Vec<i64>,
}

impl Decode for LeaseLeasesResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<LeaseLeasesResponse, JsonError> {
        let mut response = LeaseLeasesResponse::default();
        reader.object(&["header", "leases"], |reader, field| {
            match field {
                0 => response.header = Header::decode(reader)?,
                _ => response.ids = reader.list(lease_id)?,
            }
            Ok(())
        })?;
        Ok(response)
    }
}

fn lease_id(reader: &mut Reader<'_>) -> Result<i64, JsonError> {
    let mut id = 0;
    reader.object(&["ID"], |reader, _| {
        id = reader.int64()?;
        Ok(())
    })?;
    Ok(id)
}

impl Client {
    /// Grants a lease of `ttl` seconds under an ID of the caller's.
    pub fn lease_grant(&self, ttl: i64, id: i64, options: &CallOptions) -> Result<Response<LeaseGrantResponse>> {
        self.with_id(self.call(GRANT, &GrantRequest { id, ttl }, options)?)
    }

    /// Grants a lease of `ttl` seconds under an ID from [`Client::new_lease_id`]. Since nobody else picks that, a grant
    /// that got no answer is made again, and finds the lease if it exists already. The caller knows the ID even when no
    /// answer comes at all.
    pub fn lease_grant_new(&self, ttl: i64, id: i64, options: &CallOptions) -> Result<Response<LeaseGrantResponse>> {
        let control = self.control(options);
        let channel = &self.shared.channel;
        let (answer, doubt) = channel.call_once(GRANT_NEW_ID, &GrantRequest { id, ttl }, &control);
        let lost = match (answer, doubt) {
            (Err(error), Some(lost)) if error.reason() == Reason::LeaseExists => lost,
            (answer, _) => return self.with_id(answer?),
        };
        // The answer that got lost told the time granted.
        let found = channel.call::<LeaseTimeToLiveResponse>(TIME_TO_LIVE, &IdRequest { id, keys: false }, &control);
        let (arena, lease) = found.map_err(|error| error.in_doubt_since(lost))?.into_parts();
        if lease.ttl < 0 {
            return Err(Error::LeaseExpired { id });
        }
        Ok(Response::new(arena, LeaseGrantResponse { header: lease.header, id, ttl: lease.granted_ttl }))
    }

    /// Refuses an answer without a lease: what is put on the lease 0 is put on none.
    fn with_id(&self, granted: Response<LeaseGrantResponse>) -> Result<Response<LeaseGrantResponse>> {
        if granted.id != 0 {
            return Ok(granted);
        }
        let what = "the answer to a grant has no lease".to_owned();
        let endpoint = self.shared.channel.base_url();
        Err(Error::Protocol { endpoint, http_status: 200, what, outcome: Outcome::Unknown })
    }

    /// Ends a lease and deletes the keys attached to it.
    pub fn lease_revoke(&self, id: i64, options: &CallOptions) -> Result<()> {
        let request = IdRequest { id, keys: false };
        let (answer, doubt) = self.shared.channel.call_once::<HeaderOnly>(REVOKE, &request, &self.control(options));
        match answer {
            // By the request whose answer got lost.
            Err(error) if doubt.is_some() && error.reason() == Reason::LeaseNotFound => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Starts a lease's time anew, once. Answers the seconds it now has; a lease that is gone is
    /// [`Error::LeaseExpired`].
    pub fn lease_refresh(&self, id: i64, options: &CallOptions) -> Result<i64> {
        let response = self.call::<KeepAliveResponse>(KEEP_ALIVE, &IdRequest { id, keys: false }, options)?;
        if response.ttl <= 0 { Err(Error::LeaseExpired { id }) } else { Ok(response.ttl) }
    }

    /// What is left of a lease, and with `keys` what is attached to it: in a namespace, what of that lies in it.
    pub fn lease_time_to_live(
        &self,
        id: i64,
        keys: bool,
        options: &CallOptions,
    ) -> Result<Response<LeaseTimeToLiveResponse>> {
        let response = self.call::<LeaseTimeToLiveResponse>(TIME_TO_LIVE, &IdRequest { id, keys }, options)?;
        Ok(in_namespace(self.namespace(), response))
    }

    /// The IDs of all leases.
    pub fn lease_list(&self, options: &CallOptions) -> Result<Response<LeaseLeasesResponse>> {
        self.call(LEASES, &NoFields, options)
    }
}

/// How many leases one request may refresh. An ID takes 28 bytes at most, and 512 are safe in a body.
pub(crate) const MAX_LEASES_REFRESHED: usize = 16;

/// Starts the time of these leases anew. There may be fewer answers than leases: what is not answered is to be asked
/// again.
pub(crate) fn refresh_several(channel: &Channel, ids: &[i64], control: &Control) -> Result<Vec<KeepAliveResponse>> {
    let requests: Vec<_> = ids.iter().take(MAX_LEASES_REFRESHED).map(|id| IdRequest { id: *id, keys: false }).collect();
    channel.call_several(KEEP_ALIVE, &requests, control)
}

fn in_namespace(
    namespace: &Namespace,
    response: Response<LeaseTimeToLiveResponse>,
) -> Response<LeaseTimeToLiveResponse> {
    if namespace.is_empty() {
        return response;
    }
    let prefix = namespace.prefix();
    let (arena, mut message) = response.into_parts();
    message.keys.retain(|key| key.of(&arena).starts_with(prefix));
    message.keys.iter_mut().for_each(|key| *key = key.without_first(prefix.len()));
    Response::new(arena, message)
}
