//! SIGMA-I over X25519 and Ed25519 (Krawczyk 2003): what both roles share.
//!
//! The states themselves are in [`crate::initiator`] and [`crate::responder`].

use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::identity::{Fingerprint, KeyError};
use crate::params::ParamsError;

pub mod datagram;
pub(crate) mod message;
pub mod share;

pub use datagram::{DatagramKind, datagram_kind, destination};
pub use message::{MAX_MESSAGE, MessageKind, message_len};

/// Names a connection to one of its ends: 8 random bytes which that end drew.
pub type ConnectionId = [u8; 8];

/// What carries the handshake. Its name is in the transcript: the two ends must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A stream: messages follow each other, their lengths in their headers.
    Tcp,
    /// Datagrams: one message each, INIT padded to at least 1,200 bytes.
    Udp,
}

/// A pre-shared key: 32 bytes, not all zero, configured at both ends for one responder key.
///
/// Erased when dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Psk([u8; 32]);

impl Psk {
    /// Takes the key. The caller erases its own copy.
    ///
    /// # Errors
    ///
    /// [`ZeroPsk`] if all bytes are zero, which on the wire means "none".
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ZeroPsk> {
        if bytes.iter().all(|byte| *byte == 0) { Err(ZeroPsk) } else { Ok(Self(*bytes)) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Psk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Psk(..)")
    }
}

/// A pre-shared key of zeros would be no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a pre-shared key of zeros is none: draw 32 random bytes")]
pub struct ZeroPsk;

/// Why a handshake ended. There is no key then, and a responder answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is another message's: the peer is out of step or speaks something else.
    #[error("another message than expected: does this port speak Bailiwick?")]
    WrongType,
    /// The peer speaks another version of the protocol.
    #[error("protocol version {0} is not spoken here: run the same version at both ends")]
    UnsupportedVersion(u8),
    /// The peer offers, or answers with, another suite.
    #[error("cipher suite {0} is not spoken here: run the same version at both ends")]
    UnsupportedSuite(u16),
    /// The message's length is not the one its header gives, or no message has it.
    #[error("the message's length does not fit its header")]
    Length,
    /// The message would be longer than 4,096 bytes.
    #[error("the message is longer than 4,096 bytes")]
    TooLong,
    /// A reserved or padding byte is not zero.
    #[error("a reserved byte is not zero")]
    Reserved,
    /// The handshake was begun for the other transport. The keys of one must never serve both.
    #[error("this handshake was begun for the other transport")]
    WrongTransport,
    /// This handshake has ended well before; all that comes for it now is dropped.
    #[error("this handshake is complete: drop what still comes for it")]
    Complete,
    /// A RETRY that does not answer the INIT that was sent last, or comes from a stranger.
    #[error("the RETRY does not answer our last INIT")]
    Retry,
    /// The fifth RETRY for one connection id.
    #[error("the server has asked for more than four retries: start anew")]
    TooManyRetries,
    /// The message carries another connection's id.
    #[error("the message belongs to another connection")]
    WrongConnection,
    /// The sender of INIT does not know any key of this responder.
    #[error("the caller does not know this server's key: configure the client with it")]
    NotAddressed,
    /// The peer's share has low order, so that the shared secret would be no secret (RFC 7748, 6.1).
    #[error("the peer's X25519 share has low order")]
    LowOrderShare,
    /// The encrypted part does not open: it was altered, or the pre-shared keys differ.
    #[error("the encrypted part does not open: altered on the way, or the pre-shared keys differ")]
    Box,
    /// The length of the parameters does not fit the encrypted part.
    #[error("the length of the parameters does not fit the message")]
    ParamsLength,
    /// The server that answered has another key than the one that was dialled.
    #[error(
        "the server is not the one dialled: expected {expected}, found {found}; \
         if its key was changed, ask its operator before trusting the new one"
    )]
    WrongServer {
        /// The key that was dialled.
        expected: Fingerprint,
        /// What the server sent as its key, not yet proven to be its own.
        found: Fingerprint,
    },
    /// The peer's key is not one that an honest generator can produce.
    #[error("the peer's key is refused")]
    Key(#[source] KeyError),
    /// The peer did not sign this handshake with the key it names.
    #[error("the peer's signature does not hold")]
    Signature,
    /// The peer's Finished MAC does not hold.
    #[error("the peer's Finished MAC does not hold")]
    Finished,
    /// The peer's parameters are malformed or out of range.
    #[error("the peer's parameters are refused")]
    Params(#[source] ParamsError),
    /// Our own parameters are out of range; every peer would refuse them.
    #[error("our own parameters are out of range: mend the configuration")]
    OwnParams(#[source] ParamsError),
}

impl HandshakeError {
    /// Whether an initiator on datagrams gives up its attempt: the server itself, or our own
    /// configuration, is at fault. After any other error it drops the datagram and goes on waiting.
    pub fn ends_attempt(&self) -> bool {
        matches!(self, Self::Params(_) | Self::OwnParams(_) | Self::WrongTransport)
    }
}
