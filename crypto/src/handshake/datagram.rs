//! What a datagram is and whose it is, by its first bytes: enough to hand it on, proof of nothing.

use super::ConnectionId;

/// What a datagram's first byte says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    /// An initiator's first message.
    Init,
    /// A responder's answer.
    Resp,
    /// An initiator's second message.
    Fin,
    /// A responder's wish for proof of the address.
    Retry,
    /// A protected packet.
    Packet,
}

/// By the first byte; `None` is to be dropped.
pub fn datagram_kind(datagram: &[u8]) -> Option<DatagramKind> {
    match datagram.first()? {
        1 => Some(DatagramKind::Init),
        2 => Some(DatagramKind::Resp),
        3 => Some(DatagramKind::Fin),
        4 => Some(DatagramKind::Retry),
        // 01 KK 0000: the epoch may be any.
        0x40 | 0x50 | 0x60 | 0x70 => Some(DatagramKind::Packet),
        _ => None,
    }
}

/// The id, drawn by its receiver, that a RESP, RETRY, FIN or packet carries; `None` for an INIT, for
/// what is too short to carry one, and for what is to be dropped.
pub fn destination(datagram: &[u8]) -> Option<ConnectionId> {
    let at = match datagram_kind(datagram)? {
        DatagramKind::Init => return None,
        DatagramKind::Resp | DatagramKind::Fin | DatagramKind::Retry => 8,
        DatagramKind::Packet => 1,
    };
    datagram.get(at..)?.first_chunk().copied()
}
