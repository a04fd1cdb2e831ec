//! What the channel promises, tested through its public boundary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adversary;
mod aead;
mod datagrams;
mod fuzzing;
mod handshake;
mod identity;
mod key_file;
mod known_answers;
mod packets;
mod params;
mod raw;
mod records;
mod support;
mod vectors;
