//! Why packets fail, and which failures end a connection: only the peer's own, and our limits.

use thiserror::Error;

use crate::record::Alert;

/// Why a packet cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Too short, with flags that no packet has, or with a number that none may have. Drop it.
    #[error("the datagram is no packet")]
    Malformed,
    /// It carries another connection's id. Drop it.
    #[error("the packet belongs to another connection")]
    NotOurs,
    /// A packet of this number has opened before. Drop it.
    #[error("the packet was received before")]
    Replayed,
    /// It may have opened before: its number lies behind the window. Drop it.
    #[error("the packet is too old")]
    TooOld,
    /// It does not open under the key that its epoch names, or that key may not open its number, or
    /// there is no such key. Drop it.
    #[error("the packet does not open: altered, forged, or of a key long gone")]
    NotAuthentic,
    /// The peer sealed a type that version 1 does not have.
    #[error("the peer broke the protocol: unknown packet type {0}")]
    UnknownType(u8),
    /// The peer sealed padding only.
    #[error("the peer broke the protocol: a packet without a type")]
    NoType,
    /// The peer sealed content that does not fit its type.
    #[error("the peer broke the protocol: a packet's content does not fit its type")]
    Content,
    /// All numbers of this connection are used.
    #[error("the connection's packet numbers are used up: connect again")]
    Exhausted,
    /// So many packets failed to open that the key can no longer be relied on.
    #[error("too many forged packets: connect again")]
    TooManyFailures,
    /// Content and padding do not fit [`super::MAX_PACKET`]; nothing was done.
    #[error("the content does not fit a datagram")]
    ContentTooLong,
    /// The peer was turned away: nothing but that alert is sealed, and nothing opened.
    #[error("the peer was turned away: there is nothing but the alert to send")]
    Refused,
    /// The peer was not turned away; nothing was done.
    #[error("the peer was not turned away")]
    NotRefused,
}

impl PacketError {
    /// Whether the connection ends by it. If not, the packet is dropped, or was not sealed, and
    /// nothing has changed.
    pub fn ends_connection(&self) -> bool {
        match self {
            Self::UnknownType(_)
            | Self::NoType
            | Self::Content
            | Self::Exhausted
            | Self::TooManyFailures => true,
            Self::Malformed
            | Self::NotOurs
            | Self::Replayed
            | Self::TooOld
            | Self::NotAuthentic
            | Self::ContentTooLong
            | Self::Refused
            | Self::NotRefused => false,
        }
    }

    /// The alert to end the connection with; `None` if it goes on, or ends without a word.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::UnknownType(_) | Self::NoType | Self::Content => Some(Alert::ProtocolError),
            _ => None,
        }
    }
}
