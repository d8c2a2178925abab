//! Short forms of the calls that most tests make.

use super::plain;
use etcdgw::client::{CallOptions, Client};
use etcdgw::concurrency::session::{Session, SessionOptions};
use etcdgw::error::Result;
use etcdgw::rpc::kv::{DeleteRangeRequest, PutRequest, PutResponse, RangeRequest, RangeResponse};
use etcdgw::rpc::{Keys, Response};
use std::borrow::Cow;

/// A request that writes a key.
pub fn put_request<'a>(key: &'a [u8], value: &'a [u8]) -> PutRequest<'a> {
    PutRequest { key: Cow::Borrowed(key), value: Cow::Borrowed(value), ..PutRequest::default() }
}

pub fn put_with(client: &Client, key: &[u8], value: &[u8], options: &CallOptions) -> Result<Response<PutResponse>> {
    client.put(&put_request(key, value), options)
}

pub fn put(client: &Client, key: &[u8], value: &[u8]) -> Result<Response<PutResponse>> {
    put_with(client, key, value, &plain())
}

/// Writes a key and answers the revision.
#[track_caller]
pub fn put_revision(client: &Client, key: &[u8], value: &[u8]) -> i64 {
    put(client, key, value).unwrap().header.revision
}

/// A request for one key.
pub fn one(key: &[u8]) -> RangeRequest<'_> {
    RangeRequest::new(Keys::One(Cow::Borrowed(key)))
}

/// A request for every key that starts so.
pub fn prefix(prefix: &[u8]) -> RangeRequest<'_> {
    RangeRequest::new(Keys::Prefix(Cow::Borrowed(prefix)))
}

pub fn get_with(client: &Client, key: &[u8], options: &CallOptions) -> Result<Response<RangeResponse>> {
    client.range(&one(key), options)
}

/// The value of a key.
pub fn get(client: &Client, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let response = get_with(client, key, &plain())?;
    Ok(response.kvs.first().map(|kv| response.bytes(kv.value).to_vec()))
}

/// The keys that a request finds, in the order they came.
#[track_caller]
pub fn keys(client: &Client, request: &RangeRequest<'_>) -> Vec<String> {
    let response = client.range(request, &plain()).unwrap();
    response.kvs.iter().map(|kv| String::from_utf8(response.bytes(kv.key).to_vec()).unwrap()).collect()
}

/// A request that deletes keys, all included if it comes to that.
pub fn delete_request(keys: Keys<'_>) -> DeleteRangeRequest<'_> {
    DeleteRangeRequest { keys, prev_kv: false, all: true }
}

/// There is no key and no lease.
#[track_caller]
pub fn nothing_is_left(client: &Client) {
    let left = keys(client, &prefix(b""));
    assert!(left.is_empty(), "{left:?}");
    assert!(client.lease_list(&plain()).unwrap().ids.is_empty());
}

/// A session with a lease of its own.
#[track_caller]
pub fn session(client: &Client) -> Session {
    client.session(&SessionOptions::default(), None).unwrap()
}

/// The same, whose lease lives on for so many seconds without it.
#[track_caller]
pub fn session_of(client: &Client, ttl: i64) -> Session {
    client.session(&SessionOptions { ttl, ..SessionOptions::default() }, None).unwrap()
}
