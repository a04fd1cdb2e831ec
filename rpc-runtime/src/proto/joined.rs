//! A frame that has come whole.

use bytes::Bytes;

/// One whole frame, without its length field.
#[derive(Debug)]
pub(crate) enum Joined<'a> {
    /// In the receive buffer.
    Lent(&'a [u8]),
    /// Large and spanning records or packets: in an allocation that is not this connection's any more, from which
    /// arguments borrow.
    Owned(Bytes),
}

impl Joined<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Owned(message) => message,
        }
    }

    /// The frame's own allocation, if it has one.
    pub(crate) fn shared(&self) -> Option<&Bytes> {
        match self {
            Self::Lent(_) => None,
            Self::Owned(message) => Some(message),
        }
    }
}
