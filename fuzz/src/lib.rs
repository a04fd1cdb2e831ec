//! The targets that need no more than `bailiwick-crypto`'s public API. They are kept with that
//! crate's tests, beside the second computation of the protocol that they use.

#![allow(dead_code, reason = "the tests use more of it")]
#![allow(clippy::unwrap_used, reason = "a target that cannot go on has failed")]

#[path = "../../crypto/tests/it"]
mod it {
    pub(crate) mod fuzzing;
    mod raw;
    mod support;
}

/// INIT at a responder.
pub fn handshake_init(input: &[u8]) {
    it::fuzzing::init(input);
}

/// RETRY at an initiator.
pub fn handshake_retry(input: &[u8]) {
    it::fuzzing::retry(input);
}

/// RESP at an initiator.
pub fn handshake_resp(input: &[u8]) {
    it::fuzzing::resp(input);
}

/// FIN at a responder.
pub fn handshake_fin(input: &[u8]) {
    it::fuzzing::fin(input);
}

/// Records at a server.
pub fn record(input: &[u8]) {
    it::fuzzing::record(input);
}

/// Packets at a server.
pub fn packet(input: &[u8]) {
    it::fuzzing::packet(input);
}
