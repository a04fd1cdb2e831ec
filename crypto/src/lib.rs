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
//!
//! ```
//! use bailiwick_crypto::{Identity, Opened, Params, RecordLimits, Transport, initiator, responder};
//! use std::time::Instant;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut rng, now) = (rand::rng(), Instant::now());
//! let (alice, server) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! let dial = initiator::Config {
//!     transport: Transport::Tcp,
//!     identity: alice.clone(),
//!     server: server.public_key(),
//!     params: Params::new([1; 16]), // 16 random bytes of this process
//!     psk: None,
//!     records: RecordLimits::default(),
//! };
//! let answer = responder::Config::new(Transport::Tcp, server, Params::new([2; 16]));
//!
//! let awaiting_resp = initiator::start(dial, &mut rng);
//! let awaiting_fin = responder::accept(&answer, awaiting_resp.init(), &mut rng)?;
//! let (fin, mut at_alice) = awaiting_resp.read_resp(awaiting_fin.resp(), now)?;
//! let authenticated = awaiting_fin.read_fin(&fin, now)?;
//! assert_eq!(authenticated.peer(), alice.public_key()); // look it up, then admit or refuse
//! let mut at_server = authenticated.admit()?;
//!
//! let mut wire = Vec::new();
//! at_alice.records.seal_data(b"a frame", now, &mut wire)?;
//! assert_eq!(at_server.records.open(&mut wire, now)?, Opened::Data(&mut b"a frame".to_owned()));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod aead;
pub mod handshake;
pub mod identity;
pub mod initiator;
pub mod key_file;
pub mod packet;
pub mod params;
pub mod record;
pub mod responder;
pub mod retry;
pub mod session;

mod schedule;
mod secret;

pub use handshake::{
    ConnectionId, DatagramKind, HandshakeError, MessageKind, Psk, Transport, datagram_kind,
    destination,
};
pub use identity::{Fingerprint, Identity, KeyError, PublicKey};
pub use key_file::{KeyFileError, Passphrase};
pub use packet::{OpenedPacket, PacketError, PacketType, Packets};
pub use params::{Params, ParamsError};
pub use rand_core::CryptoRng;
pub use record::{Alert, Opened, RecordError, RecordLimits, Records};
pub use retry::RetryKeys;
pub use session::{DatagramSession, Exporter, LabelTooLong, Session};
