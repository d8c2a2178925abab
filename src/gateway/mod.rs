//! The wire: etcd's services as HTTP/1.1 and JSON, in both dialects that gateways speak.

pub(crate) mod frames;
pub(crate) mod http;
pub mod json;
pub(crate) mod path;
pub(crate) mod status;
pub(crate) mod timeout;
pub(crate) mod version;
pub(crate) mod websocket;
