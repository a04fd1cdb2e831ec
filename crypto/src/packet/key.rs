//! One direction's key of one epoch: seals and opens packets by their numbers.

use zeroize::Zeroizing;

use crate::aead::{Aead as _, AeadError, Selected, TAG};
use crate::schedule;
use crate::secret::Secret;

/// Key and nonce base, made from the epoch's traffic secret.
pub(super) struct Key {
    cipher: Selected,
    iv: Zeroizing<[u8; 12]>,
}

impl Key {
    pub(super) fn derive(secret: &Secret) -> Self {
        let (key, iv) = schedule::record_keys(secret);
        Self { cipher: Selected::new(key.as_bytes()), iv: Zeroizing::new(iv) }
    }

    #[inline]
    pub(super) fn seal(
        &self,
        number: u64,
        header: &[u8],
        inner: &mut [u8],
    ) -> Result<[u8; TAG], AeadError> {
        self.cipher.seal(&schedule::nonce(&self.iv, number), header, inner)
    }

    #[inline]
    pub(super) fn open(
        &self,
        number: u64,
        header: &[u8],
        inner: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), AeadError> {
        self.cipher.open(&schedule::nonce(&self.iv, number), header, inner, tag)
    }
}

/// How far a key is used.
#[derive(Default)]
pub(super) struct Usage {
    packets: u64,
    bytes: u64,
}

impl Usage {
    /// Counts one whole packet.
    pub(super) fn count(&mut self, len: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len as u64);
    }

    pub(super) fn is_none(&self) -> bool {
        self.packets == 0
    }

    pub(super) fn has_reached(&self, packets: u64, bytes: u64) -> bool {
        self.packets >= packets || self.bytes >= bytes
    }
}

/// An epoch's number as far as packets carry it: two bits, in place.
pub(super) fn flags(epoch: u64) -> u8 {
    // The mask leaves two bits, which fit.
    0x40 | ((epoch & 3) as u8) << 4
}
