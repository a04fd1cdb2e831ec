//! Identities, the SIGMA-I handshake, the key schedule, records and packets of Bailiwick: bytes in,
//! bytes out.
//!
//! This crate opens no socket, reads no clock and draws no randomness it was not given: `Instant`s
//! and random generators are arguments. `docs/protocol.md` gives every byte and label used here;
//! `vectors/handshake.json` and `vectors/datagrams.json` give known answers.
//!
//! In the order a connection uses them:
//!
//! 1. [`identity`] and [`key_file`]: who we are, and where the secret lies on disk.
//! 2. [`initiator`] and [`responder`]: the handshake as states consumed by value.
//! 3. [`record`] on a stream, [`packet`] on datagrams: what is sealed and opened afterwards.
//!
//! Beside a connection, [`detached`] signs files.
//!
//! On a stream:
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
//!
//! On datagrams any message may be lost, repeated or forged. What fails is dropped and changes
//! nothing; the caller resends messages as they are. A responder under load first has the sender's
//! address proven by a RETRY ([`retry`]):
//!
//! ```
//! use bailiwick_crypto::{Identity, PacketType, Params, RecordLimits, RetryKeys, Transport};
//! use bailiwick_crypto::{initiator, responder, retry};
//! use std::time::Instant;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut rng, now, unix_seconds) = (rand::rng(), Instant::now(), 1_800_000_000);
//! # let (alice, server) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
//! # let dial = initiator::Config {
//! #     transport: Transport::Udp,
//! #     identity: alice.clone(),
//! #     server: server.public_key(),
//! #     params: Params::new([1; 16]),
//! #     psk: None,
//! #     records: RecordLimits::default(),
//! # };
//! let answer = responder::Config::new(Transport::Udp, server, Params::new([2; 16]));
//! let retry_keys = RetryKeys::new(unix_seconds, &mut rng);
//! let from = "192.0.2.1:40000".parse()?;
//!
//! let mut awaiting_resp = initiator::start(dial, &mut rng);
//! let retry = retry_keys.retry(&answer, awaiting_resp.init(), from, unix_seconds)?;
//! awaiting_resp.handle_retry(&retry)?;
//! assert!(retry::check_init(&answer, awaiting_resp.init())?.has_token);
//! assert!(retry_keys.is_valid(awaiting_resp.init(), from, unix_seconds));
//!
//! let mut awaiting_fin = responder::accept(&answer, awaiting_resp.init(), &mut rng)?;
//! assert!(awaiting_resp.handle_resp(&[0; 300], now).is_err()); // forged: it goes on waiting
//! let (fin, mut at_alice) = awaiting_resp.handle_resp(awaiting_fin.resp(), now)?;
//! let mut at_server = awaiting_fin.handle_fin(&fin, now)?.admit()?;
//!
//! let mut packet = Vec::new();
//! at_alice.packets.seal(PacketType::Data, b"whole frames", 0, now, &mut packet)?;
//! assert_eq!(at_server.packets.open(&mut packet.clone(), now)?.content, b"whole frames");
//! assert!(at_server.packets.open(&mut packet, now).is_err()); // replayed
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod aead;
pub mod detached;
#[cfg(feature = "aws-lc")]
pub mod gmac;
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
