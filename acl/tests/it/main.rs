//! The promises of `bailiwick-acl`, tested through what its users see.

// A test that cannot go on should stop right there; clippy excepts only the test functions.
#![allow(clippy::unwrap_used)]

mod agreement;
mod analysis;
mod audit_follow;
mod audit_keys;
mod audit_log;
mod audit_ocsf;
mod audit_rotation;
mod audit_search;
mod audit_sinks;
mod audit_tampering;
mod audit_witness;
mod audit_world;
mod fuzzing;
mod invariants;
mod modes;
mod monitor;
mod oracle;
mod policy_errors;
mod reader;
mod remembered;
mod world;

use bailiwick_acl::policy::{KeysRequired, LoadOptions, Loaded, Policy, PolicyErrors, Source};

/// Loads a policy as a tool does.
fn load(text: &str) -> Result<Loaded, PolicyErrors> {
    let options = LoadOptions { keys: KeysRequired::Tool, ..LoadOptions::default() };
    Policy::load(Source { name: "policy.acl", text: text.as_bytes() }, &options)
}

/// The policy that `text` is.
fn policy(text: &str) -> Policy {
    load(text).unwrap_or_else(|errors| panic!("{:#?}", errors.errors())).policy
}

/// A key, and the text that binds it.
fn key(number: u8) -> ([u8; 32], String) {
    ([number; 32], format!("ed25519:{}", format!("{number:02x}").repeat(32)))
}
