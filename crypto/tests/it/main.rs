//! What the channel promises, tested through its public boundary.

mod adversary;
mod aead;
mod handshake;
mod identity;
mod key_file;
mod known_answers;
mod params;
mod raw;
mod records;
mod support;
mod vectors;
