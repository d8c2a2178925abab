//! The wire: etcd's services as HTTP/1.1 and JSON, in both dialects that gateways speak.

pub(crate) mod authenticate;
pub(crate) mod content;
pub(crate) mod frames;
mod header;
pub(crate) mod http;
pub mod json;
pub(crate) mod path;
mod response;
pub(crate) mod status;
pub(crate) mod timeout;
pub(crate) mod version;
pub(crate) mod websocket;

pub use header::Header;
pub(crate) use header::{Headed, HeaderOnly, NoFields, headed};
pub use response::Response;
