//! Identities, the SIGMA-I handshake, the key schedule and records of Bailiwick: bytes in, bytes out.
//!
//! This crate opens no socket, reads no clock and draws no randomness it was not given: `Instant`s
//! and random generators are arguments. `docs/protocol.md` gives every byte and label used here;
//! `vectors/handshake.json` gives known answers.
//!
//! In the order a connection uses them:
//!
//! 1. [`identity`] and [`key_file`]: who we are, and where the secret lies on disk.
//! 2. [`initiator`] and [`responder`]: the handshake as states consumed by value.
//! 3. [`record`]: what is sealed and opened afterwards, with key update, close and alert.

#![forbid(unsafe_code)]

pub mod aead;
pub mod handshake;
pub mod identity;
pub mod initiator;
pub mod key_file;
pub mod params;
pub mod record;
pub mod responder;
pub mod session;

mod schedule;
mod secret;

pub use handshake::{HandshakeError, MessageKind, Psk, Transport};
pub use identity::{Fingerprint, Identity, KeyError, PublicKey};
pub use key_file::{KeyFileError, Passphrase};
pub use params::{Params, ParamsError};
pub use rand_core::CryptoRng;
pub use record::{Alert, Opened, RecordError, RecordLimits, Records};
pub use session::{Exporter, LabelTooLong, Session};
