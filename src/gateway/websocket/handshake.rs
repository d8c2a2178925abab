//! How both ends agree that a connection is a WebSocket (RFC 6455 §4).

use crate::net::random_bits;

/// What a client proves with that its peer has understood the upgrade.
pub(crate) struct Handshake {
    key: String,
}

impl Handshake {
    pub(crate) fn new() -> crate::error::Result<Handshake> {
        let key = [random_bits()?.to_ne_bytes(), random_bits()?.to_ne_bytes()].concat();
        Ok(Handshake { key: base64_simd::STANDARD.encode_to_string(key) })
    }

    /// The lines of the request.
    pub(crate) fn lines(&self) -> String {
        let key = &self.key;
        format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
    }

    /// Whether the `Sec-WebSocket-Accept` of an answer fits.
    pub(crate) fn accepts(&self, accept: &[u8]) -> bool {
        const ID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
        let text = [self.key.as_bytes(), ID.as_bytes()].concat();
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
        base64_simd::STANDARD.encode_to_string(digest.as_ref()).as_bytes() == accept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_that_the_rfc_gives_to_its_key_is_accepted_and_no_other() {
        let handshake = Handshake { key: "dGhlIHNhbXBsZSBub25jZQ==".to_owned() };
        assert!(handshake.accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(!handshake.accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo"));
        assert!(!handshake.accepts(b""));
    }
}
