//! The gateway itself, for what has no function here.

use crate::channel::{Kind, Method, Size};
use crate::client::{CallOptions, Client};
use crate::error::{Error, Result};
use crate::gateway::json::Reader;
use zeroize::Zeroize;

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct RawResponse {
    /// HTTP status.
    pub http_status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Paths that only read; every other may write, as far as [`Error::may_have_applied`] is concerned.
const READING: &[&str] = &[
    "kv/range",
    "lease/timetolive",
    "lease/leases",
    "kv/lease/timetolive",
    "kv/lease/leases",
    "cluster/member/list",
    "maintenance/status",
    "maintenance/hash",
    "maintenance/hashkv",
    "auth/status",
    "auth/user/get",
    "auth/user/list",
    "auth/role/get",
    "auth/role/list",
];

impl Client {
    /// Posts JSON to a path after the API path: `/kv/range`. An error answer is an error, as everywhere; a streaming
    /// path answers when its stream ends.
    pub fn post(&self, path: &str, json: &[u8], options: &CallOptions) -> Result<RawResponse> {
        let path = check_path(path)?;
        let is_secret = path.starts_with("auth/");
        check_json(json, is_secret)?;
        let kind = if READING.contains(&path) { Kind::Read } else { Kind::Write };
        let method = Method::new(path, kind, Size::Values).secret(is_secret);
        self.call_raw(method, json, options).map(|(http_status, body)| RawResponse { http_status, body })
    }

    /// Runs a transaction given in the gateway's own JSON, keys and values in base64.
    pub fn txn_json(&self, json: &[u8], options: &CallOptions) -> Result<RawResponse> {
        self.post("/kv/txn", json, options)
    }
}

/// A path that can stand in a request line, without the slash before it: one that stays below the API path.
pub(crate) fn check_path(path: &str) -> Result<&str> {
    let stripped = path.strip_prefix('/').unwrap_or(path);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~".contains(&byte);
    let leads_away = stripped.split('/').any(|segment| matches!(segment, "." | ".."));
    if stripped.is_empty() || !stripped.bytes().all(fits) || stripped.starts_with('/') || leads_away {
        return Err(Error::invalid(format!("path is not one of the gateway's: {path:?}")));
    }
    Ok(stripped)
}

/// The gateway leaves a stream's malformed message unanswered, and ignores what follows an object: both are told here.
fn check_json(json: &[u8], is_secret: bool) -> Result<()> {
    if json.is_empty() {
        return Ok(());
    }
    let mut copy = json.to_vec();
    let mut reader = Reader::new(&mut copy);
    let result = reader.skip().and_then(|()| reader.finish());
    if is_secret {
        copy.zeroize();
    }
    result.map_err(|error| Error::invalid(format!("json is malformed: {error}")))
}
