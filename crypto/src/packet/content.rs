//! What a packet carries under its seal: content, a type, and zeros.

use super::PacketError;

/// What a packet held.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenedPacket<'a> {
    /// Its number.
    pub number: u64,
    /// Whether no packet with a higher number has opened before: only such a one may tell a new
    /// address.
    pub is_highest: bool,
    /// What its content is.
    pub kind: PacketType,
    /// Decrypted in the caller's buffer. Of a close and a ping it is empty, an alert's has one byte,
    /// a challenge's and a response's 8; of the others it is still to be judged.
    pub content: &'a mut [u8],
}

/// The types of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Whole frames.
    Data = 1,
    /// The last packet of its sender; it ends both directions.
    Close = 3,
    /// One byte, an [`crate::Alert`]'s code; it ends both directions.
    Alert = 4,
    /// Says that its sender lives; never answered.
    Ping = 5,
    /// A piece of a frame that fits no packet.
    Fragment = 6,
    /// 8 random bytes, to an address that is new.
    PathChallenge = 7,
    /// The same 8 bytes, from there.
    PathResponse = 8,
    /// Which fragments of a message have arrived.
    FragmentAck = 9,
}

impl PacketType {
    fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            3 => Some(Self::Close),
            4 => Some(Self::Alert),
            5 => Some(Self::Ping),
            6 => Some(Self::Fragment),
            7 => Some(Self::PathChallenge),
            8 => Some(Self::PathResponse),
            9 => Some(Self::FragmentAck),
            _ => None,
        }
    }

    fn fits(self, content: &[u8]) -> bool {
        match self {
            Self::Data | Self::Fragment | Self::FragmentAck => true,
            Self::Close | Self::Ping => content.is_empty(),
            Self::Alert => content.len() == 1,
            Self::PathChallenge | Self::PathResponse => content.len() == 8,
        }
    }
}

/// Takes type and padding off; the bytes are the peer's own.
pub(super) fn split_inner(inner: &mut [u8]) -> Result<(PacketType, &mut [u8]), PacketError> {
    let at = inner.iter().rposition(|byte| *byte != 0).ok_or(PacketError::NoType)?;
    let (content, kind) = match inner.split_at_mut_checked(at) {
        Some((content, [kind, ..])) => (content, *kind),
        _ => return Err(PacketError::NoType),
    };
    let kind = PacketType::from_wire(kind).ok_or(PacketError::UnknownType(kind))?;
    if kind.fits(content) { Ok((kind, content)) } else { Err(PacketError::Content) }
}
