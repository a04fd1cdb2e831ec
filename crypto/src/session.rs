//! What a completed handshake leaves behind: records or packets, the peer's name, and keys for others to use.

use std::fmt;

use thiserror::Error;

use crate::identity::PublicKey;
use crate::packet::Packets;
use crate::params::Params;
use crate::record::Records;
use crate::schedule;
use crate::secret::Secret;

/// An authenticated connection, as bytes in and bytes out.
#[derive(Debug)]
pub struct Session {
    /// Seals what we send and opens what we receive.
    pub records: Records,
    /// Whose key signed at the other end.
    pub peer: PublicKey,
    /// What the peer accepts.
    pub peer_params: Params,
    /// TH7: the same 32 bytes at both ends and in no other connection. Not secret.
    pub channel_id: [u8; 32],
    /// Keys for protocols that run inside or beside this connection.
    pub exporter: Exporter,
}

/// An authenticated connection on datagrams.
#[derive(Debug)]
pub struct DatagramSession {
    /// Seals what we send and opens what we receive.
    pub packets: Packets,
    /// Whose key signed at the other end.
    pub peer: PublicKey,
    /// What the peer accepts.
    pub peer_params: Params,
    /// TH7: the same 32 bytes at both ends and in no other connection. Not secret.
    pub channel_id: [u8; 32],
    /// Keys for protocols that run inside or beside this connection.
    pub exporter: Exporter,
}

/// Derives keys that both ends of one connection share (as RFC 8446, 7.5).
#[derive(Clone)]
pub struct Exporter {
    pub(crate) secret: Secret,
}

impl Exporter {
    /// 32 secret bytes for `label`; the caller erases them after use.
    ///
    /// # Errors
    ///
    /// [`LabelTooLong`] if `label` has more than 255 bytes.
    pub fn export(&self, label: impl AsRef<[u8]>) -> Result<[u8; 32], LabelTooLong> {
        let label = label.as_ref();
        if label.len() > 255 {
            return Err(LabelTooLong);
        }
        Ok(schedule::export(&self.secret, label))
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter(..)")
    }
}

/// An exporter's label does not fit its one-byte length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an exporter's label has at most 255 bytes: hash longer ones")]
pub struct LabelTooLong;
