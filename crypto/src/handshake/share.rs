//! One side's X25519 share, for one handshake (RFC 7748).
//!
//! On datagrams a forged RESP must not use it up, so it agrees as often as it is asked, and is erased
//! with the state that holds it.

use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, ReusableSecret, SharedSecret};

use super::HandshakeError;

/// An ephemeral secret and its public share. Erased when dropped.
pub struct Ephemeral {
    secret: ReusableSecret,
    public: [u8; 32],
}

impl Ephemeral {
    /// Draws 32 bytes from `rng`.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        let secret = ReusableSecret::random_from_rng(rng);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// What the peer is sent.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The secret shared with the owner of `theirs`, taken as RFC 7748 takes it: the top bit
    /// ignored and the number reduced.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::LowOrderShare`] if the result would not depend on our secret.
    pub fn agree(&self, theirs: &[u8; 32]) -> Result<SharedSecret, HandshakeError> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*theirs));
        if shared.was_contributory() { Ok(shared) } else { Err(HandshakeError::LowOrderShare) }
    }
}

impl std::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ephemeral(..)")
    }
}
