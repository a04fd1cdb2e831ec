//! The targets that need no more than a crate's public API. They are kept with that crate's tests:
//! those of `bailiwick-crypto` beside the second computation of the protocol, those of `stable-store`
//! beside its other evidence, that of `bailiwick-acl` beside the oracle.

#![allow(dead_code, reason = "the tests use more of it")]
#![allow(clippy::unwrap_used, reason = "a target that cannot go on has failed")]

#[path = "../../crypto/tests/it"]
mod it {
    pub(crate) mod fuzzing;
    mod raw;
    mod support;
}

#[path = "../../examples/stable-store/tests/it"]
mod store {
    pub(crate) mod fuzzing;
    pub(crate) mod support;
}

#[path = "../../acl/tests/it"]
mod acl {
    pub(crate) mod fuzzing;
    mod oracle;
    mod reader;
    mod world;
}

// As the tests find it.
use store::support;

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

/// The files of a log.
pub fn log(input: &[u8]) {
    store::fuzzing::log(input);
}

/// A checkpoint.
pub fn checkpoint(input: &[u8]) {
    store::fuzzing::checkpoint(input);
}

/// A policy, and requests under it.
pub fn policy(input: &[u8]) {
    acl::fuzzing::policy(input);
}
