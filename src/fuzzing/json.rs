//! Bytes as each message that servers send.

use super::messages::{self, MESSAGES};
use super::reference::{Node, Refused};
use crate::gateway::frames;
use crate::gateway::http::excerpt;
use crate::gateway::json::Reader;
use crate::gateway::status::{self, ServerStatus};
use crate::gateway::version::ServerVersion;
use crate::rpc::watch::WatchMessage;
use serde_json::Value;
use std::sync::Arc;

/// What serde_json reads as an object is read as the same messages, with the same fields, or refused as each of them by
/// both. Anything else is refused or read, and does no harm.
pub fn json(bytes: &[u8]) {
    let node = Node::parse(bytes);
    let skipped = skip(bytes);
    if node.is_some() {
        assert!(skipped, "JSON is passed over");
    }
    for (number, (fields, read)) in MESSAGES.iter().enumerate() {
        let ours = read(&mut bytes.to_vec());
        let Some(node) = &node else { continue };
        match (ours, node.read(fields)) {
            (Ok(ours), Ok(wanted)) => assert_eq!(ours, wanted, "message {number}"),
            (Err(_), Err(_)) | (_, Err(Refused::Unknown)) => {}
            (ours, wanted) => panic!("message {number}: {ours:?} and not {wanted:?}"),
        }
    }
    stream_message(bytes, node.as_ref());
    errors(bytes, node.as_ref());
}

/// Whether it is passed over whole, which must leave it as it is.
fn skip(bytes: &[u8]) -> bool {
    let mut copy = bytes.to_vec();
    let mut reader = Reader::new(&mut copy);
    let is_whole = reader.skip().and_then(|()| reader.finish()).is_ok();
    assert_eq!(copy, bytes);
    is_whole
}

/// The watch of a message is found without decoding it, and is the one that decoding gives.
fn stream_message(bytes: &[u8], node: Option<&Node>) {
    let whole = 0..bytes.len();
    let mut arena = bytes.to_vec();
    let peeked = frames::peek(&mut arena, whole.clone(), WatchMessage::peek_id);
    assert_eq!(arena, bytes, "what is looked at is left as it is");
    let mut events = Vec::new();
    let decoded = frames::message(&mut arena, whole, |reader| WatchMessage::decode(reader, &mut events));
    let Ok(decoded) = decoded else { return };
    if let Ok(message) = &decoded {
        messages::watch(message, &events, &arena);
    }
    // The first of two is found, and the last of two counts.
    if node.is_some_and(|node| !node.repeats_a_field() && node.fields().is_some_and(|fields| fields.len() == 1)) {
        let watch_id = decoded.ok().map(|message| message.watch_id);
        assert_eq!(peeked, Ok(watch_id));
    }
}

/// Whatever answers with an error gives one that is told in words, and that quotes no more than the beginning.
fn errors(bytes: &[u8], node: Option<&Node>) {
    let endpoint = Arc::from("http://a:2379");
    for http_status in [400, 404, 503] {
        let error = status::error_of_answer(&endpoint, http_status, &mut bytes.to_vec());
        assert!(!error.full_message().is_empty());
        assert_eq!((error.endpoint(), error.http_status()), (Some(&endpoint), http_status));
        status::lacks_path(http_status, bytes);
    }
    assert!(excerpt(bytes).chars().count() <= 10 * 120 + 3);
    if let Err(what) = ServerVersion::of_answer(&mut bytes.to_vec()) {
        assert!(!what.is_empty());
    }
    let plain = Node::read(node.unwrap_or(&Node::Null), messages::ERROR).ok();
    let is_plain = |node: &Node| node.fields().is_some_and(|fields| fields.iter().all(|(name, _)| is_of_v2(name)));
    if let Some(wanted) = plain.filter(|_| node.is_some_and(is_plain)) {
        let mut copy = bytes.to_vec();
        let found = ServerStatus::decode(&mut Reader::new(&mut copy)).map(|status| Value::from(status.message));
        assert_eq!(found.ok().as_ref(), Some(&wanted["message"]));
    }
}

/// An error of the gateways of v2 has none of the fields that an older one has.
fn is_of_v2(name: &str) -> bool {
    !["error", "grpc_code"].contains(&name)
}
